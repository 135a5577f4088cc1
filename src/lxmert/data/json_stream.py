"""Reading JSON files of any size one value after the other, in memory for one value.

GQA's and Visual Genome's annotation files hold up to some gigabytes in one list or object; parsed whole they
would need ten times that. Here the file is read in pieces and each element is parsed when its turn comes.
"""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lxmert.data.json_files import JsonRecord, unreadable_file_error
from lxmert.data.progress import Advance, StartProgress, no_progress
from lxmert.errors import DataError

# Characters read at a time: large enough that a value cut by the border, which is parsed twice, is rare.
_CHUNK_CHARACTERS = 1 << 20

# What ends, or goes wrong, so close to the border may look other than it is: "1.5e+" is read as 1.5.
_BORDER_CHARACTERS = 64

# An element that is not complete after so many characters is broken; none of the known files comes near.
_MAX_ELEMENT_CHARACTERS = 1 << 28

# Progress of reading is counted in these.
_MEGABYTE = 1_000_000

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def stream_json(path: str | Path, *, progress: StartProgress = no_progress) -> Iterator[tuple[str, Any]]:
    """Yield the elements of a JSON file whose top is a list or an object.

    Args:
        path: The file.
        progress: Shows how far the file is read, in megabytes.

    Yields:
        Place and value: `"[3]"` of a list, the key of an object (a key that occurs twice comes twice).

    Raises:
        DataError: No such file, not UTF-8, not JSON, or neither list nor object at its top; the message names
            the file and the place.
    """
    with _open_with_progress(path, progress) as (file, advance):
        reader = _JsonReader(file, path, advance)
        yield from _top_level_elements(reader, is_object=reader.first_bracket() == "{")


def stream_records(
    path: str | Path, *, keyed: bool = False, progress: StartProgress = no_progress
) -> Iterator[JsonRecord]:
    """Yield the JSON objects of a JSON list, or with `keyed` those of a JSON object; `location` is the key.

    Raises:
        DataError: As `stream_json`, or another kind of top or element than expected.
    """
    with _open_with_progress(path, progress) as (file, advance):
        reader = _JsonReader(file, path, advance)
        if keyed != (reader.first_bracket() == "{"):
            found, expected = ("a list", "an object") if keyed else ("an object", "a list")
            raise DataError(f"{path}: the file is {found}, expected {expected} of records")
        for place, value in _top_level_elements(reader, is_object=keyed):
            yield JsonRecord(value, path, place)


def stream_lists(
    path: str | Path, lists: Collection[str], *, progress: StartProgress = no_progress
) -> Iterator[tuple[str, Any]]:
    """Yield what a JSON object holds, the elements of its fields `lists` one by one.

    Yields:
        Field and `JsonRecord` for each element of these lists, field and value for every other field.

    Raises:
        DataError: As `stream_json`, or one of these fields is missing, no list, or there twice.
    """
    found: set[str] = set()
    with _open_with_progress(path, progress) as (file, advance):
        reader = _JsonReader(file, path, advance)
        if reader.first_bracket() == "[":
            raise DataError(f"{path}: the file is a list, expected an object with {', '.join(sorted(lists))}")
        for key in _keys(reader):
            if key not in lists:
                yield key, reader.read_value()
                continue
            if key in found:
                raise DataError(f"{path}: {key} occurs twice")
            found.add(key)
            if reader.peek() != "[":
                # Says what it is instead.
                JsonRecord({key: reader.read_value()}, path).get(key, list)
            for place, value in _elements(reader, key):
                yield key, JsonRecord(value, path, place)
        if reader.peek():
            reader.fail(
                "unexpected content after the end (a file with one object per line must have a name that "
                "ends in .jsonl)"
            )
    for key in lists:
        if key not in found:
            raise DataError(f"{path}: {key} is missing")


def stream_jsonl(path: str | Path, *, progress: StartProgress = no_progress) -> Iterator[JsonRecord]:
    """The records of a file with one JSON object a line; empty lines are skipped.

    Raises:
        DataError: No such file, not UTF-8, or a line that is no JSON object; the message names file and line.
    """
    with _open_with_progress(path, progress) as (file, advance):
        for number, line in enumerate(file, 1):
            advance(len(line))
            if not line.strip():
                continue
            try:
                value = _DECODER.decode(line)
            except json.JSONDecodeError as error:
                hint = " (expected a file with one JSON object per line)" if number == 1 else ""
                raise DataError(
                    f"{path}: line {number} is not JSON: {error.msg} at column {error.colno}{hint}"
                ) from None
            except (ValueError, RecursionError):
                raise DataError(
                    f"{path}: line {number} contains a number with too many digits or is nested too deeply"
                ) from None
            yield JsonRecord(value, path, f"line {number}")


