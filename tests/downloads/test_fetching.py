"""What lies at an address, here of a local server: fetched within limits of time and size."""

import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from lxmert.downloads import fetch_bytes
from tests.downloads.server import CONTENT, Server, not_fetched, plain


def fetch(url: str, max_bytes: int = 1000, **options: object) -> bytes:
    return fetch_bytes(url, max_bytes=max_bytes, **options)


def test_what_is_not_there_is_told_with_the_servers_answer(server: Server) -> None:
    not_fetched(lambda: fetch(f"{server.url}/absent"), "404", "/absent")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "/etc/hostname", "http:", "x"])
def test_only_addresses_of_the_web_are_fetched(url: str) -> None:
    not_fetched(lambda: fetch(url), url)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:0x1/", "http://a b/"])
def test_a_malformed_address_is_one_line(url: str) -> None:
    not_fetched(lambda: fetch(url), url)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_a_redirection_leads_nowhere_but_to_the_web(server: Server, target: str) -> None:
    server.answers["/there"] = plain(b"", 302, Location=target)
    not_fetched(lambda: fetch(f"{server.url}/there"), "/there")


def test_a_redirection_is_followed(server: Server) -> None:
    server.answers["/there"] = plain(b"", 302, Location=f"{server.url}/here")
    server.answers["/here"] = plain()
    assert fetch(f"{server.url}/there") == CONTENT


def test_redirections_without_end_are_told(server: Server) -> None:
    server.answers["/round"] = plain(b"", 302, Location="/round")
    not_fetched(lambda: fetch(f"{server.url}/round"), "/round", "infinite loop")


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
    not_fetched(
        lambda: fetch(f"{server.url}/announced", max_bytes=100_000), "larger than the limit of 100,000 bytes"
    )
    not_fetched(
        lambda: fetch(f"{server.url}/unannounced", max_bytes=100_000),
        "larger than the limit of 100,000 bytes",
    )
    server.answers["/fits"] = plain(b"x" * 100_000)
    assert len(fetch(f"{server.url}/fits", max_bytes=100_000)) == 100_000


def test_a_file_cut_short_is_refused(server: Server) -> None:
    server.answers["/short"] = plain(b"half", Content_Length="8")
    not_fetched(lambda: fetch(f"{server.url}/short"), "cut short after 4 of 8 bytes")


@pytest.mark.parametrize(
    "begin", [b"X-Long: ", b"Transfer-Encoding: chunked\r\n\r\n5;", b"\r\n"], ids=["head", "piece", "body"]
)
def test_a_server_that_sends_a_letter_now_and_then_does_not_hold_us(server: Server, begin: bytes) -> None:
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
    not_fetched(lambda: fetch(f"{server.url}/endless", timeout_s=1.5), "too slow")
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
    not_fetched(lambda: fetch(f"{server.url}/silent", timeout_s=0.3), "did not finish in time")
    assert time.perf_counter() - start < 5
    done.set()


def test_a_page_in_place_of_an_image_is_told(server: Server) -> None:
    server.answers["/page"] = plain(b"<html>", Content_Type="text/html; charset=utf-8")
    not_fetched(
        lambda: fetch(f"{server.url}/page", expected_type="image"), "text/html", "instead of an image"
    )
    assert fetch(f"{server.url}/page") == b"<html>"
