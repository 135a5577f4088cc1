"""Multiply-adds that a workload requires, from configuration, lengths, objects and questions per image.

Only the matrix products of linear layers and attention are counted; the rest is small. Computation that an
optimal implementation can avoid is not counted: padding; for all questions of an image except the first, what
depends on the image alone (the object-relationship layers, and the projections of objects in the first
cross-modality layer's attention); in the last cross-modality layer everything except the words' attention to
the objects and the row of [CLS]. Unlabelled positions cost nothing.

A multiply-add counts as two floating point operations.

Shapes: W words, O objects, H hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Backward: a product for the gradient of the inputs, and one for that of the weights (or other factor).
_FORWARD_AND_BACKWARD = 3
_WITHOUT_INPUT_GRADIENT = 2


@dataclass(frozen=True)
class LabelCounts:
    """Numbers of pre-training labels of one sentence-image pair.

    Attributes:
        words: masked words.
        named_objects: objects with a class and an attribute to predict.
        masked_objects: objects with a feature vector to predict.
        objects: objects that are either.
        question: whether it is a question with a known answer.
    """

    words: int
    named_objects: int
    masked_objects: int
    objects: int
    question: bool


def stream_operations(config: Any, questions: Sequence[tuple[int, int]], objects: Sequence[int]) -> int:
    """Count the floating point operations of answering questions.

    Args:
        config: an LxmertConfig with at least one cross-modality layer.
        questions: for each question its words, including [CLS] and [SEP], and the index of its image.
        objects: number of objects of each image with questions.
    """
    asked = {image for _, image in questions}
    needed = sum(image_products(config, objects[image]) for image in asked)
    needed += sum(question_products(config, words, objects[image]) for words, image in questions)
    return 2 * needed


def image_products(config: Any, objects: int) -> int:
    """Count the multiply-adds that an image needs once, for any number of questions."""
    encoded = config.r_layers * _layer(config, objects) + _objects_first_projections(config, objects)
    return _embedding(config, objects) + encoded


def question_products(config: Any, words: int, objects: int) -> int:
    """Count the multiply-adds of one question, without those of `image_products`."""
    hidden = config.hidden_size
    needed = config.l_layers * _layer(config, words)
    needed += (config.x_layers - 1) * _cross_layer(config, words, objects)
    needed += _attention(config, words, objects)
    needed += _attention(config, 1, words) + _feed_forward(config, 1)
    needed -= _objects_first_projections(config, objects)
    pooler_and_head = hidden * hidden + hidden * 2 * hidden + 2 * hidden * config.num_qa_labels
    return needed + pooler_and_head


def latency_operations(config: Any, words: int, objects: int) -> int:
    """Count the floating point operations of one more question about an image."""
    return 2 * question_products(config, words, objects)


def training_operations(config: Any, pairs: Sequence[tuple[int, int, LabelCounts]]) -> int:
    """Count the floating point operations of a pre-training step, forward and backward.

    The optimiser has no matrix products.

    Args:
        config: an LxmertConfig with at least one cross-modality layer and all tasks.
        pairs: words, objects and labels of each sentence-image pair.
    """
    hidden, needed = config.hidden_size, 0
    for words, objects, labels in pairs:
        encoded = config.l_layers * _layer(config, words) + config.r_layers * _layer(config, objects)
        encoded += config.x_layers * _cross_layer(config, words, objects)
        heads = labels.words * (hidden * hidden + hidden * config.vocab_size)
        heads += hidden * hidden + 2 * hidden  # pooler, and the head that matches text and image
        heads += labels.objects * hidden * hidden
        heads += labels.named_objects * hidden * (config.num_object_labels + config.num_attr_labels)
        heads += labels.masked_objects * hidden * config.visual_feat_dim
        heads += labels.question * (hidden * 2 * hidden + 2 * hidden * config.num_qa_labels)
        needed += _trained(config, objects, encoded + heads)
    return 2 * needed


def finetuning_operations(config: Any, pairs: Sequence[tuple[int, int, LabelCounts]]) -> int:
    """Count those of a fine-tuning step for question answering, like `training_operations`.

    Args:
        config: an LxmertConfig with at least one cross-modality layer.
        pairs: words, objects and labels of each sentence-image pair, which has an answer whatever its labels.
    """
    needed = 0
    for words, objects, _ in pairs:
        answered = question_products(config, words, objects) + image_products(config, objects)
        needed += _trained(config, objects, answered - _embedding(config, objects))
    return 2 * needed


def _trained(config: Any, objects: int, forward: int) -> int:
    """Count forward and backward multiply-adds: an image's embedding, and `forward` further ones."""
    return _FORWARD_AND_BACKWARD * forward + _WITHOUT_INPUT_GRADIENT * _embedding(config, objects)


def _embedding(config: Any, objects: int) -> int:
    """Count the projections of an image's features and boxes."""
    width: int = config.visual_feat_dim + config.visual_pos_dim
    return objects * width * config.hidden_size


def _layer(config: Any, states: int) -> int:
    """Count a layer of one modality: self-attention and feed-forward."""
    return _attention(config, states, states) + _feed_forward(config, states)


def _cross_layer(config: Any, words: int, objects: int) -> int:
    """Count a complete cross-modality layer."""
    crossing = _attention(config, words, objects) + _attention(config, objects, words)
    return crossing + _layer(config, words) + _layer(config, objects)


def _attention(config: Any, queries: int, keys: int) -> int:
    """Count the projections of queries, outputs, keys and values, the scores, and the weighted sums."""
    hidden = config.hidden_size
    return 2 * (queries + keys) * hidden * hidden + 2 * queries * keys * hidden


def _feed_forward(config: Any, states: int) -> int:
    return 2 * states * config.hidden_size * config.intermediate_size


def _objects_first_projections(config: Any, objects: int) -> int:
    """Count keys and values of objects in the first cross layer, and queries unless it is the last layer."""
    kinds = 3 if config.x_layers > 1 else 2
    return kinds * objects * config.hidden_size * config.hidden_size
