"""Files from the net, here a local server: kept once fetched, refused unless they are what was expected."""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lxmert.downloads import PublishedFile, cache_folder, fetch_bytes
from lxmert.errors import ConfigurationError, DownloadError

CONTENT = b'["yes", "no"]\n'
Answer = Callable[[BaseHTTPRequestHandler], None]


def plain(content: bytes = CONTENT, status: int = 200, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": str(len(content))} | given).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    return answer


class Server:
    """Answers each path as it was told to, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.answers.get(self.path, plain(b"", 404))(self)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("LXMERT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    one = Server()
    yield one
    one.stop()


def table(server: Server, content: bytes = CONTENT) -> PublishedFile:
    return PublishedFile(f"{server.url}/data/table.json", hashlib.sha256(content).hexdigest())


def one_line(call: Callable[[], object], *words: str) -> str:
    with pytest.raises(DownloadError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def fetch(url: str, max_bytes: int = 1000, **options: object) -> bytes:
    return fetch_bytes(url, max_bytes=max_bytes, **options)


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
    one_line(table(server).fetch, expected, found)
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
    one_line(table(server).fetch, "cannot be kept", "LXMERT_HOME")


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
    one_line(table(server).fetch, f"{path}: cannot be read (Permission denied)", "LXMERT_HOME")
    assert len(server.asked) == 1


def test_switched_off_the_net_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["/data/table.json"] = plain()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = one_line(table(server).fetch, "HF_HUB_OFFLINE", "table.json")
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


def test_what_is_not_there_is_told_with_the_servers_answer(server: Server) -> None:
    one_line(lambda: fetch(f"{server.url}/absent"), "404", "/absent")


def test_out_of_reach_is_told_within_seconds(server: Server) -> None:
    server.stop()
    start = time.perf_counter()
    one_line(table(server).fetch, "cannot be fetched", "table.json")
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "/etc/hostname", "http:", "x"])
def test_only_addresses_of_the_web_are_fetched(url: str) -> None:
    one_line(lambda: fetch(url), url)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:0x1/", "http://a b/"])
def test_a_malformed_address_is_one_line(url: str) -> None:
    one_line(lambda: fetch(url), url)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_a_redirection_leads_nowhere_but_to_the_web(server: Server, target: str) -> None:
    server.answers["/there"] = plain(b"", 302, Location=target)
    one_line(lambda: fetch(f"{server.url}/there"), "/there")


def test_a_redirection_is_followed(server: Server) -> None:
    server.answers["/there"] = plain(b"", 302, Location=f"{server.url}/here")
    server.answers["/here"] = plain()
    assert fetch(f"{server.url}/there") == CONTENT


def test_letters_beyond_ascii_and_spaces_are_escaped(server: Server) -> None:
    server.answers["/%C3%A9t%C3%A9%20%25.jpg?a=1&b=%C3%A9"] = plain()
    assert fetch(f"{server.url}/été %25.jpg?a=1&b=é") == CONTENT


def test_a_file_larger_than_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    sent = []

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if request.path == "/announced":
            request.send_header("Content-Length", str(10**12))
        request.end_headers()
        try:
            while True:
                sent.append(request.wfile.write(b"x" * 1000))
        except OSError:
            return

    server.answers["/announced"] = server.answers["/unannounced"] = endless
    one_line(lambda: fetch(f"{server.url}/announced", max_bytes=100_000), "larger than the 100,000 bytes")
    one_line(lambda: fetch(f"{server.url}/unannounced", max_bytes=100_000), "larger than the 100,000 bytes")
    server.answers["/fits"] = plain(b"x" * 100_000)
    assert len(fetch(f"{server.url}/fits", max_bytes=100_000)) == 100_000


def test_a_file_cut_short_is_refused(server: Server) -> None:
    server.answers["/short"] = plain(b"half", Content_Length="8")
    one_line(lambda: fetch(f"{server.url}/short"), "cut short after 4 of 8 bytes")


def test_a_server_that_dribbles_does_not_hold_us(server: Server) -> None:
    def dribble(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            for _ in range(200):
                request.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            return

    server.answers["/slow"] = dribble
    start = time.perf_counter()
    one_line(lambda: fetch(f"{server.url}/slow", timeout_s=0.5), "too slow")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    "begin", [b"X-Long: ", b"Transfer-Encoding: chunked\r\n\r\n5;"], ids=["head", "piece"]
)
def test_a_server_that_never_ends_a_line_does_not_hold_us(server: Server, begin: bytes) -> None:
    def dribble(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" + begin)
        try:
            for _ in range(100):
                request.wfile.write(b"a")
                time.sleep(0.1)
        except OSError:
            return

    server.answers["/endless"] = dribble
    start = time.perf_counter()
    one_line(lambda: fetch(f"{server.url}/endless", timeout_s=1.5), "too slow")
    assert time.perf_counter() - start < 5


def test_what_comes_with_a_redirection_is_not_read(server: Server) -> None:
    gone = threading.Event()

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n")
        try:
            for _ in range(64):
                request.wfile.write(bytes(2**20))
        except OSError:
            gone.set()

    server.answers |= {"/moved": endless, "/there": plain()}
    assert fetch(f"{server.url}/moved") == CONTENT
    assert gone.wait(10)


def test_a_silent_server_does_not_hold_us(server: Server) -> None:
    done = threading.Event()
    server.answers["/silent"] = lambda request: bool(done.wait(20)) and None
    start = time.perf_counter()
    one_line(lambda: fetch(f"{server.url}/silent", timeout_s=0.3), "timed out")
    assert time.perf_counter() - start < 5
    done.set()


def test_a_page_in_place_of_an_image_is_told(server: Server) -> None:
    server.answers["/page"] = plain(b"<html>", Content_Type="text/html; charset=utf-8")
    one_line(lambda: fetch(f"{server.url}/page", wanted_type="image"), "text/html", "instead of an image")
    assert fetch(f"{server.url}/page") == b"<html>"


def test_no_other_variable_of_the_process_is_changed(server: Server) -> None:
    before = dict(os.environ)
    server.answers["/data/table.json"] = plain()
    table(server).fetch()
    assert dict(os.environ) == before
