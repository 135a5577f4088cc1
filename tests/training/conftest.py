"""A small data set of made scenes and the recipe of a tiny model, for tests that really train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxmert.scenes import make_scenes
from lxmert.training.recipe import FinetuneRecipe
from tests.training.interruption import interrupting


@pytest.fixture
def interrupt_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Interrupts the runs that follow before a step; -1 for none."""
    return interrupting(monkeypatch)


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    make_scenes(folder, 40, 5, progress=False)
    return folder


@pytest.fixture(scope="session")
def card_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of the data set on which the embedded models' cards rest.

    Image i of a seed does not depend on how many are made.
    """
    folder = tmp_path_factory.mktemp("card") / "data"
    make_scenes(folder, 200, 1, progress=False)
    return folder


@pytest.fixture
def tiny_values(scenes_folder: Path) -> dict[str, Any]:
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
                "hidden_dropout_prob": 0.1,
                "max_position_embeddings": 32,
            },
        },
        "data": {
            "directory": str(scenes_folder),
            "extractor": {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 2}},
            "answers": {"source": "scenes"},
            "train_images": 10,
            "validation_images": 3,
        },
        "optimisation": {
            "loss": "cross_entropy",
            "epochs": 2,
            "batch_size": 32,
            "peak_learning_rate": 3e-3,
            "threads": 1,
        },
        "saving": {"log_every_steps": 2},
    }


@pytest.fixture
def tiny_recipe(tiny_values: dict[str, Any]) -> Callable[..., FinetuneRecipe]:
    """Makes the recipe; keyword arguments named after a section change values in it."""

    def make(**changes: dict[str, Any]) -> FinetuneRecipe:
        for section, values in changes.items():
            tiny_values[section] = tiny_values.get(section, {}) | values
        return FinetuneRecipe.from_dict(tiny_values)

    return make
