"""The embedded detector's card: it lists the run's metrics, recomputed here on part of the test split."""

import json
import math
from pathlib import Path

from lxmert.training.detection.recipe import DetectorRecipe
from lxmert.training.detection.saved_detector import evaluate_detector
from lxmert.training.included_recipes import included_recipes
from lxmert.vision.faster_rcnn.extractor import EMBEDDED_DETECTOR, detector_folder

FOLDER = Path(detector_folder(EMBEDDED_DETECTOR))
METRICS = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))["test"]
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_detector_card_lists_metrics_of_run() -> None:
    assert f"mAP@0.5 **{METRICS['map_50']:.2f} %**" in CARD
    assert f"attribute accuracy **{METRICS['attribute_accuracy']:.2f} %**" in CARD
    assert f"recall **{METRICS['recall_50']:.2f} %**" in CARD
    for name, precision in METRICS["average_precision_50"].items():
        assert f"| {name} | {precision:.2f} |" in CARD


def test_metrics_on_part_of_test_split_agree_with_detector_card(card_scenes: Path) -> None:
    steps: dict[str, list[tuple[int, int]]] = {}
    found = evaluate_detector(
        EMBEDDED_DETECTOR,
        card_scenes,
        progress=lambda what, total: lambda done: steps.setdefault(what, []).append((total, done)),
    ).to_dict()
    assert (found["split"], found["images"]) == ("test", 20)
    reading, evaluating = steps.values()
    assert reading == [(1, 1)]
    assert evaluating == [(20, 1)] * 20
    assert found["average_precision_50"].keys() == METRICS["average_precision_50"].keys()
    boxes = 5.5 * found["images"]  # in the mean of the data set
    for name in ("map_50", "attribute_accuracy", "recall_50"):
        share = METRICS[name] / 100
        error = math.sqrt(share * (1 - share) / boxes)
        assert abs(found[name] / 100 - share) < 4 * error, name


def test_recipe_of_embedded_detector_equals_shipped_recipe() -> None:
    stored = DetectorRecipe.from_yaml(FOLDER / "recipe.resolved.yaml")
    assert stored.differences(DetectorRecipe.from_yaml(included_recipes()["scenes_detector"])) == []


def test_embedded_detector_folder_is_below_3_mb() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3_000_000
