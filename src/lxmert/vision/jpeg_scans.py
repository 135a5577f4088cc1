"""A limit on the scans of a JPEG file: each updates all pixels, and a few bytes add one more.

A file of a megabyte can thus keep a decoder busy for an hour. Source: ITU-T T.81, annex B.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

MAX_SCANS = 100
"""Of a progressive picture; encoders write about ten."""

MAX_SEGMENTS = 10_000
"""Scans, tables, comments and so on; a picture with long metadata has some hundreds."""

_CHUNK_BYTES = 2**14

# The bytes excluded after 0xFF do not begin a part: they occur within the data of a scan, or alone.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9


def has_too_many_scans(file: BinaryIO) -> bool:
    """Whether the first picture of a JPEG file has more than `MAX_SCANS` scans, or `MAX_SEGMENTS` parts.

    Args:
        file: open for reading; data after the picture, such as a film, is not read.
    """
    scans = 0
    for number, marker_code in enumerate(_marker_codes(file)):
        if marker_code == _END_OF_IMAGE:
            return False
        scans += marker_code == _START_OF_SCAN
        if scans > MAX_SCANS or number == MAX_SEGMENTS:
            return True
    return False


def _marker_codes(file: BinaryIO) -> Iterator[int]:
    file.seek(0)
    before = b""  # A marker may span two chunks.
    while chunk := file.read(_CHUNK_BYTES):
        data = before + chunk
        marker = _MARKER.search(data)
        if marker is None:
            before = data[-1:]
            continue
        yield marker[1][0]
        # Each part begins with its length; the data of a scan follows it.
        start = file.tell() - len(data) + marker.end()
        file.seek(start)
        file.seek(start + max(2, int.from_bytes(file.read(2), "big")))
        before = b""
