"""LxmertForVisualReasoning: the pair head over the encodings of a left and a right image."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lxmert import LxmertConfig, LxmertForPreTraining, LxmertForVisualReasoning
from lxmert.errors import TensorError
from lxmert.weights import load_report
from tests.model.small import BATCH, OBJECTS, inputs, small_config


@pytest.fixture
def model() -> LxmertForVisualReasoning:
    return LxmertForVisualReasoning(small_config()).eval()


def pair_inputs() -> dict[str, Tensor]:
    """Three sentences of different length, each with two images of different numbers of objects."""
    batch = inputs()
    generator = torch.Generator().manual_seed(11)
    shape = (BATCH, 2, OBJECTS)
    batch["visual_feats"] = torch.randn(*shape, 13, generator=generator)
    batch["visual_pos"] = torch.rand(*shape, 4, generator=generator)
    mask = torch.ones(shape, dtype=torch.long)
    mask[0, 1, 2:] = 0
    mask[2, 0, 4:] = 0
    batch["visual_attention_mask"] = mask
    return batch


def reference_scores(model: LxmertForVisualReasoning, batch: dict[str, Tensor]) -> Tensor:
    """The scores, one sentence and one image at a time, padding cut off instead of masked."""
    rows = []
    for row in range(BATCH):
        words = batch["attention_mask"][row].bool()
        pooled = []
        for place in (0, 1):
            real = batch["visual_attention_mask"][row, place].bool()
            output = model.lxmert(
                input_ids=batch["input_ids"][row, words][None],
                token_type_ids=batch["token_type_ids"][row, words][None],
                visual_feats=batch["visual_feats"][row, place, real][None],
                visual_pos=batch["visual_pos"][row, place, real][None],
            )
            pooled.append(output.pooled_output[0])
        first, _, norm, last = model.pair_head.logit_fc
        hidden = torch.nn.functional.gelu(first(torch.cat(pooled)))
        centred = hidden - hidden.mean()
        hidden = centred / (centred.square().mean() + 1e-12).sqrt() * norm.weight + norm.bias
        rows.append(hidden @ last.weight.T + last.bias)
    return torch.stack(rows)


def test_pair_scores_equal_images_encoded_separately_left_first(model: LxmertForVisualReasoning) -> None:
    torch.nn.init.normal_(model.pair_head.logit_fc[2].weight)
    torch.nn.init.normal_(model.pair_head.logit_fc[2].bias)
    batch = pair_inputs()
    logits = model(**batch).logits
    assert logits.shape == (BATCH, 2)
    torch.testing.assert_close(logits, reference_scores(model, batch), rtol=0, atol=1e-5)


def test_swapping_images_changes_scores_to_those_of_reference(
    model: LxmertForVisualReasoning,
) -> None:
    batch = pair_inputs()
    swapped = {
        name: values.flip(1) if name.startswith("visual") else values for name, values in batch.items()
    }
    there, back = model(**batch).logits, model(**swapped).logits
    assert (there - back).abs().max() > 1e-3
    torch.testing.assert_close(reference_scores(model, swapped), back, rtol=0, atol=1e-5)


def test_pair_scores_do_not_depend_on_other_sentences_of_batch(model: LxmertForVisualReasoning) -> None:
    batch = pair_inputs()
    whole = model(**batch).logits
    for row in range(BATCH):
        alone = model(**{name: values[row : row + 1] for name, values in batch.items()}).logits
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-5)


def test_loss_is_cross_entropy_over_labelled_sentences(model: LxmertForVisualReasoning) -> None:
    batch = pair_inputs()
    scores = reference_scores(model, batch).log_softmax(dim=1)
    output = model(**batch, labels=torch.tensor([1, -100, 0]))
    assert output.loss.item() == pytest.approx(-(scores[0, 1] + scores[2, 0]).item() / 2, abs=1e-5)
    assert output.losses.keys() == {"pair"}
    assert model(**batch, labels=torch.tensor([-1, -100, -1])).loss.item() == 0


def test_gradients_reach_real_objects_of_both_images_and_all_used_weights(
    model: LxmertForVisualReasoning,
) -> None:
    batch: dict[str, Any] = pair_inputs()
    batch["visual_feats"].requires_grad_()
    model(**batch, labels=torch.tensor([1, 0, 1])).loss.backward()
    reached = batch["visual_feats"].grad.abs().sum(dim=3) > 0
    assert torch.equal(reached, batch["visual_attention_mask"].bool())
    # What the last layer makes of the objects goes nowhere.
    last = f"lxmert.encoder.x_layers.{model.config.x_layers - 1}.visn"
    silent = {
        name
        for name, weight in model.named_parameters()
        if (weight.grad is None or not weight.grad.any()) and not name.startswith(last)
    }
    assert {name for name in silent if "key.bias" not in name} == set()


def test_inputs_embeds_give_same_pair_scores_as_input_ids(model: LxmertForVisualReasoning) -> None:
    batch = pair_inputs()
    expected = model(**batch).logits
    ids = batch.pop("input_ids")
    torch.testing.assert_close(
        model(**batch, inputs_embeds=model.get_input_embeddings()(ids)).logits, expected
    )


def test_maps_and_states_have_a_row_per_image(model: LxmertForVisualReasoning) -> None:
    output = model(**pair_inputs(), output_attentions=True, output_hidden_states=True)
    assert {len(states) for states in output.vision_hidden_states} == {2 * BATCH}
    assert output.cross_encoder_attentions[0].shape[::2] == (2 * BATCH, 7)
    # Row 1 is the right image of sentence 0, which has two objects.
    assert output.cross_encoder_attentions[0][1, :, :, 2:].abs().max() < 1e-6
    loss, logits, *_ = model(**pair_inputs(), labels=torch.tensor([1, 0, 1]), return_dict=False)
    assert (loss.shape, logits.shape) == ((), (BATCH, 2))


def test_saved_model_gives_same_scores(model: LxmertForVisualReasoning, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    again = LxmertForVisualReasoning.from_pretrained(tmp_path)
    assert torch.equal(again(**pair_inputs()).logits, model(**pair_inputs()).logits)
    report = load_report(LxmertForVisualReasoning, tmp_path)
    assert report.is_complete
    assert not report.unexpected


def test_pretraining_checkpoint_loads_encoder_and_reports_pair_head_missing(tmp_path: Path) -> None:
    pretrained = LxmertForPreTraining(small_config())
    pretrained.save_pretrained(tmp_path)
    report = load_report(LxmertForVisualReasoning, tmp_path)
    assert set(report.missing) == {
        f"pair_head.logit_fc.{part}"
        for part in ("0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias")
    }
    assert {name.split(".")[0] for name in report.unexpected} == {"cls", "obj_predict_head", "answer_head"}
    model = LxmertForVisualReasoning.from_pretrained(tmp_path)
    for name, value in pretrained.lxmert.state_dict().items():
        assert torch.equal(model.lxmert.state_dict()[name], value), name


def test_pair_head_has_parameter_count_of_original_code() -> None:
    config = LxmertConfig(l_layers=0, x_layers=1, r_layers=0, vocab_size=30, intermediate_size=8)
    head = LxmertForVisualReasoning(config).pair_head
    assert sum(weight.numel() for weight in head.parameters()) == 2_366_978


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("visual_feats", torch.zeros(3, 5, 13), r"visual_feats has shape \(3, 5, 13\).*left and a right"),
        ("visual_feats", torch.zeros(3, 3, 5, 13), r"\(3, 3, 5, 13\), expected \(any, 2, any, any\)"),
        ("visual_pos", torch.zeros(3, 5, 4), r"visual_pos has shape"),
        ("visual_attention_mask", torch.ones(3, 5), r"\(3, 5\), expected \(any, 2, any\)"),
        ("visual_feats", None, "visual_feats is missing"),
        ("input_ids", [[1, 2]] * 3, "input_ids must be a torch tensor, got list"),
        ("attention_mask", [[1] * 7] * 3, "attention_mask must be a torch tensor, got list"),
        ("input_ids", torch.tensor(1), r"input_ids has shape \(\), expected \(any, any\)"),
        ("labels", torch.tensor([0, 2, 1]), r"labels has the class id 2, expected 0\.\.1"),
    ],
)
def test_invalid_pair_input_raises_tensor_error(
    model: LxmertForVisualReasoning, name: str, values: Any, message: str
) -> None:
    batch: dict[str, Any] = pair_inputs() | {name: values}
    with pytest.raises(TensorError, match=message):
        model(**batch)


def test_unknown_argument_raises_type_error_naming_nearest(model: LxmertForVisualReasoning) -> None:
    with pytest.raises(TypeError, match="nearest known: 'visual_pos'"):
        model(**pair_inputs(), visual_position=torch.ones(3, 5, 4))
