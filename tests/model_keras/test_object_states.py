"""`pooled_only` and `object_states`: the same outputs as PyTorch and the full model."""

from typing import Any

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras")

from lxmert.errors import TensorError  # noqa: E402
from lxmert.model_keras import TFLxmertForQuestionAnswering, TFLxmertModel  # noqa: E402
from tests.model.small import inputs, small_config  # noqa: E402
from tests.model_keras.paired_models import as_numpy, assert_same_outputs, pair  # noqa: E402

OBJECTS = ("visual_feats", "visual_pos", "visual_attention_mask")
CONFIG = small_config(l_layers=1, x_layers=2)


def split_batch() -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors of torch: the words with the mask of the objects, and the objects."""
    given = inputs()
    words = {name: value for name, value in given.items() if name not in OBJECTS[:2]}
    return words, {name: given[name] for name in OBJECTS}


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_pooled_only_equals_pytorch_and_full_model(layers: int) -> None:
    ours, keras_model = pair("LxmertModel", small_config(x_layers=layers, l_layers=1))
    given = inputs()
    found = keras_model(as_numpy(given), pooled_only=True)
    assert list(found) == ["pooled_output"]
    assert_same_outputs(ours(**given, pooled_only=True), found)
    whole = keras_model(as_numpy(given)).pooled_output
    np.testing.assert_allclose(
        *(keras.ops.convert_to_numpy(each) for each in (found.pooled_output, whole)), atol=1e-6
    )


def test_pooled_only_with_states_and_maps_equals_pytorch() -> None:
    ours, keras_model = pair("LxmertModel", CONFIG)
    more = {"output_hidden_states": True, "output_all_attentions": True, "pooled_only": True}
    assert_same_outputs(ours(**inputs(), **more), keras_model(as_numpy(inputs()), **more))


def test_last_x_layer_computes_first_word_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    seen = []
    for number, layer in enumerate(model.lxmert.encoder.x_layers):
        for part in (layer.lang_output, layer.visn_output):

            def watch(
                states: Any, more: Any, name: str = f"{number} {part.name}", run: Any = part.call
            ) -> Any:
                seen.append((name, tuple(states.shape)))
                return run(states, more)

            monkeypatch.setattr(part, "call", watch)
    model(as_numpy(inputs()))
    assert seen == [
        ("0 lang_output", (3, 7, 40)),
        ("0 visn_output", (3, 5, 40)),
        ("1 lang_output", (3, 1, 40)),
    ]


def test_object_states_give_same_outputs_as_pytorch() -> None:
    ours, keras_model = pair("LxmertModel", CONFIG)
    words, objects = split_batch()
    states = keras_model.encode_objects(**as_numpy(objects))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(states), ours.encode_objects(**objects).detach().numpy(), atol=1e-5
    )
    found = keras_model(as_numpy(words), object_states=states)
    assert_same_outputs(ours(**inputs()), found)


def test_object_states_give_same_answer_scores_as_pytorch() -> None:
    ours, keras_model = pair("LxmertForQuestionAnswering", CONFIG)
    words, objects = split_batch()
    words["labels"] = torch.tensor([4, 0, 8])
    states = keras_model.lxmert.encode_objects(**as_numpy(objects))
    found = keras_model(as_numpy(words), object_states=states)
    assert_same_outputs(ours(**inputs(), labels=words["labels"]), found)


def test_object_states_of_image_pairs_give_same_scores_as_pytorch() -> None:
    ours, keras_model = pair("LxmertForVisualReasoning", CONFIG)
    words, objects = split_batch()
    pairs = {name: torch.stack([value, value.flip(1)], dim=1) for name, value in objects.items()}
    flat = {name: as_numpy(value.flatten(0, 1)) for name, value in pairs.items()}
    states = keras_model.lxmert.encode_objects(**flat)
    states = keras.ops.reshape(states, (3, 2, *states.shape[1:]))
    given = as_numpy(words | {"visual_attention_mask": pairs["visual_attention_mask"]})
    found = keras_model(given, object_states=states)
    assert_same_outputs(ours(**inputs() | pairs), found)
    with pytest.raises(
        TensorError, match=r"object_states has shape \(3, 5, 24\), expected \(any, 2, any, any\)"
    ):
        keras_model(given, object_states=states[:, 0])


def test_pooled_only_applies_dropout_in_training() -> None:
    config = small_config(l_layers=1, x_layers=1, hidden_dropout_prob=0.5)
    model = TFLxmertModel(config)
    given = as_numpy(inputs(config))
    once, again = (
        keras.ops.convert_to_numpy(model(given, training=True, pooled_only=True).pooled_output)
        for _ in range(2)
    )
    assert abs(once - again).max() > 0.01


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"visual_feats": inputs()["visual_feats"].numpy()},
            "object_states replace visual_feats and visual",
        ),
        ({"object_states": np.zeros((3, 5, 23), np.float32)}, r"object_states has shape \(3, 5, 23\)"),
        ({"object_states": np.zeros((2, 5, 24), np.float32)}, r"object_states has shape \(2, 5, 24\)"),
        ({"object_states": np.zeros((3, 4, 24), np.float32)}, r"visual_attention_mask has shape \(3, 5\)"),
        (
            {"output_hidden_states": True},
            "object_states skip the relationship layers, so their states and maps",
        ),
        ({"output_attentions": True}, "object_states skip the relationship layers, so their states and maps"),
    ],
)
def test_inconsistent_object_states_raise_tensor_error(more: dict[str, Any], message: str) -> None:
    model = TFLxmertModel(CONFIG)
    words = as_numpy(split_batch()[0]) | {"object_states": np.zeros((3, 5, 24), np.float32)}
    with pytest.raises(TensorError, match=message):
        model(words | more)
