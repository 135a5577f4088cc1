"""`skipped.jsonl` in a store: the images that the newest run could not add, and why.

Each run tries again what earlier ones skipped. Each of several writers has its own file, so that none waits
for another.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lxmert.data.feature_store.manifest import add_folder_to_errors

_RANK_0_FILE = "skipped.jsonl"


@dataclass(frozen=True)
class SkippedImage:
    """An image that is not in the store.

    Attributes:
        name: the name it would have there.
        source: its file, or its file and line.
        reason: one line.
    """

    name: str
    source: str
    reason: str

    def __str__(self) -> str:
        reason = " ".join(self.reason.split())
        return reason if reason.startswith(self.source) else f"{self.source}: {reason}"


class SkippedList:
    """The list of one run; written line by line, and absent while it is empty.

    Args:
        folder: the store's folder.
        rank: number of this writer.
        ranks: number of writers; rank 0 removes lists of higher ranks, left by an earlier run.
    """

    def __init__(self, folder: Path, rank: int = 0, ranks: int = 1) -> None:
        self._path = folder / (_RANK_0_FILE if rank == 0 else f"skipped-rank-{rank:05d}.jsonl")
        self._path.unlink(missing_ok=True)
        self.items: list[SkippedImage] = []
        if rank == 0:
            for path in folder.glob("skipped-rank-*.jsonl"):
                if int(path.stem.rpartition("-")[2]) >= ranks:
                    path.unlink(missing_ok=True)

    def add(self, item: SkippedImage) -> None:
        """Add an image to the list."""
        self.items.append(item)
        with add_folder_to_errors(self._path.parent), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(item), ensure_ascii=True) + "\n")

    @staticmethod
    def read(folder: Path) -> list[dict[str, Any]]:
        """The lists of all ranks of the newest run."""
        records = []
        for path in sorted(folder.glob("skipped*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):  # The last line of a killed run.
                    records.append(json.loads(line))
        return records
