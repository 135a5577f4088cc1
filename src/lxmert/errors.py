"""Every error that lxmert raises on purpose.

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
    ├── DownloadError                    a file on the net is out of reach, or not the expected one
    ├── ExportError                      an exported model does not say what its model says
    ├── TrainingError                    a run has come to where it cannot go on
    └── MissingExtraError (ImportError)  an optional dependency is not installed

Each message says what failed, what was got, what was expected and what to do. The command line prints
the message as one line; `--debug` shows the traceback.
"""


class LxmertError(Exception):
    """Base of every error raised on purpose by this package."""


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
    """A file on the net is out of reach, too large, or not the one that was expected."""


class ExportError(LxmertError):
    """An exported model does not say what its model says, and was not kept."""


class TrainingError(LxmertError):
    """A training run cannot go on: its loss is no number any more, or the disk takes nothing."""


class MissingExtraError(LxmertError, ImportError):
    """An optional dependency is not installed; the message names the `pip install` that mends it."""


def first_line(error: BaseException) -> str:
    """The first line of another library's error, to be quoted in a message of ours."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split()).rstrip(".: ")


_HARMLESS = "\u00a0\u202f\u3000\u200c\u200d"
"""Invisible, but part of how French, Japanese, Persian and emoji are written: other spaces, (non-)joiners."""


def one_line(text: str) -> str:
    """A text as it can stand in a line on a terminal: line ends and commands to it are spelt out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in _HARMLESS else repr(one)[1:-1] for one in text)
