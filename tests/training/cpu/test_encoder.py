"""`PackedEncoder` against the plain encoder: losses, gradients, dropout, and when it falls back to it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lxmert import LxmertForPreTraining, LxmertForQuestionAnswering
from lxmert.model.encoder import LxmertEncoder
from lxmert.training.cpu import linear_layers
from lxmert.training.cpu.encoder import PackedEncoder, _PackedForward
from lxmert.training.cpu.packing import PackingLayout
from tests.model.small import enable_checkpointing, inputs, small_config, targets

DROPOUTS = (
    "embeddings",
    "encoder.visn_fc",
    "encoder.layer.0.attention.output",
    "encoder.layer.0.output",
    "encoder.r_layers.0.attention.output",
    "encoder.r_layers.0.output",
    "encoder.x_layers.0.visual_attention.output",
    "encoder.x_layers.0.lang_self_att.output",
    "encoder.x_layers.0.visn_self_att.output",
    "encoder.x_layers.0.lang_output",
    "encoder.x_layers.0.visn_output",
)
"""Modules with hidden dropout: as in BERT (the authors' code) the embeddings and each residual branch."""

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def model(
    packed: bool, dtype: torch.dtype = torch.float64, *, kind: Any = LxmertForPreTraining, **changes: Any
) -> Any:
    torch.manual_seed(5)
    made = kind(small_config(initializer_range=0.2, **changes)).to(dtype).train()
    made.set_attn_implementation("eager")
    if packed:
        PackedEncoder.convert(made.lxmert.encoder)
    return made


def losses_and_gradients(
    trained: LxmertForPreTraining, batch: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses and gradients by name."""
    output = trained(**batch, **targets(), return_all_logits=False)
    output.loss.backward()
    gradients = {name: one.grad for name, one in trained.named_parameters() if one.grad is not None}
    return output.losses, gradients


def batch(dtype: torch.dtype = torch.float64, **changes: Any) -> dict[str, Any]:
    made = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs().items()}
    return {name: value for name, value in (made | changes).items() if value is not None}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each forward pass over packed rows."""
    seen: list[str] = []
    run = _PackedForward.run

    def counted(self: _PackedForward, *states: Tensor) -> Any:
        seen.append("rows")
        return run(self, *states)

    monkeypatch.setattr(_PackedForward, "run", counted)
    return seen


@pytest.mark.parametrize("masks", ["both", "words", "objects", "neither"])
def test_losses_and_gradients_are_those_of_the_plain_encoder(masks: str, passes: list[str]) -> None:
    given = batch()
    if masks in ("objects", "neither"):
        del given["attention_mask"]
    if masks in ("words", "neither"):
        del given["visual_attention_mask"]
    losses, gradients = losses_and_gradients(model(packed=True, **NO_DROPOUT), given)
    assert passes == ["rows"]
    plain_losses, plain_gradients = losses_and_gradients(model(packed=False, **NO_DROPOUT), given)
    assert gradients.keys() == plain_gradients.keys()
    torch.testing.assert_close(losses, plain_losses)
    torch.testing.assert_close(gradients, plain_gradients)


@pytest.mark.parametrize("masks", ["both", "neither"])
@pytest.mark.parametrize("cross_layers", [0, 1, 3])
def test_finetuning_computes_end_of_last_layer_for_first_words_only(
    cross_layers: int, masks: str, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = batch()
    if masks == "neither":
        del given["attention_mask"], given["visual_attention_mask"]
    answers = torch.rand(3, small_config().num_qa_labels, dtype=torch.float64)
    row_counts: list[int] = []

    def counted(values: Tensor, *layers: nn.Linear, **options: bool) -> Tensor:
        row_counts.append(len(values))
        return linear_layers.linear(values, *layers, **options)

    monkeypatch.setattr("lxmert.training.cpu.encoder.linear", counted)
    by_kind = []
    for packed in (True, False):
        trained = model(packed, kind=LxmertForQuestionAnswering, x_layers=cross_layers, **NO_DROPOUT)
        output = trained(**given, labels=answers)
        output.loss.backward()
        gradients = {name: one.grad for name, one in trained.named_parameters() if one.grad is not None}
        by_kind.append((output.loss, output.question_answering_score, gradients))
    assert passes == ["rows"]
    if cross_layers:
        # Query, output of the attention, and both halves of the feed-forward block.
        assert [row_counts[place] for place in (-5, -3, -2, -1)] == [3] * 4
    torch.testing.assert_close(*by_kind)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", DROPOUTS)
def test_hidden_dropout_applies_at_each_place(place: str, packed: bool, passes: list[str]) -> None:
    layers = {"l_layers": 1, "x_layers": 1, "r_layers": 1}
    rates = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.0}
    trained = model(packed, **layers, **rates).lxmert
    rate_of = {
        name: part for name, part in trained.named_modules() if isinstance(part, nn.Dropout) and part.p
    }
    assert {name.removesuffix(".dropout") for name in rate_of} == set(DROPOUTS)
    assert {part.p for part in rate_of.values()} == {0.5}
    for name, part in rate_of.items():
        part.p *= name == f"{place}.dropout"

    def states() -> Tensor:
        output = trained(**batch())
        return torch.cat([output.language_output, output.vision_output], dim=1)

    assert not torch.equal(states(), states())
    assert len(passes) == 2 * packed
    trained.eval()
    assert torch.equal(states(), states())


def test_attention_dropout_scales_kept_weights() -> None:
    encoder = model(packed=True, attention_probs_dropout_prob=0.25).lxmert.encoder
    attention = encoder.layer[0].attention.self
    rows = PackingLayout(None, 3, 200)
    nothing = torch.zeros(3 * encoder.config.num_attention_heads, 200, attention.head_dim)
    packed_forward = _PackedForward(encoder, torch.float32, rows, rows)
    # All weights are alike, and the values are 1.
    mixed = packed_forward._attend(attention, nothing, nothing, nothing + 1, rows, rows)
    assert mixed.std() > 0.01
    assert mixed.mean().item() == pytest.approx(1, abs=0.01)


def test_hidden_dropout_scales_kept_states() -> None:
    encoder = model(packed=True, hidden_dropout_prob=0.25).lxmert.encoder
    output = encoder.layer[0].attention.output
    output.LayerNorm = nn.Identity()
    nn.init.zeros_(output.dense.weight)
    nn.init.ones_(output.dense.bias)
    rows = PackingLayout(None, 3, 400)
    nothing = torch.zeros(1200, output.dense.in_features, dtype=torch.float64)
    # What is added is 1 before dropout.
    added = _PackedForward(encoder, torch.float64, rows, rows)._residual(output, nothing, nothing)
    assert added.unique().tolist() == pytest.approx([0, 4 / 3])
    assert added.mean().item() == pytest.approx(1, abs=0.02)


def test_other_activation_than_gelu_gives_results_of_plain_encoder(passes: list[str]) -> None:
    ours, theirs = (
        losses_and_gradients(model(packed, hidden_act="relu", **NO_DROPOUT), batch())
        for packed in (True, False)
    )
    assert passes == ["rows"]
    torch.testing.assert_close(ours, theirs)


def test_losses_and_gradients_under_autocast_match_plain_encoder_up_to_rounding(passes: list[str]) -> None:
    given = batch(torch.float32)
    by_kind = []
    for packed in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            by_kind.append(losses_and_gradients(model(packed, torch.float32, **NO_DROPOUT), given))
    assert passes == ["rows"]
    (losses, gradients), (plain_losses, plain_gradients) = by_kind
    torch.testing.assert_close(losses, plain_losses, rtol=0.02, atol=0.02)
    for name, gradient in gradients.items():
        plain = plain_gradients[name]
        assert gradient.dtype == torch.float32
        # Biases of keys have no effect: their gradients are rounding alone.
        if not name.endswith("key.bias"):
            assert (gradient - plain).norm() <= 0.06 * plain.norm() + 1e-3, name


def test_autocast_runs_linear_layers_in_bfloat16_and_layer_norms_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dtypes: list[torch.dtype] = []
    normalised: list[torch.dtype] = []

    def noted(values: Tensor, *layers: nn.Linear, **options: bool) -> Tensor:
        dtypes.append(values.dtype)
        return linear_layers.linear(values, *layers, **options)

    monkeypatch.setattr("lxmert.training.cpu.encoder.linear", noted)
    trained = model(True, torch.float32, l_layers=1, r_layers=1, x_layers=1).lxmert
    for part in trained.encoder.modules():
        if isinstance(part, nn.LayerNorm):
            part.register_forward_pre_hook(lambda _, inputs: normalised.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        output = trained(**batch(torch.float32))
    # Features and boxes; 4 of each layer of one modality; 4 for the words and 4 for the objects of a
    # cross-modality layer, and 2 for both.
    assert dtypes == [torch.bfloat16] * (2 + 4 + 4 + 10)
    # Features and boxes; 2 of each layer of one modality; 5 of a cross-modality layer.
    assert normalised == [torch.float32] * (2 + 2 + 2 + 5)
    assert output.language_output.dtype == output.vision_output.dtype == torch.float32


def test_padding_contents_do_not_affect_losses_or_gradients() -> None:
    given = batch()
    losses, gradients = losses_and_gradients(model(packed=True, **NO_DROPOUT), given)
    ids, features = given["input_ids"].clone(), given["visual_feats"].clone()
    ids[1, 4:], features[2, 3:] = 7, 1e6
    others = batch(input_ids=ids, visual_feats=features)
    other_losses, other_gradients = losses_and_gradients(model(packed=True, **NO_DROPOUT), others)
    torch.testing.assert_close(losses, other_losses)
    torch.testing.assert_close(gradients, other_gradients)


def test_dropout_is_drawn_anew_each_step_from_torch_generator(passes: list[str]) -> None:
    trained, given = model(packed=True, hidden_dropout_prob=0.3), batch()
    torch.manual_seed(6)
    first, second = (losses_and_gradients(trained, given)[0]["matched"].item() for _ in range(2))
    torch.manual_seed(6)
    assert losses_and_gradients(trained, given)[0]["matched"].item() == first
    assert first != second
    assert len(passes) == 3


def test_attention_and_hidden_dropout_each_change_the_loss() -> None:
    given = batch()
    plain = losses_and_gradients(model(packed=True, **NO_DROPOUT), given)[0]["matched"].item()
    for name in NO_DROPOUT:
        dropping = model(packed=True, **(NO_DROPOUT | {name: 0.5}))
        assert losses_and_gradients(dropping, given)[0]["matched"].item() != plain


@pytest.mark.parametrize(
    "case", ["evaluation", "maps", "sdpa", "checkpointing", "no first word", "no object"]
)
def test_packed_encoder_falls_back_to_plain_forward(case: str, passes: list[str]) -> None:
    given = batch()
    if case == "no first word":
        given["attention_mask"][0, 0] = 0
    if case == "no object":
        given["visual_attention_mask"][1] = 0
    outputs = []
    for packed in (True, False):
        made = model(packed, **NO_DROPOUT)
        made.train(case != "evaluation")
        if case == "sdpa":
            made.set_attn_implementation("sdpa")
        if case == "checkpointing":
            enable_checkpointing(made)
        outputs.append(made(**given, output_attentions=case == "maps"))
    assert passes == []
    ours, theirs = outputs
    assert torch.equal(ours.cross_relationship_score, theirs.cross_relationship_score)
    assert (ours.cross_encoder_attentions is None) == (case != "maps")


@pytest.mark.parametrize("states", ["object_states", "word_states"])
def test_packed_encoder_falls_back_for_already_encoded_states(states: str, passes: list[str]) -> None:
    objects = {name: value for name, value in batch().items() if name.startswith("visual")}
    words = {name: value for name, value in batch().items() if not name.startswith("visual")}
    scores = []
    for packed in (True, False):
        lxmert = model(packed, **NO_DROPOUT).lxmert
        if states == "object_states":
            encoded = {states: lxmert.encode_objects(**objects)}
            given = words | encoded | {"visual_attention_mask": objects["visual_attention_mask"]}
        else:
            encoded = {states: lxmert.encode_words(**words)}
            given = objects | encoded | {"attention_mask": words["attention_mask"]}
        scores.append(lxmert(**given, output_hidden_states=False).pooled_output)
    assert passes == []
    assert torch.equal(*scores)


def test_states_of_every_layer_are_those_of_the_plain_encoder() -> None:
    given = batch()
    ours, theirs = (
        model(packed, **NO_DROPOUT).lxmert(**given, output_hidden_states=True) for packed in (True, False)
    )
    for name, mask in (("language", "attention_mask"), ("vision", "visual_attention_mask")):
        by_layer = zip(ours[f"{name}_hidden_states"], theirs[f"{name}_hidden_states"], strict=True)
        for one, other in by_layer:
            real = given[mask] == 1
            torch.testing.assert_close(one[real], other[real])


def test_hidden_states_are_padded_only_when_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    padded: list[Tensor] = []
    restore = PackingLayout.pad

    def restoring(self: PackingLayout, rows: Tensor) -> Tensor:
        padded.append(rows)
        return restore(self, rows)

    monkeypatch.setattr(PackingLayout, "pad", restoring)
    trained, counts = model(packed=True, **NO_DROPOUT).lxmert, []
    for with_hidden_states in (True, False):
        padded.clear()
        trained(**batch(), output_hidden_states=with_hidden_states)
        counts.append(len(padded))
    layers = small_config()
    assert counts[0] - counts[1] == layers.l_layers + layers.r_layers + 2 * layers.x_layers


def test_packed_encoder_keeps_state_dict_keys() -> None:
    plain, packed = model(packed=False), model(packed=True)
    assert type(plain.lxmert.encoder) is LxmertEncoder
    assert plain.state_dict().keys() == packed.state_dict().keys()
