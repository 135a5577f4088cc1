"""Checks of the inputs of a model; each fault is one clear TensorError.

Shapes are always checked: that costs nothing. Values are checked only where reading them has no side effect:
not while compiling, exporting or tracing (a check would break the graph), not in a batch of `torch.func.vmap`
(which refuses it) and not on an accelerator (a check would force a synchronisation).

Shapes: B batch, W words, O objects, H hidden.
"""

import torch
from torch import Tensor, nn

from lxmert.configuration import LxmertConfig
from lxmert.errors import TensorError
from lxmert.faults import (
    DUPLICATE_OBJECT_INPUTS,
    DUPLICATE_WORD_INPUTS,
    EMPTY_BATCH,
    NO_OBJECTS,
    complex_numbers_message,
    id_fault,
    mask_value_message,
    missing_objects_message,
    not_finite_message,
    shape_fault,
    text_input_fault,
    text_length_fault,
)

_STATE_NAMES = {
    "words": ("word_states", "attention_mask"),
    "objects": ("object_states", "visual_attention_mask"),
}


def can_read_values(tensor: Tensor) -> bool:
    """Whether the values can be read without a graph break and without synchronising an accelerator."""
    return (
        tensor.device.type == "cpu"
        and type(tensor) in (Tensor, nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined]
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and torch._C._len_torch_dispatch_stack()
        == 0  # no make_fx, nor anything else that sees each operation
    )


def check_inputs(
    config: LxmertConfig,
    embedding: nn.Module,
    words: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    objects: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None],
) -> None:
    """Check the inputs of a model.

    Args:
        config: configuration of the model.
        embedding: the word embedding, whose rows define the vocabulary even after it was replaced.
        words: see `check_words`.
        objects: visual_feats, visual_pos, visual_attention_mask and object_states.

    Raises:
        TensorError: on the first fault.
    """
    batch = check_words(config, embedding, *words)
    check_objects(config, batch, *objects)


def check_words(
    config: LxmertConfig,
    embedding: nn.Module,
    input_ids: Tensor | None,
    inputs_embeds: Tensor | None,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    word_states: Tensor | None = None,
) -> int:
    """Check the inputs that stand for words.

    Args:
        config: configuration of the model.
        embedding: the word embedding.
        input_ids: (B, W), or None.
        inputs_embeds: (B, W, H) instead of `input_ids`, or None.
        attention_mask: (B, W), or None.
        token_type_ids: (B, W), or None.
        word_states: (B, W, H) instead of all but the mask, or None.

    Returns:
        B.

    Raises:
        TensorError: on the first fault.
    """
    if word_states is not None:
        if any(tensor is not None for tensor in (input_ids, inputs_embeds, token_type_ids)):
            raise TensorError(DUPLICATE_WORD_INPUTS)
        _check_states(config, (None,), "words", word_states, attention_mask)
        return word_states.shape[0]
    raise_fault(text_input_fault(input_ids is not None, inputs_embeds is not None))
    if input_ids is not None:
        _check_shape("input_ids", input_ids, (None, None), "batch, words")
        vocabulary = getattr(embedding, "num_embeddings", config.vocab_size)
        check_ids("input_ids", input_ids, vocabulary, "vocab_size")
        batch, length = input_ids.shape
    elif inputs_embeds is not None:
        _check_shape(
            "inputs_embeds", inputs_embeds, (None, None, config.hidden_size), "batch, words, hidden_size"
        )
        _check_numbers("inputs_embeds", inputs_embeds, "what makes the word vectors")
        batch, length = inputs_embeds.shape[:2]
    if batch == 0:
        raise TensorError(EMPTY_BATCH)
    raise_fault(text_length_fault(length, config.max_position_embeddings))
    if attention_mask is not None:
        _check_mask("attention_mask", attention_mask, (batch, length), "batch, words")
    if token_type_ids is not None:
        _check_shape("token_type_ids", token_type_ids, (batch, length), "batch, words")
        check_ids("token_type_ids", token_type_ids, config.type_vocab_size, "type_vocab_size")
    return batch


def check_objects(
    config: LxmertConfig,
    batch: int | None,
    visual_feats: Tensor | None,
    visual_pos: Tensor | None,
    visual_attention_mask: Tensor | None,
    object_states: Tensor | None = None,
) -> None:
    """Check the inputs that stand for objects.

    Args:
        config: configuration of the model.
        batch: B; None for that of the objects.
        visual_feats: (B, O, D).
        visual_pos: (B, O, P).
        visual_attention_mask: (B, O), or None.
        object_states: (B, O, H) instead of the first two, or None.

    Raises:
        TensorError: on the first fault.
    """
    if object_states is not None:
        if visual_feats is not None or visual_pos is not None:
            raise TensorError(DUPLICATE_OBJECT_INPUTS)
        _check_states(config, (batch,), "objects", object_states, visual_attention_mask)
        return
    if visual_feats is None:
        raise TensorError(missing_objects_message("visual_feats"))
    if visual_pos is None:
        raise TensorError(missing_objects_message("visual_pos"))
    _check_shape(
        "visual_feats", visual_feats, (batch, None, config.visual_feat_dim), "batch, objects, visual_feat_dim"
    )
    batch, count = visual_feats.shape[:2]
    if count == 0:
        raise TensorError(NO_OBJECTS)
    _check_shape(
        "visual_pos", visual_pos, (batch, count, config.visual_pos_dim), "batch, objects, visual_pos_dim"
    )
    if visual_attention_mask is not None:
        _check_mask("visual_attention_mask", visual_attention_mask, (batch, count), "batch, objects")
    for name, values in (("visual_feats", visual_feats), ("visual_pos", visual_pos)):
        _check_numbers(name, values, "the feature extractor")


