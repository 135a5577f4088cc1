"""Fetching of files from the net: only http and https, within limits of time and size."""

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote

from lxmert.errors import DownloadError, first_line

CONNECT_TIMEOUT_S = 8.0
"""Maximum silence of a server, from the first packet on."""

TOTAL_TIMEOUT_S = 60.0
"""Maximum time for one file."""

_CHUNK_BYTES = 2**16
_RESERVED = "%/:?#[]@!$&'()*+,;=~"
"""Characters with a meaning in an address; all others except letters and digits are escaped."""


def fetch_bytes(
    url: str, *, max_bytes: int, timeout_s: float = TOTAL_TIMEOUT_S, expected_type: str | None = None
) -> bytes:
    """Fetch the file at an address.

    Args:
        url: http:// or https://; redirections are followed.
        max_bytes: maximum size; a larger file is refused before it is read completely.
        timeout_s: maximum time for the whole file.
        expected_type: for example "image"; a text page in its place is refused at once.

    Raises:
        DownloadError: not http(s), out of reach, refused, too slow, too large, truncated, or a text page.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise DownloadError(f"{url}: only http:// and https:// URLs can be downloaded")
    deadline = _Deadline(timeout_s)
    headers = {"User-Agent": "lxmert", "Accept-Encoding": "identity"}
    try:
        request = urllib.request.Request(quote(url, safe=_RESERVED), headers=headers)
        timeout = min(CONNECT_TIMEOUT_S, timeout_s)
        with deadline.running(), _opener(deadline).open(request, timeout=timeout) as response:
            kind = response.headers.get_content_type() if response.headers.get("Content-Type") else ""
            if expected_type is not None and kind.startswith("text/"):
                raise DownloadError(
                    f"{url}: the server returned {kind}, a page instead of an {expected_type}; use the URL "
                    "of the file itself"
                )
            return _read(response, url, max_bytes, deadline)
    except urllib.error.HTTPError as error:
        reason = " ".join(str(error.reason).split())  # Has several lines for circular redirections.
        raise DownloadError(f"{url}: the server returned {error.code} {reason}".rstrip()) from error
    except (OSError, HTTPException, ValueError) as error:
        if deadline.is_expired:
            raise _timeout_error(url) from error
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        cause = first_line(cause if isinstance(cause, BaseException) else ValueError(cause))
        raise DownloadError(
            f"{url}: cannot be downloaded ({cause}); check the URL and the network"
        ) from error


class _Deadline:
    """Closes the connections of one file when its time is up.

    A server that sends a byte now and then is never silent for long, and endlessly blocks whatever waits for
    the end of a line: the header of a response, and each chunk of a chunked one.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._sockets: list[socket.socket] = []

    @property
    def is_expired(self) -> bool:
        return time.monotonic() > self._deadline

    @contextmanager
    def running(self) -> Iterator[None]:
        timer = threading.Timer(self._timeout_s, self._close_connections)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def register(self, connection: HTTPConnection) -> HTTPConnection:
        connect = connection.connect

        def connect_and_register() -> None:
            connect()
            self._sockets.append(connection.sock)
            if self.is_expired:  # The other connections were closed already.
                raise TimeoutError("timed out")

        connection.connect = connect_and_register  # type: ignore[method-assign]
        return connection

    def _close_connections(self) -> None:
        for connection in list(self._sockets):
            with suppress(OSError):  # It is closed already.
                # The plain socket's method, because another thread may be reading from the TLS socket.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _read(response: Any, url: str, max_bytes: int, deadline: _Deadline) -> bytes:
    content_length = response.headers.get("Content-Length", "")
    expected = int(content_length) if content_length.isascii() and content_length.isdigit() else None
    content = bytearray()
    while True:
        if max(expected or 0, len(content)) > max_bytes:
            raise DownloadError(f"{url}: larger than the limit of {max_bytes:,} bytes")
        chunk = response.read1(_CHUNK_BYTES)  # Returns what is available, so that the deadline is checked.
        if deadline.is_expired:
            raise _timeout_error(url)
        if not chunk:
            break
        content += chunk
    if expected is not None and len(content) < expected:
        raise DownloadError(f"{url}: cut short after {len(content):,} of {expected:,} bytes; try again")
    return bytes(content)


def _timeout_error(url: str) -> DownloadError:
    return DownloadError(f"{url}: too slow; the download did not finish in time")


class _DeadlineHandler(urllib.request.AbstractHTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def do_open(self, http_class: Any, *request: Any, **options: Any) -> Any:
        return super().do_open(
            lambda *args, **kwargs: self._deadline.register(http_class(*args, **kwargs)), *request, **options
        )


class _HTTPHandler(_DeadlineHandler, urllib.request.HTTPHandler):
    pass


class _HTTPSHandler(_DeadlineHandler, urllib.request.HTTPSHandler):
    pass


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request: Any, response: Any, *rest: Any) -> Any:
        response.close()  # If left open, the body of the redirection would be read, even if endless.
        return super().redirect_request(request, response, *rest)


def _opener(deadline: _Deadline) -> urllib.request.OpenerDirector:
    # The usual opener would follow a redirection to ftp:// and open file:// addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HTTPHandler(deadline),
        _HTTPSHandler(deadline),
        _RedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
