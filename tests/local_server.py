"""A local HTTP server that replaces the hub and the raw-file site; no test uses the network."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

COMMIT = "0" * 40


@dataclass
class LocalServer:
    """What the server serves, and the requests it received.

    Attributes:
        repositories: hub name -> folder with the repository's files.
        raw_files: path on the raw-file site -> content.
        requests: "METHOD path" of each request, in order.
    """

    repositories: dict[str, Path] = field(default_factory=dict)
    raw_files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def environment(self, home: Path) -> dict[str, str]:
        """Environment variables that send a process's downloads to this server, with caches under `home`.

        The hub client reads its address and cache once, when it is imported: so in a process of its own.
        """
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("HF_", "LXMERT_"))
        }
        return inherited | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            # transformers would ask a service on the internet to convert the checkpoints' weights.
            "DISABLE_SAFETENSORS_CONVERSION": "1",
            "LXMERT_HOME": str(home / "lxmert"),
            "LXMERT_MIRROR": f"{self.url}/raw",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }

    def redirect_downloads(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        """Send this process's downloads to the server, with caches under `home`."""
        for name, value in self.environment(home).items():
            if name.startswith(("LXMERT_", "NO_PROXY", "DISABLE_")):
                monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        constants = {
            "HF_HUB_OFFLINE": False,
            "ENDPOINT": self.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_DISABLE_XET": True,
        }
        for name, value in constants.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)

    def reply(self, path: str) -> tuple[int, bytes]:
        """HTTP status and content for a path."""
        if path.startswith("/raw/"):
            content = self.raw_files.get(path.removeprefix("/raw/"))
            return (404, b"") if content is None else (200, content)
        for name, folder in self.repositories.items():
            paths = (file for file in folder.rglob("*") if file.is_file())
            files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in paths}
            revisions = [f"/api/models/{name}/revision/{revision}" for revision in ("main", COMMIT)]
            if path in (f"/api/models/{name}", *revisions):
                siblings = [{"rfilename": file} for file in sorted(files)]
                return _json({"id": name, "sha": COMMIT, "siblings": siblings, "tags": []})
            if path == f"/api/models/{name}/tree/{COMMIT}":
                return _json(
                    [
                        {"type": "file", "path": file, "size": len(content), "oid": _hash(content)}
                        for file, content in files.items()
                    ]
                )
            for revision in ("main", COMMIT):
                file = path.removeprefix(f"/{name}/resolve/{revision}/")
                if file in files:
                    return 200, files[file]
        return 404, b""


@contextmanager
def serving(server: LocalServer) -> Iterator[LocalServer]:
    """Serve until the end of the block; afterwards connections are refused."""

    class Handler(BaseHTTPRequestHandler):
        def _respond(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            server.requests.append(f"{self.command} {path}")
            status, content = server.reply(path)
            self.send_response(status)
            if status == 200:
                self.send_header("ETag", f'"{_hash(content)}"')
                self.send_header("X-Repo-Commit", COMMIT)
            else:
                self.send_header("X-Error-Code", "RepoNotFound" if "/api/" in path else "EntryNotFound")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self._respond(body=False)

        def do_GET(self) -> None:
            self._respond(body=True)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True).start()
    server.url = f"http://127.0.0.1:{http_server.server_port}"
    try:
        yield server
    finally:
        http_server.shutdown()
        http_server.server_close()


def _json(value: Any) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