def check_encoded_states(
    config: LxmertConfig,
    dtype: torch.dtype,
    words: tuple[Tensor, Tensor | None],
    objects: tuple[Tensor, Tensor | None],
    images: tuple[int, ...] = (),
) -> None:
    """Check words and objects that a model encoded earlier.

    Args:
        config: configuration of the model.
        dtype: of the model.
        words: word_states (B, W, H) and attention_mask (B, W), or None for the latter.
        objects: object_states (B, O, H) and visual_attention_mask (B, O), or None for the latter.
        images: sizes of further axes of the objects after B: (2,) for sentences about two images.

    Raises:
        TensorError: on the first fault.
    """
    _check_states(config, (None,), "words", *words)
    raise_fault(text_length_fault(words[0].shape[1], config.max_position_embeddings))
    _check_states(config, (words[0].shape[0], *images), "objects", *objects)
    for name, (states, _) in (("word_states", words), ("object_states", objects)):
        if states.dtype != dtype:
            raise TensorError(f"{name} must be {dtype} like the model, got {states.dtype}")


def _check_states(
    config: LxmertConfig,
    leading_shape: tuple[int | None, ...],
    kind: str,
    states: Tensor,
    mask: Tensor | None,
) -> None:
    """Check words or objects (`kind`) that a model encoded earlier, and their mask.

    Args:
        config: configuration of the model.
        leading_shape: sizes of the axes before words or objects: B and, if there are several, the images.
        kind: "words" or "objects".
        states: (*outer, W or O, H).
        mask: (*outer, W or O), or None.

    Raises:
        TensorError: on the first fault.
    """
    name, mask_name = _STATE_NAMES[kind]
    meaning = f"batch, {'images, ' * (len(leading_shape) - 1)}{kind}"
    _check_shape(name, states, (*leading_shape, None, config.hidden_size), f"{meaning}, hidden_size")
    if 0 in states.shape:
        raise TensorError(f"{name} has shape {tuple(states.shape)}: no axis may be empty")
    if mask is not None:
        _check_mask(mask_name, mask, tuple(states.shape[:-1]), meaning)


def _check_numbers(name: str, values: Tensor, source: str) -> None:
    """Raise unless `values` are finite real numbers; `source` names what to check if they are not."""
    if values.is_complex():
        raise TensorError(complex_numbers_message(name, values.dtype, source))
    if can_read_values(values) and not bool(torch.isfinite(values).all()):
        raise TensorError(not_finite_message(name, source))


def _check_mask(name: str, mask: Tensor, expected: tuple[int | None, ...], meaning: str) -> None:
    """Raise unless `mask` has the `expected` shape and holds nothing but 0 and 1."""
    _check_shape(name, mask, expected, meaning)
    if mask.dtype == torch.bool or not can_read_values(mask):
        return
    wrong = mask[(mask != 0) & (mask != 1)]
    if wrong.numel():
        raise TensorError(mask_value_message(name, float(wrong[0])))


def _check_shape(name: str, tensor: Tensor, expected: tuple[int | None, ...], meaning: str) -> None:
    """Raise unless `tensor` has the `expected` shape; None stands for any size."""
    check_is_tensor(name, tensor)
    raise_fault(shape_fault(name, tuple(tensor.shape), expected, meaning))


def check_is_tensor(name: str, given: object) -> None:
    """Raise unless `given` is a tensor."""
    if not isinstance(given, Tensor):
        raise TensorError(f"{name} must be a torch tensor, got {type(given).__name__}")


def check_ids(name: str, ids: Tensor, count: int, parameter: str) -> None:
    """Raise unless `ids` are integers in 0..count-1; `parameter` names where `count` comes from."""
    if ids.dtype not in (torch.int64, torch.int32):
        raise TensorError(f"{name} must be integers, got {ids.dtype}: use torch.int64 or torch.int32")
    if not can_read_values(ids) or ids.numel() == 0:
        return
    raise_fault(id_fault(name, int(ids.min()), int(ids.max()), count, parameter))


def raise_fault(fault: str | None) -> None:
    """Raise a TensorError with the fault as its message; do nothing for None."""
    if fault is not None:
        raise TensorError(fault)
