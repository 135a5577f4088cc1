"""The losses, against values computed by hand or in plain Python."""

import math

import pytest
import torch

from lxmert.configuration import LxmertConfig
from lxmert.errors import TensorError
from lxmert.model import LxmertForPreTraining, LxmertForQuestionAnswering
from lxmert.model.losses import answer_loss, class_loss, object_losses
from tests.model.small import OBJECTS, WORDS, inputs, small_config, targets

# Scores log 1, log 2, log 5: probabilities 1/8, 2/8, 5/8.
ROW = [0.0, math.log(2), math.log(5)]


def test_class_loss_is_the_mean_over_labelled_rows() -> None:
    scores = torch.tensor([ROW, ROW, ROW, ROW])
    loss = class_loss(scores, torch.tensor([2, -1, 0, -100]), "labels")
    assert loss.item() == pytest.approx((math.log(8 / 5) + math.log(8)) / 2)


def test_class_loss_flattens_words() -> None:
    scores = torch.tensor([[ROW, ROW], [ROW, ROW], [ROW, ROW]])
    labels = torch.tensor([[1, -100], [-100, -1], [2, -100]])
    assert class_loss(scores, labels, "labels").item() == pytest.approx((math.log(4) + math.log(8 / 5)) / 2)


def test_flat_targets_and_column_matched_label_give_same_losses() -> None:
    model, given = LxmertForPreTraining(small_config()).eval(), targets()
    flat = given | {
        "labels": given["labels"].flatten(),
        "matched_label": given["matched_label"][:, None],
        "obj_labels": {
            task: (target.flatten(0, 1), weight.flatten())
            for task, (target, weight) in given["obj_labels"].items()
        },
    }
    torch.testing.assert_close(model(**inputs(), **flat).losses, model(**inputs(), **given).losses)


def test_answer_loss_accepts_ids_as_column() -> None:
    scores = torch.tensor([ROW, ROW, ROW])
    ids = torch.tensor([0, 1, 2])
    torch.testing.assert_close(answer_loss(scores, ids[:, None], "ans"), answer_loss(scores, ids, "ans"))


def test_soft_answers_are_summed_over_classes_and_averaged_over_rows() -> None:
    scores = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, 0.0]])  # sigmoid: 1/2 but for one 3/4
    soft = torch.tensor([[1.0, 0.0], [0.3, 0.0], [0.0, 0.0]])  # the last row is a target too
    second = -(0.3 * math.log(3 / 4) + 0.7 * math.log(1 / 4)) + math.log(2)
    expected = (2 * math.log(2) + second + 2 * math.log(2)) / 3
    assert answer_loss(scores, soft, "ans").item() == pytest.approx(expected)


def test_soft_rows_with_a_negative_value_are_not_labelled() -> None:
    scores = torch.tensor([[0.5, -2.0], [3.0, 1.0], [0.1, 0.2]])
    soft = torch.tensor([[1.0, 0.3], [-1.0, -1.0], [-100.0, -100.0]])
    torch.testing.assert_close(answer_loss(scores, soft, "ans"), answer_loss(scores[:1], soft[:1], "ans"))


def test_soft_answer_loss_equals_authors_formula() -> None:
    scores, soft = torch.randn(5, 7), torch.rand(5, 7)
    authors = torch.nn.functional.binary_cross_entropy_with_logits(scores, soft) * 7
    torch.testing.assert_close(answer_loss(scores, soft, "ans"), authors)


def test_object_loss_is_weighted_and_averaged_over_real_objects() -> None:
    scores = torch.tensor([[ROW, ROW, ROW]])
    label = torch.tensor([[2, 0, 1]])
    weight = torch.tensor([[0.5, 0.0, 0.25]])
    by_hand = 0.5 * math.log(8 / 5) + 0.25 * math.log(4)
    losses = object_losses({"obj": scores}, {"obj": (label, weight)}, None, 2.0)
    assert losses["obj"].item() == pytest.approx(2 * by_hand / 3)
    real = torch.tensor([[1, 1, 0]])
    # What stands under padding is no class, and has no say.
    for padding in (1, 99):
        label[0, 2] = padding
        losses = object_losses({"obj": scores}, {"obj": (label, weight)}, real, 1.0)
        assert losses["obj"].item() == pytest.approx(0.5 * math.log(8 / 5) / 2)


