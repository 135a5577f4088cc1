"""The embedded model's card: it lists the run's metrics, recomputed here on part of the test split."""

import json
import math
from pathlib import Path

import torch

from lxmert import LxmertForQuestionAnswering, LxmertProcessor
from lxmert.inference.models import embedded_model_folder
from lxmert.training.evaluation import evaluate_model

FOLDER = embedded_model_folder()
METRICS = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_model_card_lists_metrics_of_run() -> None:
    assert f"{METRICS['test']['overall']:.2f} %" in CARD
    for family, accuracy in METRICS["test"]["perQuestionType"].items():
        assert f"| {family} | {accuracy:.1f} |" in CARD
    assert "--seed 1" in CARD


def test_accuracy_on_part_of_test_split_agrees_with_model_card(card_scenes: Path) -> None:
    model = LxmertForQuestionAnswering.from_pretrained(FOLDER, dtype=torch.float32)
    report = evaluate_model(model, LxmertProcessor.from_pretrained(FOLDER), card_scenes, "test")
    expected = METRICS["test"]["overall"] / 100
    error = math.sqrt(expected * (1 - expected) / (20 * 20))
    assert abs(report.accuracy / 100 - expected) < 4 * error


def test_embedded_model_folder_is_below_10_mb() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10_000_000
