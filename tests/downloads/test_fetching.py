"""fetch_bytes from a local server: limits of time and size, redirects, malformed URLs."""

import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from lxmert.downloads import fetch_bytes
from tests.downloads.server import CONTENT, Server, assert_download_error, respond_with


def fetch(url: str, max_bytes: int = 1000, **options: object) -> bytes:
    return fetch_bytes(url, max_bytes=max_bytes, **options)


def test_missing_file_error_names_status_404(server: Server) -> None:
    assert_download_error(lambda: fetch(f"{server.url}/absent"), "404", "/absent")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "/etc/hostname", "http:", "x"])
def test_url_without_http_scheme_raises_download_error(url: str) -> None:
    assert_download_error(lambda: fetch(url), url)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:0x1/", "http://a b/"])
def test_malformed_url_raises_single_line_download_error(url: str) -> None:
    assert_download_error(lambda: fetch(url), url)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_redirect_to_other_scheme_raises_download_error(server: Server, target: str) -> None:
    server.responders["/there"] = respond_with(b"", 302, Location=target)
    assert_download_error(lambda: fetch(f"{server.url}/there"), "/there")


def test_redirect_is_followed(server: Server) -> None:
    server.responders["/there"] = respond_with(b"", 302, Location=f"{server.url}/here")
    server.responders["/here"] = respond_with()
    assert fetch(f"{server.url}/there") == CONTENT


def test_redirect_loop_raises_download_error(server: Server) -> None:
    server.responders["/round"] = respond_with(b"", 302, Location="/round")
    assert_download_error(lambda: fetch(f"{server.url}/round"), "/round", "infinite loop")


def test_non_ascii_characters_and_spaces_in_url_are_escaped(server: Server) -> None:
    server.responders["/%C3%A9t%C3%A9%20%25.jpg?a=1&b=%C3%A9"] = respond_with()
    assert fetch(f"{server.url}/été %25.jpg?a=1&b=é") == CONTENT


def test_file_above_max_bytes_is_rejected_before_reading_it_all(server: Server) -> None:
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

    server.responders["/announced"] = server.responders["/unannounced"] = endless
    assert_download_error(
        lambda: fetch(f"{server.url}/announced", max_bytes=100_000), "larger than the limit of 100,000 bytes"
    )
    assert_download_error(
        lambda: fetch(f"{server.url}/unannounced", max_bytes=100_000),
        "larger than the limit of 100,000 bytes",
    )
    server.responders["/fits"] = respond_with(b"x" * 100_000)
    assert len(fetch(f"{server.url}/fits", max_bytes=100_000)) == 100_000


def test_truncated_file_raises_download_error(server: Server) -> None:
    server.responders["/short"] = respond_with(b"half", Content_Length="8")
    assert_download_error(lambda: fetch(f"{server.url}/short"), "cut short after 4 of 8 bytes")


@pytest.mark.parametrize(
    "begin", [b"X-Long: ", b"Transfer-Encoding: chunked\r\n\r\n5;", b"\r\n"], ids=["head", "piece", "body"]
)
def test_slow_server_raises_download_error_after_timeout(server: Server, begin: bytes) -> None:
    def dribble(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" + begin)
        try:
            for _ in range(100):
                request.wfile.write(b"a")
                time.sleep(0.1)
        except OSError:
            return

    server.responders["/endless"] = dribble
    start = time.perf_counter()
    assert_download_error(lambda: fetch(f"{server.url}/endless", timeout_s=1.5), "too slow")
    assert time.perf_counter() - start < 5


def test_redirect_body_is_not_read(server: Server) -> None:
    disconnected = threading.Event()

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n")
        try:
            for _ in range(64):
                request.wfile.write(bytes(2**20))
        except OSError:
            disconnected.set()

    server.responders |= {"/moved": endless, "/there": respond_with()}
    assert fetch(f"{server.url}/moved") == CONTENT
    assert disconnected.wait(10)


def test_silent_server_raises_download_error_after_timeout(server: Server) -> None:
    done = threading.Event()
    server.responders["/silent"] = lambda request: bool(done.wait(20)) and None
    start = time.perf_counter()
    assert_download_error(lambda: fetch(f"{server.url}/silent", timeout_s=0.3), "did not finish in time")
    assert time.perf_counter() - start < 5
    done.set()


def test_unexpected_content_type_raises_download_error(server: Server) -> None:
    server.responders["/page"] = respond_with(b"<html>", Content_Type="text/html; charset=utf-8")
    assert_download_error(
        lambda: fetch(f"{server.url}/page", expected_type="image"), "text/html", "instead of an image"
    )
    assert fetch(f"{server.url}/page") == b"<html>"
