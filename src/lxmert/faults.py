"""Checks that need nothing but Python, for every part of the package.

Those of single values name the fault instead of raising: all faults can be reported together.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

# Names that arguments had in other versions of LXMERT -> their names here.
_FORMER_NAMES = {"masked_lm_labels": "labels", "head_mask": "attention_mask"}


def count_fault(name: str, value: Any, least: int) -> list[str]:
    """The fault of a value that is no whole number of at least `least`; an empty list where it is one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        return [f"{name} must be an integer of at least {least}, got {value!r}"]
    return []


def number_fault(name: str, value: Any, least: float, most: float) -> list[str]:
    """The fault of a value that is no finite number within the bounds; an empty list where it is one."""
    bounds = f"at least {least}" if math.isinf(most) else f"in {least}..{most}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return [f"{name} must be a number {bounds}, got {value!r}"]
    if math.isinf(value):
        return [f"{name} must be finite, got {value!r}"]
    return []


def refuse_unknown_arguments(model: str, unknown: Mapping[str, Any], known: Iterable[str]) -> NoReturn:
    """Raise the TypeError for arguments that the model does not have, naming the nearest that it has."""
    names = [name for name in known if name not in ("self", "unknown")]
    hints = []
    for name in unknown:
        near = (
            [_FORMER_NAMES[name]]
            if _FORMER_NAMES.get(name) in names
            else difflib.get_close_matches(name, names, 1, 0.0)
        )
        hints.append(f"{name!r} (nearest known: {near[0]!r})" if near else repr(name))
    raise TypeError(f"{model} got unknown argument(s) {', '.join(hints)}")
