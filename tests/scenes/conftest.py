"""Fixtures: a small generated dataset on disk, read with json alone, and GQA-style questions about scenes."""

import json
import random
from pathlib import Path

import pytest

from lxmert.scenes import Scene, SceneCounts, make_scene, make_scenes
from lxmert.scenes.gqa import GqaQuestion, GqaScene, generate_gqa_questions
from tests.scenes.english import Answerer

SPLITS = ("train", "val", "test")


class DatasetOnDisk:
    """The JSON files of a generated dataset."""

    def __init__(self, folder: Path, counts: SceneCounts) -> None:
        self.folder = folder
        self.counts = counts

    def read(self, name: str) -> dict:
        return json.loads(self.path(name).read_text())

    def path(self, name: str) -> Path:
        return self.folder / "annotations" / f"{name}.json"


@pytest.fixture(scope="session")
def dataset_on_disk(tmp_path_factory: pytest.TempPathFactory) -> DatasetOnDisk:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    return DatasetOnDisk(folder, make_scenes(folder, 60, 3, progress=False))


def answerer(scene: Scene, kind: type[Answerer] = Answerer) -> Answerer:
    """An `Answerer` of English questions about a scene, made from its COCO records."""
    shapes = ("circle", "square", "triangle", "star", "heart", "cross")
    height, width = scene.size_hw
    instances = []
    for thing in scene.objects:
        x1, y1, x2, y2 = thing.box_xyxy_px
        attributes = {"color": thing.color, "size": thing.size, "fill": thing.fill}
        instances.append(
            {
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "category_id": shapes.index(thing.shape),
                "attributes": attributes,
            }
        )
    return kind({"width": width, "height": height}, instances, dict(enumerate(shapes)))


AskedGqa = list[tuple[GqaScene, list[GqaQuestion]]]


@pytest.fixture(scope="session")
def asked_gqa() -> AskedGqa:
    """GQA-style questions about 200 scenes."""
    asked = []
    for k in range(200):
        scene = make_scene(random.Random(k))
        picture = GqaScene(scene, [str(700 + number) for number in range(len(scene.objects))])
        asked.append((picture, generate_gqa_questions(picture, random.Random(-k - 1))))
    return asked
