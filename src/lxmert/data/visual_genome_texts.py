"""Readers of Visual Genome's texts: phrases about regions, questions with answers, ids of COCO's images.

Source: the files published with Visual Genome (Krishna et al. 2017, arXiv 1602.07332), JSON lists of images:
    region_descriptions.json  [{id, regions: [{region_id, image_id, phrase, x, y, width, height}]}]
    question_answers.json     [{id, qas: [{qa_id, image_id, question, answer}]}]
    image_data.json           [{image_id, width, height, coco_id}]
The image's id is called `image_id` in version 1.0 of the first two, `id` later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lxmert.data.interning import StringInterner, gc_disabled
from lxmert.data.json_files import JsonRecord
from lxmert.data.json_stream import stream_records
from lxmert.data.progress import StartProgress, no_progress


@dataclass(frozen=True, slots=True)
class RegionPhrases:
    """The phrases that describe the regions of one image.

    Attributes:
        image_id: The image's id.
        phrases: One per region, as written.
    """

    image_id: int
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuestionAnswers:
    """The questions about one image.

    Attributes:
        image_id: The image's id.
        pairs: Question and answer, as written.
    """

    image_id: int
    pairs: tuple[tuple[str, str], ...]


@gc_disabled()
def read_region_phrases(path: str | Path, *, progress: StartProgress = no_progress) -> list[RegionPhrases]:
    """Read region_descriptions.json, one value per image, in the file's order.

    Raises:
        DataError: The file is missing or malformed, or an image occurs twice; the message names file and
            place.
    """
    intern = StringInterner()
    return [
        RegionPhrases(
            image_id, tuple(intern(region.sentence("phrase")) for region in record.records("regions"))
        )
        for image_id, record in _images(path, progress)
    ]


@gc_disabled()
def read_question_answers(
    path: str | Path, *, progress: StartProgress = no_progress
) -> list[QuestionAnswers]:
    """Read question_answers.json, one value per image, in the file's order.

    Raises:
        DataError: The file is missing or malformed, or an image occurs twice; the message names file and
            place.
    """
    intern = StringInterner()
    return [
        QuestionAnswers(
            image_id,
            tuple(
                (intern(question.sentence("question")), intern(question.get("answer", str)))
                for question in record.records("qas")
            ),
        )
        for image_id, record in _images(path, progress)
    ]


def read_coco_ids(path: str | Path) -> dict[int, int | None]:
    """Read image_data.json: the COCO id of each image, if any, by its id.

    Raises:
        DataError: The file is missing or malformed, or an image occurs twice.
    """
    return {image_id: record.optional("coco_id", int) for image_id, record in _images(path, no_progress)}


def _images(path: str | Path, progress: StartProgress) -> Iterator[tuple[int, JsonRecord]]:
    """Read the id and record of each image, refusing duplicate ids."""
    seen: set[int] = set()
    for record in stream_records(path, progress=progress):
        image_id = record.new_id("image_id" if "image_id" in record.value else "id", seen)
        seen.add(image_id)
        yield image_id, record
