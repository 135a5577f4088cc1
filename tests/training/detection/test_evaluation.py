"""Scoring does not change a detector."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from lxmert.data.box_annotations import AnnotatedImage
from lxmert.training.detection.evaluation import score_detector
from tests.vision.faster_rcnn.random_detectors import random_detector


@pytest.mark.parametrize("is_trained", [True, False])
def test_scoring_does_not_change_norm_statistics_or_training_mode(tmp_path: Path, is_trained: bool) -> None:
    Image.effect_noise((64, 48), 60).convert("RGB").save(tmp_path / "noise.png")
    boxes, objects = torch.tensor([[4.0, 4.0, 40.0, 30.0]]), torch.tensor([0])
    images = [AnnotatedImage(1, tmp_path / "noise.png", (48, 64), boxes, objects, ((0,),))]
    model = random_detector(freeze_norms=False, freeze_at=0).train(is_trained)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    score_detector(model, images, 5)
    assert model.training == is_trained
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
