"""Reading JSON annotation files with errors that name the file and the place in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from lxmert.errors import DataError

_Value = TypeVar("_Value")


def read_json(path: str | Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: No such file, not JSON, or nested too deeply; the message names the file.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; check the data directory, the split and the file names"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise DataError(f"{path}: nested too deeply to be an annotation file") from None


class Record:
    """One JSON object together with its place, so that every wrong field is reported with where it stands.

    Attributes:
        value: The JSON object.
        path: The file it came from.
        place: Its place in the file, such as `annotations[12]`.
    """

    __slots__ = ("path", "place", "value")

    def __init__(self, value: Any, path: str | Path, place: str = "") -> None:
        if not isinstance(value, Mapping):
            raise DataError(f"{path}: {place or 'the file'} is {_kind(value)}, expected a JSON object")
        self.value: Mapping[str, Any] = value
        self.path = path
        self.place = place

    def at(self, key: str) -> str:
        """The place of a field, such as `annotations[12].bbox`."""
        return f"{self.place}.{key}" if self.place else key

    def get(self, key: str, kind: type[_Value]) -> _Value:
        """The field `key`, which must be there and of this type.

        Raises:
            DataError: The field is missing or of another type.
        """
        if key not in self.value:
            raise DataError(f"{self.path}: {self.at(key)} is missing")
        found = self.value[key]
        # bool is an int in Python, but `true` is no identifier.
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise DataError(f"{self.path}: {self.at(key)} is {_kind(found)}, expected {kind.__name__}")
        return found

    def optional(self, key: str, kind: type[_Value]) -> _Value | None:
        """Like `get`, but a missing field or null gives None."""
        return self.get(key, kind) if self.value.get(key) is not None else None

    def records(self, key: str) -> list["Record"]:
        """The field `key`, which must be a list of JSON objects."""
        return [Record(item, self.path, f"{self.at(key)}[{n}]") for n, item in enumerate(self.get(key, list))]


def _kind(value: object) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 40 else shown[:37] + '...'}"
