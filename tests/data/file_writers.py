"""Writes the JSON files of the reader tests."""

import json
from pathlib import Path
from typing import Any


def write_file(path: Path, value: Any) -> Path:
    """Write a value as JSON, or a string as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def write_json_lines(path: Path, *records: Any) -> Path:
    """Write one JSON record per line."""
    return write_file(path, "".join(json.dumps(record) + "\n" for record in records))
