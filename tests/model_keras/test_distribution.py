"""Training under `tf.distribute`: the same losses and weights as on one device."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPARISON = """
import keras
import numpy as np
import tensorflow as tf

from lxmert import TFLxmertForQuestionAnswering
from tests.model.small import small_config
from tests.model_keras.model_classes import batch

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
config = small_config(l_layers=1, x_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
given = {name: np.concatenate([array, array[:1]]) for name, array in batch("").items()}
labels = np.array([1, 2, 3, 4])
start = TFLxmertForQuestionAnswering(config).get_weights()


def trained(loss):
    model = TFLxmertForQuestionAnswering(config)
    model.set_weights(start)
    model.compile(keras.optimizers.SGD(0.1), loss=loss, metrics=["accuracy"], jit_compile=False)
    results = model.fit(given, labels, batch_size=4, shuffle=False, verbose=0).history
    return results | {"tested": model.evaluate(given, labels, batch_size=4, verbose=0)}, model.get_weights()


for loss in (None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)):
    results, weights = trained(loss)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        spread_results, spread_weights = trained(loss)
    for name, values in results.items():
        np.testing.assert_allclose(spread_results[name], values, rtol=1e-5, err_msg=name)
    for one, other in zip(weights, spread_weights, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
print("the same")
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
@pytest.mark.skipif("LXMERT_KERAS_BACKEND" in os.environ, reason="this is the run on another backend")
def test_mirrored_strategy_gives_same_losses_and_weights_as_one_device() -> None:
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", COMPARISON]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.strip().endswith("the same"), run.stderr[-3000:]
