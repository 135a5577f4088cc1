"""Any reasonable picture -> an RGB `PIL.Image`, safely.

The camera's EXIF orientation is honoured; transparent pixels are laid on white; 16-bit pictures are
scaled to 8 bits (Pillow alone would clip them); CMYK, palette and grey become RGB; of an animation the
first frame is taken. The size is checked in the header before a single pixel is decoded, a JPEG file that
would go over its pixels again and again is refused, no Pillow setting is changed, and only formats that
Pillow decodes itself are opened (EPS would start Ghostscript).
Addresses are fetched within limits of time and size; who takes sources from strangers must not let them name
addresses (or paths) that only this machine may see.

Shapes: H height, W width of the image in pixels.
"""

import contextlib
import io
import os
import re
import struct
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lxmert.downloads import fetch_bytes
from lxmert.errors import DownloadError, ImageError, first_line
from lxmert.vision.jpeg_scans import MOST_PARTS, MOST_SCANS, has_too_many_scans
from lxmert.vision.pixel_formats import from_array, from_tensor, to_rgb

_T = TypeVar("_T")

ImageSource = str | Path | bytes | Image.Image | np.ndarray | Tensor
"""A path, an http(s) address, the bytes of a file, a Pillow image, an array (H, W), (H, W, 3) or (H, W, 4) of
uint8 (uint16 for grey), or a tensor (3, H, W), (1, H, W) or (4, H, W) of uint8 or of floats in 0..1."""

MAX_IMAGE_PIXELS = 89_478_485
"""Largest picture that is decoded: a quarter of a gigabyte as RGB, Pillow's own threshold of suspicion."""

MAX_IMAGE_BYTES = 64 * 2**20
"""Largest file that is fetched from the net; photographs rarely have a tenth of it."""

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


def load_image(source: ImageSource, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Read one picture.

    Args:
        source: see `ImageSource`; a `PIL.Image` of any mode is copied, never changed.
        max_pixels: height times width above which the picture is refused. A limit above the default holds
            also beyond Pillow's own, twice `PIL.Image.MAX_IMAGE_PIXELS`, except in TIFF, WebP and ICO files,
            whose readers ask for that one themselves.

    Returns:
        An RGB image of its own memory, upright.

    Raises:
        ImageError: not an image, truncated, empty, missing, a folder, pipe or device, out of reach, too
            large, too slow to decode, or an array whose shape, dtype or values are not those of a picture.
    """
    if isinstance(source, np.ndarray):
        return _upright_rgb(from_array(source, "image array"), "image array", max_pixels)
    if isinstance(source, Tensor):
        return _upright_rgb(from_tensor(source), "image tensor", max_pixels)
    if isinstance(source, Image.Image):
        return _upright_rgb(source, f"PIL image ({source.mode})", max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        return _decode(io.BytesIO(data), len(data), f"image of {len(data)} bytes", max_pixels)
    if isinstance(source, (str, Path)):
        return _read(source, max_pixels)
    raise ImageError(
        f"an image cannot be a {type(source).__name__}; give a path, bytes, a PIL image, a uint8 array "
        f"(height, width, 3) or a tensor (3, height, width)"
    )


def as_rgb(image: ImageSource) -> Image.Image:
    """The image itself where it is RGB, upright, opaque and in memory; else what `load_image` makes of it.

    Raises:
        ImageError: see `load_image`.
    """
    return image if type(image) is Image.Image and _is_plain(image) else load_image(image)


def load_images(sources: Sequence[ImageSource]) -> list[Image.Image]:
    """Read several pictures; an error says which one it was.

    Raises:
        ImageError: see `load_image`.
    """
    loaded = []
    for index, source in enumerate(sources):
        try:
            loaded.append(load_image(source))
        except ImageError as error:
            if len(sources) == 1:
                raise
            raise ImageError(f"image {index} of {len(sources)}: {error}") from error
    return loaded


def is_address(source: str) -> bool:
    """Whether a text is an address, of any scheme, rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def typed_path(text: str | Path) -> Path:
    """The path that a person means: "~/…" and "~user/…" lie in a home, where something is there.

    Not where the very name is there: files and folders may begin with "~" too.
    """
    path = Path(text)
    if len(path.parts) < 2 or not path.parts[0].startswith("~") or os.path.lexists(path):
        return path
    try:
        home = path.expanduser()
    except RuntimeError:  # There is no such user.
        return path
    return home if os.path.lexists(home) else path


def as_image_list(images: Any) -> list[Any]:
    """One image or several -> a list of images; a (B, ...) array or tensor of four dimensions is B images.

    Raises:
        ImageError: an empty list.
    """
    found = _listed(images)
    if not found:
        raise ImageError("the list of images is empty; give at least one image")
    return found


def as_rgb_list(images: ImageSource | Sequence[ImageSource]) -> list[Image.Image]:
    """`as_rgb` of each of the images, of which there may be one alone or none.

    Raises:
        ImageError: see `load_image`.
    """
    return [as_rgb(image) for image in _listed(images)]


def _listed(images: Any) -> list[Any]:
    # The rows of an array or the letters of a path must not be taken for images.
    if isinstance(images, (np.ndarray, Tensor)):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Sequence) and not isinstance(images, (str, bytes, bytearray, memoryview)):
        return list(images)
    return [images]


