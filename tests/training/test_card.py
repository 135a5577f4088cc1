"""The embedded model does what its card says: the card's figures, recomputed on part of the test split."""

import json
import math
from pathlib import Path

import torch

from lxmert import LxmertForQuestionAnswering, LxmertProcessor
from lxmert.inference.models import embedded_model_folder
from lxmert.training.evaluation import evaluate_model

FOLDER = embedded_model_folder()
FIGURES = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_card_tells_the_figures_of_the_run() -> None:
    assert f"{FIGURES['test']['overall']:.2f} %" in CARD
    for family, accuracy in FIGURES["test"]["perQuestionType"].items():
        assert f"| {family} | {accuracy:.1f} |" in CARD
    assert "--seed 1" in CARD


def test_part_of_the_test_split_gives_the_figure_of_the_card(card_scenes: Path) -> None:
    model = LxmertForQuestionAnswering.from_pretrained(FOLDER, dtype=torch.float32)
    report = evaluate_model(model, LxmertProcessor.from_pretrained(FOLDER), card_scenes, "test")
    told = FIGURES["test"]["overall"] / 100
    error = math.sqrt(told * (1 - told) / (20 * 20))
    assert abs(report.accuracy / 100 - told) < 4 * error


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10_000_000
