"""All parameters of the model classes with their shapes, derived from the configuration alone.

Source: the paper's section 3 and appendix; names as `transformers`' LXMERT. The list is made without building
a model, so that a checkpoint can be checked by its names and shapes, and inverted: the sizes of a
configuration follow from the shapes of a checkpoint.

Shape legend: H hidden, I intermediate, V words, D feature width, P box coordinates, A answers.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from lxmert.configuration import LxmertConfig
from lxmert.weights.names import Architecture

Shape = tuple[int, ...]
TIED_DECODER = "cls.predictions.decoder.weight"
WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shapes of tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def parameter_shapes(config: LxmertConfig, architecture: Architecture) -> dict[str, Shape]:
    """The shapes of all parameters of the class by state-dict name, in the order of its modules."""
    if architecture is Architecture.ENCODER:
        return dict(_encoder(config, ""))
    named = dict(_encoder(config, "lxmert."))
    if architecture is Architecture.PRETRAINING:
        named.update(_pretraining_heads(config))
    if architecture is Architecture.VISUAL_REASONING:
        named.update(_pair_head(config))
    elif architecture is Architecture.QUESTION_ANSWERING or config.task_qa:
        named.update(_answer_head(config))
    return named


def _linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, size: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def _residual(name: str, hidden: int, inputs: int) -> Iterator[tuple[str, Shape]]:
    """The linear layer and the LayerNorm at the end of every attention and feed-forward block."""
    yield from _linear(f"{name}.dense", hidden, inputs)
    yield from _norm(f"{name}.LayerNorm", hidden)


def _attention(name: str, inner: str, hidden: int) -> Iterator[tuple[str, Shape]]:
    for part in ("query", "key", "value"):
        yield from _linear(f"{name}.{inner}.{part}", hidden, hidden)
    yield from _residual(f"{name}.output", hidden, hidden)


def _feed_forward(up: str, down: str, config: LxmertConfig) -> Iterator[tuple[str, Shape]]:
    yield from _linear(f"{up}.dense", config.intermediate_size, config.hidden_size)
    yield from _residual(down, config.hidden_size, config.intermediate_size)


def _single_modality_layer(name: str, config: LxmertConfig) -> Iterator[tuple[str, Shape]]:
    yield from _attention(f"{name}.attention", "self", config.hidden_size)
    yield from _feed_forward(f"{name}.intermediate", f"{name}.output", config)


def _cross_modality_layer(name: str, config: LxmertConfig) -> Iterator[tuple[str, Shape]]:
    yield from _attention(f"{name}.visual_attention", "att", config.hidden_size)
    yield from _attention(f"{name}.lang_self_att", "self", config.hidden_size)
    yield from _attention(f"{name}.visn_self_att", "self", config.hidden_size)
    yield from _feed_forward(f"{name}.lang_inter", f"{name}.lang_output", config)
    yield from _feed_forward(f"{name}.visn_inter", f"{name}.visn_output", config)


def _encoder(config: LxmertConfig, prefix: str) -> Iterator[tuple[str, Shape]]:
    hidden = config.hidden_size
    yield f"{prefix}{WORD_EMBEDDINGS}", (config.vocab_size, hidden)
    yield f"{prefix}embeddings.position_embeddings.weight", (config.max_position_embeddings, hidden)
    yield f"{prefix}embeddings.token_type_embeddings.weight", (config.type_vocab_size, hidden)
    yield from _norm(f"{prefix}embeddings.LayerNorm", hidden)
    visual = f"{prefix}encoder.visn_fc"
    yield from _linear(f"{visual}.visn_fc", hidden, config.visual_feat_dim)
    yield from _norm(f"{visual}.visn_layer_norm", hidden)
    yield from _linear(f"{visual}.box_fc", hidden, config.visual_pos_dim)
    yield from _norm(f"{visual}.box_layer_norm", hidden)
    for index in range(config.l_layers):
        yield from _single_modality_layer(f"{prefix}encoder.layer.{index}", config)
    for index in range(config.x_layers):
        yield from _cross_modality_layer(f"{prefix}encoder.x_layers.{index}", config)
    for index in range(config.r_layers):
        yield from _single_modality_layer(f"{prefix}encoder.r_layers.{index}", config)
    yield from _linear(f"{prefix}pooler.dense", hidden, hidden)


def _pretraining_heads(config: LxmertConfig) -> Iterator[tuple[str, Shape]]:
    hidden = config.hidden_size
    yield "cls.predictions.bias", (config.vocab_size,)
    yield from _residual("cls.predictions.transform", hidden, hidden)
    yield TIED_DECODER, (config.vocab_size, hidden)
    yield from _linear("cls.seq_relationship", 2, hidden)
    if not config.task_obj_predict:
        return
    yield from _residual("obj_predict_head.transform", hidden, hidden)
    if config.visual_obj_loss:
        yield from _linear("obj_predict_head.decoder_dict.obj", config.num_object_labels, hidden)
    if config.visual_attr_loss:
        yield from _linear("obj_predict_head.decoder_dict.attr", config.num_attr_labels, hidden)
    if config.visual_feat_loss:
        yield from _linear("obj_predict_head.decoder_dict.feat", config.visual_feat_dim, hidden)


def _answer_head(config: LxmertConfig) -> Iterator[tuple[str, Shape]]:
    hidden = config.hidden_size
    yield from _linear("answer_head.logit_fc.0", 2 * hidden, hidden)
    yield from _norm("answer_head.logit_fc.2", 2 * hidden)
    yield from _linear("answer_head.logit_fc.3", config.num_qa_labels, 2 * hidden)


def _pair_head(config: LxmertConfig) -> Iterator[tuple[str, Shape]]:
    both = 2 * config.hidden_size
    yield from _linear("pair_head.logit_fc.0", both, both)
    yield from _norm("pair_head.logit_fc.2", both)
    yield from _linear("pair_head.logit_fc.3", 2, both)


# Configuration field -> (parameter, axis) whose size it is. Names are those of LxmertModel and of the heads;
# of several, the first that the checkpoint has counts.
_SIZES: Mapping[str, tuple[tuple[str, int], ...]] = {
    "vocab_size": ((WORD_EMBEDDINGS, 0),),
    "hidden_size": ((WORD_EMBEDDINGS, 1),),
    "max_position_embeddings": (("embeddings.position_embeddings.weight", 0),),
    "type_vocab_size": (("embeddings.token_type_embeddings.weight", 0),),
    "visual_feat_dim": (("encoder.visn_fc.visn_fc.weight", 1),),
    "visual_pos_dim": (("encoder.visn_fc.box_fc.weight", 1),),
    "intermediate_size": (
        ("encoder.layer.0.intermediate.dense.weight", 0),
        ("encoder.x_layers.0.lang_inter.dense.weight", 0),
        ("encoder.r_layers.0.intermediate.dense.weight", 0),
    ),
    "num_object_labels": (("obj_predict_head.decoder_dict.obj.weight", 0),),
    "num_attr_labels": (("obj_predict_head.decoder_dict.attr.weight", 0),),
    "num_qa_labels": (("answer_head.logit_fc.3.weight", 0),),
}
_LAYERS = {"l_layers": "layer", "x_layers": "x_layers", "r_layers": "r_layers"}


def infer_sizes(shapes: Mapping[str, Shape], architecture: Architecture) -> dict[str, Any]:
    """The configuration fields that a checkpoint's names and shapes determine.

    The number of attention heads, the activation and the dropouts leave no trace in the shapes.

    Args:
        shapes: our state-dict names with shapes.
        architecture: the class whose names they are.

    Returns:
        Keyword arguments of LxmertConfig. A field whose parameter is absent is left out.
    """
    plain = {name.removeprefix("lxmert."): shape for name, shape in shapes.items()}
    fields: dict[str, Any] = {}
    for field, places in _SIZES.items():
        sizes = [plain[name][axis] for name, axis in places if len(plain.get(name, ())) > axis]
        if sizes:
            fields[field] = sizes[0]
    for field, module in _LAYERS.items():
        indices = [int(m[1]) for m in (re.match(rf"encoder\.{module}\.(\d+)\.", name) for name in plain) if m]
        fields[field] = max(indices, default=-1) + 1
    if architecture is Architecture.PRETRAINING:
        fields["task_qa"] = any(name.startswith("answer_head.") for name in plain)
        fields["task_obj_predict"] = any(name.startswith("obj_predict_head.") for name in plain)
        for loss in ("obj", "attr", "feat"):
            decoder = f"obj_predict_head.decoder_dict.{loss}."
            # Without the head the flags keep their defaults: there is nothing to build.
            if fields["task_obj_predict"]:
                fields[f"visual_{loss}_loss"] = any(name.startswith(decoder) for name in plain)
    return fields