def _read(source: str | Path, max_pixels: int) -> Image.Image:
    name = str(source)
    if not name.strip():
        raise ImageError("the name of the image is empty; give the path or address of a picture")
    if is_address(name):
        return _fetch(name, max_pixels)
    path = typed_path(source)
    try:
        if not path.exists():
            raise ImageError(f"{name}: no such image file")
        if path.is_dir():
            raise ImageError(f"{name}: a folder, not an image file; give the path of one picture")
        if not path.is_file():  # To open a pipe is to wait until something writes to it.
            raise ImageError(f"{name}: neither a file nor a link to one (a pipe, a socket, a device)")
        with path.open("rb") as file:
            return _decode(file, path.stat().st_size, name, max_pixels)
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: cannot be read ({first_line(error)})") from error


def _fetch(url: str, max_pixels: int) -> Image.Image:
    try:
        data = fetch_bytes(url, max_bytes=MAX_IMAGE_BYTES, wanted_type="image")
    except DownloadError as error:
        raise ImageError(str(error)) from error
    return _decode(io.BytesIO(data), len(data), url, max_pixels)


def _decode(file: Any, size_bytes: int, name: str, max_pixels: int) -> Image.Image:
    if size_bytes == 0:
        raise ImageError(f"{name}: the file is empty (0 bytes); expected a picture such as JPEG or PNG")
    Image.init()  # Registers every plugin, so that only those present are asked for.
    formats = [known for known in _FORMATS if known in Image.OPEN]
    try:
        # Pillow only warns about moderately large pictures; here the limit below decides instead.
        opened = _quietly(lambda: _open(file, formats, max_pixels))
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not an image, or of a format that is not read (JPEG, PNG, GIF, BMP, WebP, TIFF and "
            "similar are)"
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, _pixels_of(error), max_pixels) from error
    except MemoryError:  # Nothing is wrong with the image.
        raise
    except Exception as error:  # Parsers of broken headers raise whatever they stumble over.
        raise ImageError(f"{name}: the image is broken ({first_line(error)})") from error
    with opened:
        if opened.format in _JPEG_FORMATS and has_too_many_scans(file):
            raise ImageError(
                f"{name}: too slow to decode, it has more than {MOST_SCANS} scans, or {MOST_PARTS:,} parts "
                "in all; save it anew"
            )
        return _upright_rgb(opened, name, max_pixels)


def _open(file: Any, formats: list[str], max_pixels: int) -> Image.Image:
    """`Image.open`, but a `max_pixels` that was raised also holds beyond Pillow's own limit.

    That limit is a global setting, which is not ours to change.
    """
    try:
        return Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        pixels = _pixels_of(error)
        if max_pixels <= MAX_IMAGE_PIXELS or pixels is None or pixels > max_pixels:
            raise
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
    raise UnidentifiedImageError("no reader takes it")


def _upright_rgb(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    pixels = image.width * image.height
    if pixels == 0:
        raise ImageError(f"{name}: the image is {image.width}×{image.height} pixels; expected at least one")
    if pixels > max_pixels:
        raise _too_large(name, pixels, max_pixels, f"{image.width}×{image.height}, ")
    try:
        image.load()
    except Image.DecompressionBombError as error:
        raise _too_large(name, _pixels_of(error), max_pixels) from error
    except MemoryError:  # Nothing is wrong with the image.
        raise
    except Exception as error:  # Decoders raise whatever they stumble over.
        raise ImageError(
            f"{name}: the image is truncated or broken ({first_line(error)}); get the file again"
        ) from error
    try:
        _quietly(image.getexif)
        upright = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # A damaged EXIF block says nothing about the pixels, which are sound.
        upright = image.copy()
    return to_rgb(upright, name)


def _is_plain(image: Image.Image) -> bool:
    if image.mode != "RGB" or "transparency" in image.info:
        return False
    try:
        return _quietly(image.getexif).get(ExifTags.Base.Orientation, _UPRIGHT) == _UPRIGHT
    except Exception:  # A damaged EXIF block says nothing of how the image lies.
        return True


def _quietly(step: Callable[[], _T]) -> _T:
    with _ONE_THREAD_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return step()


def _pixels_of(error: Image.DecompressionBombError) -> int | None:
    """How many pixels Pillow found too many."""
    found = re.search(r"\d+", str(error))
    return int(found.group()) if found else None


def _too_large(name: str, pixels: int | None, max_pixels: int, size: str = "") -> ImageError:
    """The error of a picture over a limit: the given one, or Pillow's where it is not over the given one."""
    limit = max_pixels
    if pixels is not None and pixels <= max_pixels and Image.MAX_IMAGE_PIXELS is not None:
        limit = 2 * Image.MAX_IMAGE_PIXELS
    count = f"{pixels:,} pixels" if pixels is not None else "far too many pixels"
    return ImageError(
        f"{name}: too large to decode safely ({size}{count}; the limit is {limit:,}); shrink it"
    )
