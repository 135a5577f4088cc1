"""Starting LXMERT from a BERT checkpoint: embeddings, language layers, pooler, the heads that BERT has too.

Source: the authors' initialisation (specification section 3.5): embeddings, BERT's first layers into the
language layers, the pooler, the masked-word head, and the next-sentence head into the matching head. There,
BERT counts the right pair as class 0 and LXMERT as class 1; the authors copied the rows as they are, so their
matching head began the wrong way round. Here the two rows change places.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lxmert.errors import WeightsError
from lxmert.weights.files import read_folder
from lxmert.weights.hub import hub_folder, is_hub_name
from lxmert.weights.names import canonical_original_name
from lxmert.weights.report import LoadReport
from lxmert.weights.shapes import shapes_of

_MATCHING = "cls.seq_relationship."
_TIED_DECODER = "cls.predictions.decoder."
_LAYER = re.compile(r"lxmert\.encoder\.layer\.(\d+)\.")
# Written out by older versions of transformers; it numbers the positions.
_POSITION_IDS = "lxmert.embeddings.position_ids"


def bert_folder(name: str) -> Path:
    """The folder of a BERT checkpoint, which the hub is asked for where there is no such folder.

    Raises:
        WeightsError: no such folder, and none on the hub or no way to it.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if not is_hub_name(name):
        raise WeightsError(f"{name}: no such folder; give the folder of a BERT model or its name on the hub")
    return hub_folder(name)


def load_bert(model: PreTrainedModel, name: str) -> LoadReport:
    """Fill what BERT has of an LxmertForPreTraining; the rest keeps its weights.

    Args:
        model: changed in place; of BERT's width, vocabulary and positions.
        name: a local folder, or a name on the hub, such as "bert-base-uncased".

    Returns:
        What was filled, and what keeps its weights ("missing").

    Raises:
        WeightsError: there is no such checkpoint, it is none of BERT, or a tensor has another shape; nothing
            was changed then.
    """
    found = _as_ours(read_folder(bert_folder(name)), model.config.l_layers)
    report = LoadReport.compare(
        shapes_of(model.state_dict()), shapes_of(found), model=type(model).__name__, source=name
    )
    if not any(key.startswith("lxmert.encoder.layer.") for key in report.matched) or report.reshaped:
        raise WeightsError(
            f"{report.summary()}. Expected a BERT of this width and vocabulary, such as bert-base-uncased: "
            "let the configuration follow it"
        )
    model.load_state_dict({key: found[key] for key in report.matched}, strict=False)
    model.tie_weights()
    return report


def _as_ours(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """BERT's tensors under our names, without layers beyond ours."""
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        key = canonical_original_name(name)
        if not key.startswith("cls."):
            key = "lxmert." + key.removeprefix("bert.")
        layer = _LAYER.match(key)
        if key == _POSITION_IDS or (layer and int(layer[1]) >= layers):
            continue
        if key.startswith(_MATCHING):
            tensor = torch.flip(tensor, dims=(0,))
        # The decoder's matrix is the word embedding, its bias a name for the head's own.
        if not key.startswith(_TIED_DECODER):
            ours[key] = tensor
    return ours
