"""The files of a made data set, written image by image.

Pictures are complete or absent, but for those that a power failure leaves empty; annotation files get their
final names when all of them are complete.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from lxmert.atomic_files import name_in_errors, write_atomic
from lxmert.scenes.image_ids import SPLITS
from lxmert.scenes.records import CATEGORIES, ImageRecords, to_json

_LICENSE: Final = {"name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}


@dataclass(frozen=True)
class _FileLayout:
    """The text around and between the records of an annotation file."""

    head: str
    separator: str
    tail: str
    before_first: str = "\n"
    with_images: bool = False
    """Whether the images' records, few and short, follow as a separate list."""


_JSON_LIST: Final = _FileLayout("[", ",\n", "\n]\n")
_JSON_OBJECT: Final = _FileLayout("{", ",\n", "\n}\n")
_JSON_LINES: Final = _FileLayout("", "\n", "\n", before_first="")


def _layouts(info: dict[str, str], split: str) -> dict[str, _FileLayout]:
    """The layouts of a split's annotation files, by the kind of their records."""
    coco = {"info": info, "licenses": [{"id": 1, **_LICENSE}]}
    vqa = {"data_type": "scenes", "data_subtype": split, "license": _LICENSE}

    def listed(head: dict[str, Any], name: str, *, with_images: bool = False) -> _FileLayout:
        tail = "\n]" if with_images else "\n]}\n"
        return _FileLayout(to_json(head)[:-1] + f',"{name}":[', ",\n", tail, with_images=with_images)

    return {
        "instances": listed({**coco, "categories": CATEGORIES}, "annotations", with_images=True),
        "captions": listed(coco, "annotations", with_images=True),
        "descriptions": listed(coco, "annotations", with_images=True),
        "vqa_questions": listed({"info": info, "task_type": "Open-Ended", **vqa}, "questions"),
        "vqa_annotations": listed({"info": info, **vqa}, "annotations"),
        "gqa_questions": _JSON_OBJECT,
        "gqa_choices": _JSON_OBJECT,
        "gqa_scene_graphs": _JSON_OBJECT,
        "nlvr2": _JSON_LINES,
        "vg_image_data": _JSON_LIST,
        "vg_region_descriptions": _JSON_LIST,
        "vg_question_answers": _JSON_LIST,
    }


def annotation_paths(folder: Path) -> dict[tuple[str, str], Path]:
    """The annotation files of a data set, by the kind of their records and the split."""
    paths = {}
    for split in SPLITS:
        for kind in _layouts({}, split):
            first, _, rest = kind.partition("_")
            name = f"{first}_{split}_{rest}.json" if rest else f"{kind}_{split}.json"
            paths[kind, split] = folder / "annotations" / name
    return paths


class DatasetWriter:
    """The files of all splits; annotations have temporary names until all are complete.

    Args:
        folder: The data set's directory, with its sub-directories.
        seed: Recorded in the files.
        version: The generator's version, recorded in the files.
    """

    def __init__(self, folder: Path, seed: int, version: int) -> None:
        self._folder = folder
        self._paths = annotation_paths(folder)
        info = {"description": f"made scenes, seed {seed}", "version": str(version)}
        self._layouts = {
            (kind, split): layout for split in SPLITS for kind, layout in _layouts(info, split).items()
        }
        self._streams: dict[tuple[str, str], IO[str]] = {}
        self._images: dict[str, list[str]] = {split: [] for split in SPLITS}
        self._empty_files = set(self._layouts)

    def __enter__(self) -> Self:
        for key, layout in self._layouts.items():
            with self._name_in_errors(key):
                self._streams[key] = open(self._partial(key), "w", encoding="utf-8", newline="\n")
                self._streams[key].write(layout.head)
        return self

    def _partial(self, key: tuple[str, str]) -> Path:
        return Path(f"{self._paths[key]}.partial")

    def _name_in_errors(self, key: tuple[str, str]) -> AbstractContextManager[None]:
        return name_in_errors(self._paths[key], self._partial(key))

    def write(self, records: ImageRecords) -> None:
        """Write one image and its records."""
        write_atomic(self._folder / records.path, records.png, synced=False)
        self._images[records.split].extend(records.lines["images"])
        for kind, split in self._layouts:
            if split == records.split:
                self._append(kind, split, records.lines[kind])

    def _append(self, kind: str, split: str, lines: Sequence[str]) -> None:
        if lines:
            layout = self._layouts[kind, split]
            start = layout.before_first if (kind, split) in self._empty_files else layout.separator
            self._empty_files.discard((kind, split))
            with self._name_in_errors((kind, split)):
                self._streams[kind, split].write(start + layout.separator.join(lines))

    def finish(self) -> None:
        """Complete all files and rename them to their final names."""
        for key, stream in self._streams.items():
            with self._name_in_errors(key):
                layout = self._layouts[key]
                if layout is not _JSON_LINES or key not in self._empty_files:
                    stream.write(layout.tail)
                if layout.with_images:
                    images = ",\n".join(self._images[key[1]])
                    stream.write(f',"images":[\n{images}\n]}}\n')
                stream.flush()
                os.fsync(stream.fileno())
                stream.close()
        for key, path in self._paths.items():
            os.replace(self._partial(key), path)

    def __exit__(self, *exception: object) -> None:
        for key, stream in self._streams.items():
            with suppress(OSError):  # Of a disk that is full: `finish` has closed them otherwise.
                stream.close()
            self._partial(key).unlink(missing_ok=True)
