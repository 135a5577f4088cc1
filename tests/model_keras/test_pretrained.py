"""What all Keras models share besides files: configuration, dummy inputs, lazy import."""

import sys

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import lxmert  # noqa: E402
from lxmert.errors import ConfigurationError  # noqa: E402
from tests.model.small import small_config  # noqa: E402
from tests.model_keras.model_classes import CLASSES, keras_class, scores  # noqa: E402


def test_model_copies_config_so_resizing_leaves_original_unchanged() -> None:
    config = small_config(l_layers=1, x_layers=1)
    model = lxmert.TFLxmertForQuestionAnswering(config)
    model.resize_token_embeddings(70)
    model.resize_num_qa_labels(3)
    assert (config.vocab_size, config.num_qa_labels) == (61, 9)
    assert model.lxmert.config is model.config
    assert (model.config.vocab_size, model.config.num_qa_labels) == (70, 3)


def test_dict_as_config_raises_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="expected an LxmertConfig"):
        lxmert.TFLxmertModel({"hidden_size": 24})


@pytest.mark.parametrize("kind", CLASSES)
def test_dummy_inputs_are_valid_batch_for_every_class(kind: str) -> None:
    model = keras_class(kind)(small_config(l_layers=1, x_layers=1, vocab_size=4, max_position_embeddings=2))
    pair = (2,) if kind == "ForVisualReasoning" else ()
    dummies = model.dummy_inputs
    assert dummies["visual_feats"].shape == (2, *pair, 10, 13)
    assert dummies["visual_pos"].shape == (2, *pair, 10, 4)
    assert np.isfinite(scores(model(dummies))).all()


def test_dummy_inputs_are_those_of_the_old_class() -> None:
    ids = lxmert.TFLxmertModel(small_config(l_layers=1, x_layers=1)).dummy_inputs["input_ids"]
    assert ids.tolist() == [[3, 5, 6], [3, 4, 6]]


def test_top_level_keras_names_are_lazily_imported() -> None:
    assert "TFLxmertModel" in dir(lxmert)
    assert lxmert.TFLxmertModel is sys.modules["lxmert.model_keras"].TFLxmertModel
