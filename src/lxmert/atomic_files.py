"""Atomic writes: files that exist completely or not at all."""

import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_PARTIAL = re.compile(r"(.+)\.[0-9a-f]{8}\.partial")


@contextmanager
def open_atomic(path: str | Path, *, synced: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` on success and is removed on failure.

    A kill at any moment, or a power failure, leaves the previous content, and two processes writing the same
    file never mix.
    What is not a regular file, such as /dev/stdout or a named pipe, is written to directly.

    Args:
        path: the file; missing folders are created. A link stays a link, and its target, whose folder exists,
            is written.
        synced: False does without the protection from power failures, which costs milliseconds: for thousands
            of files that can be made again.

    Raises:
        OSError: it cannot be written; the error names `path`, not the temporary file.
    """
    path = Path(path)
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("wb") as file:
            yield file
        return
    _create_parents(path)
    path = Path(os.path.realpath(path))
    # Not by `tempfile`, whose files no other user may read: the folder may be shared.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with name_in_errors(path, partial):
            with partial.open("xb") as file:
                yield file
                if synced:  # Else a power failure may leave an empty file under the final name.
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def name_in_errors(path: Path, partial: Path) -> Iterator[None]:
    """Make errors of writing a file name it: those of a full disk name none, others the temporary file.

    Args:
        path: the file.
        partial: its temporary file.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, os.fspath(partial)):
            error.filename = os.fspath(path)
        raise


def _create_parents(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        code = errno.ENOTDIR if isinstance(error, FileExistsError) else error.errno
        raise OSError(code, os.strerror(code or 0), os.fspath(path)) from error


def write_atomic(path: str | Path, content: str | bytes, *, synced: bool = True) -> None:
    """Write a file as `open_atomic` does; text as UTF-8, its line ends unchanged."""
    with open_atomic(path, synced=synced) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def follow_umask(path: Path) -> None:
    """Give a file the mode of newly created ones: safetensors lets only its owner read those that it writes.

    Raises:
        OSError: the mode cannot be changed.
    """
    # Not by `os.umask`, which cannot be read without changing it for all threads.
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        probe.touch(exist_ok=False)
        mode = probe.stat().st_mode
    finally:
        probe.unlink(missing_ok=True)
    if path.stat().st_mode != mode:  # A file system without modes may refuse to change them.
        path.chmod(stat.S_IMODE(mode))


def fsync_path(path: Path) -> None:
    """Make a file, or a folder with its files, survive a power failure; anything else is left alone.

    Raises:
        OSError: the disk is full or gone.
    """
    for file in path.iterdir() if path.is_dir() else [path]:
        if file.is_file():
            with file.open("r+b") as opened:
                os.fsync(opened.fileno())
    for folder in (path, path.parent):
        if folder.is_dir():
            fsync_folder(folder)


def fsync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power failure."""
    if os.name == "nt":  # Windows cannot open folders; NTFS keeps its own journal of names.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def final_path(path: Path) -> Path:
    """Return the file that a partial one, left by a kill, was to become; any other path unchanged."""
    partial = _PARTIAL.fullmatch(path.name)
    return path.with_name(partial[1]) if partial else path
