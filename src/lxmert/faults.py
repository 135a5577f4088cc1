"""Checks that need nothing but Python, for every part of the package.

Checks of single values return the fault instead of raising, so that all faults can be reported together.
Messages about tensors are shared by the PyTorch and the Keras models, which detect the faults themselves.
"""

import difflib
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NoReturn

EMPTY_BATCH = "the batch is empty: pass at least one text with its image"
EMPTY_TEXT = "the text has no word piece: pass at least one per row, such as [CLS]"
NO_OBJECTS = "visual_feats has no object: pass at least one per image (visual_attention_mask can hide it)"
DUPLICATE_OBJECT_INPUTS = "object_states replace visual_feats and visual_pos: pass object_states without them"
SKIPPED_OBJECT_STATES = (
    "object_states skip the relationship layers, so their states and maps are missing: pass visual_feats "
    "and visual_pos, or do not request states and maps"
)
SKIPPED_WORD_STATES = (
    "word_states skip the language layers, so their states and maps are missing: pass input_ids, or do "
    "not request states and maps"
)
DUPLICATE_WORD_INPUTS = (
    "word_states replace input_ids, inputs_embeds and token_type_ids: pass word_states without them"
)
EVALUATOR_NEEDS_OFFICIAL_FILES = (
    "--evaluator can only be used with the official files; others are scored by soft labels."
)

# Of files of PyTorch, such as the authors' checkpoints.
_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin")

# Names that arguments had in other versions of LXMERT -> their names here.
_RENAMED_ARGUMENTS = {"masked_lm_labels": "labels", "head_mask": "attention_mask"}


def is_int_in_range(value: Any, minimum: int, maximum: float = math.inf) -> bool:
    """Whether a value is an integer within the bounds; True and False are not integers here."""
    return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum


def as_plain_int(value: Any) -> Any:
    """Return an integer of NumPy as Python's, which JSON can hold, and anything else unchanged."""
    return value if isinstance(value, bool) or not isinstance(value, Integral) else int(value)


def count_fault(name: str, value: Any, minimum: int) -> list[str]:
    """The fault of a value that is not an integer of at least `minimum`; an empty list if it is one."""
    if is_int_in_range(value, minimum):
        return []
    return [f"{name} must be an integer of at least {minimum}, got {value!r}"]


def number_fault(name: str, value: Any, minimum: float, maximum: float) -> list[str]:
    """The fault of a value that is not a finite number within the bounds; an empty list if it is one."""
    bounds = f"at least {minimum}" if math.isinf(maximum) else f"in {minimum}..{maximum}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
        return [f"{name} must be a number {bounds}, got {value!r}"]
    if value > sys.float_info.max:  # also a whole number beyond what a float can hold
        return [f"{name} must be finite, got {value!r}"]
    return []


def format_faults(name: str, faults: Sequence[str]) -> str:
    """The message that lists the faults of a configuration, which `name` names."""
    listed = "; ".join(f"({number}) {fault}" for number, fault in enumerate(faults, start=1))
    return f"{name} has {len(faults)} fault(s): {listed}"


def find_lone_surrogate(text: str) -> int | None:
    """The index of the first lone surrogate of a text, which no tokenizer accepts, or None."""
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def pad_token_fault(new_num_tokens: int, size: int, pad_token_id: int | None) -> str | None:
    """The fault of resizing a vocabulary to `size` words, so that [PAD] drops out; None if it stays."""
    pad = pad_token_id or 0
    if size > pad:
        return None
    return (
        f"new_num_tokens is {new_num_tokens}, which drops the padding word of id {pad}; use at least "
        f"{pad + 1}"
    )


