"""Writing a made data set to disk in the formats of the real data sets, for the same readers.

scenes.json                                    seed and counts; written last, so without it nothing is valid
images/{split}/scenes_{split}_{image_id:012d}.png
annotations/instances_{split}.json             COCO instances, with "attributes"
annotations/captions_{split}.json              COCO captions
annotations/descriptions_{split}.json          the same format: every object with its place, in one sentence
annotations/vqa_{split}_questions.json         VQA v2 questions
annotations/vqa_{split}_annotations.json       VQA v2 annotations, with "program"
annotations/gqa_{split}_questions.json         GQA questions, balanced ones and others that they entail
annotations/gqa_{split}_choices.json           their valid and plausible answers
annotations/gqa_{split}_scene_graphs.json      GQA scene graphs; object ids are those of the instances
annotations/nlvr2_{split}.json                 NLVR2 examples, a line each, about two pictures of the split
annotations/vg_{split}_image_data.json         Visual Genome images,
annotations/vg_{split}_region_descriptions.json  phrases about their regions,
annotations/vg_{split}_question_answers.json   and questions with free answers
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from lxmert.atomic_files import final_path, write_atomic
from lxmert.errors import InputError
from lxmert.faults import is_int_in_range
from lxmert.locks import lock_folder
from lxmert.scenes.counts import SceneCounts
from lxmert.scenes.dataset_files import DatasetWriter, annotation_paths
from lxmert.scenes.generation import generate
from lxmert.scenes.image_ids import SPLITS
from lxmert.scenes.records import QUESTIONS_PER_IMAGE, ImageRecords

FORMAT: Final = "lxmert-scenes"
GENERATOR_VERSION: Final = 2
"""Incremented whenever the same seed results in other bytes of a file than before."""
SUMMARY_FILE: Final = "scenes.json"
UNFINISHED_FILE: Final = "scenes.unfinished.json"
QUESTIONS_PER_IMAGE_MAX: Final = 100
IMAGES_MAX: Final = 10**9


def make_scenes(
    directory: str | Path,
    images: int,
    seed: int,
    *,
    questions_per_image: int = QUESTIONS_PER_IMAGE,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> SceneCounts:
    """Make a data set of pictures, captions, questions and sentences about pairs of pictures.

    The bytes depend on the seed and the questions per image; image i does not depend on the number of images.

    Args:
        directory: New, empty, or with a made data set of the same numbers, finished or not.
        images: Number of images, 1 or more; of every ten, eight train, one val, one test.
        seed: Identifies the world, 0 or more.
        questions_per_image: VQA questions, 1 to 100; the other formats have fixed numbers.
        workers: Number of drawing processes; 1 draws in this process. Does not change the result.
        overwrite: Replace a made data set of other numbers; features extracted from its pictures stay.
        progress: Whether to show a progress bar on the standard error stream.

    Raises:
        InputError: A number is out of range, or the directory holds something else, such as a data set of
            other numbers.
        DataError: Another process is writing to the directory.
    """
    folder = Path(directory)
    _check_range("images", images, 1, IMAGES_MAX)
    _check_range("seed", seed, 0, 2**63 - 1)
    _check_range("questions_per_image", questions_per_image, 1, QUESTIONS_PER_IMAGE_MAX)
    _check_range("workers", workers, 1, 1024)
    arguments = {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "images": images,
        "questions_per_image": questions_per_image,
    }
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, expected a folder for the scenes; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    counts = SceneCounts()
    with lock_folder(folder):
        _prepare_directory(folder, arguments, overwrite=overwrite)
        with (
            closing(generate(seed, images, questions_per_image, workers)) as generated,
            DatasetWriter(folder, seed, GENERATOR_VERSION) as files,
        ):
            for records in _with_progress(generated, images, progress):
                files.write(records)
                counts.add(records)
            files.finish()
        _remove_stale_files(folder, images)
        _write_json(folder / SUMMARY_FILE, _summary(arguments, counts))
        (folder / UNFINISHED_FILE).unlink()
    return counts


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not is_int_in_range(value, low, high):
        raise InputError(f"{name} is {value!r}, expected a whole number from {low} to {high}")


def _prepare_directory(folder: Path, arguments: dict[str, int], *, overwrite: bool) -> None:
    """Take over the directory, mark it unfinished, and empty it of other scenes."""
    unfinished = folder / UNFINISHED_FILE
    # A kill may leave a part of the mark, which is written first.
    present = sorted(name for name in os.listdir(folder) if final_path(folder / name) != unfinished)
    held = _read_arguments(folder / SUMMARY_FILE) or _read_arguments(unfinished)
    if present and held is None:
        raise InputError(
            f"{folder} is not empty and contains no generated scenes (it has {present[0]!r}); choose a "
            "new or empty folder"
        )
    differences = [
        f"{name} {held.get(name)}, not {value}"
        for name, value in arguments.items()
        if held is not None and held.get(name) != value
    ]
    if held is not None and differences:
        if not overwrite:
            raise InputError(
                f"{folder} contains other generated scenes ({', '.join(differences)}); use --overwrite to "
                "replace them, after which features of their pictures no longer fit, or choose another folder"
            )
        # Pictures never exist beside annotations of others, not even after a kill.
        _mark_unfinished(folder, held)
        _remove_scenes(folder)
    _mark_unfinished(folder, {"format": FORMAT, **arguments})
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)


def _mark_unfinished(folder: Path, arguments: dict[str, Any]) -> None:
    _write_json(folder / UNFINISHED_FILE, arguments)
    (folder / SUMMARY_FILE).unlink(missing_ok=True)


def _remove_scenes(folder: Path) -> None:
    for path in annotation_paths(folder).values():
        path.unlink(missing_ok=True)
    _remove_stale_files(folder, 0)


def _read_arguments(path: Path) -> dict[str, Any] | None:
    """Return the contents of a file that describes a made data set; None if it is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("format") == FORMAT else None


def _summary(arguments: dict[str, int], counts: SceneCounts) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **arguments,
        "splits": {split: vars(counted) for split, counted in counts.splits.items()},
        "families": {
            name: dict(sorted(answers.items())) for name, answers in sorted(counts.families.items())
        },
        "blind_accuracy": round(counts.blind_accuracy, 4),
        "gqa_guesses": {
            name: dict(sorted(guesses.items())) for name, guesses in sorted(counts.gqa_guesses.items())
        },
        "gqa_blind_accuracy": round(counts.gqa_blind_accuracy, 4),
        "nlvr2_blind_accuracy": {
            known: round(share, 4) for known, share in counts.nlvr2_blind_accuracy.items()
        },
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(content, indent=1) + "\n")


def _remove_stale_files(folder: Path, images: int) -> None:
    """Remove pictures of an earlier, larger data set in the same directory, and what a kill has left."""
    for path in folder.glob("scenes*.json.*.partial"):
        path.unlink()
    for split in SPLITS:
        for path in (folder / "images" / split).glob(f"scenes_{split}_*.png*"):
            number = path.name.split(".")[0].rsplit("_", 1)[-1]
            if path.suffix == ".partial" or (number.isdigit() and int(number) > images):
                path.unlink()


def _with_progress(generated: Iterable[ImageRecords], images: int, progress: bool) -> Iterator[ImageRecords]:
    """Pass the records through, under a progress bar."""
    if not progress:
        yield from generated
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("generating scenes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=images)
        for records in generated:
            yield records
            bar.advance(task)
