"""Files from the net: only http and https, within limits of time and size, checked, and kept.

Published files (answer tables, vocabularies) are pinned by their SHA-256 and lie in a folder named by it, so
that what is once fetched serves without a network and can never be another version.
"""

import hashlib
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lxmert.errors import ConfigurationError, DownloadError, first_line
from lxmert.whole_files import write_whole

CACHE_VARIABLE = "LXMERT_HOME"
"""Environment variable: the folder for fetched files instead of ~/.cache/lxmert."""

MIRROR_VARIABLE = "LXMERT_MIRROR"
"""Environment variable: where https://raw.githubusercontent.com is mirrored, for networks that block it."""

MIRRORED_SITE = "https://raw.githubusercontent.com"

CONNECT_TIMEOUT_S = 8.0
"""Longest silence of a server, from the first packet on."""

WHOLE_TIMEOUT_S = 60.0
"""Longest time for one file."""

MAX_PUBLISHED_BYTES = 16 * 2**20
"""The largest published file that is fetched here is a hundredth of it."""

_CHUNK_BYTES = 2**16
_RESERVED = "%/:?#[]@!$&'()*+,;=~"
"""Characters of an address that mean something; others than these and letters are escaped."""
_OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class PublishedFile:
    """A file that others publish, in exactly one version.

    Attributes:
        url: where it lies.
        sha256: what its bytes must hash to, in hexadecimal.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rpartition("/")[2]

    def fetch(self) -> Path:
        """Where a checked copy lies on this machine; fetched the first time, kept from then on.

        Raises:
            DownloadError: out of reach, not the pinned version, nowhere to keep it, or a copy that may not be
                read.
            ConfigurationError: see `cache_folder`.
        """
        path = cache_folder() / "files" / self.sha256[:16] / self.name
        if self._is_kept(path):
            return path
        if os.environ.get(_OFFLINE_VARIABLE, "").upper() in _TRUE:
            raise DownloadError(
                f"{self.name} is not on this machine yet, and {_OFFLINE_VARIABLE} forbids to fetch it; "
                f"unset it once, or put the file from {self.url} at {path}"
            )
        content = fetch_bytes(_mirrored(self.url), max_bytes=MAX_PUBLISHED_BYTES)
        if (found := _sha256(content)) != self.sha256:
            raise DownloadError(
                f"{self.url}: its content has the SHA-256 {found}, expected {self.sha256}; "
                f"the file has changed or was tampered with, and is not used"
            )
        _keep(content, path)
        return path

    def _is_kept(self, path: Path) -> bool:
        try:
            return path.is_file() and _sha256(path.read_bytes()) == self.sha256
        except OSError as error:
            raise DownloadError(
                f"{path}: cannot be read ({error.strerror or error}); mend that, or set {CACHE_VARIABLE} to "
                "another folder"
            ) from error


def cache_folder() -> Path:
    """Where fetched files lie: `LXMERT_HOME`, else `lxmert` in the user's cache folder.

    Raises:
        ConfigurationError: it lies in a home folder, "~", of which the system knows nothing.
    """
    own = os.environ.get(CACHE_VARIABLE)
    folder = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "lxmert"
    try:
        return folder.expanduser()
    except RuntimeError as error:  # No such user, or one without a home, as in some containers.
        raise ConfigurationError(
            f"{folder}: there is no such home folder; set {CACHE_VARIABLE} to a folder that can be written"
        ) from error


def fetch_bytes(
    url: str, *, max_bytes: int, timeout_s: float = WHOLE_TIMEOUT_S, wanted_type: str | None = None
) -> bytes:
    """What lies at an address.

    Args:
        url: http:// or https://, also behind redirections.
        max_bytes: size above which the file is refused, before it has been read.
        timeout_s: longest time for the whole of it.
        wanted_type: for example "image": a page of text in its place is told at once.

    Raises:
        DownloadError: not http(s), out of reach, refused, too slow, too large, cut short, or a page of text.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise DownloadError(f"{url}: only http:// and https:// addresses are fetched")
    clock = _Clock(timeout_s)
    headers = {"User-Agent": "lxmert", "Accept-Encoding": "identity"}
    try:
        request = urllib.request.Request(quote(url, safe=_RESERVED), headers=headers)
        timeout = min(CONNECT_TIMEOUT_S, timeout_s)
        with clock.running(), _opener(clock).open(request, timeout=timeout) as answer:
            kind = answer.headers.get_content_type() if answer.headers.get("Content-Type") else ""
            if wanted_type is not None and kind.startswith("text/"):
                raise DownloadError(
                    f"{url}: answers with {kind}, a page instead of an {wanted_type}; "
                    f"give the address of the file itself"
                )
            return _read(answer, url, max_bytes, clock)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url}: the server answers {error.code} {error.reason}".rstrip()) from error
    except (OSError, HTTPException, ValueError) as error:
        told = error.reason if isinstance(error, urllib.error.URLError) else error
        if clock.is_over and not isinstance(told, TimeoutError):
            raise _too_slow(url) from error
        told = first_line(told if isinstance(told, BaseException) else ValueError(told))
        raise DownloadError(f"{url}: cannot be fetched ({told}); check address and network") from error


