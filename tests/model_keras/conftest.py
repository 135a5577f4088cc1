"""Chooses the Keras backend before anything imports Keras; without Keras or the backend these tests skip."""

import os
from importlib.util import find_spec

import pytest

BACKEND = os.environ.setdefault("KERAS_BACKEND", os.environ.get("LXMERT_KERAS_BACKEND", "tensorflow"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if find_spec("keras") is None or find_spec(BACKEND) is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _seed_keras_random_numbers() -> None:
    import keras

    keras.utils.set_random_seed(0)
