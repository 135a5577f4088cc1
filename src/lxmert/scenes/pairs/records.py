"""NLVR2's file: the examples of one image, paired with earlier images of its split.

Source of the format: the published files (Suhr et al. 2019, arXiv 1811.00491; lil-lab/nlvr), a JSON object a
line. An identifier is "<split>-<set>-<pair>-<sentence>"; a set is the image that the sentence was made for.
`left_url` and `right_url` are the pictures' paths in the data set's directory.
"""

import functools
import random
from collections.abc import Sequence
from typing import Any, Final

from lxmert.scenes.image_ids import earlier_images_of_split, image_id_of, image_path, split_of
from lxmert.scenes.object_descriptions import SceneView
from lxmert.scenes.pairs.selection import Group, choose_group
from lxmert.scenes.randomness import random_stream
from lxmert.scenes.world import make_scene

PARTNERS: Final = 20
"""Number of earlier images of the split that an image may be paired with."""
_DIRECTORIES: Final = 100
"""Number of folders of NLVR2's training images; parts of the training split consist of whole folders."""


def build_group(seed: int, index: int, rng: random.Random) -> tuple[Group | None, Sequence[int]]:
    """The sentence of an image with its pairs, and the images' indices to which the pairs refer."""
    indices = [index, *earlier_images_of_split(index, PARTNERS)]
    return choose_group([_view(seed, one) for one in indices], rng), indices


@functools.lru_cache(maxsize=512)
def _view(seed: int, index: int) -> SceneView:
    return SceneView(make_scene(random_stream(seed, index, "scene")))


def pair_records(group: Group, indices: Sequence[int]) -> list[dict[str, Any]]:
    """The examples of one image."""
    split, set_ = split_of(indices[0]), image_id_of(indices[0])
    records = []
    for number, pair in enumerate(group.pairs):
        label = str(pair.label)
        record: dict[str, Any] = {
            "validation": {"0": label},
            "sentence": group.statement.text,
            "left_url": image_path(indices[pair.left]),
            "writer": "0",
            "label": label,
            "right_url": image_path(indices[pair.right]),
            "synset": group.statement.kind,
            "query": f"{group.statement.kind} {set_}",
            "identifier": f"{split}-{set_}-{number}-0",
        }
        if split == "train":
            record["directory"] = set_ % _DIRECTORIES
        else:
            record["extra_validations"] = {}
        records.append(record)
    return records
