"""`return_all_logits=False`: scores of labelled positions only, losses and gradients as with all scores."""

from typing import Any

import pytest
import torch

from lxmert.errors import TensorError
from lxmert.model import LxmertForPreTraining
from tests.model.small import gradients, inputs, small_config, targets


def uneven_targets() -> dict[str, Any]:
    """Weights and ids that leave out some objects in every way there is."""
    given = targets()
    objects, attributes, features = (given["obj_labels"][task] for task in ("obj", "attr", "feat"))
    objects[1][0, 1] = 0.0
    objects[0][1, 2] = -100
    attributes[0][0] = -1
    objects[0][0, 0] = attributes[0][1, 0] = 0
    given["labels"][2, 1] = 0
    return given | {"obj_labels": {"obj": objects, "attr": attributes, "feat": features}}


def test_labelled_only_losses_and_gradients_equal_those_of_all_logits() -> None:
    torch.manual_seed(1)
    model = LxmertForPreTraining(small_config()).eval()
    whole = model(**inputs(), **uneven_targets())
    few = model(**inputs(), **uneven_targets(), return_all_logits=False)
    assert list(few.losses) == list(whole.losses)
    torch.testing.assert_close(few.losses, whole.losses)
    torch.testing.assert_close(few.loss, whole.loss)
    torch.testing.assert_close(gradients(model, few.loss), gradients(model, whole.loss))


def test_labelled_only_scores_are_those_of_labelled_positions_in_order() -> None:
    model, given = LxmertForPreTraining(small_config()).eval(), uneven_targets()
    whole, few = model(**inputs(), **given), model(**inputs(), **given, return_all_logits=False)
    places = [(0, 2), (1, 3), (2, 1)]
    expected = torch.stack([whole.prediction_logits[place] for place in places])
    torch.testing.assert_close(few.prediction_logits, expected)
    is_real = inputs()["visual_attention_mask"]
    for task, scores in few.object_scores.items():
        wanted, weight = given["obj_labels"][task]
        expected = torch.stack(
            [
                whole.object_scores[task][row, column]
                for row in range(3)
                for column in range(5)
                if is_real[row, column]
                and weight[row, column] != 0
                and (task == "feat" or wanted[row, column] >= 0)
            ]
        )
        torch.testing.assert_close(scores, expected)


def test_labelled_only_without_labels_gives_no_scores_and_zero_loss() -> None:
    model, given = LxmertForPreTraining(small_config()), targets()
    nothing = {
        "labels": torch.full_like(given["labels"], -1),
        "obj_labels": {
            task: (wanted, torch.zeros_like(weight)) for task, (wanted, weight) in given["obj_labels"].items()
        },
    }
    output = model(**inputs(), **nothing, return_all_logits=False)
    assert len(output.prediction_logits) == 0
    assert {len(scores) for scores in output.object_scores.values()} == {0}
    assert {name: loss.item() for name, loss in output.losses.items()} == dict.fromkeys(output.losses, 0.0)
    output.loss.backward()
    assert all(
        torch.isfinite(weights.grad).all() for weights in model.parameters() if weights.grad is not None
    )
    assert model(**inputs(), return_all_logits=False).prediction_logits is None
    assert model(**inputs(), obj_labels={}, return_all_logits=False).object_scores == {}


def test_labelled_only_flat_targets_give_same_losses() -> None:
    model, given = LxmertForPreTraining(small_config()).eval(), uneven_targets()
    flat = given | {
        "labels": given["labels"].flatten(),
        "obj_labels": {
            task: (wanted.flatten(0, 1), weight.flatten())
            for task, (wanted, weight) in given["obj_labels"].items()
        },
    }
    one = model(**inputs(), **given, return_all_logits=False)
    other = model(**inputs(), **flat, return_all_logits=False)
    torch.testing.assert_close(one.losses, other.losses, rtol=0, atol=0)


def test_labelled_only_losses_ignore_targets_of_padded_objects() -> None:
    model, given, batch = LxmertForPreTraining(small_config()).eval(), targets(), inputs()
    expected = model(**batch, **given, return_all_logits=False).losses
    padding = batch["visual_attention_mask"] == 0
    for task, (wanted, weight) in given["obj_labels"].items():
        wanted[padding] = float("nan") if task == "feat" else 10**6
        weight[padding] = 7.0
    torch.testing.assert_close(model(**batch, **given, return_all_logits=False).losses, expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": torch.zeros(3, 6, dtype=torch.long)}, r"labels has shape \(3, 6\), expected \(3, 7\)"),
        ({"labels": torch.full((3, 7), 61)}, "labels has the class id 61"),
        ({"obj_labels": {"obj": torch.zeros(3, 5)}}, "must be a pair"),
        ({"obj_labels": {"size": (torch.zeros(3, 5), torch.ones(3, 5))}}, "unknown key"),
        (
            {"obj_labels": {"obj": (torch.zeros(3, 4, dtype=torch.long), torch.ones(3, 5))}},
            r"obj_labels\['obj'\] has shape \(3, 4\)",
        ),
        (
            {"obj_labels": {"feat": (torch.zeros(3, 5, 13), torch.ones(3, 4))}},
            r"the weight has shape \(3, 4\), expected \(3, 5\)",
        ),
    ],
)
def test_labelled_only_invalid_targets_raise_tensor_error(changed: dict[str, Any], message: str) -> None:
    model = LxmertForPreTraining(small_config())
    with pytest.raises(TensorError, match=message):
        model(**inputs(), **(targets() | changed), return_all_logits=False)
