"""The outputs of the models.

Every output is a `transformers` ModelOutput: fields by name or by position, and a plain tuple of the fields
that are not None under `return_dict=False`. Fields are in the order of `transformers`' LXMERT; those that
it lacks come last, and the dictionaries by task among them have a name only, so that
`loss, scores = model(..., return_dict=False)` works. Shapes: B batch, W words, O objects, H hidden, A heads.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.utils import ModelOutput

from lxmert.configuration import STATE_AND_ATTENTION_FIELDS


class _Output(ModelOutput):
    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are not None and no dictionaries."""
        return tuple(field for field in self.values() if not isinstance(field, dict))


@dataclass
class LxmertModelOutput(ModelOutput):
    """Hidden states and attention maps of the three encoders.

    Attributes:
        language_output: (B, W, H), words after the last layer.
        vision_output: (B, O, H), objects after the last layer.
        pooled_output: (B, H) in -1..1, the state of the first word ([CLS]) through a linear layer and tanh:
            the cross-modality representation.
        language_hidden_states: with `output_hidden_states`: one (B, W, H) per language layer, then one per
            cross-modality layer. The embeddings are not among them.
        vision_hidden_states: with `output_hidden_states`: one (B, O, H) per relationship layer, then one per
            cross-modality layer. The embedded objects are not among them.
        language_attentions: with `output_attentions`: one (B, A, W, W) per language layer.
        vision_attentions: with `output_attentions`: one (B, A, O, O) per relationship layer.
        cross_encoder_attentions: with `output_attentions`: one (B, A, W, O) per cross-modality layer; words
            attend to objects.
        vision_to_language_attentions: with `output_all_attentions`: (B, A, O, W) per cross-modality layer;
            objects attend to words.
        cross_language_self_attentions: with `output_all_attentions`: (B, A, W, W) per cross-modality layer.
        cross_vision_self_attentions: with `output_all_attentions`: (B, A, O, O) per cross-modality layer.
    """

    language_output: Tensor | None = None
    vision_output: Tensor | None = None
    pooled_output: Tensor | None = None
    language_hidden_states: tuple[Tensor, ...] | None = None
    vision_hidden_states: tuple[Tensor, ...] | None = None
    language_attentions: tuple[Tensor, ...] | None = None
    vision_attentions: tuple[Tensor, ...] | None = None
    cross_encoder_attentions: tuple[Tensor, ...] | None = None
    vision_to_language_attentions: tuple[Tensor, ...] | None = None
    cross_language_self_attentions: tuple[Tensor, ...] | None = None
    cross_vision_self_attentions: tuple[Tensor, ...] | None = None


@dataclass
class LxmertForQuestionAnsweringOutput(_Output):
    """Answer scores, and the loss if labels were given.

    Attributes:
        loss: float32 scalar, with `labels`.
        question_answering_score: (B, num_qa_labels), scores before softmax (or sigmoid).
        language_hidden_states: see `LxmertModelOutput`, as all fields below but the last.
        vision_hidden_states: see `LxmertModelOutput`.
        language_attentions: see `LxmertModelOutput`.
        vision_attentions: see `LxmertModelOutput`.
        cross_encoder_attentions: see `LxmertModelOutput`.
        vision_to_language_attentions: see `LxmertModelOutput`.
        cross_language_self_attentions: see `LxmertModelOutput`.
        cross_vision_self_attentions: see `LxmertModelOutput`.
        losses: with `labels`: {"qa": the loss}.
    """

    loss: Tensor | None = None
    question_answering_score: Tensor | None = None
    language_hidden_states: tuple[Tensor, ...] | None = None
    vision_hidden_states: tuple[Tensor, ...] | None = None
    language_attentions: tuple[Tensor, ...] | None = None
    vision_attentions: tuple[Tensor, ...] | None = None
    cross_encoder_attentions: tuple[Tensor, ...] | None = None
    vision_to_language_attentions: tuple[Tensor, ...] | None = None
    cross_language_self_attentions: tuple[Tensor, ...] | None = None
    cross_vision_self_attentions: tuple[Tensor, ...] | None = None
    losses: dict[str, Tensor] | None = None


