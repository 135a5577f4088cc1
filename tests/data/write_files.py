"""Writes the JSON files that the tests of the readers read."""

import json
from pathlib import Path
from typing import Any


def write(path: Path, value: Any) -> Path:
    """Write a value as JSON, or a text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, *records: Any) -> Path:
    """Write one record a line."""
    return write(path, "".join(json.dumps(record) + "\n" for record in records))
