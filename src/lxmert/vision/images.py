"""Any reasonable picture -> an RGB `PIL.Image`, safely.

The camera's EXIF orientation is honoured; transparent pixels are laid on white; 16-bit pictures are
scaled to 8 bits (Pillow alone would clip them); CMYK, palette and grey become RGB; of an animation the
first frame is taken. The size is checked in the header before a single pixel is decoded, no Pillow
setting is changed, and only formats that Pillow decodes itself are opened (EPS would start Ghostscript).
Addresses are fetched within limits of time and size; who takes sources from strangers must not let them name
addresses (or paths) that only this machine may see.

Shapes: H height, W width of the image in pixels.
"""

import io
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lxmert.downloads import fetch_bytes
from lxmert.errors import DownloadError, ImageError

_T = TypeVar("_T")

ImageSource = str | Path | bytes | Image.Image | np.ndarray | Tensor
"""A path, an http(s) address, the bytes of a file, a Pillow image, an array (H, W), (H, W, 3) or (H, W, 4) of
uint8 (uint16 for grey), or a tensor (3, H, W), (1, H, W) or (4, H, W) of uint8 or of floats in 0..1."""

MAX_IMAGE_PIXELS = 89_478_485
"""Largest picture that is decoded: a quarter of a gigabyte as RGB, Pillow's own threshold of suspicion."""

MAX_IMAGE_BYTES = 64 * 2**20
"""Largest file that is fetched from the net; photographs rarely have a tenth of it."""

_FORMATS = (
    "JPEG",
    "PNG",
    "GIF",
    "BMP",
    "DIB",
    "WEBP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "ICO",
    "AVIF",
    "QOI",
    "HEIF",
)
_LARGEST_16_BIT = 65_535
_ONE_THREAD_AT_A_TIME = (
    threading.Lock()
)  # Silencing warnings is process-wide; two at once would leave a trace.