def test_unlabelled_objects_count_in_the_mean_with_zero() -> None:
    scores = torch.tensor([[ROW, ROW, ROW]])
    label = torch.tensor([[2, -1, -100]])
    losses = object_losses({"attr": scores}, {"attr": (label, torch.ones(1, 3))}, None, 1.0)
    assert losses["attr"].item() == pytest.approx(math.log(8 / 5) / 3)


def test_feature_loss_is_smooth_l1() -> None:
    scores = torch.tensor([[[0.0, 3.0], [1.0, 1.0]]])
    target = torch.tensor([[[0.5, 1.0], [9.0, 9.0]]])
    weight = torch.tensor([[1.0, 0.0]])
    # differences 0.5 -> 0.125 and 2 -> 1.5; their mean over two widths and then over two objects
    losses = object_losses({"feat": scores}, {"feat": (target, weight)}, None, 1.0)
    assert losses["feat"].item() == pytest.approx((0.125 + 1.5) / 2 / 2)


def test_padding_of_features_may_be_nan_and_gives_no_gradient() -> None:
    scores = torch.zeros(1, 2, 2, requires_grad=True)
    target = torch.tensor([[[1.0, 1.0], [math.nan, math.nan]]])
    weight = torch.tensor([[1.0, math.nan]])
    loss = object_losses({"feat": scores}, {"feat": (target, weight)}, torch.tensor([[1, 0]]), 1.0)["feat"]
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert scores.grad is not None
    assert scores.grad[0, 1].tolist() == [0.0, 0.0]


