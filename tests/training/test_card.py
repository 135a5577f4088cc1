"""The embedded model does what its card says: the card's figures, recomputed on part of the test split."""

import json
import math
from pathlib import Path

import torch

from lxmert import LxmertForQuestionAnswering, LxmertProcessor
from lxmert.inference.models import embedded_model_folder
from lxmert.scenes import make_scenes
from lxmert.training.evaluation import evaluate_vqa

FOLDER = embedded_model_folder()
FIGURES = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
DATA_SEED = 1


def test_the_card_tells_the_figures_of_the_run() -> None:
    assert f"{FIGURES['test']['overall']:.2f} %" in CARD
    for family, accuracy in FIGURES["test"]["perQuestionType"].items():
        assert f"| {family} | {accuracy:.1f} |" in CARD
    assert f"--seed {DATA_SEED}" in CARD


def test_part_of_the_test_split_gives_the_figure_of_the_card(tmp_path: Path) -> None:
    # Image i of a seed does not depend on how many are made: these are the first of the split of the card.
    make_scenes(tmp_path / "scenes", 200, DATA_SEED, progress=False)
    model = LxmertForQuestionAnswering.from_pretrained(FOLDER, dtype=torch.float32)
    report = evaluate_vqa(model, LxmertProcessor.from_pretrained(FOLDER), tmp_path / "scenes", "test")
    told = FIGURES["test"]["overall"] / 100
    error = math.sqrt(told * (1 - told) / (20 * 20))
    assert abs(report.accuracy / 100 - told) < 4 * error


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10_000_000
