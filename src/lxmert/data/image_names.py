"""Matching of image names, and lists of names in text files."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lxmert.errors import DataError

# Extensions that are not part of an image's name; anything else after a dot is.
_ENDINGS = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".avif", ".heic", ".heif",
)  # fmt: skip


def plain_name(name: str) -> str:
    """An image's name without folders and extension."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in _ENDINGS else path.name


def may_be_one_image(one: str, other: str) -> bool:
    """Whether one name, without extension, ends with the other: "b/a.jpg" and "a", not "b/a" and "c/a"."""
    if one == other:
        return True
    shorter, longer = sorted(("/" + _without_ending(name) for name in (one, other)), key=len)
    return longer.endswith(shorter)


class ImageList:
    """The image names in a text file, one a line, with or without extension and folders.

    Args:
        path: the file, UTF-8.

    Attributes:
        path: the file.

    Raises:
        DataError: the file cannot be read, or holds no name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: the list of image names cannot be read ({error})") from error
        self._listed = dict.fromkeys(_without_ending(line.strip()) for line in lines if line.strip())
        if not self._listed:
            raise DataError(f"{path}: contains no image name; expected one per line")
        self._by_end: dict[str, list[str]] = {}
        for name in self._listed:
            for end in ends_of(name):
                self._by_end.setdefault(end, []).append(name)
        self._known: dict[str, bool] = {}
        self._met: set[str] = set()

    def __len__(self) -> int:
        return len(self._listed)

    def __contains__(self, image: str) -> bool:
        """Whether a listed name may be that of this image; see `may_be_one_image`."""
        if image not in self._known:
            name = _without_ending(image)
            matches = [*self._by_end.get(name, ()), *(end for end in ends_of(name) if end in self._listed)]
            self._met.update(matches)
            self._known[image] = bool(matches)
        return self._known[image]

    @property
    def never_met(self) -> list[str]:
        """The names, without extension, that matched no image looked up so far, in the file's order."""
        return [name for name in self._listed if name not in self._met]


def _without_ending(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("") if path.suffix.lower() in _ENDINGS else path)


def ends_of(name: str) -> Iterator[str]:
    """The name, then the name without its first folder, its first two, and so on."""
    while True:
        yield name
        _, slash, name = name.partition("/")
        if not slash:
            return
