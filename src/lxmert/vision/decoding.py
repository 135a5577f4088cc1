"""Pictures of strangers, decoded by Pillow within limits.

The size is checked in the header before a single pixel is decoded, a JPEG file that would go over its pixels
again and again is refused, no Pillow setting is changed, and only formats that Pillow decodes itself are
opened (EPS would start Ghostscript).
Two limits of size meet: that of the caller, which decides, and that of Pillow, which is a global setting. One
of the caller's above `MAX_IMAGE_PIXELS` also holds beyond Pillow's, except in formats whose readers ask for
Pillow's themselves.
"""

import contextlib
import math
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lxmert.errors import ImageError, first_line
from lxmert.vision.jpeg_scans import MOST_PARTS, MOST_SCANS, has_too_many_scans
from lxmert.vision.pixel_formats import to_rgb

_T = TypeVar("_T")

MAX_IMAGE_PIXELS = 89_478_485
"""Largest picture that is decoded: a quarter of a gigabyte as RGB, Pillow's own threshold of suspicion."""

_FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "ICO", "AVIF", "QOI", "HEIF"
)  # fmt: skip
_JPEG_FORMATS = ("JPEG", "MPO")
"""What Pillow calls JPEG files, those of several pictures too."""

_UPRIGHT = 1
"""The EXIF orientation of a picture that is stored as it is shown."""

_PREFIX_BYTES = 16
"""What Pillow's readers are shown of a file to tell whether it is theirs."""

_ONE_THREAD_AT_A_TIME = threading.Lock()
"""Silencing warnings is process-wide; two at once would leave a trace."""


def decode(file: Any, size_bytes: int, name: str, max_pixels: int) -> Image.Image:
    """The picture that an open file of so many bytes holds; see `upright_rgb`.

    Raises:
        ImageError: not an image, empty, broken, too slow to decode or too large.
    """
    if size_bytes == 0:
        raise ImageError(f"{name}: the file is empty (0 bytes); expected a picture such as JPEG or PNG")
    with _told(name, max_pixels, "broken"):
        # Pillow only warns about moderately large pictures; here the caller's limit decides instead.
        opened = _quietly(lambda: _open(file, max_pixels))
    if opened is None:
        raise ImageError(
            f"{name}: not an image, or not in a supported format (JPEG, PNG, GIF, BMP, WebP, TIFF and "
            "similar)"
        )
    with opened:
        if opened.format in _JPEG_FORMATS and has_too_many_scans(file):
            raise ImageError(
                f"{name}: too slow to decode: it has more than {MOST_SCANS} scans, or {MOST_PARTS:,} "
                "parts in total; save it again"
            )
        return upright_rgb(opened, name, max_pixels)


def upright_rgb(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    """A picture of Pillow's, decoded or not yet, as an upright RGB image of its own memory.

    Args:
        image: of any mode; left as it is.
        name: for errors.
        max_pixels: height times width above which it is refused.

    Raises:
        ImageError: without pixels, too large, truncated, broken, or of pixels that have no colours.
    """
    pixels = image.width * image.height
    if pixels == 0:
        raise ImageError(f"{name}: the image is {image.width}×{image.height} pixels; expected at least one")
    if pixels > max_pixels:
        raise _too_large(name, pixels, max_pixels, f"{image.width}×{image.height}, ")
    with _told(name, max_pixels, "truncated or broken", "; get the file again"):
        image.load()
    try:
        _quietly(image.getexif)
        upright = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # A damaged EXIF block says nothing about the pixels, which are sound.
        upright = image.copy()
    return to_rgb(upright, name)


def is_plain(image: Image.Image) -> bool:
    """Whether a picture of Pillow's is RGB, upright and opaque as it is."""
    if image.mode != "RGB" or "transparency" in image.info:
        return False
    try:
        return _quietly(image.getexif).get(ExifTags.Base.Orientation, _UPRIGHT) == _UPRIGHT
    except Exception:  # A damaged EXIF block says nothing of how the image lies.
        return True


def _open(file: Any, max_pixels: int) -> Image.Image | None:
    """`Image.open`, but within the limits as the module says; None for what is no image."""
    Image.init()  # Registers every plugin, so that only those present are asked for.
    formats = [known for known in _FORMATS if known in Image.OPEN]
    try:
        return Image.open(file, formats=formats)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        if max_pixels <= MAX_IMAGE_PIXELS or _pixels_of(error) > max_pixels:
            raise
    # What `Image.open` does, but for its limit.
    file.seek(0)
    prefix = file.read(_PREFIX_BYTES)
    for known in formats:
        read, accepts = Image.OPEN[known]
        accepted = accepts is None or accepts(prefix)
        if not accepted or isinstance(accepted, str):  # Text says what keeps a reader from a file of its own.
            continue
        file.seek(0)
        # Readers say so that a file of a like beginning is not theirs.
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
            return read(file, "")
    return None


@contextlib.contextmanager
def _told(name: str, max_pixels: int, state: str, advice: str = "") -> Iterator[None]:
    """What Pillow raises of a picture is raised as an `ImageError`: too large, or in this state."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise _too_large(name, _pixels_of(error), max_pixels) from error
    except MemoryError:  # Nothing is wrong with the image.
        raise
    except Exception as error:  # Parsers and decoders raise whatever they stumble over.
        raise ImageError(f"{name}: the image is {state} ({first_line(error)}){advice}") from error


def _pixels_of(error: Image.DecompressionBombError) -> float:
    """How many pixels Pillow found too many, which it tells in words alone; infinite where it does not."""
    found = re.search(r"\d+", str(error))
    return int(found.group()) if found else math.inf


def _too_large(name: str, pixels: float, max_pixels: int, size: str = "") -> ImageError:
    """The error of a picture over a limit: the given one, or Pillow's where it is not over the given one."""
    limit = max_pixels
    if pixels <= max_pixels and Image.MAX_IMAGE_PIXELS is not None:
        limit = 2 * Image.MAX_IMAGE_PIXELS
    count = "far too many" if math.isinf(pixels) else f"{pixels:,}"
    return ImageError(
        f"{name}: too large to decode safely ({size}{count} pixels; the limit is {limit:,}); shrink it"
    )


def _quietly(step: Callable[[], _T]) -> _T:
    with _ONE_THREAD_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return step()
