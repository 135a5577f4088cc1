"""Makes tests/golden/tensorflow: what the old TensorFlow LXMERT of transformers 4.57 computes, and its files.

It needs an environment of its own, since transformers 5 has no TensorFlow classes:

    python -m venv old
    old/bin/pip install transformers==4.57.6 tensorflow-cpu==2.21.0 torch==2.13.0
    old/bin/pip install --no-deps tf-keras==2.21.0
    old/bin/python tests/golden/make_tensorflow.py

Two folders hold a tiny TFLxmertForPreTraining, once as tf_model.h5 and once as TF-named safetensors, a third
a TFLxmertModel as tf_model.h5; the h5 files, mostly empty space, are gzipped. The .npz files hold inputs and
results. Only what the old class gets right is asked of it: no mask of objects, a label at every word,
confidences of 1, answers as class ids.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import gzip
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
import transformers
from transformers import LxmertConfig, TFLxmertForPreTraining, TFLxmertModel

FOLDER = Path(__file__).parent / "tensorflow"
SIZES = {
    "vocab_size": 29,
    "hidden_size": 12,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 11,
    "num_qa_labels": 7,
    "num_object_labels": 9,
    "num_attr_labels": 5,
    "visual_feat_dim": 6,
    "l_layers": 2,
    "x_layers": 1,
    "r_layers": 1,
}
BATCH, WORDS, OBJECTS = 3, 7, 5


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    random = np.random.default_rng(20)
    tf.keras.utils.set_random_seed(20)
    inputs = _inputs(random)
    config = LxmertConfig(**SIZES)
    pretraining = TFLxmertForPreTraining(config)
    pretraining(inputs)
    _randomise_variables(pretraining, random)
    pretraining.save_pretrained(FOLDER / "pretraining_h5", safe_serialization=False)
    pretraining.save_pretrained(FOLDER / "pretraining_safetensors", safe_serialization=True)
    np.savez_compressed(FOLDER / "pretraining.npz", **_pretraining_results(pretraining, inputs, random))
    model = TFLxmertModel(config)
    model(inputs)
    _randomise_variables(model, random)
    model.save_pretrained(FOLDER / "model_h5", safe_serialization=False)
    outputs = model(inputs, output_attentions=True, output_hidden_states=True)
    np.savez_compressed(FOLDER / "model.npz", **_flattened("input", inputs), **_flattened("output", outputs))
    for path in FOLDER.glob("*/tf_model.h5"):
        path.with_name("tf_model.h5.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
    print("transformers", transformers.__version__, "tensorflow", tf.__version__)


def _inputs(random: np.random.Generator) -> dict[str, np.ndarray]:
    mask = np.ones((BATCH, WORDS), np.int64)
    mask[1, 4:] = 0
    mask[2, 6:] = 0
    return {
        "input_ids": random.integers(0, SIZES["vocab_size"], (BATCH, WORDS)),
        "visual_feats": random.normal(size=(BATCH, OBJECTS, SIZES["visual_feat_dim"])).astype(np.float32),
        "visual_pos": random.random((BATCH, OBJECTS, 4)).astype(np.float32),
        "attention_mask": mask,
        "token_type_ids": random.integers(0, 2, (BATCH, WORDS)),
    }


def _randomise_variables(model: tf.keras.Model, random: np.random.Generator) -> None:
    """Give every variable values of its own: fresh biases are all 0 and would hide a wrong name."""
    for variable in model.variables:
        wide = 1.0 if "LayerNorm" in variable.name or "layer_norm" in variable.name else 0.0
        variable.assign(wide + 0.3 * random.normal(size=variable.shape).astype(np.float32))


def _pretraining_results(model, inputs, random) -> dict[str, np.ndarray]:
    outputs = model(inputs, output_attentions=True, output_hidden_states=True)
    ones = np.ones((BATCH, OBJECTS), np.float32)
    objects = random.integers(0, SIZES["num_object_labels"], (BATCH, OBJECTS))
    attributes = random.integers(0, SIZES["num_attr_labels"], (BATCH, OBJECTS))
    features = random.normal(size=inputs["visual_feats"].shape).astype(np.float32)
    labels = {
        "masked_lm_labels": random.integers(0, SIZES["vocab_size"], (BATCH, WORDS)),
        "matched_label": np.array([1, 0, 1]),
        "ans": random.integers(0, SIZES["num_qa_labels"], (BATCH,)),
    }
    everything = {
        **labels,
        "obj_labels": {"obj": (objects, ones), "attr": (attributes, ones), "feat": (features, ones)},
    }
    losses = {name: model({**inputs, name: value}).loss for name, value in everything.items()}
    with tf.GradientTape() as tape:
        losses["total"] = tf.reduce_sum(model({**inputs, **everything}).loss)
    words = next(variable for variable in model.trainable_variables if "word_embeddings" in variable.name)
    gradient = tape.gradient(losses["total"], words)
    return {
        **_flattened("input", inputs),
        **_flattened("output", outputs),
        **_flattened("label", {**labels, "obj": objects, "attr": attributes, "feat": features}),
        **{f"loss.{name}": np.asarray(value).reshape(()) for name, value in losses.items()},
        "gradient.word_embeddings": tf.convert_to_tensor(gradient).numpy(),
    }


def _flattened(prefix: str, values) -> dict[str, np.ndarray]:
    """Flat names: "output.pooled_output", "output.language_hidden_states.0", …"""
    flat = {}
    for name, value in values.items():
        if isinstance(value, tuple):
            flat |= {f"{prefix}.{name}.{index}": np.asarray(one) for index, one in enumerate(value)}
        else:
            flat[f"{prefix}.{name}"] = np.asarray(value)
    return flat


if __name__ == "__main__":
    main()
