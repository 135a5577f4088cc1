"""Outputs of the Keras models.

Every output is an ordered dictionary of the fields that are not None, which are available by name, attribute
and position; with `return_dict=False` it is a plain tuple. Fields, their order, and which of them have no
position, are as in the PyTorch outputs (`model/outputs.py`). The classes are registered with the backends,
so that compiled functions may return them.

Shapes: B batch, W words, O objects, H hidden, A heads.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import keras
import optree

from lxmert.configuration import STATE_AND_ATTENTION_FIELDS


class TFModelOutput(OrderedDict[str, Any]):
    """Base of the outputs: an ordered dictionary whose keys are also attributes and, in order, indices."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the class as a node with the tree libraries of Keras and of its backend."""
        super().__init_subclass__(**kwargs)

        def flatten(output: "TFModelOutput") -> tuple[list[Any], tuple[str, ...]]:
            return list(output.values()), tuple(output)

        def unflatten(names: tuple[str, ...], values: Iterable[Any]) -> "TFModelOutput":
            return cls(zip(names, values, strict=True))

        optree.register_pytree_node(
            cls,
            lambda output: (*flatten(output), tuple(output)),
            unflatten,
            namespace="keras",
        )
        backend = keras.config.backend()
        if backend == "jax":
            import jax

            jax.tree_util.register_pytree_node(cls, flatten, unflatten)
        elif backend == "torch":
            from torch.utils import _pytree

            _pytree.register_pytree_node(cls, flatten, lambda values, names: unflatten(names, values))

    def __post_init__(self) -> None:
        """Store the fields; the first may be an iterator of pairs, from which TensorFlow rebuilds outputs."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        first = getattr(self, names[0])
        if isinstance(first, Iterator):
            object.__setattr__(self, names[0], None)
            for name, value in first:
                object.__setattr__(self, name, value)
        for name in names:
            value = getattr(self, name)
            if value is not None:
                super().__setitem__(name, value)

    def __getitem__(self, key: str | int | slice) -> Any:
        """Return a field by name, or by its position in `to_tuple`."""
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a field as item and as attribute."""
        super().__setitem__(key, value)
        object.__setattr__(self, key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; if it is a field that is not None, set the item too."""
        if name in self:
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __reduce__(self) -> Any:
        """Support pickling and copying."""
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are not None and no dictionaries."""
        return tuple(field for field in self.values() if not isinstance(field, dict))


@dataclass(eq=False)
class TFLxmertModelOutput(TFModelOutput):
    """Hidden states and attention maps of the three encoders.

    Attributes:
        language_output: (B, W, H), words after the last layer.
        vision_output: (B, O, H), objects after the last layer.
        pooled_output: (B, H) in -1..1, the cross-modality representation: linear layer and tanh on the state
            of the first word ([CLS]).
        language_hidden_states: with `output_hidden_states`: one (B, W, H) per language layer, then one per
            cross-modality layer, excluding the embeddings.
        vision_hidden_states: with `output_hidden_states`: one (B, O, H) per relationship layer, then one per
            cross-modality layer, excluding the embedded objects.
        language_attentions: with `output_attentions`: one (B, A, W, W) per language layer.
        vision_attentions: with `output_attentions`: one (B, A, O, O) per relationship layer.
        cross_encoder_attentions: with `output_attentions`: one (B, A, W, O) per cross-modality layer; words
            attend to objects.
        vision_to_language_attentions: with `output_all_attentions`: (B, A, O, W) per cross-modality layer;
            objects attend to words.
        cross_language_self_attentions: with `output_all_attentions`: (B, A, W, W) per cross-modality layer.
        cross_vision_self_attentions: with `output_all_attentions`: (B, A, O, O) per cross-modality layer.
    """

    language_output: Any = None
    vision_output: Any = None
    pooled_output: Any = None
    language_hidden_states: tuple[Any, ...] | None = None
    vision_hidden_states: tuple[Any, ...] | None = None
    language_attentions: tuple[Any, ...] | None = None
    vision_attentions: tuple[Any, ...] | None = None
    cross_encoder_attentions: tuple[Any, ...] | None = None
    vision_to_language_attentions: tuple[Any, ...] | None = None
    cross_language_self_attentions: tuple[Any, ...] | None = None
    cross_vision_self_attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class TFLxmertForQuestionAnsweringOutput(TFModelOutput):
    """Answer scores, and the loss if targets were given.

    Attributes:
        loss: float32 scalar, with `labels`.
        question_answering_score: (B, num_qa_labels), scores before softmax (or sigmoid).
        language_hidden_states: see `TFLxmertModelOutput`, as all fields below but the last.
        vision_hidden_states: see `TFLxmertModelOutput`.
        language_attentions: see `TFLxmertModelOutput`.
        vision_attentions: see `TFLxmertModelOutput`.
        cross_encoder_attentions: see `TFLxmertModelOutput`.
        vision_to_language_attentions: see `TFLxmertModelOutput`.
        cross_language_self_attentions: see `TFLxmertModelOutput`.
        cross_vision_self_attentions: see `TFLxmertModelOutput`.
        losses: with `labels`: {"qa": the loss}.
    """

    loss: Any = None
    question_answering_score: Any = None
    language_hidden_states: tuple[Any, ...] | None = None
    vision_hidden_states: tuple[Any, ...] | None = None
    language_attentions: tuple[Any, ...] | None = None
    vision_attentions: tuple[Any, ...] | None = None
    cross_encoder_attentions: tuple[Any, ...] | None = None
    vision_to_language_attentions: tuple[Any, ...] | None = None
    cross_language_self_attentions: tuple[Any, ...] | None = None
    cross_vision_self_attentions: tuple[Any, ...] | None = None
    losses: dict[str, Any] | None = None


@dataclass(eq=False)
class TFLxmertForVisualReasoningOutput(TFModelOutput):
    """Scores of a sentence about two images, and the loss if labels were given.

    Hidden states and attention maps are those of 2B examples: row 2b is sentence b with its left image, row
    2b + 1 the same sentence with its right image.

    Attributes:
        loss: float32 scalar, with `labels`.
        logits: (B, 2), scores before softmax. Index 0: the sentence is false; index 1: it is true.
        language_hidden_states: see `TFLxmertModelOutput`, as all fields below but the last.
        vision_hidden_states: see `TFLxmertModelOutput`.
        language_attentions: see `TFLxmertModelOutput`.
        vision_attentions: see `TFLxmertModelOutput`.
        cross_encoder_attentions: see `TFLxmertModelOutput`.
        vision_to_language_attentions: see `TFLxmertModelOutput`.
        cross_language_self_attentions: see `TFLxmertModelOutput`.
        cross_vision_self_attentions: see `TFLxmertModelOutput`.
        losses: with `labels`: {"pair": the loss}.
    """

    loss: Any = None
    logits: Any = None
    language_hidden_states: tuple[Any, ...] | None = None
    vision_hidden_states: tuple[Any, ...] | None = None
    language_attentions: tuple[Any, ...] | None = None
    vision_attentions: tuple[Any, ...] | None = None
    cross_encoder_attentions: tuple[Any, ...] | None = None
    vision_to_language_attentions: tuple[Any, ...] | None = None
    cross_language_self_attentions: tuple[Any, ...] | None = None
    cross_vision_self_attentions: tuple[Any, ...] | None = None
    losses: dict[str, Any] | None = None


@dataclass(eq=False)
class TFLxmertForPreTrainingOutput(TFModelOutput):
    """Scores of the pre-training heads, and the losses of tasks whose targets were given.

    Attributes:
        loss: float32 scalar, with any target: the sum of `losses`.
        prediction_logits: (B, W, vocab_size), scores of word pieces before softmax.
        cross_relationship_score: (B, 2), scores before softmax. Index 0: text and image do NOT match;
            index 1: they match.
        question_answering_score: (B, num_qa_labels), scores before softmax; None without `task_qa`.
        language_hidden_states: see `TFLxmertModelOutput`, as all fields below but the last.
        vision_hidden_states: see `TFLxmertModelOutput`.
        language_attentions: see `TFLxmertModelOutput`.
        vision_attentions: see `TFLxmertModelOutput`.
        cross_encoder_attentions: see `TFLxmertModelOutput`.
        vision_to_language_attentions: see `TFLxmertModelOutput`.
        cross_language_self_attentions: see `TFLxmertModelOutput`.
        cross_vision_self_attentions: see `TFLxmertModelOutput`.
        losses: with any target: float32 scalars by task, those computed of masked_lm, matched, obj, attr,
            feat (these three already multiplied by `visual_loss_normalizer`) and qa.
        object_scores: with `obj_labels`: predictions about objects by task, obj and attr before softmax
            (B, O, number of classes), feat (B, O, D).
    """

    loss: Any = None
    prediction_logits: Any = None
    cross_relationship_score: Any = None
    question_answering_score: Any = None
    language_hidden_states: tuple[Any, ...] | None = None
    vision_hidden_states: tuple[Any, ...] | None = None
    language_attentions: tuple[Any, ...] | None = None
    vision_attentions: tuple[Any, ...] | None = None
    cross_encoder_attentions: tuple[Any, ...] | None = None
    vision_to_language_attentions: tuple[Any, ...] | None = None
    cross_language_self_attentions: tuple[Any, ...] | None = None
    cross_vision_self_attentions: tuple[Any, ...] | None = None
    losses: dict[str, Any] | None = None
    object_scores: dict[str, Any] | None = None


def states_and_attentions(output: TFLxmertModelOutput) -> dict[str, tuple[Any, ...] | None]:
    """Return the hidden states and attention maps of `output` by field name."""
    return {name: getattr(output, name) for name in STATE_AND_ATTENTION_FIELDS}
