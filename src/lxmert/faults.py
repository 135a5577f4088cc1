"""Checks of single values that name the fault instead of raising: all faults can be reported together."""

import math
from typing import Any


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
