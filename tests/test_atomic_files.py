"""Atomic files: a file is written completely or not at all."""

import errno
import os
import threading
from pathlib import Path

import pytest

from lxmert.atomic_files import final_path, follow_umask, open_atomic, write_atomic


def test_file_appears_under_its_name_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with open_atomic(path) as file:
        file.write(b"all of it")
        assert not path.exists()
        (temporary,) = tmp_path.iterdir()
        assert (final_path(temporary), final_path(path)) == (path, path)
    assert path.read_bytes() == b"all of it"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_keeps_previous_content(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    write_atomic(path, "before")
    with pytest.raises(TypeError, match="bytes"), open_atomic(path) as file:
        file.writelines([b"half of", None])
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_error_names_target_file_not_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in ((tmp_path / ("x" * 300), "too long"), (tmp_path / "file" / "one.json", "Not a dir")):
        with pytest.raises(OSError, match=reason) as caught:
            write_atomic(path, "after")
        assert caught.value.filename == str(path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "absent" / "one.json")
    with pytest.raises(FileNotFoundError):
        write_atomic(link, "after")


def test_error_of_full_disk_names_the_file_and_errors_without_a_number_stay(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with pytest.raises(OSError, match="No space left") as caught, open_atomic(path):
        raise OSError(errno.ENOSPC, "No space left on device")  # As `write` raises it.
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match=r"^cannot write mode RGBA as JPEG$"), open_atomic(path):
        raise OSError("cannot write mode RGBA as JPEG")


def test_content_is_on_the_disk_before_the_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "one.json", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append((os.fstat(descriptor), path.exists())))
    write_atomic(path, "all of it")
    ((status, is_named),) = synced
    assert (status.st_ino, status.st_size, is_named) == (path.stat().st_ino, 9, False)
    write_atomic(tmp_path / "two.json", "all of it", synced=False)
    assert len(synced) == 1


def test_missing_folders_are_created(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "three.json"
    write_atomic(path, "after")
    assert path.read_text() == "after"


def test_simultaneous_writers_do_not_mix_content(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with open_atomic(path) as first, open_atomic(path) as second:
        first.write(b"first " * 3)
        second.write(b"second")
    # The inner one is complete before the outer one.
    assert path.read_bytes() == b"first " * 3
    assert list(tmp_path.iterdir()) == [path]


def test_symlink_is_kept_and_its_target_written(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    write_atomic(link, "after")
    assert (link.is_symlink(), target.read_text()) == (True, "after")


def test_named_pipe_is_written_and_kept(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, "grün\n")
    reader.join(timeout=10)
    assert (read, pipe.is_fifo()) == ([b"gr\xc3\xbcn\n"], True)


def test_line_endings_are_kept_and_file_mode_follows_umask(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    former = os.umask(0o022)
    try:
        write_atomic(path, "one\ntwo\r\n")
    finally:
        os.umask(former)
    assert path.read_bytes() == b"one\ntwo\r\n"
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_private_file_gets_the_mode_of_new_ones(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "model.safetensors"
    path.touch(0o600)
    former = os.umask(umask)
    try:
        follow_umask(path)
    finally:
        os.umask(former)
    assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]
