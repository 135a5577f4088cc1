"""Every error that lxmert raises deliberately.

The tree::

    LxmertError
    ├── InputError (ValueError)          something the caller handed over is wrong
    │   ├── ConfigurationError           a configuration or recipe breaks its rules
    │   ├── ImageError                   not an image, a truncated one, or one too large to decode
    │   ├── RegionsError                 boxes or features of an image are malformed
    │   ├── TextError                    an empty question, or one with no known word
    │   ├── TensorError                  a model input has a wrong shape, dtype, range, or is missing
    │   ├── VocabularyError              the words of a tokenizer are missing, empty or inconsistent
    │   └── DataError                    an annotation, question or prediction file is malformed
    ├── WeightsError                     a checkpoint cannot be read
    │   └── IncompleteWeightsError       a checkpoint leaves part of the model at random values
    ├── DownloadError                    a file on the net cannot be reached, or is not the expected one
    ├── ExportError                      an exported model does not reproduce the outputs of its model
    ├── TrainingError                    a training run cannot continue
    └── MissingExtraError (ImportError)  an optional dependency is not installed

Each message says what failed, what was got, what was expected and what to do. The command line prints
the message as one line; `--debug` shows the traceback.
"""


class LxmertError(Exception):
    """Base of every error raised deliberately by this package."""


class InputError(LxmertError, ValueError):
    """Something the caller handed over is wrong."""


class ConfigurationError(InputError):
    """A configuration or a recipe breaks its rules; the message lists all faults at once."""


class ImageError(InputError):
    """A file or array that is not an image, is truncated, or is too large to decode safely."""


class RegionsError(InputError):
    """Boxes or features of an image are malformed."""


class TextError(InputError):
    """A question or sentence that cannot be used: empty, or with no known word."""


class TensorError(InputError):
    """A model input has a wrong shape, dtype or range, or is missing."""


class VocabularyError(InputError):
    """The vocabulary of a tokenizer, or an answer table, is missing, empty or inconsistent."""


class DataError(InputError):
    """An annotation, question or prediction file is malformed."""


class WeightsError(LxmertError):
    """A checkpoint cannot be read or does not belong to the model."""


class IncompleteWeightsError(WeightsError):
    """A checkpoint leaves part of the model at its random initial values."""


class DownloadError(LxmertError):
    """A file on the net cannot be reached, is too large, or is not the expected one."""


class ExportError(LxmertError):
    """An exported model does not reproduce the outputs of its model, and was discarded."""


class TrainingError(LxmertError):
    """A training run cannot continue: its loss is not finite, or the disk cannot be written."""


class MissingExtraError(LxmertError, ImportError):
    """An optional dependency is not installed; the message names the `pip install` that provides it."""


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, to quote in our own message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split()).rstrip(".: ")


MAX_SHOWN_CHARACTERS = 40
"""Longer values are shortened in messages."""


def short_repr(value: object) -> str:
    """The repr of a value, shortened for a message."""
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else shown[: MAX_SHOWN_CHARACTERS - 3] + "..."


_ALLOWED_NON_PRINTABLE = "\u00a0\u202f\u3000\u200c\u200d"
"""Spaces and (non-)joiners that are not printable, but belong to French, Japanese, Persian and emoji."""


def one_line(text: str) -> str:
    """Escape line ends and control characters, so that a text prints as one line of a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _ALLOWED_NON_PRINTABLE else repr(char)[1:-1] for char in text
    )
