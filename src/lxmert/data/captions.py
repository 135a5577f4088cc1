"""Reader of COCO's caption files.

Source: the COCO annotation format, a JSON object with
    images       [{id, file_name, ...}]
    annotations  [{id, image_id, caption}]
"""

from dataclasses import dataclass
from pathlib import Path

from lxmert.data.interning import gc_disabled
from lxmert.data.json_stream import stream_lists
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError


@dataclass(frozen=True, slots=True)
class Caption:
    """One sentence about one image.

    Attributes:
        image_id: The image's id.
        caption: The sentence as written.
        file_name: The image's file name in the captions file; None if it has none.
    """

    image_id: int
    caption: str
    file_name: str | None = None


@gc_disabled()
def read_captions(path: str | Path, *, progress: StartProgress = no_progress) -> list[Caption]:
    """Read a captions file, in its order.

    Raises:
        DataError: The file is missing or malformed, an image occurs twice, or a caption is about an image
            that the file does not list; the message names file and place.
    """
    names: dict[int, str | None] = {}
    captions: list[tuple[int, str]] = []
    for field, record in stream_lists(path, ("images", "annotations"), progress=progress):
        if field == "images":
            names[record.new_id("id", names)] = record.optional("file_name", str)
        elif field == "annotations":
            captions.append((record.get("image_id", int), record.sentence("caption")))
    for number, (image_id, _) in enumerate(captions):
        if image_id not in names:
            raise DataError(
                f"{path}: annotations[{number}].image_id {image_id} is not among the file's images"
            )
    return [Caption(image_id, caption, names[image_id]) for image_id, caption in captions]
