"""The targets of each task in a batch, and the hits of the heads, against counts by hand."""

import torch

from lxmert.model import LxmertForPreTraining, LxmertForPreTrainingOutput
from lxmert.training.pretraining.hits import count_hits
from lxmert.training.pretraining.target_counts import OBJECT_TASKS, TASK_INDEX, TASKS, count_targets
from tests.model.small import inputs, small_config, targets


def by_task(values: torch.Tensor) -> dict[str, float]:
    return {task: values[index].item() for task, index in TASK_INDEX.items()}


def test_target_terms_and_weights_match_hand_counts() -> None:
    batch = {
        "visual_pos": torch.rand(2, 3, 4),
        "visual_attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
        "labels": torch.tensor([[-100, 4, -1], [0, 7, -100]]),
        "matched_label": torch.tensor([1, 0]),
        "ans": torch.tensor([-100, 3]),
        "obj_labels": {
            "obj": (
                torch.tensor([[1, -100, 2], [0, 1, 2]]),
                torch.tensor([[0.5, 0.5, 0.5], [1.0, 0.0, 0.25]]),
            ),
            "feat": (torch.zeros(2, 3, 5), torch.tensor([[1.0, 0, 1], [0, 1, 0]])),
        },
    }
    counts = count_targets(batch)
    assert by_task(counts.terms) == {
        "masked_words": 3,
        "matched": 2,
        "object_labels": 5,
        "attribute_labels": 0,
        "feature_regression": 5,
        "places": 5,
        "qa": 1,
    }
    assert by_task(counts.weights) == {
        "masked_words": 3,
        "matched": 2,
        "object_labels": 1.75,
        "attribute_labels": 0,
        "feature_regression": 2,
        "places": 5,
        "qa": 1,
    }


def test_losses_of_batch_parts_weighted_by_terms_equal_loss_of_whole_batch() -> None:
    torch.manual_seed(2)
    model = LxmertForPreTraining(small_config()).eval()
    whole = inputs() | targets()

    def part(rows: slice) -> dict[str, object]:
        objects = {task: tuple(v[rows] for v in pair) for task, pair in whole["obj_labels"].items()}
        return {name: value[rows] for name, value in whole.items() if name != "obj_labels"} | {
            "obj_labels": objects
        }

    halves = [part(slice(0, 1)), part(slice(1, 3))]
    terms = count_targets(whole).terms
    expected = model(**whole).losses
    parts = [(model(**half, return_all_logits=False).losses, count_targets(half).terms) for half in halves]
    for task, name in TASKS.items():
        if name == "place":
            continue
        index = TASK_INDEX[task]
        summed = sum(losses[name] * own[index] for losses, own in parts)
        torch.testing.assert_close(summed / terms[index], expected[name])
    assert set(OBJECT_TASKS) < set(TASKS)


def test_hits_match_hand_counts() -> None:
    batch = {
        "visual_pos": torch.rand(2, 2, 4),
        "visual_attention_mask": torch.tensor([[1, 1], [1, 0]]),
        "labels": torch.tensor([[-100, 1], [0, 2]]),
        "matched_label": torch.tensor([1, 0]),
        "ans": torch.tensor([-100, 0]),
        "obj_labels": {"attr": (torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1.0, 0.0], [0.5, 1.0]]))},
    }
    output = LxmertForPreTrainingOutput(
        prediction_logits=torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]]),
        cross_relationship_score=torch.tensor([[1.0, 0], [1, 0]]),
        question_answering_score=torch.tensor([[1.0, 0], [1, 0]]),
        object_scores={"attr": torch.tensor([[0.0, 1], [1, 0]])},
    )
    hits = count_hits(output, batch)
    assert by_task(hits.correct) == {
        "masked_words": 2,
        "matched": 1,
        "object_labels": 0,
        "attribute_labels": 1,
        "feature_regression": 0,
        "places": 0,
        "qa": 1,
    }
    assert by_task(hits.total) == {
        "masked_words": 3,
        "matched": 2,
        "object_labels": 0,
        "attribute_labels": 2,
        "feature_regression": 0,
        "places": 0,
        "qa": 1,
    }
