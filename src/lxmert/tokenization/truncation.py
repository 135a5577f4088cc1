"""One clear error for impossible truncation, where the Rust tokenizer panics or raises a plain Exception."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.tokenization_utils_base import TruncationStrategy

from lxmert.errors import InputError, first_line


def require_room(max_length: int, num_special: int) -> None:
    """Raise an InputError unless the special tokens fit into `max_length`."""
    if max_length < num_special:
        raise InputError(
            f"max_length is {max_length}, expected at least {num_special}: truncated texts keep their "
            "special tokens"
        )


@contextmanager
def translate_truncation_errors(
    num_special: int,
    truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE,
    max_length: int | None = None,
    stride: int = 0,
    **_: object,
) -> Iterator[None]:
    """Turn errors of the Rust tokenizer about impossible truncation into one that says what to do.

    Args:
        num_special: number of special tokens in a window.
        truncation_strategy: which sequence is truncated.
        max_length: word pieces of a window, special tokens included.
        stride: word pieces shared by successive windows.

    Raises:
        InputError: no room for the special tokens, a stride that leaves nothing new to a window, or a
            sequence too short for the strategy.
    """
    truncates = truncation_strategy is not TruncationStrategy.DO_NOT_TRUNCATE
    if truncates and max_length is not None:
        require_room(max_length, num_special)
    if truncates and stride and max_length is not None and stride >= max_length - num_special:
        raise InputError(
            f"stride is {stride}, but max_length={max_length} leaves {max(max_length - num_special, 0)} word "
            "pieces of text per part; use a smaller stride or a larger max_length"
        )
    try:
        yield
    except BaseException as error:  # a panic is not an Exception, and its class cannot be imported
        reason = first_line(error)
        if type(error).__name__ == "PanicException" and "stride" in reason:
            raise InputError(
                f"stride is {stride}, but max_length={max_length} leaves no more word pieces than that "
                "for a text of the pair; use a smaller stride or a larger max_length"
            ) from error
        if type(error) is Exception and reason.startswith("Truncation error"):
            raise InputError(
                f"cannot truncate to max_length={max_length} under "
                f"truncation={truncation_strategy.value!r} ({reason}); use truncation='longest_first' or "
                "a larger max_length"
            ) from error
        raise
