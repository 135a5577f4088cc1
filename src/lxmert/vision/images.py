"""Safe loading of images from any common source as RGB `PIL.Image`.

The camera's EXIF orientation is applied; transparent pixels are composited over white; 16-bit images are
scaled to 8 bits (Pillow alone would clip them); CMYK, palette and grey images become RGB; the first frame of
an animation is used. `vision.decoding` describes how untrusted files are decoded.
URLs are fetched within limits of time and size; a program that accepts sources from untrusted users must not
accept URLs or paths that only its own machine can reach.

Shapes: H height, W width of the image in pixels.
"""

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from lxmert.downloads import fetch_bytes
from lxmert.errors import DownloadError, ImageError, first_line
from lxmert.vision.decoding import MAX_IMAGE_PIXELS, decode, is_upright_rgb, upright_rgb
from lxmert.vision.pixel_formats import from_array, from_tensor

ImageSource = str | Path | bytes | Image.Image | np.ndarray | Tensor
"""A path, an http(s) URL, the bytes of a file, a Pillow image, an array (H, W), (H, W, 3) or (H, W, 4) of
uint8 (uint16 for grey), or a tensor (3, H, W), (1, H, W) or (4, H, W) of uint8 or of floats in 0..1."""

MAX_IMAGE_BYTES = 64 * 2**20
"""Largest file that is fetched from a URL; photographs are rarely a tenth of it."""


def load_image(source: ImageSource, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Load one image.

    Args:
        source: see `ImageSource`; a `PIL.Image` of any mode is copied, never changed.
        max_pixels: height times width above which the image is rejected. A limit above the default also
            overrides Pillow's own, twice `PIL.Image.MAX_IMAGE_PIXELS`, except for TIFF, WebP and ICO files,
            whose readers enforce that one themselves.

    Returns:
        An upright RGB image that shares no memory with the source.

    Raises:
        ImageError: not an image, truncated, empty, missing, a folder, pipe or device, unreachable, too
            large, too slow to decode, or an array whose shape, dtype or values are not those of an image.
    """
    if isinstance(source, np.ndarray):
        return upright_rgb(from_array(source, "image array"), "image array", max_pixels)
    if isinstance(source, Tensor):
        return upright_rgb(from_tensor(source), "image tensor", max_pixels)
    if isinstance(source, Image.Image):
        return upright_rgb(source, f"PIL image ({source.mode})", max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        return decode(io.BytesIO(data), len(data), f"image of {len(data)} bytes", max_pixels)
    if isinstance(source, (str, Path)):
        return _load_path_or_url(source, max_pixels)
    raise ImageError(
        f"an image cannot be a {type(source).__name__}; pass a path, bytes, a PIL image, a uint8 array "
        "(height, width, 3) or a tensor (3, height, width)"
    )


def as_rgb(image: ImageSource) -> Image.Image:
    """Return the image itself if it is an upright, opaque RGB image of Pillow; otherwise load it.

    Raises:
        ImageError: see `load_image`.
    """
    return image if type(image) is Image.Image and is_upright_rgb(image) else load_image(image)


def load_images(sources: Sequence[ImageSource]) -> list[Image.Image]:
    """Load several images; an error states the index of the faulty one.

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


def is_url(source: str) -> bool:
    """Whether a text is a URL, of any scheme, rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def expand_user_path(text: str | Path) -> Path:
    """Expand "~/…" and "~user/…" to a path in the home directory, if it exists there.

    A path that exists as written is not expanded: names of files and folders may begin with "~" too.
    """
    path = Path(text)
    if len(path.parts) < 2 or not path.parts[0].startswith("~") or os.path.lexists(path):
        return path
    try:
        home = path.expanduser()
    except RuntimeError:  # no such user
        return path
    return home if os.path.lexists(home) else path


def as_image_list(images: Any) -> list[Any]:
    """Return one image or several as a list; an array or tensor of four dimensions, (B, ...), is B images.

    Raises:
        ImageError: an empty list.
    """
    found = _as_list(images)
    if not found:
        raise ImageError("the list of images is empty; pass at least one image")
    return found


def as_rgb_list(images: ImageSource | Sequence[ImageSource]) -> list[Image.Image]:
    """Apply `as_rgb` to one image or each of several; an empty list is allowed.

    Raises:
        ImageError: see `load_image`.
    """
    return [as_rgb(image) for image in _as_list(images)]


def _as_list(images: Any) -> list[Any]:
    # The rows of an array and the letters of a path are not images.
    if isinstance(images, (np.ndarray, Tensor)):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Sequence) and not isinstance(images, (str, bytes, bytearray, memoryview)):
        return list(images)
    return [images]


def _load_path_or_url(source: str | Path, max_pixels: int) -> Image.Image:
    name = str(source)
    if not name.strip():
        raise ImageError("the name of the image is empty; pass the path or URL of a picture")
    if is_url(name):
        return _load_url(name, max_pixels)
    path = expand_user_path(source)
    try:
        if not path.exists():
            raise ImageError(f"{name}: no such image file")
        if path.is_dir():
            raise ImageError(f"{name}: a folder, not an image file; pass the path of one picture")
        if not path.is_file():  # Opening a pipe would block until something writes to it.
            raise ImageError(f"{name}: neither a file nor a link to one (a pipe, a socket, a device)")
        with path.open("rb") as file:
            return decode(file, path.stat().st_size, name, max_pixels)
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: cannot be read ({first_line(error)})") from error


def _load_url(url: str, max_pixels: int) -> Image.Image:
    try:
        data = fetch_bytes(url, max_bytes=MAX_IMAGE_BYTES, expected_type="image")
    except DownloadError as error:
        raise ImageError(str(error)) from error
    return decode(io.BytesIO(data), len(data), url, max_pixels)
