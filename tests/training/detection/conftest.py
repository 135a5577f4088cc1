"""The recipe of a tiny detector on made scenes, for tests that really train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxmert.training.detection.recipe import DetectorRecipe

TINY: dict[str, Any] = {
    "stem_channels": 8,
    "res2_channels": 8,
    "width_per_group": 4,
    "stage_blocks": [1, 1, 0, 1],
    "feature_stage": "res3",
    "roi_dilation": 1,
    "pixel_mean_bgr": [128.0, 128.0, 128.0],
    "pixel_std_bgr": [64.0, 64.0, 64.0],
    "min_size_px": 96,
    "max_size_px": 128,
    "anchor_sizes_px": [12, 22],
    "anchor_ratios": [1.0],
    "proposal_channels": 8,
    "proposals_before_nms": 60,
    "max_proposals": 20,
    "pooling": "align",
    "pooling_resolution": 4,
    "detection_nms_thresholds": [0.3],
    "min_objects": 1,
    "max_objects": 12,
}


@pytest.fixture
def tiny_values(scenes_folder: Path) -> dict[str, Any]:
    """A recipe as plain values: 12 images in batches of 5, three steps an epoch."""
    return {
        "model": {"config": dict(TINY)},
        "data": {
            "directory": str(scenes_folder),
            "attribute_keys": ["size", "fill", "color"],
            "train_images": 12,
            "validation_images": 3,
            "test_split": None,
        },
        "losses": {"anchors": {"per_image": 32}, "rois": {"per_image": 12}},
        "augmentation": {"min_sizes_px": [80, 96]},
        "optimisation": {"epochs": 2, "batch_size": 5, "peak_learning_rate": 3e-3, "threads": 1},
        "saving": {"log_every_steps": 1},
    }


@pytest.fixture
def tiny_recipe(tiny_values: dict[str, Any]) -> Callable[..., DetectorRecipe]:
    """Makes the recipe; keyword arguments named after a section change values in it."""

    def make(**changes: dict[str, Any]) -> DetectorRecipe:
        for section, values in changes.items():
            tiny_values[section] = tiny_values.get(section, {}) | values
        return DetectorRecipe.from_dict(tiny_values)

    return make
