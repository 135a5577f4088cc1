"""Calls that are refused, and what their errors say."""

from collections.abc import Callable

import pytest


def refusal(error: type[Exception], call: Callable[[], object]) -> str:
    """The message of the error that a call ends with, which has to be of one line."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message
