"""How tests run the command."""

from collections.abc import Callable

Predict = Callable[..., tuple[int, str, str]]
"""Runs `lxmert predict` with words: status, output, errors."""
