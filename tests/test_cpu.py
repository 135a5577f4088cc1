"""fast_linear_layers: linear layers computed by oneDNN, with torch's results, only where oneDNN applies."""

from collections.abc import Callable

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import linear

from lxmert import LxmertForQuestionAnswering, LxmertPredictor, cpu
from lxmert.cpu import fast_linear_layers, onednn_linear
from lxmert.explain.case import Case
from lxmert.inference.fast_model import FastModel
from lxmert.scenes import sample
from lxmert.vision.detr import TransformersDetector
from lxmert.vision.vision_model import VisionModel
from tests.inference.adapters import add_adapters
from tests.model.small import inputs, small_config
from tests.vision.small_backbones import small_vit
from tests.vision.small_detectors import small_detector, small_processor

Shapes = list[tuple[int, ...]]

FLOAT32_LAYER = nn.Linear(1, 1)


@pytest.fixture
def shapes_at_onednn(monkeypatch: pytest.MonkeyPatch) -> Shapes:
    """The shapes of the rows that oneDNN multiplied so far, on a processor that prefers it."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    shapes: Shapes = []

    def recording_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        shapes.append(tuple(input.shape))
        return onednn_linear(input, weight, bias)

    monkeypatch.setattr(cpu, "onednn_linear", recording_linear)
    monkeypatch.setattr(cpu, "prefers_onednn", lambda: True)
    return shapes


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("rows", [(), (7,), (2, 3), (4, 0)])
@torch.no_grad()
def test_onednn_linear_equals_torch_linear(
    shapes_at_onednn: Shapes, rows: tuple[int, ...], with_bias: bool
) -> None:
    # Small integers: exact in float32, and so are their sums.
    layer = nn.Linear(5, 3, bias=with_bias)
    for parameter in layer.parameters():
        parameter.copy_(torch.arange(parameter.numel()).view_as(parameter))
    values = torch.arange(-9.0, 31.0)[: 5 * int(torch.tensor(rows).prod())].view(*rows, 5)
    expected = layer(values)
    with fast_linear_layers(layer):
        assert torch.equal(layer(values), expected)
        operands = {"weight": layer.weight, "bias": layer.bias}
        assert torch.equal(linear(input=values, **operands), expected)
    assert shapes_at_onednn == [(*rows, 5)] * 2
    layer(values)
    assert len(shapes_at_onednn) == 2, "only inside the context"


def test_all_linear_layers_of_model_use_onednn(shapes_at_onednn: Shapes) -> None:
    torch.manual_seed(3)
    model = LxmertForQuestionAnswering(small_config()).eval()
    add_adapters(model)
    with torch.no_grad():
        with torch.profiler.profile() as profile:
            expected = model(**inputs()).question_answering_score
        with fast_linear_layers(model):
            scores = model(**inputs()).question_answering_score
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)
    products = [event.count for event in profile.key_averages() if event.key in ("aten::addmm", "aten::mm")]
    assert len(shapes_at_onednn) == sum(products)


class _TensorSubclass(Tensor):
    """A tensor with its own operations, as those of quantised weights."""


@pytest.mark.parametrize(
    "cast",
    [
        pytest.param(lambda layer: layer.bfloat16(), id="bfloat16"),
        pytest.param(lambda layer: layer.double(), id="float64"),
        pytest.param(lambda layer: layer.to("meta"), id="meta device"),
    ],
)
def test_unsupported_dtypes_and_devices_use_torch(
    shapes_at_onednn: Shapes, cast: Callable[[nn.Linear], nn.Linear]
) -> None:
    layer = cast(nn.Linear(5, 3))
    values = torch.ones(2, 5, dtype=layer.weight.dtype, device=layer.weight.device)
    with torch.no_grad(), fast_linear_layers(FLOAT32_LAYER):
        assert layer(values).dtype == values.dtype
    assert shapes_at_onednn == []


def test_gradients_autocast_and_tensor_subclasses_use_torch(shapes_at_onednn: Shapes) -> None:
    layer = nn.Linear(5, 3)
    values = torch.ones(2, 5)
    with fast_linear_layers(layer):
        layer(values).sum().backward()
        assert layer.weight.grad is not None
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                assert layer(values).dtype == torch.bfloat16
            subclassed = layer.weight.as_subclass(_TensorSubclass)
            assert isinstance(linear(values, subclassed), _TensorSubclass)
            assert isinstance(linear(values, weight=subclassed), _TensorSubclass)
            with pytest.raises(RuntimeError, match="dtype"):
                layer(values.double())
    assert shapes_at_onednn == []


@pytest.mark.parametrize(
    "operands",
    [
        pytest.param((torch.ones(2, 5), torch.ones(3, 5), torch.ones(1)), id="one bias for all outputs"),
        pytest.param((torch.ones(2, 5), torch.ones(3, 5), torch.ones(2, 3)), id="one bias per row"),
        pytest.param((torch.ones(2, 5), torch.ones(5)), id="one-dimensional weight"),
        pytest.param((torch.ones(2, 0), torch.ones(3, 0)), id="zero input features"),
        pytest.param((torch.ones(2, 5), torch.ones(3, 5).to_sparse()), id="sparse weight"),
    ],
)
def test_unsupported_shapes_and_layouts_use_torch(
    shapes_at_onednn: Shapes, operands: tuple[Tensor, ...]
) -> None:
    with torch.no_grad():
        expected = linear(*operands)
        with fast_linear_layers(FLOAT32_LAYER):
            assert torch.equal(linear(*operands), expected)
    assert shapes_at_onednn == []


@pytest.mark.parametrize(
    ("values", "words"), [(torch.ones(2, 4), "cannot be multiplied"), (torch.ones(()), "at least 1D")]
)
def test_mismatched_shapes_raise_torch_error(shapes_at_onednn: Shapes, values: Tensor, words: str) -> None:
    with (
        torch.no_grad(),
        fast_linear_layers(FLOAT32_LAYER),
        pytest.raises(RuntimeError, match=words),
    ):
        linear(values, torch.ones(3, 5))


def test_torch_is_used_where_onednn_is_not_preferred(
    shapes_at_onednn: Shapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "prefers_onednn", lambda: False)
    with torch.no_grad(), fast_linear_layers(FLOAT32_LAYER):
        nn.Linear(5, 3)(torch.ones(2, 5))
    assert shapes_at_onednn == []


def _run_fast_model(shapes: Shapes) -> None:
    fast, batch = FastModel(LxmertForQuestionAnswering(small_config())), inputs()
    words = fast.encode_words(batch["input_ids"])
    of_words = len(shapes)
    objects = fast.encode_objects(batch["visual_feats"], batch["visual_pos"])
    of_both = len(shapes)
    fast.scores(words, None, objects, None)
    assert 0 < of_words < of_both < len(shapes)


def _run_vision_model(_: Shapes) -> None:
    VisionModel(small_vit(width=8))(torch.rand(1, 3, 16, 16))


def _run_detector(_: Shapes) -> None:
    image = Image.new("RGB", (40, 30))
    TransformersDetector(small_detector(), image_processor=small_processor())(image)


@pytest.mark.parametrize("run_model", [_run_fast_model, _run_vision_model, _run_detector])
def test_uncompiled_models_use_onednn(shapes_at_onednn: Shapes, run_model: Callable[[Shapes], None]) -> None:
    run_model(shapes_at_onednn)
    assert shapes_at_onednn


@pytest.mark.parametrize("model", [nn.Linear(1, 1).bfloat16(), nn.Linear(1, 1, device="meta")])
def test_bfloat16_and_meta_models_do_not_enter_onednn_mode(
    monkeypatch: pytest.MonkeyPatch, model: nn.Module
) -> None:
    monkeypatch.setattr(cpu, "prefers_onednn", lambda: True)
    monkeypatch.setattr(cpu, "_OnednnLinearMode", lambda: pytest.fail("used"))
    with fast_linear_layers(model):
        pass


def test_compiled_model_does_not_enter_onednn_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "prefers_onednn", lambda: True)
    monkeypatch.setattr(cpu, "_OnednnLinearMode", lambda: pytest.fail("used"))
    fast = FastModel(LxmertForQuestionAnswering(small_config()), compiled=True)
    monkeypatch.setattr(fast, "_encode_words", lambda input_ids, *_: input_ids)  # Compiling takes long.
    fast.encode_words(inputs()["input_ids"])


def test_explanations_use_onednn(shapes_at_onednn: Shapes) -> None:
    predictor = LxmertPredictor.from_pretrained("scenes", device="cpu", dtype="float32")
    picture, scene, questions = sample(11, 0, questions=1)
    case = Case(predictor, predictor.regions(picture, scene.boxes_xyxy_px()), questions[0].text, None)
    shapes_at_onednn.clear()
    case.probabilities_without(
        *(torch.zeros(3, len(part), dtype=torch.bool) for part in (case.words, scene.boxes_xyxy_px()))
    )
    assert {shape[0] for shape in shapes_at_onednn} >= {3}
