"""Generated images, and image files with misleading headers."""

import struct
import zlib

import numpy as np
from PIL import Image


def noise_image(height: int, width: int, seed: int = 0) -> Image.Image:
    """Independent random pixels."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def smooth_image(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth random colours: unlike noise images, they differ in the features of a network."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def png_header_only(width: int, height: int) -> bytes:
    """A PNG whose header declares a size and whose pixel data are a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
