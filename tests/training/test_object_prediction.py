"""Fine-tuning with object prediction: its losses are added to the answer loss, and its head is not saved."""

import pytest
import torch

from lxmert import LxmertConfig, LxmertForQuestionAnswering
from lxmert.data.object_labels import ObjectLabels
from lxmert.errors import ConfigurationError
from lxmert.training.object_prediction import LxmertWithObjectPrediction

LABELS = ObjectLabels(
    torch.tensor([[0, 1, -100], [2, -100, -100], [1, 1, 0]]), torch.full((3, 3), -100), 3, 5
)


@pytest.fixture
def plain() -> LxmertForQuestionAnswering:
    config = LxmertConfig(
        vocab_size=30,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=24,
        l_layers=1,
        x_layers=1,
        r_layers=2,
        visual_feat_dim=6,
        num_qa_labels=4,
        visual_feat_loss=False,
        visual_loss_normalizer=0.5,
    )
    return LxmertForQuestionAnswering(config).eval()


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "input_ids": torch.randint(5, 30, (3, 5), generator=generator),
        "visual_feats": torch.randn(3, 3, 6, generator=generator),
        "visual_pos": torch.rand(3, 3, 4, generator=generator),
        "visual_attention_mask": torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]]),
        "labels": torch.tensor([0, 3, -100]),
    }


def test_loss_is_sum_of_answer_and_object_losses(plain: LxmertForQuestionAnswering) -> None:
    model = LxmertWithObjectPrediction.from_model(plain, LABELS).eval()
    batch = inputs()
    output = model(obj_labels=LABELS.batch(torch.arange(3), 3), **batch)
    states = plain.lxmert(
        **{name: batch[name] for name in ("input_ids", "visual_feats", "visual_pos", "visual_attention_mask")}
    ).vision_output
    scores = model.obj_predict_head.decoder_dict["obj"](model.obj_predict_head.transform(states))
    real = [(0, 0, 0), (0, 1, 1), (1, 0, 2), (2, 0, 1), (2, 1, 1), (2, 2, 0)]
    by_hand = sum(-scores[row, column].log_softmax(dim=0)[wanted] for row, column, wanted in real) / 6 * 0.5
    assert output.losses["obj"].item() == pytest.approx(by_hand.item(), abs=1e-5)
    assert output.losses["attr"].item() == 0.0
    assert output.loss.item() == pytest.approx(output.losses["qa"].item() + by_hand.item(), abs=1e-5)


def test_forward_without_object_labels_equals_plain_model(plain: LxmertForQuestionAnswering) -> None:
    model = LxmertWithObjectPrediction.from_model(plain, LABELS).eval()
    expected, got = plain(**inputs()), model(**inputs())
    assert torch.equal(got.question_answering_score, expected.question_answering_score)
    assert torch.equal(got.loss, expected.loss)


def test_to_plain_model_drops_object_prediction_head(plain: LxmertForQuestionAnswering) -> None:
    model = LxmertWithObjectPrediction.from_model(plain, LABELS)
    kept = model.to_plain_model()
    assert type(kept) is LxmertForQuestionAnswering
    assert kept.state_dict().keys() == plain.state_dict().keys()
    for name, value in kept.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name


def test_from_model_does_not_change_original_configuration(plain: LxmertForQuestionAnswering) -> None:
    config = LxmertWithObjectPrediction.from_model(plain, LABELS).config
    assert (config.num_object_labels, config.num_attr_labels) == (3, 5)
    assert (plain.config.num_object_labels, plain.config.num_attr_labels) == (1600, 400)


def test_model_without_object_layers_is_rejected(plain: LxmertForQuestionAnswering) -> None:
    plain.config.r_layers = plain.config.x_layers = 0
    with pytest.raises(ConfigurationError, match="layer"):
        LxmertWithObjectPrediction(plain.config)


def test_place_loss_is_weighted_l1_error_of_boxes(plain: LxmertForQuestionAnswering) -> None:
    model = LxmertWithObjectPrediction.from_model(plain, LABELS, place_weight=2.0).eval()
    batch = inputs()
    output = model(obj_labels=LABELS.batch(torch.arange(3), 3), **batch)
    states = plain.lxmert(
        **{name: batch[name] for name in ("input_ids", "visual_feats", "visual_pos", "visual_attention_mask")}
    ).vision_output
    weight, bias = model.place_predict_head.weight, model.place_predict_head.bias
    real = [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)]
    errors = [
        sum(
            abs(states[row, column] @ weight[n] + bias[n] - batch["visual_pos"][row, column, n])
            for n in range(4)
        )
        for row, column in real
    ]
    by_hand = 2.0 * sum(errors) / 6
    assert output.losses["place"].item() == pytest.approx(by_hand.item(), abs=1e-5)
    assert output.loss.item() == pytest.approx(sum(loss.item() for loss in output.losses.values()), abs=1e-5)


def test_model_without_place_weight_has_no_place_loss(plain: LxmertForQuestionAnswering) -> None:
    model = LxmertWithObjectPrediction.from_model(plain, LABELS)
    assert "place" not in model(obj_labels=LABELS.batch(torch.arange(3), 3), **inputs()).losses