def raise_unknown_arguments(model: str, unknown: Mapping[str, Any], known: Iterable[str]) -> NoReturn:
    """Raise the TypeError for arguments that the model does not have, naming the nearest that it has."""
    names = [name for name in known if name not in ("self", "unknown")]
    hints = []
    for name in unknown:
        closest = (
            [_RENAMED_ARGUMENTS[name]]
            if _RENAMED_ARGUMENTS.get(name) in names
            else difflib.get_close_matches(name, names, 1, 0.0)
        )
        hints.append(f"{name!r} (nearest known: {closest[0]!r})" if closest else repr(name))
    raise TypeError(f"{model} got unknown argument(s) {', '.join(hints)}")


def text_input_fault(has_ids: bool, has_vectors: bool) -> str | None:
    """The fault of a text that is not given in exactly one of its forms; None if it is."""
    if has_ids != has_vectors:
        return None
    return f"pass exactly one of input_ids and inputs_embeds, got {'both' if has_ids else 'neither'}"


def text_length_fault(length: int, maximum: int) -> str | None:
    """The fault of a text of `length` word pieces for a model of `maximum` positions; None if it fits."""
    if length == 0:
        return EMPTY_TEXT
    if length <= maximum:
        return None
    return (
        f"the text has {length} word pieces, but the model has {maximum} positions "
        "(max_position_embeddings): truncate the text"
    )


def missing_objects_message(name: str) -> str:
    """The message about missing objects."""
    return f"{name} is missing: LXMERT needs the objects of the image, see LxmertProcessor"


def shape_fault(
    name: str, given: tuple[int | None, ...], expected: tuple[int | None, ...], meaning: str
) -> str | None:
    """The fault of a tensor of another shape than expected, where None is any size; None if it fits."""
    if shape_fits(given, expected):
        return None
    sizes = ", ".join("any" if size is None else str(size) for size in expected)
    return f"{name} has shape {given}, expected ({sizes}): {meaning}"