@contextmanager
def _open_with_progress(path: str | Path, progress: StartProgress) -> Iterator[tuple[IO[str], Advance]]:
    """The file, and a function that advances its bar of megabytes by characters; at the end it is full."""
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            total = -(-Path(path).stat().st_size // _MEGABYTE)
            advance = progress(f"Reading {Path(path).name} (MB)", total)
            read = 0

            def advance_characters(characters: int) -> None:
                nonlocal read
                before, read = read, read + characters
                if megabytes := read // _MEGABYTE - before // _MEGABYTE:
                    advance(megabytes)

            yield file, advance_characters
            # The last part of a megabyte, and the further bytes of characters of several bytes.
            if rest := total - read // _MEGABYTE:
                advance(rest)
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable_file_error(path, error) from None


def _top_level_elements(reader: "_JsonReader", *, is_object: bool) -> Iterator[tuple[str, Any]]:
    """Everything in the list or object that the file is."""
    if is_object:
        yield from ((key, reader.read_value()) for key in _keys(reader))
    else:
        yield from _elements(reader, "")
    reader.expect("")


def _elements(reader: "_JsonReader", name: str) -> Iterator[tuple[str, Any]]:
    reader.expect("[")
    number = 0
    while reader.has_next(is_first=number == 0, closing="]"):
        yield f"{name}[{number}]", reader.read_value()
        number += 1


def _keys(reader: "_JsonReader") -> Iterator[str]:
    """The keys of an object; whoever takes one must read its value before the next."""
    reader.expect("{")
    first = True
    while reader.has_next(is_first=first, closing="}"):
        first = False
        key = reader.read_value() if reader.peek() == '"' else reader.fail("expected a key in double quotes")
        reader.expect(":")
        yield key


class _JsonReader:
    """The characters of a file, of which only the part around the current position is held.

    The end of that part is its border: what is parsed up to there may continue after it.
    """

    def __init__(self, file: IO[str], path: str | Path, advance: Advance) -> None:
        self._file = file
        self._path = path
        self._advance = advance
        self._buffer = ""
        self._position = 0
        # Lines, and characters of the last of them, in front of the buffer.
        self._lines = 0
        self._columns = 0

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            self._position = match.end() if match else self._position
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._fill():
                return ""

    def first_bracket(self) -> str:
        """The first character of the file, "[" or "{"."""
        first = self.peek()
        if first not in ("[", "{"):
            raise DataError(f"{self._path}: contains no JSON list or object{self.position_text()}")
        return first

    def expect(self, character: str) -> None:
        """Pass over this character; "" stands for the end of the file."""
        if self.peek() != character:
            self.fail(f"expected {character!r}" if character else "unexpected content after the end")
        self._position += len(character)

    def has_next(self, *, is_first: bool, closing: str) -> bool:
        """True: the next element follows. False: the list or object ended here."""
        if self.peek() == closing:
            self._position += 1
            return False
        if not is_first:
            self.expect(",")
        return True

    def read_value(self) -> Any:
        """The next JSON value, parsed again with more characters where the border may have cut it."""
        self.peek()
        while True:
            fault = ""
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._position)
            except json.JSONDecodeError as error:
                value, end, fault = None, min(error.pos, len(self._buffer)), error.msg
            except ValueError:
                self.fail("a number with too many digits")
            except RecursionError:
                raise DataError(f"{self._path}: nested too deeply to be an annotation file") from None
            # An error in an unfinished text stands where that begins, however far from the border.
            may_be_cut = end > len(self._buffer) - _BORDER_CHARACTERS or "Unterminated string" in fault
            if (
                not may_be_cut
                or len(self._buffer) - self._position > _MAX_ELEMENT_CHARACTERS
                or not self._fill()
            ):
                break
        self._position = end
        return self.fail(fault) if fault else value

    def fail(self, message: str) -> Any:
        """Raise with the current place."""
        raise DataError(f"{self._path}: not JSON: {message}{self.position_text()}")

    def position_text(self) -> str:
        """The current place, for people."""
        before = self._buffer[: self._position]
        lines = before.count("\n")
        columns = len(before) - before.rfind("\n") - 1 if lines else self._columns + len(before)
        return f" at line {self._lines + lines + 1} column {columns + 1}"

    def _fill(self) -> bool:
        """Drop what was read and read on; False at the end of the file."""
        chunk = self._file.read(max(_CHUNK_CHARACTERS, len(self._buffer) - self._position))
        if not chunk:
            return False
        consumed = self._buffer[: self._position]
        lines = consumed.count("\n")
        self._lines += lines
        self._columns = len(consumed) - consumed.rfind("\n") - 1 if lines else self._columns + len(consumed)
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        self._advance(len(chunk))
        return True
