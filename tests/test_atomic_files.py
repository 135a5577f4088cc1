"""Files that are there completely or not at all."""

import os
import threading
from pathlib import Path

import pytest

from lxmert.atomic_files import final_path, open_atomic, write_atomic


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with open_atomic(path) as file:
        file.write(b"all of it")
        assert not path.exists()
        (half,) = tmp_path.iterdir()
        assert (final_path(half), final_path(path)) == (path, path)
    assert path.read_bytes() == b"all of it"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    write_atomic(path, "before")
    with pytest.raises(TypeError, match="bytes"), open_atomic(path) as file:
        file.writelines([b"half of", None])
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_and_not_its_half(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "one.json"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomic(path, "after")
    assert caught.value.filename == str(path)


def test_two_at_once_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with open_atomic(path) as first, open_atomic(path) as second:
        first.write(b"first " * 3)
        second.write(b"second")
    # The inner one is complete before the outer one.
    assert path.read_bytes() == b"first " * 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    write_atomic(link, "after")
    assert (link.is_symlink(), target.read_text()) == (True, "after")


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, "grün\n")
    reader.join(timeout=10)
    assert (read, pipe.is_fifo()) == ([b"gr\xc3\xbcn\n"], True)


def test_lines_end_as_given_and_others_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    former = os.umask(0o022)
    try:
        write_atomic(path, "one\ntwo\r\n")
    finally:
        os.umask(former)
    assert path.read_bytes() == b"one\ntwo\r\n"
    assert path.stat().st_mode & 0o777 == 0o644
