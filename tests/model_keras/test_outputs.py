"""The output classes: dictionary, attribute and tuple access, Keras trees, copies, pickles."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lxmert import model, model_keras  # noqa: E402
from lxmert.model_keras import TFLxmertForPreTraining, TFLxmertForPreTrainingOutput  # noqa: E402
from tests.model.small import inputs, small_config  # noqa: E402
from tests.model_keras.paired_models import as_numpy  # noqa: E402

KINDS = ["ModelOutput", "ForPreTrainingOutput", "ForQuestionAnsweringOutput", "ForVisualReasoningOutput"]


def output() -> TFLxmertForPreTrainingOutput:
    return TFLxmertForPreTrainingOutput(
        prediction_logits=np.arange(3.0),
        language_hidden_states=(np.ones(2), np.zeros(2)),
        losses={"qa": np.array(1.0)},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_fields_and_their_order_are_those_of_pytorch(kind: str) -> None:
    ours, found = getattr(model, f"Lxmert{kind}"), getattr(model_keras, f"TFLxmert{kind}")
    assert [field.name for field in dataclasses.fields(found)] == [
        field.name for field in dataclasses.fields(ours)
    ]


def test_output_field_is_accessible_by_key_attribute_and_index() -> None:
    found = output()
    assert list(found) == ["prediction_logits", "language_hidden_states", "losses"]
    assert found.loss is None
    assert "loss" not in found
    assert found["prediction_logits"] is found.prediction_logits is found[0] is found.to_tuple()[0]
    assert len(found[:2]) == 2
    assert len(found) == 3
    assert found.to_tuple() == (found.prediction_logits, found.language_hidden_states)  # as in PyTorch
    found.losses = {}
    assert found["losses"] == {}
    found["losses"] = None
    assert found.losses is None


def test_trees_copies_and_pickles_keep_the_class() -> None:
    doubled = keras.tree.map_structure(lambda leaf: 2 * leaf, output())
    assert isinstance(doubled, TFLxmertForPreTrainingOutput)
    np.testing.assert_array_equal(doubled.prediction_logits, [0.0, 2.0, 4.0])
    assert doubled.losses["qa"] == 2.0
    for same in (copy.copy(output()), copy.deepcopy(output()), pickle.loads(pickle.dumps(output()))):  # noqa: S301
        assert isinstance(same, TFLxmertForPreTrainingOutput)
        np.testing.assert_array_equal(same.prediction_logits, output().prediction_logits)


def test_output_flags_default_to_config_and_call_overrides_them() -> None:
    config = small_config(l_layers=2, x_layers=1, r_layers=1, output_hidden_states=True)
    config.return_dict = False
    keras_model = TFLxmertForPreTraining(config)
    batch = as_numpy(inputs(config))
    plain = keras_model(batch)
    assert isinstance(plain, tuple)
    assert [len(states) for states in plain[3:]] == [3, 2]
    named = keras_model(batch, return_dict=True, output_hidden_states=False, output_attentions=True)
    assert list(named)[3:] == ["language_attentions", "vision_attentions", "cross_encoder_attentions"]
    assert named.cross_encoder_attentions[0].shape == (3, 3, 7, 5)


def test_settings_of_the_old_class_are_read_and_set_in_the_configuration() -> None:
    keras_model = TFLxmertForPreTraining(small_config(l_layers=1, x_layers=1))
    assert (keras_model.task_matched, keras_model.visual_loss_normalizer) == (True, 6.67)
    keras_model.task_matched = False
    keras_model.num_qa_labels = 4
    assert (keras_model.config.task_matched, keras_model.config.num_qa_labels) == (False, 4)
