"""Readers of GQA's other files: possible answers, and scene graphs.

Source: the published files, JSON objects, boxes in pixels:
    choices       question id -> {valid: [answer], plausible: [answer]}
    scene graphs  image id -> {width, height, objects: {id: object}}, where an object is
                  {name, x, y, w, h, attributes: [str], relations: [{name, object: id}]}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lxmert.data.gqa import keyed_records, reject_duplicates
from lxmert.data.interning import StringInterner, gc_disabled
from lxmert.data.json_files import JsonRecord
from lxmert.data.json_stream import stream_records
from lxmert.data.progress import StartProgress, no_progress


@dataclass(frozen=True, slots=True)
class GqaChoices:
    """Possible answers to a question.

    Attributes:
        valid: Answers that fit the question, such as all colours for one that asks for a colour.
        plausible: Those of them that occur with the object asked about.
    """

    valid: tuple[str, ...]
    plausible: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GqaObject:
    """One object of a scene graph.

    Attributes:
        name: Its name; empty if the file does not say.
        box_xywh_px: Left, top, width and height in pixels.
        attributes: Its attributes.
        relations: Name and object id of each of its relations.
    """

    name: str
    box_xywh_px: tuple[float, float, float, float]
    attributes: tuple[str, ...] = ()
    relations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class GqaSceneGraph:
    """The scene graph of one image.

    Attributes:
        size_hw: Height and width of the image in pixels.
        objects: The objects by their ids.
    """

    size_hw: tuple[int, int]
    objects: Mapping[str, GqaObject]


@gc_disabled()
def read_gqa_choices(path: str | Path, *, progress: StartProgress = no_progress) -> dict[str, GqaChoices]:
    """Read a choices file, or all in a folder, by question id.

    Raises:
        DataError: A file is missing or malformed, or a question id occurs twice.
    """
    intern = StringInterner()
    return {
        record.location: GqaChoices(
            intern.interned_tuple(record.strings("valid")), intern.interned_tuple(record.strings("plausible"))
        )
        for record in reject_duplicates(keyed_records(path, progress), "question")
    }


@gc_disabled()
def read_scene_graphs(path: str | Path, *, progress: StartProgress = no_progress) -> dict[str, GqaSceneGraph]:
    """Read a scene graphs file by image id.

    Raises:
        DataError: The file is missing or malformed, or an image id occurs twice.
    """
    intern = StringInterner()
    graphs: dict[str, GqaSceneGraph] = {}
    for record in reject_duplicates(stream_records(path, keyed=True, progress=progress), "image"):
        objects = record.record("objects")
        graphs[record.location] = GqaSceneGraph(
            (record.integer("height", minimum=1), record.integer("width", minimum=1)),
            {intern(key): _object(objects.record(key), intern) for key in objects.value},
        )
    return graphs


def _object(record: JsonRecord, intern: StringInterner) -> GqaObject:
    left, top, width, height = (record.number(key) for key in ("x", "y", "w", "h"))
    return GqaObject(
        intern(record.optional("name", str) or ""),
        (left, top, width, height),
        intern.interned_tuple(record.strings("attributes")) if record.value.get("attributes") else (),
        tuple(
            (intern(relation.get("name", str)), intern(relation.get("object", str)))
            for relation in (record.records("relations") if record.value.get("relations") else ())
        ),
    )
