"""How the Keras layers are built: variable names and paths, initial values, activations."""

from typing import Any

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras")

from transformers.activations import ACT2FN  # noqa: E402

from lxmert import model, model_keras  # noqa: E402
from lxmert.errors import ConfigurationError  # noqa: E402
from lxmert.model_keras.activations import activation  # noqa: E402
from tests.model.small import small_config  # noqa: E402

NAMES = ["LxmertModel", "LxmertForPreTraining", "LxmertForQuestionAnswering", "LxmertForVisualReasoning"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False, "task_qa": False, "x_layers": 0}])
def test_every_pytorch_parameter_has_its_variable(name: str, changes: dict[str, Any]) -> None:
    config = small_config(l_layers=1, **changes)
    wanted = {key: tuple(value.shape) for key, value in getattr(model, name)(config).named_parameters()}
    keras_model = getattr(model_keras, f"TF{name}")(config)
    found = {
        key: tuple(entry.variable.shape)[::-1] if entry.transposed else tuple(entry.variable.shape)
        for key, entry in keras_model.torch_variables().items()
    }
    assert found == wanted
    assert len({id(entry.variable) for entry in keras_model.torch_variables().values()}) == len(found)
    assert len(found) == len(keras_model.trainable_variables)


def test_variable_paths_are_unique() -> None:
    keras_model = model_keras.TFLxmertForPreTraining(small_config())
    paths = [variable.path for variable in keras_model.variables]
    assert len(set(paths)) == len(paths)
    assert "lxmert/encoder/x_layers_2/visual_attention/att/query/kernel" in paths


def test_initial_values_follow_pytorch_initialisation() -> None:
    config = small_config(vocab_size=500, hidden_size=48, num_attention_heads=3, initializer_range=0.3)
    config.pad_token_id = 4
    for name, entry in model_keras.TFLxmertForPreTraining(config).torch_variables().items():
        values = keras.ops.convert_to_numpy(entry.variable)
        if name.endswith("bias"):
            assert not values.any(), name
        elif "orm.weight" in name or name.endswith("logit_fc.2.weight"):
            assert (values == 1).all(), name
        elif values.size > 1000:
            assert values.std() == pytest.approx(0.3, rel=0.1), name
        if name.endswith("word_embeddings.weight"):
            assert [row for row in range(500) if not values[row].any()] == [4]


def test_tied_decoder_follows_word_embedding() -> None:
    keras_model = model_keras.TFLxmertForPreTraining(small_config(l_layers=1))
    batch = keras_model.dummy_inputs
    embeddings = keras_model.get_input_embeddings().embeddings
    embeddings.assign(keras.ops.zeros_like(embeddings))
    scores = keras.ops.convert_to_numpy(keras_model(batch).prediction_logits)
    assert not scores.any()


@pytest.mark.parametrize("name", sorted(set(ACT2FN) - {"prelu", "xielu", "sqrtsoftplus"}))
def test_activations_are_those_of_pytorch(name: str) -> None:
    points = np.linspace(-12, 12, 97, dtype=np.float32)
    wanted = ACT2FN[name](torch.tensor(points)).numpy()
    found = keras.ops.convert_to_numpy(activation(name)(keras.ops.convert_to_tensor(points)))
    np.testing.assert_allclose(found, wanted, atol=2e-6, rtol=1e-5)


def test_activation_with_weights_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="hidden_act 'prelu' is not available in the Keras models"):
        model_keras.TFLxmertModel(small_config(hidden_act="prelu"))


def test_summary_lists_submodules(capsys: pytest.CaptureFixture[str]) -> None:
    model_keras.TFLxmertModel(small_config(l_layers=1)).summary(expand_nested=True)
    assert "pooler" in capsys.readouterr().out
