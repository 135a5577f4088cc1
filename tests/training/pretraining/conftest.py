"""A small made data set with a feature store, and the recipe of a tiny model, for runs of seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert.data.coco import CocoImage, read_instances
from lxmert.data.feature_store import FeatureStoreWriter, StoreManifest
from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.vision.regions import Regions

FEATURES = 9
EXTRACTOR = "test/9"


def _regions(image: CocoImage, directions: torch.Tensor, generator: torch.Generator) -> Regions:
    """Features that tell the class, with a little noise; confidences between one half and one."""
    ids = image.category_ids % len(directions)
    count = len(ids)
    return Regions(
        boxes_xyxy_px=image.boxes_xyxy_px,
        features=directions[ids] + 0.1 * torch.randn(count, FEATURES, generator=generator),
        size_hw=image.size_hw,
        extractor=EXTRACTOR,
        object_ids=ids,
        object_scores=0.5 + 0.5 * torch.rand(count, generator=generator),
        attribute_ids=(ids * 2 + torch.arange(count)) % 5,
        attribute_scores=0.5 + 0.5 * torch.rand(count, generator=generator),
    )


@pytest.fixture(scope="session")
def store_folder(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "features"
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(7, FEATURES, generator=generator)
    with FeatureStoreWriter(folder, StoreManifest(FEATURES, "float32", EXTRACTOR)) as writer:
        for split in ("train", "val"):
            instances = read_instances(scenes_folder / f"annotations/instances_{split}.json")
            for image in instances.values():
                writer.add(image.file_name, _regions(image, directions, generator))
    return folder


def sources(split: str) -> dict[str, Any]:
    """Captions and questions of a split of made scenes."""
    name = {"split": split, "image_name": "scenes_{split}_{image_id:012d}"}
    return {
        "sources": [
            {"kind": "captions", "file": "annotations/captions_{split}.json", **name},
            {
                "kind": "vqa",
                "file": "annotations/vqa_{split}_questions.json",
                "annotations": "annotations/vqa_{split}_annotations.json",
                **name,
            },
        ]
    }


@pytest.fixture
def tiny_pretraining(scenes_folder: Path, store_folder: Path) -> dict[str, Any]:
    """A recipe as plain values; dropout is on, so that random numbers must be restored when resuming."""
    return {
        "model": {
            "vocabulary": "scenes",
            "config": {
                "hidden_size": 16,
                "num_attention_heads": 2,
                "intermediate_size": 32,
                "l_layers": 1,
                "x_layers": 1,
                "r_layers": 1,
                "initializer_range": 0.2,
                "max_position_embeddings": 32,
            },
        },
        "data": {
            "directory": str(scenes_folder),
            "features": str(store_folder),
            "train": sources("train"),
            "validation": sources("val"),
            "train_images": 9,
            "validation_images": 3,
            "answers": {"source": "scenes"},
        },
        "text": {"max_length": 32},
        "tasks": {"place_weight": 1.0},
        "optimisation": {
            "epochs": 2,
            "batch_size": 32,
            "peak_learning_rate": 3e-3,
            "threads": 1,
        },
        "evaluation": {"batch_size": 50},
        "saving": {"log_every_steps": 2},
    }


@pytest.fixture
def tiny_pretrain_recipe(tiny_pretraining: dict[str, Any]) -> Callable[..., PretrainRecipe]:
    """Makes the recipe; keyword arguments named after a section change values in it."""

    def make(**changes: dict[str, Any]) -> PretrainRecipe:
        values = tiny_pretraining | {
            section: tiny_pretraining.get(section, {}) | given for section, given in changes.items()
        }
        return PretrainRecipe.from_dict(values)

    return make
