"""What goes into an exported model and what comes out of it.

Shapes: B batch, W words, O objects, H hidden, C classes, V vocabulary, D feature width, P position width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lxmert.configuration import IMAGES_PER_SENTENCE
from lxmert.errors import ConfigurationError
from lxmert.model import (
    LxmertForPreTraining,
    LxmertForQuestionAnswering,
    LxmertForVisualReasoning,
    LxmertModel,
)

Batch = dict[str, Tensor]

BATCH, WORDS, OBJECTS = "batch", "words", "objects"
"""The axes that may have any size; words up to the positions that the model knows."""

SEGMENTS = "token_type_ids"

_MASK_MEANING = "1 for real entries, 0 for padding"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: its name, that of the argument or output field of the model's `forward`.
        dtype: "int64" or "float32".
        shape: a size, or the name of an axis of any size.
        meaning: what it holds, in a few words.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    meaning: str

    def to_dict(self) -> dict[str, Any]:
        """As it stands in export.json."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape), "meaning": self.meaning}


@dataclass(frozen=True)
class Signature:
    """All inputs and outputs of an exported model.

    Attributes:
        inputs: in the order of the exported model.
        outputs: likewise.
        max_words: the longest text, in word pieces.
        scores: the output that holds one score per class, None where there is none.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_words: int
    scores: str | None

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""
        return [spec.name for spec in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs."""
        return [spec.name for spec in self.outputs]


def export_signature(model: PreTrainedModel, *, segments: bool = False) -> Signature:
    """What the exported `model` takes and gives.

    Args:
        model: one of the model classes.
        segments: True also takes `token_type_ids`; without, every text is of segment 0.

    Raises:
        ConfigurationError: a model of another class.
    """
    config = model.config
    images: tuple[int | str, ...] = (BATCH,)
    if isinstance(model, LxmertForVisualReasoning):
        images = (BATCH, IMAGES_PER_SENTENCE)
    objects = (*images, OBJECTS)
    inputs: tuple[TensorSpec, ...] = (
        TensorSpec("input_ids", "int64", (BATCH, WORDS), "ids of word pieces, [CLS] first"),
        TensorSpec("attention_mask", "int64", (BATCH, WORDS), _MASK_MEANING),
        TensorSpec("visual_feats", "float32", (*objects, config.visual_feat_dim), "features of the objects"),
        TensorSpec(
            "visual_pos",
            "float32",
            (*objects, config.visual_pos_dim),
            "boxes x1, y1, x2, y2 as fractions of width and height, 0..1",
        ),
        TensorSpec("visual_attention_mask", "int64", objects, _MASK_MEANING),
    )
    if segments:
        inputs += (TensorSpec(SEGMENTS, "int64", (BATCH, WORDS), "0 for the first text, 1 for the second"),)
    outputs, scores = _outputs(model)
    return Signature(inputs, outputs, config.max_position_embeddings, scores)


def _outputs(model: PreTrainedModel) -> tuple[tuple[TensorSpec, ...], str | None]:
    """The outputs of a model, and which of them holds the scores of its classes."""
    config = model.config
    hidden = config.hidden_size
    words, objects = (BATCH, WORDS), (BATCH, OBJECTS)

    def float_spec(name: str, shape: tuple[int | str, ...], meaning: str) -> TensorSpec:
        return TensorSpec(name, "float32", shape, meaning)

    def answer_spec() -> TensorSpec:
        return float_spec(
            "question_answering_score", (BATCH, config.num_qa_labels), "one score per answer, before softmax"
        )

    if isinstance(model, LxmertForQuestionAnswering):
        return (answer_spec(),), "question_answering_score"
    if isinstance(model, LxmertForVisualReasoning):
        pair = float_spec("logits", (BATCH, 2), "scores of false and true, before softmax")
        return (pair,), "logits"
    if isinstance(model, LxmertForPreTraining):
        heads = (
            float_spec("prediction_logits", (*words, config.vocab_size), "one score per word piece"),
            float_spec("cross_relationship_score", (BATCH, 2), "scores of no match and match"),
        )
        if not config.task_qa:
            return heads, None
        return (*heads, answer_spec()), "question_answering_score"
    if isinstance(model, LxmertModel):
        return (
            float_spec("language_output", (*words, hidden), "states of the words"),
            float_spec("vision_output", (*objects, hidden), "states of the objects"),
            float_spec("pooled_output", (BATCH, hidden), "state of the pair, -1..1"),
        ), None
    raise ConfigurationError(
        f"a {type(model).__name__} cannot be exported; expected LxmertForQuestionAnswering, "
        "LxmertForVisualReasoning, LxmertForPreTraining or LxmertModel"
    )


class ScoringModule(nn.Module):
    """A model as it is exported: the inputs of a signature by name -> its outputs by name.

    Args:
        model: one of the model classes, in evaluation mode.
        signature: what `export_signature` says of it.
        clears_hidden: True sets features and boxes of hidden objects to 0, which changes no score, but in 8
            bits all objects share one scale.
    """

    def __init__(self, model: PreTrainedModel, signature: Signature, *, clears_hidden: bool = False) -> None:
        super().__init__()
        self.model = model
        self._names = signature.output_names
        self._clears_hidden = clears_hidden

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        visual_feats: Tensor,
        visual_pos: Tensor,
        visual_attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> Batch:
        """Outputs by name; see `export_signature`."""
        if self._clears_hidden:
            visible = visual_attention_mask != 0
            # Where all objects of an image are hidden, the model attends to all of them.
            hidden = (~visible & visible.any(dim=-1, keepdim=True))[..., None]
            visual_feats, visual_pos = visual_feats.masked_fill(hidden, 0), visual_pos.masked_fill(hidden, 0)
        output = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            visual_feats=visual_feats,
            visual_pos=visual_pos,
            visual_attention_mask=visual_attention_mask,
            token_type_ids=token_type_ids,
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
        return {name: output[name] for name in self._names}


def random_batch(
    signature: Signature, model: PreTrainedModel, sizes: tuple[int, int, int], generator: torch.Generator
) -> Batch:
    """Random inputs with nothing hidden.

    Args:
        signature: which inputs.
        model: whose vocabulary and segments.
        sizes: B, W and O; W at most `signature.max_words`.
        generator: of the random numbers.
    """
    axes = dict(zip((BATCH, WORDS, OBJECTS), sizes, strict=True))
    highest = {"input_ids": model.config.vocab_size, SEGMENTS: model.config.type_vocab_size}
    batch: Batch = {}
    for spec in signature.inputs:
        shape = [size if isinstance(size, int) else axes[size] for size in spec.shape]
        if spec.name in highest:
            batch[spec.name] = torch.randint(highest[spec.name], shape, generator=generator)
        elif spec.dtype == "int64":
            batch[spec.name] = torch.ones(shape, dtype=torch.int64)
        else:
            batch[spec.name] = torch.rand(shape, generator=generator)
    return batch
