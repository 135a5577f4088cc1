"""How many scans a JPEG file has: each goes over all pixels anew, and a few bytes make one more.

A file of a megabyte can so keep a decoder busy for an hour. Source: ITU-T T.81, annex B.
"""

import re

MOST_SCANS = 100
"""Of a progressive picture; encoders make about ten."""

MOST_PARTS = 10_000
"""Scans, tables, comments and so on; a picture with long metadata has some hundreds."""

# Behind 0xFF none of these begins a part: they stand amid the data of a scan, or alone.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9


def has_too_many_scans(data: bytes) -> bool:
    """Whether the first picture of a JPEG file has more than `MOST_SCANS` scans, or `MOST_PARTS` parts.

    Args:
        data: the bytes of the file; what follows the picture, such as a film, is not looked at.
    """
    scans = place = 0
    for _ in range(MOST_PARTS):
        found = _MARKER.search(data, place)
        if found is None or found[1][0] == _END_OF_IMAGE:
            return False
        scans += found[1][0] == _START_OF_SCAN
        if scans > MOST_SCANS:
            return True
        # Each part begins with its length; the data of a scan follow behind.
        place = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    return True
