"""Reader of attention files for GQA's grounding score.

Source: the GQA evaluator: a JSON list of {"questionId": str, "attention": rows of numbers}, the rows being
those of a square map of the image, or [x0, y0, x1, y1, attention] of objects with coordinates 0..1.
"""

from pathlib import Path

from lxmert.data.json_files import JsonRecord, describe, is_number
from lxmert.data.json_stream import stream_records
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError

Attention = tuple[tuple[float, ...], ...]


def read_gqa_attentions(path: str | Path, *, progress: StartProgress = no_progress) -> dict[str, Attention]:
    """Read an attention file, by question id; the last of several with the same id counts, as officially.

    Raises:
        DataError: The file is missing or malformed; the message names the place.
    """
    return {
        record.get("questionId", str): _attention(record)
        for record in stream_records(path, progress=progress)
    }


def _attention(record: JsonRecord) -> Attention:
    rows = record.get("attention", list)
    for row in rows:
        if not isinstance(row, list) or not all(map(is_number, row)):
            raise DataError(
                f"{record.path}: {record.at('attention')} contains {describe(row)}, expected lists of "
                "finite numbers"
            )
    return tuple(tuple(map(float, row)) for row in rows)
