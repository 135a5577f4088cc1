"""Reading JSON annotation files, with errors that name the file and the place in it."""

import json
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from lxmert.errors import DataError, one_line, short_repr
from lxmert.faults import find_lone_surrogate

_Value = TypeVar("_Value")

_MORE_FOLLOWS = "Extra data"
"""What Python's reader says of a file that goes on after a value."""
_STARTS_OF_VALUES = '{["'


def read_json(path: str | Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: No such file, not JSON, or nested too deeply; the message names the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable_file_error(path, error) from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == _MORE_FOLLOWS and error.colno == 1 and text[error.pos] in _STARTS_OF_VALUES:
            raise DataError(
                f"{path}: several lines of JSON, line {error.lineno} begins another value; expected one "
                "value in the whole file, such as a list"
            ) from None
        raise DataError(
            f"{path}: not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except ValueError:
        raise DataError(f"{path}: not JSON: a number with too many digits") from None
    except RecursionError:
        raise DataError(f"{path}: nested too deeply to be an annotation file") from None


def unreadable_file_error(path: str | Path, error: OSError | UnicodeDecodeError) -> DataError:
    """The error to raise when a file cannot be opened or is not UTF-8."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file; check the data directory, the split and the file names")
    return DataError(f"{path}: cannot be read as UTF-8 text ({error})")


class JsonRecord:
    """One JSON object together with its place in a file, so that errors can name it.

    Attributes:
        value: The JSON object.
        path: The file it came from.
        location: Its place in the file, such as `annotations[12]`.
    """

    __slots__ = ("location", "path", "value")

    def __init__(self, value: Any, path: str | Path, location: str = "") -> None:
        # The exact type first: JSON always gives it, and checking it is ten times as fast.
        if type(value) is not dict and not isinstance(value, Mapping):
            where = one_line(location) or "the file"
            raise DataError(f"{path}: {where} is {describe(value)}, expected a JSON object")
        self.value: Mapping[str, Any] = value
        self.path = path
        self.location = location

    def at(self, key: str) -> str:
        """The place of a field, such as `annotations[12].bbox`."""
        return one_line(f"{self.location}.{key}" if self.location else key)

    def get(self, key: str, kind: type[_Value]) -> _Value:
        """The field `key`, which must exist and have this type.

        Raises:
            DataError: The field is missing or of another type.
        """
        if key not in self.value:
            raise DataError(f"{self.path}: {self.at(key)} is missing")
        value = self.value[key]
        # bool is an int in Python, but `true` is no identifier.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise DataError(f"{self.path}: {self.at(key)} is {describe(value)}, expected {kind.__name__}")
        return value

    def optional(self, key: str, kind: type[_Value]) -> _Value | None:
        """Like `get`, but None for a missing field or null."""
        return self.get(key, kind) if self.value.get(key) is not None else None

    def number(self, key: str) -> float:
        """The field `key`, which must be a finite number."""
        value = self.value.get(key)
        if not is_number(value):
            raise DataError(f"{self.path}: {self.at(key)} is {describe(value)}, expected a finite number")
        return value

    def integer(self, key: str, minimum: int = -(2**63)) -> int:
        """The field `key`, which must be a whole number from `minimum` on that a tensor can hold."""
        found = self.get(key, int)
        if not minimum <= found < 2**63:
            raise DataError(
                f"{self.path}: {self.at(key)} is {describe(found)}, expected one from {minimum} to "
                f"{2**63 - 1}"
            )
        return found

    def new_id(self, key: str, known_ids: Container[int]) -> int:
        """The field `key`, which must be a whole number that is not among the known ids."""
        found = self.get(key, int)
        if found in known_ids:
            raise DataError(f"{self.path}: {self.at(key)} {found} occurs twice")
        return found

    def strings(self, key: str) -> tuple[str, ...]:
        """The field `key`, which must be a list of strings."""
        items = self.get(key, list)
        for number, item in enumerate(items):
            if not isinstance(item, str):
                raise DataError(f"{self.path}: {self.at(key)}[{number}] is {describe(item)}, expected str")
        return tuple(items)

    def sentence(self, key: str) -> str:
        """The field `key`, which must be a string without unpaired surrogates.

        Raises:
            DataError: The field is missing, of another type, or has an unpaired surrogate.
        """
        return self._without_surrogates(self.get(key, str), self.at(key))

    def sentences(self, key: str) -> tuple[str, ...]:
        """The field `key`, which must be a list of such strings."""
        place = self.at(key)
        return tuple(
            self._without_surrogates(text, f"{place}[{n}]") for n, text in enumerate(self.strings(key))
        )

    def _without_surrogates(self, text: str, place: str) -> str:
        # JSON can contain half of a surrogate pair, which no tokenizer accepts.
        if (start := find_lone_surrogate(text)) is not None:
            raise DataError(
                f"{self.path}: {place} is {describe(text)}, whose character {start} is half of a surrogate "
                "pair, as in a cut-off emoji; correct the text"
            )
        return text

    def record(self, key: str) -> "JsonRecord":
        """The field `key`, which must be a JSON object."""
        return JsonRecord(self.get(key, dict), self.path, self.at(key))

    def records(self, key: str) -> list["JsonRecord"]:
        """The field `key`, which must be a list of JSON objects."""
        place = self.at(key)
        return [JsonRecord(item, self.path, f"{place}[{n}]") for n, item in enumerate(self.get(key, list))]


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number within the range of a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def describe(value: object) -> str:
    """Type and value of an unexpected value, shortened for a message."""
    return f"{type(value).__name__} {short_repr(value)}"
