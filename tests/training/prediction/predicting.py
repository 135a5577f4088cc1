"""Type of the fixture with which tests run `lxmert predict`."""

from collections.abc import Callable

Predict = Callable[..., tuple[int, str, str]]
"""Runs `lxmert predict` with words: status, output, errors."""
