"""Paths and writing of the drawings of verbs."""

from pathlib import Path

from PIL import Image

from lxmert.errors import InputError

_MAX_STEM_LENGTH = 60
"""Characters of a picture's name used for its drawing; an address can be longer than a file name may be."""


def default_drawing_path(image: str, kind: str) -> Path:
    """Return the default path: IMAGE.KIND.png in the working folder."""
    return Path(f"{Path(image).stem[:_MAX_STEM_LENGTH] or 'picture'}.{kind}.png")


def validate_drawing_path(path: Path | None, image: str) -> Path | None:
    """Return the drawing's path, after checking before any work that it can be written.

    Raises:
        InputError: an extension that is not a picture format, or the picture itself.
    """
    from lxmert.vision.images import expand_user_path

    if path is None:
        return None
    # Pillow reads more formats than it writes.
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise InputError(
            f"{path}: pictures cannot be saved with the extension {path.suffix!r}; use .png or .jpg"
        )
    source = expand_user_path(image)
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path} is the picture itself; choose another file with --output")
    return path


def save_drawing(drawing: Image.Image, path: Path) -> None:
    """Write a drawing, creating its folders.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing.save(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the drawing cannot be written ({error})") from error