def test_object_losses_are_zero_without_real_objects() -> None:
    scores = {"obj": torch.randn(2, 3, 4), "feat": torch.randn(2, 3, 5)}
    labels = {
        "obj": (torch.zeros(2, 3).long(), torch.ones(2, 3)),
        "feat": (torch.ones(2, 3, 5), torch.ones(2, 3)),
    }
    losses = object_losses(scores, labels, torch.zeros(2, 3), 6.67)
    assert [loss.item() for loss in losses.values()] == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_are_float32_in_half_precision(dtype: torch.dtype) -> None:
    exact = answer_loss(torch.full((3, 4), 300.0).to(dtype), torch.zeros(3, 4), "ans")
    assert exact.dtype == torch.float32
    assert exact.item() == pytest.approx(1200.0, rel=1e-2)
    assert class_loss(torch.randn(3, 4).to(dtype), torch.tensor([0, 1, 2]), "ans").dtype == torch.float32
    labels = {"feat": (torch.ones(1, 2, 3), torch.ones(1, 2))}
    assert (
        object_losses({"feat": torch.zeros(1, 2, 3).to(dtype)}, labels, None, 1.0)["feat"].dtype
        == torch.float32
    )


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"labels": torch.zeros(3, WORDS - 1).long()}, "labels has shape (3, 6)"),
        ({"labels": torch.full((3, WORDS), 61)}, "labels has the class id 61, expected 0..60"),
        ({"labels": torch.full((3, WORDS), -2)}, "labels has the class id -2"),
        ({"labels": torch.zeros(WORDS, 3).long()}, "labels has shape (7, 3), expected (3, 7)"),
        ({"labels": [[0] * WORDS] * 3}, "labels must be a torch tensor, got list"),
        ({"labels": torch.zeros(3, WORDS).bool()}, "labels must be integer class ids, got torch.bool"),
        ({"ans": [1, 2, 3]}, "ans must be a torch tensor, got list"),
        ({"ans": torch.tensor([True, False, True])}, "ans must be integer class ids, got torch.bool"),
        (
            {"obj_labels": {"obj": None}},
            "obj_labels['obj'] must be a pair of target and weight, got NoneType",
        ),
        (
            {"obj_labels": {"obj": (torch.zeros(OBJECTS, 3).long(), torch.ones(3, OBJECTS))}},
            "obj_labels['obj'] has shape (5, 3), expected (3, 5)",
        ),
        (
            {"obj_labels": {"obj": (torch.zeros(3, OBJECTS).long(), torch.ones(OBJECTS, 3))}},
            "obj_labels['obj']: the weight has shape (5, 3), expected (3, 5)",
        ),
        (
            {"obj_labels": {"obj": (torch.zeros(3, OBJECTS).long(), [[1.0] * OBJECTS] * 3)}},
            "obj_labels['obj']: the weight must be a torch tensor, got list",
        ),
        (
            {"obj_labels": {"feat": (torch.zeros(OBJECTS, 3, 13), torch.ones(3, OBJECTS))}},
            "obj_labels['feat']: the target has shape (5, 3, 13), expected (3, 5, 13)",
        ),
        ({"matched_label": torch.tensor([0, 1, 2])}, "matched_label has the class id 2, expected 0..1"),
        ({"matched_label": torch.tensor([0.0, 1.0, 1.0])}, "matched_label must be integer"),
        ({"ans": torch.tensor([0, 1, 9])}, "ans has the class id 9, expected 0..8"),
        ({"ans": torch.zeros(3, 4)}, "ans has shape (3, 4), expected class ids (3,) or scores (3, 9)"),
        ({"ans": torch.full((3, 9), 1.5)}, "ans has scores that are not in 0..1"),
        ({"obj_labels": {"objects": None}}, "unknown key(s) ['objects']"),
        ({"obj_labels": {"obj": (torch.zeros(3, OBJECTS).long(),)}}, "obj_labels['obj'] must be a pair"),
        (
            {"obj_labels": {"obj": (torch.zeros(3, OBJECTS).long(), torch.ones(3))}},
            "obj_labels['obj']: the weight has shape (3,), expected (3, 5)",
        ),
        (
            {"obj_labels": {"feat": (torch.zeros(3, OBJECTS), torch.ones(3, OBJECTS))}},
            "obj_labels['feat']: the target has shape (3, 5), expected (3, 5, 13)",
        ),
        (
            {"obj_labels": {"attr": (torch.full((3, OBJECTS), 6), torch.ones(3, OBJECTS))}},
            "obj_labels['attr'] has the class id 6, expected 0..5",
        ),
    ],
)
def test_invalid_target_raises_tensor_error_naming_it(given: dict[str, object], part: str) -> None:
    with pytest.raises(TensorError) as raised:
        LxmertForPreTraining(small_config())(**inputs(), **given)
    assert part in str(raised.value)


def test_total_loss_is_sum_of_task_losses() -> None:
    output = LxmertForPreTraining(small_config()).eval()(**inputs(), **targets())
    assert output.loss.item() == pytest.approx(sum(loss.item() for loss in output.losses.values()), rel=1e-6)


def test_without_targets_there_is_no_loss() -> None:
    output = LxmertForPreTraining(small_config())(**inputs())
    assert output.loss is None
    assert output.losses is None


