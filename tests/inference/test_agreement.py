"""`compare_dtypes`: bfloat16 where enough answers agree with float32, else exactly the former weights."""

from collections.abc import Iterator

import pytest
import torch

from lxmert import LxmertForQuestionAnswering
from lxmert.errors import ConfigurationError
from lxmert.inference import agreement
from lxmert.inference.agreement import (
    Agreement,
    CachingObjectSource,
    compare_dtypes,
    compare_int8,
    labels_where_finite,
)
from lxmert.inference.fast_model import FastModel
from lxmert.inference.int8 import is_int8
from tests.inference.adapters import add_adapters
from tests.inference.test_int8 import needs_int8
from tests.model.small import small_config


@pytest.fixture
def model() -> LxmertForQuestionAnswering:
    torch.manual_seed(3)
    config = small_config(vocab_size=13, visual_feat_dim=5, num_qa_labels=3)
    model = LxmertForQuestionAnswering(config)
    model.register_buffer("scale", torch.rand(3), persistent=False)
    return model


@pytest.mark.parametrize(("lower_dtype", "compared"), [("bfloat16", 64), ("int8", 256)])
def test_is_enough_tolerates_one_different_answer(lower_dtype: str, compared: int) -> None:
    assert agreement.QUESTIONS_COMPARED[lower_dtype] == compared
    for agreed, of, is_enough in (
        (compared, compared, True),
        (compared - 1, compared, True),
        (compared - 2, compared, False),
        (40, 40, True),
        (39, 40, False),
        (0, 0, False),
    ):
        found = Agreement(agreed, of, lower_dtype)
        assert found.is_enough == is_enough
        assert found.dtype == (lower_dtype if is_enough else "float32")


@pytest.mark.parametrize("bfloat16_labels", [[1, 2, 0], [1, 2, 1], None])
def test_compare_dtypes_leaves_bfloat16_or_original_weights(
    model: LxmertForQuestionAnswering, bfloat16_labels: list[int] | None
) -> None:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    kept = {name: tensor.detach().clone() for name, tensor in tensors}
    labels_by_call: Iterator[list[int] | None] = iter([[1, 2, 0], bfloat16_labels])
    dtypes = []

    def answers(fast: FastModel) -> list[int]:
        dtypes.append(fast.model.dtype)
        found = next(labels_by_call)
        if found is None:
            raise KeyboardInterrupt
        return found

    if bfloat16_labels is None:
        with pytest.raises(KeyboardInterrupt):
            compare_dtypes(model, answers)
    else:
        agreed = sum(one == other for one, other in zip([1, 2, 0], bfloat16_labels, strict=True))
        assert compare_dtypes(model, answers) == Agreement(agreed, 3)
    assert dtypes == [torch.float32, torch.bfloat16]
    now = dict([*model.named_parameters(), *model.named_buffers()])
    assert now.keys() == kept.keys()
    for name, tensor in now.items():
        if bfloat16_labels == [1, 2, 0]:
            expected = kept[name].to(torch.bfloat16) if kept[name].is_floating_point() else kept[name]
        else:
            expected = kept[name]
        assert tensor.dtype == expected.dtype, name
        assert torch.equal(tensor, expected), name


EXACT = [1, 2, 0]


@needs_int8
@pytest.mark.parametrize("is_requested", [False, True])
@pytest.mark.parametrize("agrees", ["both", "uncompiled", "neither"])
def test_compare_int8_rounds_model_only_where_compiled_answers_agree_or_are_requested(
    agrees: str, is_requested: bool, model: LxmertForQuestionAnswering, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    steps: list[str] = []

    def answers(fast: FastModel) -> list[int]:
        steps.append("float32" if not is_int8(fast.model) else "compiled" if fast.compiled else "uncompiled")
        is_same = steps[-1] == "float32" or agrees in ("both", steps[-1])
        return EXACT if is_same else [1, 2, 1]

    def warm_up(fast: FastModel) -> None:
        assert fast.compiled
        steps.append("compile")

    found, fast = compare_int8(model, answers, warm_up, is_requested=is_requested)
    assert found == Agreement(3 if agrees == "both" else 2, 3, "int8")
    if is_requested:
        assert steps == ["compile", "float32", "compiled"]
    else:
        compiled = ["compile", "compiled"] if agrees != "neither" else []
        assert steps == ["float32", "uncompiled", *compiled]
    is_used = is_requested or agrees == "both"
    assert is_int8(model) == is_used == (fast is not None)
    if fast is None:
        now = model.state_dict()
        assert now.keys() == kept.keys()
        assert all(torch.equal(now[name], tensor) for name, tensor in kept.items())
        assert "save_pretrained" not in vars(model)
    else:
        with pytest.raises(ConfigurationError, match="cannot be saved"):
            model.save_pretrained("anywhere")


@needs_int8
def test_compare_int8_keeps_weights_where_compilation_fails(model: LxmertForQuestionAnswering) -> None:
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def fail(fast: FastModel) -> None:
        raise ConfigurationError("no compiler")

    with pytest.raises(ConfigurationError, match="no compiler"):
        compare_int8(model, lambda fast: EXACT, fail, is_requested=False)
    now = model.state_dict()
    assert now.keys() == kept.keys()
    assert all(torch.equal(now[name], tensor) for name, tensor in kept.items())


@needs_int8
def test_compare_int8_rejects_adapters(model: LxmertForQuestionAnswering) -> None:
    add_adapters(model)
    with pytest.raises(ConfigurationError, match="merge adapters"):
        compare_int8(model, lambda fast: EXACT, lambda fast: None, is_requested=False)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_is_worth_compiling_on_cpu_for_15000_examples_per_thread(
    device: str, model: LxmertForQuestionAnswering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LxmertForQuestionAnswering, "device", torch.device(device))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert agreement.is_worth_compiling(model, 45_000) == (device == "cpu")
    assert not agreement.is_worth_compiling(model, 44_999)
    model.lxmert.pooler.register_forward_hook(lambda *_: None)
    assert not agreement.is_worth_compiling(model, 45_000), "its code cannot be kept"


def test_labels_where_finite_are_minus_1_for_nan_or_infinite_scores() -> None:
    scores = torch.tensor([[0.5, 2.0, -1.0], [0.0, torch.nan, 1.0], [torch.inf, 0.0, 1.0], [3.0, 0.0, 1.0]])
    assert labels_where_finite(scores) == [1, -1, -1, 0]


def test_caching_object_source_does_not_reload_same_images() -> None:
    loaded = []

    class Source:
        def load(self, images: list[str]) -> dict[str, torch.Tensor]:
            loaded.append(images)
            return {"visual_feats": torch.full((len(images),), len(loaded))}

    source = CachingObjectSource(Source())
    first = source.load(["a", "b"])
    assert source.load(["a", "b"]) is first
    assert int(source.load(["b"])["visual_feats"]) == 2
    assert loaded == [["a", "b"], ["b"]]
