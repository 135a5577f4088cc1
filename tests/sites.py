"""A small local server in place of the hub and of the site of raw files; tests never reach for the net."""

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
class Sites:
    """What the server serves, and what was asked of it.

    Attributes:
        repositories: hub name -> folder with the repository's files.
        raw: path below the site of raw files -> content.
        asked: "METHOD path" of each request, in order.
    """

    repositories: dict[str, Path] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def environment(self, home: Path) -> dict[str, str]:
        """Variables for a process that shall take this server for the net, with caches under `home`.

        The hub client reads its address and cache once, when it is imported: so in a process of its own.
        """
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "LXMERT_"))}
        return kept | {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            # transformers would ask a service on the real net to convert the stand-ins' weights.
            "DISABLE_SAFETENSORS_CONVERSION": "1",
            "LXMERT_HOME": str(home / "lxmert"),
            "LXMERT_MIRROR": f"{self.address}/raw",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }

    def replace_the_net(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        """Have this process take the server for the net, with caches under `home`."""
        for name, value in self.environment(home).items():
            if name.startswith(("LXMERT_", "NO_PROXY", "DISABLE_")):
                monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        changed = {
            "HF_HUB_OFFLINE": False,
            "ENDPOINT": self.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.address + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_DISABLE_XET": True,
        }
        for name, value in changed.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)

    def reply(self, path: str) -> tuple[int, bytes]:
        """Status and content of a path."""
        if path.startswith("/raw/"):
            content = self.raw.get(path.removeprefix("/raw/"))
            return (404, b"") if content is None else (200, content)
        for name, folder in self.repositories.items():
            found = (file for file in folder.rglob("*") if file.is_file())
            files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}
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
def serving(sites: Sites) -> Iterator[Sites]:
    """Serve until the end of the block; afterwards the address is out of reach."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            sites.asked.append(f"{self.command} {path}")
            status, content = sites.reply(path)
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
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    sites.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield sites
    finally:
        server.shutdown()
        server.server_close()


def _json(value: Any) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
