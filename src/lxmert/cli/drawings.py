"""Paths and writing of the drawings of verbs."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from lxmert.atomic_files import write_atomic
from lxmert.errors import InputError
from lxmert.faults import unwritable_fault

_MAX_STEM_LENGTH = 60
"""Characters of a picture's name used for its drawing; an address can be longer than a file name may be."""


def default_drawing_path(image: str, kind: str) -> Path:
    """Return the default path: IMAGE.KIND.png in the working folder."""
    return Path(f"{Path(image).stem[:_MAX_STEM_LENGTH] or 'picture'}.{kind}.png")


def validate_drawing_path(path: Path | None, image: str) -> Path | None:
    """Return the drawing's path, after checking before any work that it can be written.

    Raises:
        InputError: an extension that is not a picture format, the picture itself, a folder, or a place where
            nothing can be written.
    """
    from lxmert.vision.images import expand_user_path

    if path is None:
        return None
    try:
        _encode(Image.new("RGB", (1, 1)), path)
    except (KeyError, OSError, ValueError) as error:  # KeyError: a format that Pillow only reads.
        raise InputError(
            f"{path}: pictures cannot be saved with the extension {path.suffix!r}; use .png or .jpg"
        ) from error
    source = expand_user_path(image)
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path} is the picture itself; choose another file with --output")
    if fault := unwritable_fault(path):
        raise InputError(f"{fault}; choose another file with --output")
    return path


def save_drawing(drawing: Image.Image, path: Path) -> None:
    """Write a drawing, creating its folders; an existing file is replaced once the new one is complete.

    Raises:
        InputError: it cannot be written.
    """
    try:
        write_atomic(path, _encode(drawing, path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the drawing cannot be written ({error})") from error


def _encode(drawing: Image.Image, path: Path) -> bytes:
    encoded = BytesIO()
    encoded.name = path.name  # Pillow chooses the format by its extension.
    drawing.save(encoded)
    return encoded.getvalue()
