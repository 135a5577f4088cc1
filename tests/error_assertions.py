"""Messages of expected errors."""

from collections.abc import Callable

import pytest


def error_message(error: type[Exception], call: Callable[[], object]) -> str:
    """The message of the error that the call raises, asserted to be a single line."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message
