"""`object_states` of `encode_objects`: the same results as from features and positions."""

from typing import Any

import pytest
import torch

from lxmert.errors import TensorError
from lxmert.model import LxmertForQuestionAnswering, LxmertModel
from tests.model.small import BATCH, OBJECTS, RAW, inputs, small_config, with_encoded_states


@pytest.mark.parametrize("layers", [0, 2])
def test_object_states_give_same_outputs_as_features(layers: int) -> None:
    model = LxmertModel(small_config(r_layers=layers)).eval()
    whole, later = model(**inputs()), model(**with_encoded_states("object", model, inputs()))
    for name in ("language_output", "vision_output", "pooled_output"):
        torch.testing.assert_close(later[name], whole[name], rtol=0, atol=0)


def test_object_states_give_same_gradients_as_features() -> None:
    torch.manual_seed(1)
    model = LxmertForQuestionAnswering(small_config()).eval()
    labels = torch.tensor([1, 0, 4])
    results = []
    for given in (inputs(), with_encoded_states("object", model.lxmert, inputs())):
        model.zero_grad()
        model(**given, labels=labels).loss.backward()
        results.append(
            {
                name: weights.grad.clone()
                for name, weights in model.named_parameters()
                if weights.grad is not None
            }
        )
    torch.testing.assert_close(results[1], results[0])


def test_object_states_without_mask_count_all_objects() -> None:
    model = LxmertModel(small_config()).eval()
    given = inputs()
    del given["visual_attention_mask"]
    states = model.encode_objects(given["visual_feats"], given["visual_pos"])
    words = {name: value for name, value in given.items() if name not in RAW["object"]}
    torch.testing.assert_close(model(**words, object_states=states), model(**given), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"visual_feats": inputs()["visual_feats"]}, "object_states replace visual_feats and visual_pos"),
        ({"object_states": torch.zeros(BATCH, OBJECTS, 23)}, r"object_states has shape \(3, 5, 23\)"),
        ({"object_states": torch.zeros(2, OBJECTS, 24)}, r"object_states has shape \(2, 5, 24\)"),
        ({"object_states": torch.zeros(BATCH, 0, 24)}, "object_states has shape .*: no axis may be empty"),
        ({"object_states": torch.zeros(BATCH, 4, 24)}, r"visual_attention_mask has shape \(3, 5\)"),
        ({"output_hidden_states": True}, "do not request states and maps"),
        ({"output_all_attentions": True}, "do not request states and maps"),
    ],
)
def test_inconsistent_object_states_raise_tensor_error(changes: dict[str, Any], fault: str) -> None:
    model = LxmertModel(small_config()).eval()
    with pytest.raises(TensorError, match=fault):
        model(**(with_encoded_states("object", model, inputs()) | changes))


def test_encode_objects_checks_positions() -> None:
    model = LxmertModel(small_config()).eval()
    with pytest.raises(TensorError, match="visual_pos is missing"):
        model.encode_objects(inputs()["visual_feats"], None)  # type: ignore[arg-type]
    with pytest.raises(TensorError, match=r"visual_pos has shape \(2, 5, 4\)"):
        model.encode_objects(inputs()["visual_feats"], inputs()["visual_pos"][:2])
