"""Initialising LXMERT from a BERT checkpoint: embeddings, language layers, pooler, shared heads.

Source: the authors' initialisation (specification section 3.5): embeddings, BERT's first layers into the
language layers, the pooler, the masked-word head, and the next-sentence head into the matching head. There,
a matching pair is class 0 in BERT and class 1 in LXMERT; the authors copied the rows unchanged, so their
matching head started reversed. Here the two rows are swapped.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from lxmert.errors import WeightsError
from lxmert.weights.dtypes import check_float_weights, dtype_name
from lxmert.weights.files import CONFIG_NAME, read_config_file, read_folder
from lxmert.weights.hub import hub_folder, is_hub_name
from lxmert.weights.names import canonical_original_name
from lxmert.weights.report import LoadReport
from lxmert.weights.shapes import shapes_of

_SHAPELESS = {"num_attention_heads": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
"""What the shapes of the weights do not show, with BERT's values where a configuration lacks them."""
_SAME_ACTIVATIONS = {"gelu_python": "gelu"}
"""Activation -> another name of the same function."""
_MATCHING_HEAD = "cls.seq_relationship."
_TIED_DECODER = "cls.predictions.decoder."
_LAYER = re.compile(r"lxmert\.encoder\.layer\.(\d+)\.")
# A buffer of position numbers, saved by older versions of transformers.
_POSITION_IDS = "lxmert.embeddings.position_ids"


def bert_folder(name: str) -> Path:
    """The folder of a BERT checkpoint, downloaded from the hub if there is no such folder.

    Raises:
        WeightsError: no such folder, and none on the hub or the hub is out of reach.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if not is_hub_name(name):
        raise WeightsError(
            f"{name}: no such folder; expected the folder of a BERT model or its name on the hub"
        )
    return hub_folder(name)


def load_bert(model: PreTrainedModel, name: str) -> LoadReport:
    """Fill the parts of an LxmertForPreTraining that BERT has; the rest keeps its weights.

    Args:
        model: changed in place; must have BERT's width, vocabulary and positions.
        name: a local folder, or a name on the hub, such as "bert-base-uncased".

    Returns:
        The tensors that were filled, and those that keep their weights ("missing").

    Raises:
        WeightsError: there is no such checkpoint, it or its config.json cannot be read, it is not one of
            BERT, has other heads, activation or epsilon (BERT's own, where config.json lacks them) than the
            model, or a tensor has another shape or is not of floating-point numbers; nothing was changed
            then.
    """
    folder = bert_folder(name)
    _check_config(folder, model.config, name)
    tensors = _to_lxmert_names(read_folder(folder), model.config.l_layers)
    report = LoadReport.compare(
        shapes_of(model.state_dict()), shapes_of(tensors), model=type(model).__name__, source=name
    )
    if not any(key.startswith("lxmert.encoder.layer.") for key in report.matched) or report.reshaped:
        raise WeightsError(
            f"{report.summary()}. Expected a BERT of this hidden size and vocabulary, such as "
            "bert-base-uncased; adapt the configuration to it"
        )
    check_float_weights({key: dtype_name(tensors[key].dtype) for key in report.matched}, name)
    model.load_state_dict({key: tensors[key] for key in report.matched}, strict=False)
    model.tie_weights()
    return report


def _check_config(folder: Path, config: PreTrainedConfig, name: str) -> None:
    """Refuse a BERT that computes differently with the same weights; old folders may lack the file."""
    if not (folder / CONFIG_NAME).is_file():
        return
    settings = read_config_file(folder / CONFIG_NAME)
    for key, default in _SHAPELESS.items():
        ours, theirs = getattr(config, key), settings.get(key, default)
        if _canonical_value(theirs) != _canonical_value(ours):
            raise WeightsError(
                f"{name}: {key} is {theirs!r} in this BERT, but {ours!r} in the model; adapt the "
                "configuration to it"
            )


def _canonical_value(value: Any) -> Any:
    return _SAME_ACTIVATIONS.get(value, value) if isinstance(value, str) else value


def _to_lxmert_names(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """BERT's tensors under our names, without layers beyond ours."""
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        key = canonical_original_name(name)
        if not key.startswith("cls."):
            key = "lxmert." + key.removeprefix("bert.")
        layer = _LAYER.match(key)
        if key == _POSITION_IDS or (layer and int(layer[1]) >= layers):
            continue
        if key.startswith(_MATCHING_HEAD):
            tensor = torch.flip(tensor, dims=(0,))
        # The decoder's matrix is the word embedding, its bias an alias of the head's own.
        if not key.startswith(_TIED_DECODER):
            ours[key] = tensor
    return ours