class _Clock:
    """Ends the connections of one file when its time is up.

    A server that sends a letter now and then is never silent for long, and without end keeps busy whatever
    waits for the end of a line: the head of an answer, and each piece of one that comes in pieces.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._sockets: list[socket.socket] = []

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._deadline

    @contextmanager
    def running(self) -> Iterator[None]:
        timer = threading.Timer(self._timeout_s, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def watch(self, connection: HTTPConnection) -> HTTPConnection:
        connect = connection.connect

        def watched() -> None:
            connect()
            self._sockets.append(connection.sock)
            if self.is_over:  # Those known by now were ended already.
                raise TimeoutError("timed out")

        connection.connect = watched  # type: ignore[method-assign]
        return connection

    def _end(self) -> None:
        for one in list(self._sockets):
            with suppress(OSError):  # It has ended by itself.
                # Of the socket below, where another thread is in the midst of reading what is encrypted.
                socket.socket.shutdown(one, socket.SHUT_RDWR)


def _read(answer: Any, url: str, max_bytes: int, clock: _Clock) -> bytes:
    announced = answer.headers.get("Content-Length", "")
    expected = int(announced) if announced.isascii() and announced.isdigit() else None
    content = bytearray()
    while True:
        if max(expected or 0, len(content)) > max_bytes:
            raise DownloadError(f"{url}: larger than the {max_bytes:,} bytes that are fetched at most")
        chunk = answer.read1(_CHUNK_BYTES)  # Returns with what there is, so that the clock is looked at.
        if clock.is_over:
            raise _too_slow(url, len(content))
        if not chunk:
            break
        content += chunk
    if expected is not None and len(content) < expected:
        raise DownloadError(f"{url}: cut short after {len(content):,} of {expected:,} bytes; try again")
    return bytes(content)


def _too_slow(url: str, size: int = 0) -> DownloadError:
    return DownloadError(f"{url}: too slow; {size:,} bytes had come when the time was up")


class _Watched(urllib.request.AbstractHTTPHandler):
    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def do_open(self, http_class: Any, *request: Any, **options: Any) -> Any:
        return super().do_open(
            lambda *at, **how: self._clock.watch(http_class(*at, **how)), *request, **options
        )


class _HTTPHandler(_Watched, urllib.request.HTTPHandler):
    pass


class _HTTPSHandler(_Watched, urllib.request.HTTPSHandler):
    pass


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request: Any, answer: Any, *rest: Any) -> Any:
        answer.close()  # Left open, all that comes with a redirection would be read, were it without end.
        return super().redirect_request(request, answer, *rest)


def _opener(clock: _Clock) -> urllib.request.OpenerDirector:
    # The usual opener would follow a redirection to ftp:// and open file:// addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HTTPHandler(clock),
        _HTTPSHandler(clock),
        _RedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _mirrored(url: str) -> str:
    mirror = os.environ.get(MIRROR_VARIABLE)
    return url.replace(MIRRORED_SITE, mirror.rstrip("/"), 1) if mirror else url


def _keep(content: bytes, path: Path) -> None:
    """Write all or nothing: another process never sees half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise DownloadError(
            f"{path}: cannot be kept here ({error}); set {CACHE_VARIABLE} to a folder that can be written"
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
