"""Decoding of untrusted image files by Pillow, within limits.

The size is checked in the header before any pixel is decoded, a JPEG file that would update its pixels an
excessive number of times is rejected, no Pillow setting is changed, and only formats that Pillow decodes
itself are opened (EPS would start Ghostscript).
Two size limits apply: the caller's, which takes precedence, and Pillow's, which is a global setting. A limit
of the caller above `MAX_IMAGE_PIXELS` overrides Pillow's, except for formats whose readers enforce Pillow's
themselves.
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
from lxmert.vision.jpeg_scans import MAX_SCANS, MAX_SEGMENTS, has_too_many_scans
from lxmert.vision.pixel_formats import to_rgb

_T = TypeVar("_T")

MAX_IMAGE_PIXELS = 89_478_485
"""Default limit, above which Pillow warns by default: a quarter of a gigabyte as RGB."""

_FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "ICO", "AVIF", "QOI", "HEIF"
)  # fmt: skip
_JPEG_FORMATS = ("JPEG", "MPO")
"""Pillow's names for JPEG files; MPO files hold several images."""

_UPRIGHT = 1
"""The EXIF orientation of an image that is stored upright."""

_PREFIX_BYTES = 16
"""Length of the beginning of a file by which Pillow's readers recognise their format."""

_WARNING_FILTER_LOCK = threading.Lock()
"""Warning filters are process-wide; two threads that change them at once could leave them changed."""


def decode(file: Any, size_bytes: int, name: str, max_pixels: int) -> Image.Image:
    """Decode an open file as an upright RGB image; see `upright_rgb`.

    Args:
        file: open for reading in binary mode.
        size_bytes: its size.
        name: for errors.
        max_pixels: height times width above which the image is rejected.

    Raises:
        ImageError: not an image, empty, broken, too slow to decode or too large.
    """
    if size_bytes == 0:
        raise ImageError(f"{name}: the file is empty (0 bytes); expected a picture such as JPEG or PNG")
    with _translate_errors(name, max_pixels, "broken"):
        # Pillow only warns about moderately large pictures; here the caller's limit decides instead.
        opened = _ignore_warnings(lambda: _open(file, max_pixels))
    if opened is None:
        raise ImageError(
            f"{name}: not an image, or not in a supported format (JPEG, PNG, GIF, BMP, WebP, TIFF and "
            "similar)"
        )
    with opened:
        if opened.format in _JPEG_FORMATS and has_too_many_scans(file):
            raise ImageError(
                f"{name}: too slow to decode: it has more than {MAX_SCANS} scans, or {MAX_SEGMENTS:,} "
                "parts in total; save it again"
            )
        return upright_rgb(opened, name, max_pixels)


def upright_rgb(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    """Convert a Pillow image, decoded or not, to an upright RGB image with memory of its own.

    Args:
        image: of any mode; not modified.
        name: for errors.
        max_pixels: height times width above which it is rejected.

    Raises:
        ImageError: without pixels, too large, truncated, broken, or of a mode that has no colours.
    """
    pixels = image.width * image.height
    if pixels == 0:
        raise ImageError(f"{name}: the image is {image.width}×{image.height} pixels; expected at least one")
    if pixels > max_pixels:
        raise _too_large_error(name, pixels, max_pixels, f"{image.width}×{image.height}, ")
    with _translate_errors(name, max_pixels, "truncated or broken", "; get the file again"):
        image.load()
    try:
        _ignore_warnings(image.getexif)
        upright = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # A damaged EXIF block does not affect the pixels.
        upright = image.copy()
    return to_rgb(upright, name)


def is_upright_rgb(image: Image.Image) -> bool:
    """Whether a Pillow image is already RGB, upright and opaque."""
    if image.mode != "RGB" or "transparency" in image.info:
        return False
    try:
        return _ignore_warnings(image.getexif).get(ExifTags.Base.Orientation, _UPRIGHT) == _UPRIGHT
    except Exception:  # A damaged EXIF block gives no orientation.
        return True


def _open(file: Any, max_pixels: int) -> Image.Image | None:
    """Open an image as `Image.open` does, with the limits of this module; return None if it is not one."""
    Image.init()  # Registers every plugin, so that only available ones are requested.
    formats = [known for known in _FORMATS if known in Image.OPEN]
    try:
        return Image.open(file, formats=formats)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        if max_pixels <= MAX_IMAGE_PIXELS or _pixel_count(error) > max_pixels:
            raise
    # The steps of `Image.open` without its limit.
    file.seek(0)
    prefix = file.read(_PREFIX_BYTES)
    for known in formats:
        read, accepts = Image.OPEN[known]
        accepted = accepts is None or accepts(prefix)
        if not accepted or isinstance(accepted, str):  # Text is the reason why a reader cannot read the file.
            continue
        file.seek(0)
        # The errors by which readers reject a file of another format with a similar beginning.
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
            return read(file, "")
    return None


@contextlib.contextmanager
def _translate_errors(name: str, max_pixels: int, state: str, advice: str = "") -> Iterator[None]:
    """Turn any error of Pillow about an image into an `ImageError`: too large, or in the given state."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise _too_large_error(name, _pixel_count(error), max_pixels) from error
    except MemoryError:  # not the image's fault
        raise
    except Exception as error:  # Parsers and decoders raise errors of many types.
        raise ImageError(f"{name}: the image is {state} ({first_line(error)}){advice}") from error


def _pixel_count(error: Image.DecompressionBombError) -> float:
    """Parse the number of pixels from the message of Pillow's error; infinite if there is none."""
    found = re.search(r"\d+", str(error))
    return int(found.group()) if found else math.inf


def _too_large_error(name: str, pixels: float, max_pixels: int, size: str = "") -> ImageError:
    """Make the error for an image over the given limit, or over Pillow's if the given one is not exceeded."""
    limit = max_pixels
    if pixels <= max_pixels and Image.MAX_IMAGE_PIXELS is not None:
        limit = 2 * Image.MAX_IMAGE_PIXELS
    count = "far too many" if math.isinf(pixels) else f"{pixels:,}"
    return ImageError(
        f"{name}: too large to decode safely ({size}{count} pixels; the limit is {limit:,}); shrink it"
    )


def _ignore_warnings(step: Callable[[], _T]) -> _T:
    with _WARNING_FILTER_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return step()
