"""Hub names: model and processor come from a hub, here a small local server that speaks its protocol."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lxmert.inference.models import embedded_model_folder

REPOSITORY = "someone/scenes-model"


class _Hub(BaseHTTPRequestHandler):
    """Serves the files of the embedded model as one repository; everything else is not found."""

    def _answer(self, *, body: bool) -> None:
        start = f"/{REPOSITORY}/resolve/main/"
        file = embedded_model_folder() / Path(self.path.partition("?")[0]).name
        if not self.path.startswith(start) or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_hub_name_gives_the_model_with_its_processor(hub: str, tmp_path: Path) -> None:
    program = (
        "from lxmert import LxmertPredictor\n"
        f"one = LxmertPredictor.from_pretrained({REPOSITORY!r}, device='cpu')\n"
        "print(one.model.config.num_qa_labels, len(one.processor.answers), one.needs_boxes)\n"
    )
    # The hub client reads its address and cache once, when it is imported: so in a process of its own.
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    environment |= {"HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["36", "36", "True"]