@pytest.mark.parametrize(
    ("flag", "lost"),
    [
        ("task_mask_lm", {"masked_lm"}),
        ("task_matched", {"matched"}),
        ("task_obj_predict", {"obj", "attr", "feat"}),
        ("task_qa", {"qa"}),
        ("visual_obj_loss", {"obj"}),
        ("visual_attr_loss", {"attr"}),
        ("visual_feat_loss", {"feat"}),
    ],
)
def test_disabled_task_flag_removes_only_its_losses_and_heads(flag: str, lost: set[str]) -> None:
    full = LxmertForPreTraining(small_config()).eval()
    without = LxmertForPreTraining(small_config(**{flag: False})).eval()
    missing, unexpected = without.load_state_dict(full.state_dict(), strict=False)
    assert not missing
    prefix = {
        "task_qa": "answer_head.",
        "task_obj_predict": "obj_predict_head.",
        "visual_obj_loss": "obj_predict_head.decoder_dict.obj.",
        "visual_attr_loss": "obj_predict_head.decoder_dict.attr.",
        "visual_feat_loss": "obj_predict_head.decoder_dict.feat.",
    }.get(flag)
    assert set(unexpected) == {name for name in full.state_dict() if prefix and name.startswith(prefix)}
    expected, got = full(**inputs(), **targets()), without(**inputs(), **targets())
    assert set(expected.losses) - set(got.losses) == lost
    torch.testing.assert_close(got.losses, {task: expected.losses[task] for task in got.losses})
    torch.testing.assert_close(got.prediction_logits, expected.prediction_logits)
    torch.testing.assert_close(got.cross_relationship_score, expected.cross_relationship_score)
    assert (got.question_answering_score is None) == (flag == "task_qa")


def test_visual_loss_normalizer_scales_only_visual_losses() -> None:
    one = LxmertForPreTraining(small_config(visual_loss_normalizer=1.0)).eval()
    three = LxmertForPreTraining(small_config(visual_loss_normalizer=3.0)).eval()
    three.load_state_dict(one.state_dict())
    a, b = one(**inputs(), **targets()).losses, three(**inputs(), **targets()).losses
    for task in ("obj", "attr", "feat"):
        assert b[task].item() == pytest.approx(3 * a[task].item(), rel=1e-5)
    torch.testing.assert_close(a["qa"], b["qa"])


def test_question_answering_learns_soft_labels() -> None:
    model = LxmertForQuestionAnswering(small_config())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    soft = torch.zeros(3, 9)
    soft[0, 3], soft[1, 5], soft[2, 7] = 1.0, 0.9, 0.6
    for _ in range(30):
        optimizer.zero_grad()
        model(**inputs(), labels=soft).loss.backward()
        optimizer.step()
    assert model.eval()(**inputs()).question_answering_score.argmax(-1).tolist() == [3, 5, 7]


def test_replaced_loss_module_computes_the_loss() -> None:
    model = LxmertForQuestionAnswering(small_config()).eval()
    labels = torch.tensor([1, 2, 3])
    model.loss = torch.nn.CrossEntropyLoss(torch.arange(1.0, 10.0), label_smoothing=0.25)
    output = model.bfloat16()(**inputs(), labels=labels)
    expected = model.loss(output.question_answering_score, labels)
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=0)
    assert output.losses == {"qa": output.loss}
    model.loss = None
    assert model(**inputs(), labels=labels).loss != output.loss


def test_settings_of_transformers_models_are_read_and_set_in_the_configuration() -> None:
    model = LxmertForPreTraining(small_config(visual_loss_normalizer=3.0))
    assert (model.task_matched, model.visual_loss_normalizer, model.num_qa_labels) == (True, 3.0, 9)
    model.task_matched = False
    model.num_qa_labels = 4
    assert "matched" not in model(**inputs(), **targets()).losses
    assert (model.config.task_matched, model.config.num_qa_labels) == (False, 4)


def test_subclass_may_replace_the_head_and_set_the_number_of_answers() -> None:
    class Subclass(LxmertForQuestionAnswering):
        def __init__(self, config: LxmertConfig) -> None:
            super().__init__(config)
            self.num_qa_labels = 3
            self.answer_head = torch.nn.Linear(config.hidden_size, 3)

    model = Subclass(small_config())
    assert model(**inputs(), labels=torch.tensor([0, 1, 2])).question_answering_score.shape == (3, 3)
    assert model.config.num_qa_labels == 3
