"""A local server that answers as it is told to."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lxmert.errors import DownloadError
from tests.error_assertions import error_message

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


def not_fetched(call: Callable[[], object], *words: str) -> str:
    """The message of a download's error, which holds these words."""
    message = error_message(DownloadError, call)
    for word in words:
        assert word in message
    return message