def load_image(source: ImageSource, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Read one picture.

    Args:
        source: see `ImageSource`; a `PIL.Image` of any mode is copied, never changed.
        max_pixels: height times width above which the picture is refused.

    Returns:
        An RGB image of its own memory, upright.

    Raises:
        ImageError: not an image, truncated, empty, missing, a folder, out of reach, too large, or an array
            whose shape, dtype or values are not those of a picture.
    """
    if isinstance(source, np.ndarray):
        return _upright_rgb(_from_array(source, "image array"), "image array", max_pixels)
    if isinstance(source, Tensor):
        return _upright_rgb(_from_tensor(source), "image tensor", max_pixels)
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


def as_image_list(images: Any) -> list[Any]:
    """One image or several -> a list of images; a (B, ...) array or tensor of four dimensions is B images.

    Raises:
        ImageError: an empty list.
    """
    if isinstance(images, (np.ndarray, Tensor)):
        found = list(images) if images.ndim == 4 else [images]
    elif isinstance(images, Sequence) and not isinstance(images, (str, bytes, bytearray, memoryview)):
        found = list(images)
    else:
        found = [images]
    if not found:
        raise ImageError("the list of images is empty; give at least one image")
    return found


def _read(source: str | Path, max_pixels: int) -> Image.Image:
    name = str(source)
    if not name.strip():
        raise ImageError("the name of the image is empty; give the path or address of a picture")
    if is_address(name):
        return _fetch(name, max_pixels)
    path = Path(source).expanduser()
    try:
        if not path.exists():
            raise ImageError(f"{name}: no such image file")
        if path.is_dir():
            raise ImageError(f"{name}: a folder, not an image file; give the path of one picture")
        with path.open("rb") as file:
            return _decode(file, path.stat().st_size, name, max_pixels)
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: cannot be read ({_one_line(error)})") from error


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
        opened = _quietly(lambda: Image.open(file, formats=formats))
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image, or of a format that is not read ({_listed()})") from error
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise _too_large(name, int(pixels.group()) if pixels else None, max_pixels) from error
    except Exception as error:  # Parsers of broken headers raise whatever they stumble over.
        raise ImageError(f"{name}: the image is broken ({_one_line(error)})") from error
    with opened:
        return _upright_rgb(opened, name, max_pixels)


def _upright_rgb(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    pixels = image.width * image.height
    if pixels == 0:
        raise ImageError(f"{name}: the image is {image.width}×{image.height} pixels; expected at least one")
    if pixels > max_pixels:
        raise _too_large(name, pixels, max_pixels, f"{image.width}×{image.height}, ")
    try:
        image.load()
    except Image.DecompressionBombError as error:
        raise _too_large(name, None, max_pixels) from error
    except Exception as error:  # Decoders raise whatever they stumble over.
        raise ImageError(
            f"{name}: the image is truncated or broken ({_one_line(error)}); get the file again"
        ) from error
    try:
        _quietly(image.getexif)
        upright = ImageOps.exif_transpose(image)
    except Exception:  # A damaged EXIF block says nothing about the pixels, which are sound.
        upright = image.copy()
    return _to_rgb(upright, name)


def _quietly(step: Callable[[], _T]) -> _T:
    with _ONE_THREAD_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return step()


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):
        image = _from_sixteen_bit(np.asarray(image), name)
    elif image.mode == "F":
        image = Image.fromarray(_bytes_of_unit(np.asarray(image), name))
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    try:
        if not transparent:
            return image.convert("RGB")
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    except ValueError as error:
        raise ImageError(f"{name}: pixels of mode {image.mode} cannot become RGB; save it as RGB") from error


def _from_sixteen_bit(values: np.ndarray, name: str) -> Image.Image:
    # Pillow's 32-bit mode "I" has no range of its own; it is met where a 16-bit file was opened.
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _LARGEST_16_BIT:
        raise ImageError(f"{name}: integer pixels reach from {low} to {high}; expected 16 bits, 0..65535")
    return Image.fromarray(np.round(values.astype(np.float32) * (255.0 / _LARGEST_16_BIT)).astype(np.uint8))


def _bytes_of_unit(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ImageError(f"{name}: pixels hold NaN or infinity; expected floats in 0..1")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageError(
            f"{name}: float pixels reach from {low:g} to {high:g}; expected 0..1 (or uint8 for 0..255)"
        )
    return np.round(values * 255.0).astype(np.uint8)


def _from_array(values: np.ndarray, name: str) -> Image.Image:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))) or values.size == 0:
        raise ImageError(
            f"{name} has shape {values.shape}; expected (height, width, 3 or 4) or (height, width)"
        )
    if values.dtype == np.uint16 and values.ndim == 2:
        return _from_sixteen_bit(values, name)
    if values.dtype != np.uint8:
        raise ImageError(f"{name} has dtype {values.dtype}; expected uint8, red green blue, 0..255")
    return Image.fromarray(np.ascontiguousarray(values))


def _from_tensor(values: Tensor) -> Image.Image:
    if values.ndim != 3 or values.shape[0] not in (1, 3, 4) or values.numel() == 0:
        raise ImageError(f"image tensor has shape {tuple(values.shape)}; expected (3, height, width)")
    array = values.detach().cpu().permute(1, 2, 0)
    if array.is_floating_point():
        return _from_array(_bytes_of_unit(array.to(torch.float32).numpy(), "image tensor"), "image tensor")
    if array.dtype != torch.uint8:
        raise ImageError(f"image tensor has dtype {array.dtype}; expected uint8, or floats in 0..1")
    return _from_array(array.numpy(), "image tensor")


def _too_large(name: str, pixels: int | None, max_pixels: int, size: str = "") -> ImageError:
    count = f"{pixels:,} pixels" if pixels is not None else "far too many pixels"
    return ImageError(
        f"{name}: too large to decode safely ({size}{count}; the limit is {max_pixels:,}); shrink it"
    )


def _listed() -> str:
    return "JPEG, PNG, GIF, BMP, WebP, TIFF and similar are"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
