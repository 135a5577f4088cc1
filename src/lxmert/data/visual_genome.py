"""Reader of Visual Genome's objects and attributes.

Source: the files published with Visual Genome (Krishna et al. 2017, arXiv 1602.07332), version 1.2 or later,
boxes in pixels:
    objects.json     [{image_id, objects: [{object_id, names, x, y, w, h}]}]
    attributes.json  [{image_id, attributes: [{object_id, attributes: [str]}]}]
    image_data.json  [{image_id, width, height}]
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch

from lxmert.data.box_annotations import NamedBoxes, normalise_words
from lxmert.data.interning import StringInterner, gc_disabled
from lxmert.data.json_files import JsonRecord
from lxmert.data.json_stream import stream_records
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.text_lines import read_lines
from lxmert.errors import DataError


@gc_disabled()
def read_visual_genome_boxes(
    objects_path: str | Path,
    attributes_path: str | Path | None,
    sizes_path: str | Path,
    *,
    image_ids: Collection[int] | None = None,
    file_name: Callable[[int], str] = "{}.jpg".format,
    progress: StartProgress = no_progress,
) -> list[NamedBoxes]:
    """Read Visual Genome's boxes.

    Args:
        objects_path: objects.json.
        attributes_path: attributes.json, matched by object id; None for boxes without attributes.
        sizes_path: image_data.json, which has the images' sizes.
        image_ids: ids of the images to read; None for all.
        file_name: from an image's id to its file.
        progress: shows how much of each file has been read.

    Returns:
        One value per image read of objects.json, in its order. An object's class is its first name. A box
        is clipped to its image; it is left out if nothing remains, or if it has no name.

    Raises:
        DataError: a file is missing or malformed, an image occurs twice, or has no size or, if chosen, no
            objects.
    """
    chosen = None if image_ids is None else set(image_ids)
    intern = StringInterner()
    attributes = (
        {} if attributes_path is None else _read_attributes(attributes_path, chosen, intern, progress)
    )
    sizes = _read_sizes(sizes_path, progress)
    images: dict[int, NamedBoxes] = {}
    for record in stream_records(objects_path, progress=progress):
        image_id = record.new_id("image_id", images)
        if chosen is None or image_id in chosen:
            images[image_id] = _named_boxes(record, attributes, sizes, file_name, intern)
    if chosen is not None and (missing := chosen - images.keys()):
        raise DataError(
            f"{objects_path}: has no objects for {len(missing)} of the {len(chosen)} selected images, "
            f"such as image {min(missing)}"
        )
    return list(images.values())


def read_image_ids(path: str | Path) -> list[int]:
    """Read a file of image ids, one per line.

    Raises:
        DataError: the file cannot be read, or a line is not a number.
    """
    lines = read_lines(path, "list of image ids")
    for number, line in enumerate(lines):
        if not line.strip().isdecimal():
            raise DataError(f"{path}: line {number + 1} is {line!r}, expected the id of an image")
    return [int(line) for line in lines]


def _read_attributes(
    path: str | Path, wanted_ids: Collection[int] | None, intern: StringInterner, progress: StartProgress
) -> dict[int, tuple[str, ...]]:
    """Attributes by object id; those of several records of an object are joined."""
    attributes: dict[int, tuple[str, ...]] = {}
    for image in stream_records(path, progress=progress):
        if wanted_ids is not None and image.get("image_id", int) not in wanted_ids:
            continue
        for obj in image.records("attributes"):
            object_id = obj.get("object_id", int)
            words = () if obj.value.get("attributes") is None else obj.strings("attributes")
            unique = dict.fromkeys((*attributes.get(object_id, ()), *normalise_words(words)))
            attributes[object_id] = intern.interned_tuple(tuple(unique))
    return attributes


def _read_sizes(path: str | Path, progress: StartProgress) -> dict[int, tuple[int, int]]:
    """Height and width in pixels by image id."""
    sizes: dict[int, tuple[int, int]] = {}
    for image in stream_records(path, progress=progress):
        size_hw = (image.integer("height", minimum=1), image.integer("width", minimum=1))
        sizes[image.new_id("image_id", sizes)] = size_hw
    return sizes


def _named_boxes(
    image: JsonRecord,
    attributes: Mapping[int, tuple[str, ...]],
    sizes: Mapping[int, tuple[int, int]],
    file_name: Callable[[int], str],
    intern: StringInterner,
) -> NamedBoxes:
    image_id = image.get("image_id", int)
    if image_id not in sizes:
        raise DataError(f"{image.path}: {image.at('image_id')} {image_id} has no size in the image data")
    height, width = sizes[image_id]
    boxes, names, box_attributes = [], [], []
    for obj in image.records("objects"):
        x, y, w, h = (obj.number(key) for key in ("x", "y", "w", "h"))
        box = (max(x, 0), max(y, 0), min(x + w, width), min(y + h, height))
        object_names = normalise_words(obj.strings("names"))
        if object_names and box[2] > box[0] and box[3] > box[1]:
            boxes.append(box)
            names.append(intern(object_names[0]))
            box_attributes.append(attributes.get(obj.get("object_id", int), ()))
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return NamedBoxes(
        image_id, file_name(image_id), (height, width), tensor, tuple(names), tuple(box_attributes)
    )
