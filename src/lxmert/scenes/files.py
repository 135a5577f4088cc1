"""The files of a made data set, written image by image.

Pictures are complete or absent; annotation files get their names when all of them are complete.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from lxmert.scenes.records import CATEGORIES, SPLITS, ImageRecords, to_json


def write_atomically(path: Path, content: bytes | dict[str, Any]) -> None:
    """Write a file that is there completely or not at all; a dictionary is written as JSON."""
    data = content if isinstance(content, bytes) else (json.dumps(content, indent=1) + "\n").encode()
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)


class DataSetFiles:
    """The files of all splits; annotations are written beside their final names until all are complete.

    Args:
        folder: The data set's directory, with its sub-directories.
        seed: Named in the files.
        version: The generator's version, named in the files.
    """

    _LISTS: Final = {
        "instances": ("images", "annotations"),
        "captions": ("images", "annotations"),
        "vqa_questions": ("questions",),
        "vqa_annotations": ("annotations",),
    }

    def __init__(self, folder: Path, seed: int, version: int) -> None:
        self._folder = folder
        self._info = {"description": f"made scenes, seed {seed}", "version": str(version)}
        self._streams: dict[tuple[str, str], IO[str]] = {}
        self._images: dict[str, list[str]] = {split: [] for split in SPLITS}
        self._empty: set[tuple[str, str]] = set()

    def _path(self, kind: str, split: str) -> Path:
        first, _, rest = kind.partition("_")
        name = f"{first}_{split}_{rest}.json" if rest else f"{kind}_{split}.json"
        return self._folder / "annotations" / name

    def _head(self, kind: str, split: str) -> dict[str, Any]:
        license_ = {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}
        if not kind.startswith("vqa"):
            categories = {"categories": CATEGORIES} if kind == "instances" else {}
            return {"info": self._info, "licenses": [license_], **categories}
        task = {"task_type": "Open-Ended"} if kind == "vqa_questions" else {}
        license_ = {key: license_[key] for key in ("name", "url")}
        return {"info": self._info, **task, "data_type": "scenes", "data_subtype": split, "license": license_}

    def __enter__(self) -> Self:
        for kind, lists in self._LISTS.items():
            for split in SPLITS:
                path = self._path(kind, split)
                stream = open(f"{path}.partial", "w", encoding="utf-8", newline="\n")
                self._streams[kind, split] = stream
                # The long list is written record by record; the images' list, short, follows at the end.
                stream.write(to_json(self._head(kind, split))[:-1] + f',"{lists[-1]}":[')
                self._empty.add((kind, split))
        return self

    def write(self, records: ImageRecords) -> None:
        """Write one image and its records."""
        write_atomically(self._folder / "images" / records.split / records.file_name, records.png)
        self._images[records.split].append(records.image)
        self._append("instances", records.split, records.instances)
        self._append("captions", records.split, records.captions)
        self._append("vqa_questions", records.split, records.questions)
        self._append("vqa_annotations", records.split, records.annotations)

    def _append(self, kind: str, split: str, lines: Sequence[str]) -> None:
        if lines:
            start = "\n" if (kind, split) in self._empty else ",\n"
            self._empty.discard((kind, split))
            self._streams[kind, split].write(start + ",\n".join(lines))

    def finish(self) -> None:
        """Complete all files and give them their names."""
        for (kind, split), stream in self._streams.items():
            images = ",\n".join(self._images[split]) if "images" in self._LISTS[kind] else None
            stream.write("\n]}\n" if images is None else f'\n],"images":[\n{images}\n]}}\n')
            stream.close()
        for kind, split in self._streams:
            path = self._path(kind, split)
            os.replace(f"{path}.partial", path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for (name, split), stream in self._streams.items():
            stream.close()
            Path(f"{self._path(name, split)}.partial").unlink(missing_ok=True)
