"""The answers of an unfinished run, on disk next to its output file.

A folder with one file per process, to which lines are appended: a checksum, a space, JSON. The first line
identifies the run; each further one holds a batch, {"places": [...], "labels": [...], "file_sizes": {PATH:
BYTES}} with the indices of its examples and the files that the answers depend on, or a decision made during
the run, {"decision": NAME, "value": ...}. A process may be killed at any moment: the lines before the first
incomplete one count.
"""

import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from lxmert.errors import ConfigurationError, DataError
from lxmert.inference.ranks import Ranks
from lxmert.locks import RankLock

_FORMAT = {"format": "lxmert-answer-journal", "version": 4}

_SYNC_SECONDS = 5.0
"""At most this much work is lost in a power failure; killing a process loses nothing that was appended."""


def journal_folder(output: str | Path) -> Path:
    """Return the folder of an output's journal."""
    return Path(f"{output}.journal")


class AnswerJournal:
    """The answers of this process, and those of earlier ones. Use as a context manager.

    Args:
        folder: the journal's; created if it does not exist.
        run: what all answers depend on, as JSON values by name.
        ranks: this process among several, each of which answers its own examples.
        overwrite: whether to discard an existing journal, of whatever run.
        fault_if_new: the reason why the run may be continued but not begun; None if it may begin.

    Attributes:
        labels: the class ids known so far, by index of the example.
        decisions: decisions made during the run, by name, as JSON values.

    Raises:
        ConfigurationError: `overwrite` for several processes that cannot reach one another: none of them
            knows which files are of this run.
        DataError: the journal is of another run, a file that its answers depend on has another size now,
            another process writes it, it cannot be written, or `fault_if_new` applies.
    """

    def __init__(
        self,
        folder: Path,
        run: Mapping[str, Any],
        ranks: Ranks | None = None,
        *,
        overwrite: bool = False,
        fault_if_new: str | None = None,
    ) -> None:
        ranks = ranks or Ranks()
        self._can_restart = ranks.world_size == 1 or ranks.is_connected
        if overwrite and not self._can_restart:
            raise ConfigurationError(
                f"{ranks.world_size} processes that cannot reach one another cannot start over with "
                f"--overwrite; delete {folder} before starting the first of them, and omit the option"
            )
        self.folder = folder
        self._run = json.loads(json.dumps({**_FORMAT, **run}))
        self._path = folder / f"rank-{ranks.rank:05d}.jsonl"
        self._descriptor = -1
        self._synced_at = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = RankLock(folder, ranks.rank)
        except OSError as error:
            raise DataError(f"{folder}: the journal cannot be written ({error})") from error
        try:
            if overwrite:
                self._discard(ranks)
            contents = _JournalContents({}, {}, {}, {}) if overwrite else self._read_contents()
            if fault_if_new and not contents.sizes:
                raise DataError(fault_if_new)
            self._file_sizes = contents.file_sizes
            self._check_files()
            self.labels = contents.labels
            self.decisions = contents.decisions
            self._open(contents.sizes.get(self._path, 0))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def contains(self, indices: Sequence[int]) -> bool:
        """Whether the examples of all these indices are answered."""
        return all(index in self.labels for index in indices)

    def append(self, indices: Sequence[int], labels: Sequence[int], files: Iterable[str] = ()) -> None:
        """Record the answers to a batch of examples.

        Args:
            indices: the examples.
            labels: their class ids.
            files: paths of the files that only these answers depend on; their sizes are recorded.

        Raises:
            DataError: the disk is full or gone.
        """
        file_sizes = {file: _file_size(file) for file in files if file not in self._file_sizes}
        self._write({"places": list(indices), "labels": list(labels), "file_sizes": file_sizes})
        self._file_sizes.update(file_sizes)
        self.labels.update(zip(indices, labels, strict=True))

    def record_decision(self, name: str, value: Any) -> None:
        """Record a decision, a JSON value, which still holds when this run is resumed.

        Raises:
            DataError: the disk is full or gone.
        """
        self._write({"decision": name, "value": value})
        self.decisions[name] = value

    def read(self) -> dict[int, int]:
        """Return the class ids on disk by index of the example, of all processes.

        Raises:
            DataError: a file is of another run.
        """
        return self._read_contents().labels

    def close(self) -> None:
        """Flush everything to disk and release the file; further calls do nothing."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        self._lock.release()

    def remove(self) -> None:
        """Delete the closed journal with the files of all processes."""
        for path in self.folder.glob("rank-*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # An empty folder left behind does no harm.
            self.folder.rmdir()

    def _read_contents(self) -> "_JournalContents":
        contents = _JournalContents({}, {}, {}, {})
        for path in sorted(self.folder.glob("rank-*.jsonl")):
            lines = list(_complete_lines(path))
            if not lines:
                continue
            if (run := lines[0][0]) != self._run:
                if any("places" in line for line, _ in lines):
                    raise self._other_run(run)
                continue  # Of a run that ended before its first answer.
            for line, _ in lines:
                if "places" in line:
                    contents.labels.update(zip(line["places"], line["labels"], strict=True))
                    contents.file_sizes.update(line["file_sizes"])
                elif "decision" in line:
                    contents.decisions.setdefault(line["decision"], line["value"])
            contents.sizes[path] = lines[-1][1]
        return contents

    def _other_run(self, run: Mapping[str, Any]) -> DataError:
        """The error for a file with answers of another run."""
        return DataError(
            f"{self.folder} contains the answers of another run ({_differences(run, self._run)}); "
            f"finish that run first, or start over {self._how_to_restart()}"
        )

    def _check_files(self) -> None:
        """Refuse to continue if a file that answers depend on has another size now."""
        for file, before in self._file_sizes.items():
            if (now := _file_size(file)) != before:
                raise DataError(
                    f"{self.folder} contains answers about {file}, which had another size then ({before} "
                    f"bytes, now {now}); restore that file, or start over {self._how_to_restart()}"
                )

    def _how_to_restart(self) -> str:
        return "with --overwrite" if self._can_restart else "by deleting the folder"

    def _discard(self, ranks: Ranks) -> None:
        """Delete this process's file, and those of ranks that this run does not have."""
        for path in self.folder.glob("rank-*.jsonl"):
            number = path.stem.removeprefix("rank-")
            if path == self._path or (
                ranks.rank == 0 and number.isdigit() and int(number) >= ranks.world_size
            ):
                path.unlink(missing_ok=True)

    def _open(self, size: int) -> None:
        """Open this process's file, truncated to `size` bytes, for appending."""
        try:
            # Without O_BINARY, which other systems lack, Windows would change the line ends.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self._path, flags, 0o666)
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise DataError(f"{self._path}: the journal cannot be written ({error})") from error
        if not size:
            self._write(self._run)

    def _write(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise OSError(f"{written} of {len(line)} bytes written; is the disk full?")
            if time.monotonic() - self._synced_at >= _SYNC_SECONDS:
                os.fsync(self._descriptor)
                self._synced_at = time.monotonic()
        except OSError as error:
            raise DataError(f"{self._path}: the journal cannot be written ({error})") from error


class _JournalContents(NamedTuple):
    """The complete lines in the files of all processes.

    Attributes:
        labels: class ids by index of the example.
        decisions: values by name; if several processes recorded one, the first process's.
        file_sizes: bytes of the files that the answers depend on, by path.
        sizes: by file with a complete line, the number of bytes of its complete lines.
    """

    labels: dict[int, int]
    decisions: dict[str, Any]
    file_sizes: dict[str, int | None]
    sizes: dict[Path, int]


def _complete_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the lines before the first incomplete one, each with the offset of its end."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    end = 0
    for line in content.splitlines(keepends=True):
        checksum, _, text = line.removesuffix(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
            return
        end += len(line)
        yield json.loads(text), end


def _file_size(path: str) -> int | None:
    """Return a file's size in bytes, None if there is no such file."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return the names of the values that differ."""
    names = dict.fromkeys((*ours, *theirs))
    return ", ".join(name for name in names if theirs.get(name) != ours.get(name))
