"""The images of a bulk extraction, and their names in the feature store."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from lxmert.data.image_names import image_stem
from lxmert.errors import DataError
from lxmert.vision.images import expand_user_path, is_url

_SNIFFED_BYTES = 1024
# First bytes of Netpbm files, some of which are text.
_NETPBM_SIGNATURES = tuple(f"P{kind}{end}".encode() for kind in range(1, 8) for end in " \t\r\n")
_FETCH_FIRST = "images are read from files, so download it first"


class NamingScheme(Enum):
    """How an image is named; if two would share a name, both get their relative path.

    FILE: its file name, `COCO_val2014_000000000042.jpg`.
    STEM: its file name without the extension, as in the original feature files.
    PATH: its path relative to the folder, or as in the list, with "/" on every system.
    """

    FILE = "file"
    STEM = "stem"
    PATH = "path"


@dataclass(frozen=True)
class NamedImage:
    """An image file and its name in the store.

    Attributes:
        name: its name, different from that of every other image of the list.
        path: the file.
        short_name: the name it would have if no other image shared it; None if it has that name.
    """

    name: str
    path: Path
    short_name: str | None = None


def list_images(
    source: Path, naming: NamingScheme = NamingScheme.FILE, exclude: Sequence[Path] = ()
) -> list[NamedImage]:
    """List everything that might be an image, in an order that does not change from run to run.

    Args:
        source: a folder, searched with all its sub-folders except for hidden files and folders; a text file
            with one path per line, relative to the current folder or else to that of the list, "~/" for the
            home; or one picture.
        naming: how images are named.
        exclude: folders inside `source` that are not searched, such as the store itself.

    Returns:
        Every file of the folder, whatever its extension: files that are not images are detected and reported
        when they are opened. Of a list, every distinct line.

    Raises:
        DataError: no such folder or list, nothing in it, an address, or a folder that cannot be searched.
    """
    # `Path` collapses the two slashes to one; a single letter is a drive.
    if re.match(r"\w{2,}:/[^/]", source.as_posix()):
        raise DataError(f"{source} is a URL; {_FETCH_FIRST}")
    if source.is_dir():
        entries = sorted(_walk_files(source, {path.resolve() for path in exclude}))
        nothing = f"{source}: the folder contains no file"
    elif source.is_file():
        entries = list(dict.fromkeys(_read_list(source)))
        nothing = f"{source}: the list contains no image"
    else:
        fault = "neither a file nor a folder" if source.exists() else "no such file or folder"
        raise DataError(
            f"{source}: {fault}; expected a folder of pictures, one picture, or a text file with one path "
            "per line"
        )
    if not entries:
        raise DataError(f"{nothing}; expected pictures")
    relative = [_decode_utf8(relative) for relative, _ in entries]
    short = relative if naming is NamingScheme.PATH else [_short_name(path, naming) for path in relative]
    names = _unique_names(short, relative)
    return [
        NamedImage(name, path, None if name == short_name else short_name)
        for name, short_name, (_, path) in zip(names, short, entries, strict=True)
    ]


def _decode_utf8(name: str) -> str:
    # Stores hold names in UTF-8. Under another locale, Python represents such bytes as surrogates.
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _short_name(path: str, naming: NamingScheme) -> str:
    return PurePosixPath(path).stem if naming is NamingScheme.STEM else PurePosixPath(path).name


def _unique_names(short: Sequence[str], relative: Sequence[str]) -> list[str]:
    counts = Counter(short)
    names = [name if counts[name] == 1 else path for name, path in zip(short, relative, strict=True)]
    # A stem may equal another image's path: "a.jpg.png" next to two files named "a.jpg".
    return names if len(set(names)) == len(names) else list(relative)


def _walk_files(folder: Path, exclude: set[Path]) -> Iterator[tuple[str, Path]]:
    """Yield relative and full paths; links to folders are followed, each folder once."""
    visited: set[tuple[int, int]] = set()
    for directory, folders, names in os.walk(folder, onerror=_raise_unreadable, followlinks=True):
        here = Path(directory)
        status = here.stat()
        if (status.st_dev, status.st_ino) in visited or here.resolve() in exclude:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                yield (here / name).relative_to(folder).as_posix(), here / name


def _raise_unreadable(error: OSError) -> None:
    # By default `os.walk` silently skips folders that it cannot read.
    raise DataError(f"{error.filename}: the folder cannot be read ({error.strerror})") from error


def _read_list(list_file: Path) -> Iterator[tuple[str, Path]]:
    try:
        content = list_file.read_bytes()
    except OSError as error:
        raise DataError(f"{list_file}: cannot be read ({error})") from error
    # A file with a picture's extension is not a list, even if it holds text, such as an error page.
    has_image_extension = image_stem(list_file.name) != list_file.name
    if has_image_extension or b"\0" in content[:_SNIFFED_BYTES] or content.startswith(_NETPBM_SIGNATURES):
        yield list_file.name, list_file
        return
    for number, line in enumerate(content.decode("utf-8-sig", "surrogateescape").splitlines(), start=1):
        if text := line.strip():
            if is_url(text):
                raise DataError(f"{list_file}: line {number} is a URL, {text}; {_FETCH_FIRST}")
            path = expand_user_path(text)
            from_list = list_file.parent / path
            try:
                yield path.as_posix(), from_list if not path.exists() and from_list.exists() else path
            except OSError as error:
                raise DataError(
                    f"{list_file}: line {number} is not a path ({error.strerror}); expected one path per line"
                ) from error