@dataclass
class LxmertForVisualReasoningOutput(_Output):
    """Scores of a sentence about two images, and the loss if labels were given.

    Hidden states and attention maps are those of 2B examples: row 2b is sentence b with its left image, row
    2b + 1 the same sentence with its right image.

    Attributes:
        loss: float32 scalar, with `labels`.
        logits: (B, 2), scores before softmax. Index 0: the sentence is false; index 1: it is true.
        language_hidden_states: see `LxmertModelOutput`, as all fields below but the last.
        vision_hidden_states: see `LxmertModelOutput`.
        language_attentions: see `LxmertModelOutput`.
        vision_attentions: see `LxmertModelOutput`.
        cross_encoder_attentions: see `LxmertModelOutput`.
        vision_to_language_attentions: see `LxmertModelOutput`.
        cross_language_self_attentions: see `LxmertModelOutput`.
        cross_vision_self_attentions: see `LxmertModelOutput`.
        losses: with `labels`: {"pair": the loss}.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    language_hidden_states: tuple[Tensor, ...] | None = None
    vision_hidden_states: tuple[Tensor, ...] | None = None
    language_attentions: tuple[Tensor, ...] | None = None
    vision_attentions: tuple[Tensor, ...] | None = None
    cross_encoder_attentions: tuple[Tensor, ...] | None = None
    vision_to_language_attentions: tuple[Tensor, ...] | None = None
    cross_language_self_attentions: tuple[Tensor, ...] | None = None
    cross_vision_self_attentions: tuple[Tensor, ...] | None = None
    losses: dict[str, Tensor] | None = None


@dataclass
class LxmertForPreTrainingOutput(_Output):
    """Scores of the pre-training heads, and the losses of the tasks whose targets were given.

    Attributes:
        loss: float32 scalar, with any target: the sum of `losses`.
        prediction_logits: (B, W, vocab_size), scores of word pieces before softmax. Without
            `return_all_logits`: (L, vocab_size), of the L labelled positions only, in their order; None
            without labels.
        cross_relationship_score: (B, 2), scores before softmax. Index 0: text and image do NOT match;
            index 1: they match.
        question_answering_score: (B, num_qa_labels), scores before softmax; None without `task_qa`.
        language_hidden_states: see `LxmertModelOutput`, as all fields below but the last.
        vision_hidden_states: see `LxmertModelOutput`.
        language_attentions: see `LxmertModelOutput`.
        vision_attentions: see `LxmertModelOutput`.
        cross_encoder_attentions: see `LxmertModelOutput`.
        vision_to_language_attentions: see `LxmertModelOutput`.
        cross_language_self_attentions: see `LxmertModelOutput`.
        cross_vision_self_attentions: see `LxmertModelOutput`.
        losses: with any target: float32 scalars of the tasks computed, among masked_lm, matched, obj, attr,
            feat (these three already multiplied by `visual_loss_normalizer`) and qa.
        object_scores: with `obj_labels`: predictions about objects by task, obj and attr before softmax
            (B, O, number of classes), feat (B, O, D). Without `return_all_logits`: (L, ...), of the L objects
            that count in the task's loss only, in their order.
    """

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    cross_relationship_score: Tensor | None = None
    question_answering_score: Tensor | None = None
    language_hidden_states: tuple[Tensor, ...] | None = None
    vision_hidden_states: tuple[Tensor, ...] | None = None
    language_attentions: tuple[Tensor, ...] | None = None
    vision_attentions: tuple[Tensor, ...] | None = None
    cross_encoder_attentions: tuple[Tensor, ...] | None = None
    vision_to_language_attentions: tuple[Tensor, ...] | None = None
    cross_language_self_attentions: tuple[Tensor, ...] | None = None
    cross_vision_self_attentions: tuple[Tensor, ...] | None = None
    losses: dict[str, Tensor] | None = None
    object_scores: dict[str, Tensor] | None = None


def states_and_attentions(output: LxmertModelOutput) -> dict[str, tuple[Tensor, ...] | None]:
    """Return the hidden states and attention maps of `output` by field name."""
    return {name: getattr(output, name) for name in STATE_AND_ATTENTION_FIELDS}