def shape_fits(given: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether two shapes are compatible; None stands for any size."""
    return len(given) == len(expected) and all(
        size is None or wanted is None or size == wanted for size, wanted in zip(given, expected, strict=True)
    )


def id_fault(name: str, lowest: int, highest: int, count: int, parameter: str) -> str | None:
    """The fault of ids that are not all in 0..count-1; `parameter` names where `count` comes from."""
    if lowest >= 0 and highest < count:
        return None
    wrong = lowest if lowest < 0 else highest
    return f"{name} has the id {wrong}, expected 0..{count - 1} ({parameter} is {count})"


def complex_numbers_message(name: str, dtype: object, source: str) -> str:
    """The message about complex numbers; `source` names what to check."""
    return f"{name} must be real numbers, got {dtype}: check {source}"


def not_finite_message(name: str, source: str) -> str:
    """The message about NaN and infinity; `source` names what to check."""
    return f"{name} has values that are not finite (NaN or infinity): check {source}"


def tensor_layout_fault(name: str, tensor: Any) -> str | None:
    """The fault of a PyTorch tensor whose numbers cannot be read one by one; None if they can."""
    if tensor.is_meta:
        return f"{name} is on the meta device, where tensors have no values; pass one on the CPU or a GPU"
    kind = "nested" if tensor.is_nested else "quantized" if tensor.is_quantized else str(tensor.layout)
    if kind == "torch.strided":
        return None
    return f"{name} is a {kind.removeprefix('torch.')} tensor; expected a dense one, not quantized or nested"


def mask_value_message(name: str, wrong: float) -> str:
    """The message about a mask with values other than 0 and 1, such as one to be added to scores."""
    return f"{name} has the value {wrong:g}, expected 1 for real entries and 0 for padding"


def image_pair_shape_message(name: str, given: tuple[int | None, ...], axes: int) -> str:
    """The message about objects, a tensor of `axes` axes, that are not those of two images, (any, 2, ...)."""
    expected = ", ".join(("any", "2", *("any",) * (axes - 2)))
    return f"{name} has shape {given}, expected ({expected}): each sentence is about a left and a right image"


def class_shape_message(name: str, given: tuple[int | None, ...], expected: tuple[int | None, ...]) -> str:
    """The message about class ids of a wrong shape."""
    return f"{name} has shape {given}, expected {expected}: one class id for each row of scores"


def class_dtype_message(name: str, dtype: object) -> str:
    """The message about class ids that are not integers."""
    return f"{name} must be integer class ids, got {dtype}"


def class_id_message(name: str, wrong: int, classes: int) -> str:
    """The message about a class id that is neither a class nor marked as unlabelled."""
    return f"{name} has the class id {wrong}, expected 0..{classes - 1}, or -100 or -1 for none"


def answer_shape_message(name: str, given: tuple[int | None, ...], batch: int | None, classes: int) -> str:
    """The message about answers that are neither class ids nor scores."""
    return f"{name} has shape {given}, expected class ids ({batch},) or scores ({batch}, {classes})"


def answer_scores_message(name: str) -> str:
    """The message about answer scores above 1."""
    return f"{name} has scores that are not in 0..1: pass soft scores or a one-hot row per question"


def object_tasks_fault(tasks: Iterable[str], known: Iterable[str]) -> str | None:
    """The fault of targets for unknown object tasks; None if all are known."""
    known = list(known)
    unknown = sorted(set(tasks) - set(known))
    return f"obj_labels has the unknown key(s) {unknown}, expected some of {known}" if unknown else None


def target_pair_fault(name: str, given: Any) -> str | None:
    """The fault of a value that is not a pair of target and weight; None if it is."""
    count = len(given) if isinstance(given, tuple | list) else None
    if count == 2:
        return None
    got = type(given).__name__ if count is None else f"{count} values"
    return f"{name} must be a pair of target and weight, got {got}"


def weight_shape_message(name: str, given: tuple[int | None, ...], expected: tuple[int | None, ...]) -> str:
    """The message about object weights of a wrong shape."""
    return f"{name}: the weight has shape {given}, expected {expected}"


def target_shape_message(name: str, given: tuple[int | None, ...], expected: tuple[int | None, ...]) -> str:
    """The message about target features of a wrong shape."""
    return f"{name}: the target has shape {given}, expected {expected}"


def model_path_fault(name: str) -> str | None:
    """The fault of a path that is a file instead of a model folder; None if it is not a file."""
    if not os.path.isfile(name):
        return None
    advice = (
        ", or convert an original checkpoint with `lxmert convert`"
        if name.endswith(_CHECKPOINT_SUFFIXES)
        else ""
    )
    return f"{name} is a file, expected a model folder or a hub name; pass the folder that it is in{advice}"


def hub_attention_fault(loaded: Any, argument: Any = None) -> str | None:
    """The fault of a loaded configuration by which `transformers` would run code of the hub, or None.

    If the package `kernels` is installed, it does so for attention that is named like a repository, and for
    flash attention that is not installed.

    Args:
        loaded: what `from_dict` or `from_pretrained` of a configuration returned.
        argument: the `attn_implementation` that the caller passed, which is allowed.
    """
    config = loaded[0] if isinstance(loaded, tuple) else loaded
    name = config._attn_implementation
    if name and name != argument and ("/" in str(name) or "flash" in str(name)):
        return (
            f"the configuration sets attn_implementation to {name!r}, which may be code of the hub: remove "
            "it there, or pass it as an argument if you trust it"
        )
    parts = (part for part in vars(config).values() if hasattr(part, "_attn_implementation"))
    return next(filter(None, (hub_attention_fault(part, argument) for part in parts)), None)


def overwrite_fault(path: Path, *, overwrite: bool) -> str | None:
    """The fault of writing to a file that exists and may not be replaced; None if it may be written."""
    if overwrite or not path.exists():
        return None
    return f"{path} already exists; use --overwrite to replace it, or choose another name"


def unwritable_fault(path: Path) -> str | None:
    """The fault of a path where no file can be written, with new folders if need be; None if one can be."""
    if path.is_dir():
        return f"{path} cannot be written: it is a folder"
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return f"{path} cannot be written: {existing} is not a folder that you may write to"
    return None
