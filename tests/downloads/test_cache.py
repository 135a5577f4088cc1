"""PublishedFile: fetched once, cached, and rejected unless its hash is the expected one."""

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from lxmert.downloads import PublishedFile, cache_folder
from lxmert.errors import ConfigurationError
from tests.downloads.server import CONTENT, Server, assert_download_error, respond_with


def published_table(server: Server, content: bytes = CONTENT) -> PublishedFile:
    return PublishedFile(f"{server.url}/data/table.json", hashlib.sha256(content).hexdigest())


def test_file_is_fetched_once_and_then_read_from_cache(server: Server) -> None:
    server.responders["/data/table.json"] = respond_with()
    path = published_table(server).fetch()
    assert path.name == "table.json"
    assert path.read_bytes() == CONTENT
    server.stop()
    assert published_table(server).fetch() == path
    assert server.requests == ["/data/table.json"]


def test_file_with_wrong_hash_is_rejected_and_not_cached(server: Server, tmp_path: Path) -> None:
    server.responders["/data/table.json"] = respond_with(b"tampered")
    expected, found = (hashlib.sha256(content).hexdigest() for content in (CONTENT, b"tampered"))
    assert_download_error(published_table(server).fetch, expected, found)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", [b"", b'["yes", "'])
def test_damaged_cached_file_is_fetched_again(server: Server, damage: bytes) -> None:
    server.responders["/data/table.json"] = respond_with()
    path = published_table(server).fetch()
    path.write_bytes(damage)
    assert published_table(server).fetch().read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_files_of_equal_name_have_separate_cache_entries(server: Server) -> None:
    server.responders["/data/table.json"] = respond_with()
    server.responders["/more/table.json"] = respond_with(b"other")
    other = PublishedFile(f"{server.url}/more/table.json", hashlib.sha256(b"other").hexdigest())
    assert published_table(server).fetch().read_bytes() == CONTENT
    assert other.fetch().read_bytes() == b"other"
    assert published_table(server).fetch().read_bytes() == CONTENT
    assert server.requests == ["/data/table.json", "/more/table.json"]


def test_interrupted_write_leaves_no_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responders["/data/table.json"] = respond_with()

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            published_table(server).fetch()
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []
    assert published_table(server).fetch().read_bytes() == CONTENT


def test_unwritable_cache_folder_error_names_lxmert_home(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responders["/data/table.json"] = respond_with()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LXMERT_HOME", str(tmp_path / "file"))
    assert_download_error(published_table(server).fetch, "cannot be stored", "LXMERT_HOME")


@pytest.mark.skipif(os.name == "nt", reason="no such permissions there")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_cached_file_mode_follows_umask(server: Server, umask: int, mode: int) -> None:
    server.responders["/data/table.json"] = respond_with()
    before = os.umask(umask)
    try:
        path = published_table(server).fetch()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [file.name for file in path.parent.iterdir()] == ["table.json"]


def test_unreadable_cached_file_raises_download_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responders["/data/table.json"] = respond_with()
    path = published_table(server).fetch()

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert_download_error(
        published_table(server).fetch, f"{path}: cannot be read (Permission denied)", "LXMERT_HOME"
    )
    assert len(server.requests) == 1


def test_offline_mode_sends_no_request_and_uses_cache(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responders["/data/table.json"] = respond_with()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = assert_download_error(published_table(server).fetch, "HF_HUB_OFFLINE", "table.json")
    assert str(cache_folder()) in message
    assert server.requests == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    path = published_table(server).fetch()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert published_table(server).fetch() == path


def test_mirror_replaces_raw_githubusercontent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.responders["/mirror/someone/table.json"] = respond_with()
    monkeypatch.setenv("LXMERT_MIRROR", f"{server.url}/mirror/")
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    file = PublishedFile("https://raw.githubusercontent.com/someone/table.json", sha256)
    assert file.fetch().read_bytes() == CONTENT
    assert server.requests == ["/mirror/someone/table.json"]


def test_cache_folder_follows_environment_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LXMERT_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "lxmert"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "lxmert"
    monkeypatch.setenv("LXMERT_HOME", "~/own")
    assert cache_folder() == tmp_path / "own"


@pytest.mark.parametrize("variable", ["LXMERT_HOME", "XDG_CACHE_HOME"])
def test_cache_folder_of_unknown_user_raises_configuration_error(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("LXMERT_HOME", raising=False)
    monkeypatch.setenv(variable, "~nobody-of-this-name/cache")
    with pytest.raises(ConfigurationError, match=r"~nobody-of-this-name/cache.*; set LXMERT_HOME to"):
        cache_folder()


def test_unreachable_server_raises_download_error_within_seconds(server: Server) -> None:
    server.stop()
    start = time.perf_counter()
    assert_download_error(published_table(server).fetch, "cannot be downloaded", "table.json")
    assert time.perf_counter() - start < 3


def test_fetch_leaves_environment_unchanged(server: Server) -> None:
    before = dict(os.environ)
    server.responders["/data/table.json"] = respond_with()
    published_table(server).fetch()
    assert dict(os.environ) == before
