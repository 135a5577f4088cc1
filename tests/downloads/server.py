"""A local HTTP server with a configurable response per path."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lxmert.errors import DownloadError
from tests.error_assertions import error_message

CONTENT = b'["yes", "no"]\n'
Responder = Callable[[BaseHTTPRequestHandler], None]


def respond_with(content: bytes = CONTENT, status: int = 200, **headers: str) -> Responder:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        extra_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": str(len(content))} | extra_headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    return respond


class Server:
    """Answers each path with its responder, and records the requested paths.

    Attributes:
        responders: path -> function that writes the response; other paths get status 404.
        requests: the requested paths, in order.
    """

    def __init__(self) -> None:
        self.responders: dict[str, Responder] = {}
        self.requests: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests.append(self.path)
                owner.responders.get(self.path, respond_with(b"", 404))(self)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def assert_download_error(call: Callable[[], object], *parts: str) -> str:
    """The message of the DownloadError that the call raises, asserted to contain these parts."""
    message = error_message(DownloadError, call)
    for part in parts:
        assert part in message
    return message
