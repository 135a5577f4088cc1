"""`demonstrate`: shows the model's objects, given ones with their true names or detected ones."""

import json
from pathlib import Path

import pytest
from PIL import Image

from lxmert import LxmertPredictor
from lxmert.inference.demonstration import demonstrate
from lxmert.inference.models import embedded_model_folder
from lxmert.scenes import sample
from tests.small_checkpoints import write_small_model_with_detector, write_small_published_model


@pytest.fixture(scope="module")
def detecting_predictor(tmp_path_factory: pytest.TempPathFactory) -> LxmertPredictor:
    folder = tmp_path_factory.mktemp("demonstration") / "detecting"
    write_small_model_with_detector(folder)
    return LxmertPredictor.from_pretrained(folder, device="cpu")


def test_given_objects_are_labelled_with_scene_names(tmp_path: Path) -> None:
    folder = tmp_path / "given_boxes"
    write_small_published_model(folder, answers=36, features=48)
    (folder / "answers.json").write_bytes((embedded_model_folder() / "answers.json").read_bytes())
    extractor = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 4}}
    (folder / "processor_config.json").write_text(json.dumps({"extractor": extractor}))
    shown = demonstrate(LxmertPredictor.from_pretrained(folder, device="cpu"), seed=3, index=1, questions=2)
    _, scene, questions = sample(3, 1, questions=2)
    assert not shown.has_detected_objects
    assert shown.labels == tuple(f"{one.color} {one.shape}" for one in scene.objects)
    assert shown.regions.boxes_xyxy_px.equal(scene.boxes_xyxy_px())
    assert [one.question for one in shown.questions] == [question.text for question in questions]


def test_detected_objects_are_labelled_with_detector_names(
    detecting_predictor: LxmertPredictor, tmp_path: Path
) -> None:
    shown = demonstrate(detecting_predictor, seed=3, index=1, questions=1)
    assert shown.has_detected_objects
    assert (len(shown.regions), shown.scene_object_count) == (10, len(sample(3, 1, questions=1)[1].objects))
    assert shown.labels == detecting_predictor.names().describe(shown.regions)
    shown.write(tmp_path)
    with Image.open(tmp_path / "scene-3-1.answered.png") as drawn:
        assert min(drawn.size) > 100
    with Image.open(tmp_path / "scene-3-1.png") as plain:
        assert detecting_predictor.regions(plain).equals(shown.regions, tolerance=1e-5)
