"""Published files (answer tables, vocabularies), fetched once and cached.

They are pinned by their SHA-256 and stored in a folder named by it, so that a fetched file is available
offline and can never be another version.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from lxmert.atomic_files import write_atomic
from lxmert.downloads.fetching import fetch_bytes
from lxmert.errors import ConfigurationError, DownloadError

CACHE_VARIABLE = "LXMERT_HOME"
"""Environment variable: the folder for fetched files instead of ~/.cache/lxmert."""

MIRROR_VARIABLE = "LXMERT_MIRROR"
"""Environment variable: mirror of https://raw.githubusercontent.com, for networks that block it."""

MIRRORED_SITE = "https://raw.githubusercontent.com"

MAX_PUBLISHED_BYTES = 16 * 2**20
"""A hundred times the largest published file."""

_OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class PublishedFile:
    """A published file, in exactly one version.

    Attributes:
        url: its address.
        sha256: the SHA-256 that its bytes must have, in hexadecimal.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rpartition("/")[2]

    def fetch(self) -> Path:
        """Path of a verified copy on this machine, fetched the first time and cached from then on.

        Raises:
            DownloadError: out of reach, not the pinned version, or the cache cannot be written or read.
            ConfigurationError: see `cache_folder`.
        """
        path = cache_folder() / "files" / self.sha256[:16] / self.name
        if self._is_cached(path):
            return path
        if os.environ.get(_OFFLINE_VARIABLE, "").upper() in _TRUE:
            raise DownloadError(
                f"{self.name} is not on this machine yet, and {_OFFLINE_VARIABLE} forbids downloading it; "
                f"unset that variable once, or put the file from {self.url} at {path}"
            )
        content = fetch_bytes(_mirror_url(self.url), max_bytes=MAX_PUBLISHED_BYTES)
        if (digest := _sha256(content)) != self.sha256:
            raise DownloadError(
                f"{self.url}: its content has the SHA-256 {digest}, expected {self.sha256}; "
                f"the file has changed or was tampered with, and is not used"
            )
        _store(content, path)
        return path

    def _is_cached(self, path: Path) -> bool:
        try:
            return path.is_file() and _sha256(path.read_bytes()) == self.sha256
        except OSError as error:
            raise DownloadError(
                f"{path}: cannot be read ({error.strerror or error}); fix that, or set {CACHE_VARIABLE} "
                "to another folder"
            ) from error


def cache_folder() -> Path:
    """The folder of fetched files: `LXMERT_HOME`, else `lxmert` in the user's cache folder.

    Raises:
        ConfigurationError: it is in a home folder, "~", that the system does not know.
    """
    override = os.environ.get(CACHE_VARIABLE)
    folder = Path(override) if override else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "lxmert"
    try:
        return folder.expanduser()
    except RuntimeError as error:  # No such user, or one without a home, as in some containers.
        raise ConfigurationError(
            f"{folder}: no such home folder; set {CACHE_VARIABLE} to a writable folder"
        ) from error


def _mirror_url(url: str) -> str:
    mirror = os.environ.get(MIRROR_VARIABLE)
    return url.replace(MIRRORED_SITE, mirror.rstrip("/"), 1) if mirror else url


def _store(content: bytes, path: Path) -> None:
    """Write a file atomically: no other process ever sees half of it."""
    try:
        write_atomic(path, content)
    except OSError as error:
        raise DownloadError(
            f"{path}: cannot be stored here ({error.strerror or error}); set {CACHE_VARIABLE} to a writable "
            "folder"
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
