"""Published files: kept once fetched, refused unless they are what was expected."""

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from lxmert.downloads import PublishedFile, cache_folder
from lxmert.errors import ConfigurationError
from tests.downloads.server import CONTENT, Server, not_fetched, plain


def table(server: Server, content: bytes = CONTENT) -> PublishedFile:
    return PublishedFile(f"{server.url}/data/table.json", hashlib.sha256(content).hexdigest())


def test_a_file_is_fetched_once_and_then_serves_without_the_net(server: Server) -> None:
    server.answers["/data/table.json"] = plain()
    path = table(server).fetch()
    assert path.name == "table.json"
    assert path.read_bytes() == CONTENT
    server.stop()
    assert table(server).fetch() == path
    assert server.asked == ["/data/table.json"]


def test_another_version_of_a_file_is_not_used_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.answers["/data/table.json"] = plain(b"tampered")
    expected, found = (hashlib.sha256(content).hexdigest() for content in (CONTENT, b"tampered"))
    not_fetched(table(server).fetch, expected, found)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", [b"", b'["yes", "'])
def test_a_damaged_copy_is_fetched_anew(server: Server, damage: bytes) -> None:
    server.answers["/data/table.json"] = plain()
    path = table(server).fetch()
    path.write_bytes(damage)
    assert table(server).fetch().read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_files_of_one_name_do_not_mix(server: Server) -> None:
    server.answers["/data/table.json"] = plain()
    server.answers["/more/table.json"] = plain(b"other")
    other = PublishedFile(f"{server.url}/more/table.json", hashlib.sha256(b"other").hexdigest())
    assert table(server).fetch().read_bytes() == CONTENT
    assert other.fetch().read_bytes() == b"other"
    assert table(server).fetch().read_bytes() == CONTENT
    assert server.asked == ["/data/table.json", "/more/table.json"]


def test_a_write_that_is_interrupted_leaves_nothing_behind(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/data/table.json"] = plain()

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            table(server).fetch()
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []
    assert table(server).fetch().read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/data/table.json"] = plain()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LXMERT_HOME", str(tmp_path / "file"))
    not_fetched(table(server).fetch, "cannot be stored", "LXMERT_HOME")


@pytest.mark.skipif(os.name == "nt", reason="no such permissions there")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_kept_file_may_be_read_by_whom_the_umask_allows(server: Server, umask: int, mode: int) -> None:
    server.answers["/data/table.json"] = plain()
    before = os.umask(umask)
    try:
        path = table(server).fetch()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [file.name for file in path.parent.iterdir()] == ["table.json"]


def test_a_copy_that_may_not_be_read_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["/data/table.json"] = plain()
    path = table(server).fetch()

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    not_fetched(table(server).fetch, f"{path}: cannot be read (Permission denied)", "LXMERT_HOME")
    assert len(server.asked) == 1


def test_switched_off_the_net_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["/data/table.json"] = plain()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = not_fetched(table(server).fetch, "HF_HUB_OFFLINE", "table.json")
    assert str(cache_folder()) in message
    assert server.asked == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    path = table(server).fetch()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert table(server).fetch() == path


def test_a_mirror_takes_the_place_of_the_site_of_raw_files(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/mirror/someone/table.json"] = plain()
    monkeypatch.setenv("LXMERT_MIRROR", f"{server.url}/mirror/")
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    file = PublishedFile("https://raw.githubusercontent.com/someone/table.json", sha256)
    assert file.fetch().read_bytes() == CONTENT
    assert server.asked == ["/mirror/someone/table.json"]


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LXMERT_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "lxmert"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "lxmert"
    monkeypatch.setenv("LXMERT_HOME", "~/own")
    assert cache_folder() == tmp_path / "own"


@pytest.mark.parametrize("variable", ["LXMERT_HOME", "XDG_CACHE_HOME"])
def test_a_home_folder_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("LXMERT_HOME", raising=False)
    monkeypatch.setenv(variable, "~nobody-of-this-name/cache")
    with pytest.raises(ConfigurationError, match=r"~nobody-of-this-name/cache.*; set LXMERT_HOME to"):
        cache_folder()


def test_out_of_reach_is_told_within_seconds(server: Server) -> None:
    server.stop()
    start = time.perf_counter()
    not_fetched(table(server).fetch, "cannot be downloaded", "table.json")
    assert time.perf_counter() - start < 3


def test_no_other_variable_of_the_process_is_changed(server: Server) -> None:
    before = dict(os.environ)
    server.answers["/data/table.json"] = plain()
    table(server).fetch()
    assert dict(os.environ) == before
