"""Faults of the TensorFlow classes that `transformers` shipped up to 4.57, and what happens here instead."""

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lxmert.model_keras import TFLxmertForPreTraining, TFLxmertForQuestionAnswering, TFLxmertModel  # noqa: E402
from tests.model.small import inputs, small_config, targets  # noqa: E402
from tests.model_keras.paired_models import as_numpy, pair  # noqa: E402

CONFIG = small_config(l_layers=1, x_layers=1, r_layers=1)


@pytest.fixture(scope="module")
def model() -> TFLxmertForPreTraining:
    return TFLxmertForPreTraining(CONFIG)


def batch() -> Any:
    return as_numpy(inputs(CONFIG))


def loss_of(model: Any, **labels: Any) -> float:
    return float(keras.ops.convert_to_numpy(model(batch(), **labels).loss))


def test_visual_attention_mask_of_object_length_hides_padded_objects() -> None:
    model = TFLxmertModel(CONFIG)
    given = batch()  # 5 objects, 7 words; two objects of the last image are padding
    changed = {name: array.copy() for name, array in given.items()}
    changed["visual_feats"][2, 3:] = 1e3
    found, same = (keras.ops.convert_to_numpy(model(each).language_output) for each in (given, changed))
    np.testing.assert_allclose(found, same, atol=1e-6)
    changed["visual_feats"][2, 2] = 1e3
    assert abs(keras.ops.convert_to_numpy(model(changed).language_output) - found)[2].max() > 1e-4


def test_unlabelled_words_are_ignored_under_both_label_names(model: Any) -> None:
    labels = np.full((3, 7), -100)
    labels[0, 2], labels[1, 3] = 5, 8
    found = loss_of(model, masked_lm_labels=labels)
    assert np.isfinite(found)
    assert loss_of(model, labels=labels) == found
    assert loss_of(model, labels=np.where(labels < 0, -1, labels)) == found


def test_partial_obj_labels_are_accepted(model: Any) -> None:
    whole = as_numpy(targets(CONFIG))["obj_labels"]
    parts = [loss_of(model, obj_labels={task: pair}) for task, pair in whole.items()]
    assert loss_of(model, obj_labels=whole) == pytest.approx(sum(parts), rel=1e-5)
    assert len({round(part, 6) for part in parts}) == 3


def test_object_confidence_weighs_only_its_object(model: Any) -> None:
    classes = np.zeros((3, 5), np.int64)
    first, rest = np.zeros((3, 5), np.float32), np.ones((3, 5), np.float32)
    first[:, 0], rest[:, 0] = 1.0, 0.0
    by_weight = [
        loss_of(model, obj_labels={"obj": (classes, weight)}) for weight in (first, rest, first + rest)
    ]
    assert by_weight[0] + by_weight[1] == pytest.approx(by_weight[2], rel=1e-5)
    shares = by_weight[0] / by_weight[2]
    assert shares != pytest.approx(first.mean(), abs=1e-4)  # what a product of two means would give


def test_answers_may_be_one_hot(model: Any) -> None:
    one_hot = np.eye(9, dtype=np.float32)[[4, 0, 8]]
    assert np.isfinite(loss_of(model, ans=one_hot))
    assert loss_of(model, ans=one_hot) != loss_of(model, ans=np.array([4, 0, 8]))


def test_compiled_model_without_loss_uses_loss_of_call() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    given = batch() | as_numpy(targets(CONFIG))
    model.compile(optimizer="sgd", run_eagerly=True)
    own = float(keras.ops.convert_to_numpy(model(given).loss))
    labels = {name: given.pop(name) for name in ("labels", "obj_labels", "matched_label", "ans")}
    assert model.test_on_batch(given, labels) == pytest.approx(own, rel=1e-6)
    assert model.test_on_batch(given | labels) == pytest.approx(own, rel=1e-6)


def test_labels_work_in_mixed_precision() -> None:
    model = TFLxmertForPreTraining(CONFIG, dtype="mixed_bfloat16")
    loss = model(batch(), **as_numpy(targets(CONFIG))).loss
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert np.isfinite(keras.ops.convert_to_numpy(loss))


def test_fully_masked_text_gives_same_outputs_as_pytorch() -> None:
    ours, found = pair("LxmertModel", CONFIG)
    given = inputs(CONFIG)
    given["attention_mask"][1] = 0
    wanted = ours(**given).language_output.detach().numpy()
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found(as_numpy(given)).language_output), wanted, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16", "float16"])
def test_fully_masked_row_attends_uniformly_in_every_dtype(precision: str) -> None:
    model = TFLxmertModel(small_config(l_layers=1, x_layers=1, initializer_range=0.6), dtype=precision)
    given = batch()
    given["attention_mask"][1] = given["visual_attention_mask"][1] = 0
    found = model(given, output_attentions=True)
    for maps, keys in ((found.language_attentions, 7), (found.vision_attentions, 5)):
        weights = keras.ops.convert_to_numpy(keras.ops.cast(maps[0], "float32"))
        np.testing.assert_allclose(weights[1], 1 / keys, rtol=4e-3)
        assert weights[0].std() > 0.01


def test_output_attentions_false_overrides_config() -> None:
    config = small_config(l_layers=1, x_layers=1, r_layers=1, output_attentions=True)
    model = TFLxmertModel(config)
    assert len(model(batch()).language_attentions) == 1
    assert "language_attentions" not in model(batch(), output_attentions=False)


def test_there_is_a_class_for_question_answering() -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    assert model(batch()).question_answering_score.shape == (3, 9)
