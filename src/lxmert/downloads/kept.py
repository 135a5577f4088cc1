"""Published files (answer tables, vocabularies), fetched once and kept.

They are pinned by their SHA-256 and lie in a folder named by it, so that what is once fetched serves without
a network and can never be another version.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from lxmert.downloads.fetching import fetch_bytes
from lxmert.errors import ConfigurationError, DownloadError
from lxmert.whole_files import write_whole

CACHE_VARIABLE = "LXMERT_HOME"
"""Environment variable: the folder for fetched files instead of ~/.cache/lxmert."""

MIRROR_VARIABLE = "LXMERT_MIRROR"
"""Environment variable: where https://raw.githubusercontent.com is mirrored, for networks that block it."""

MIRRORED_SITE = "https://raw.githubusercontent.com"

MAX_PUBLISHED_BYTES = 16 * 2**20
"""The largest published file that is fetched here is a hundredth of it."""

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
