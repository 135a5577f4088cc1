"""Matching of image names, and lists of names in text files."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from lxmert.data.text_lines import read_lines
from lxmert.errors import DataError

# Extensions that are not part of an image's name; anything else after a dot is.
_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".avif", ".heic", ".heif",
)  # fmt: skip


def image_stem(name: str) -> str:
    """An image's name without folders and extension."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in _EXTENSIONS else path.name


def may_be_same_image(first: str, second: str) -> bool:
    """Whether one name, without extension, ends with the other: "b/a.jpg" and "a", not "b/a" and "c/a"."""
    if first == second:
        return True
    shorter, longer = sorted(("/" + _without_extension(name) for name in (first, second)), key=len)
    return longer.endswith(shorter)


class NameIndex:
    """Finds names that may be those of the same image, see `may_be_same_image`, without comparing them all.

    Args:
        names: the names, with or without extension and folders; of equal ones, the first counts.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, list[int]] = {}
        self._longer_names: dict[str, list[int]] = {}
        seen: set[str] = set()
        for position, name in enumerate(names):
            if name in seen:
                continue
            seen.add(name)
            whole, *ends = trailing_paths(_without_extension(name))
            self._names.setdefault(whole, []).append(position)
            for end in ends:
                self._longer_names.setdefault(end, []).append(position)

    def find(self, name: str) -> list[int]:
        """The positions, ascending, of all names that may be those of the image of this name."""
        whole, *ends = trailing_paths(_without_extension(name))
        shorter_names = (position for end in ends for position in self._names.get(end, ()))
        return sorted((*self._names.get(whole, ()), *self._longer_names.get(whole, ()), *shorter_names))


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
        lines = read_lines(path, "list of image names")
        names = dict.fromkeys(_without_extension(line.strip()) for line in lines if line.strip())
        if not names:
            raise DataError(f"{path}: contains no image name; expected one per line")
        self._names = list(names)
        self._index = NameIndex(self._names)
        self._is_listed: dict[str, bool] = {}
        self._matched: set[int] = set()

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, image: str) -> bool:
        """Whether a listed name may be that of this image; see `may_be_same_image`."""
        if image not in self._is_listed:
            matches = self._index.find(image)
            self._matched.update(matches)
            self._is_listed[image] = bool(matches)
        return self._is_listed[image]

    @property
    def unmatched_names(self) -> list[str]:
        """The names, without extension, that matched no image looked up so far, in the file's order."""
        return [name for position, name in enumerate(self._names) if position not in self._matched]


def _without_extension(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("") if path.suffix.lower() in _EXTENSIONS else path)


def trailing_paths(name: str) -> Iterator[str]:
    """The name, then the name without its first folder, its first two, and so on."""
    while True:
        yield name
        _, slash, name = name.partition("/")
        if not slash:
            return
