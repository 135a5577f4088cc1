"""`ObjectStateCache`: each image's objects are encoded once; invalidation, eviction, memory, threads."""

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor

from lxmert import LxmertForQuestionAnswering, LxmertPredictor
from lxmert.inference.compiling import CompiledPart
from lxmert.inference.fast_model import FastModel
from lxmert.inference.model_setup import ModelSetup
from lxmert.inference.object_state_cache import ObjectStateCache
from lxmert.scenes import sample
from lxmert.vision.regions import Regions

WIDTH = 256
QUESTIONS = ["how many stars are there?", "what is red?", "is there a circle?"]


def random_regions(seed: int, objects: int = 4) -> Regions:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(objects, 2, generator=generator) * 40
    boxes = torch.cat([corners, corners + 20], dim=1)
    features = torch.randn(objects, WIDTH, generator=generator)
    return Regions(boxes_xyxy_px=boxes, features=features, size_hw=(64, 64), extractor="test")


@pytest.fixture(scope="module")
def predictor() -> LxmertPredictor:
    return LxmertPredictor.from_pretrained("scenes", device="cpu")


@pytest.fixture
def encoded_batch_sizes(predictor: LxmertPredictor) -> Iterator[list[int]]:
    """How many images each call that encodes objects has."""
    sizes: list[int] = []
    layer = predictor.model.lxmert.encoder.visn_fc
    handle = layer.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    yield sizes
    handle.remove()


def test_image_is_encoded_once_for_all_questions(
    predictor: LxmertPredictor, encoded_batch_sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lxmert.inference.predictor.QUESTIONS_PER_BATCH", 2)
    picture, _, _ = sample(7, 0, questions=1)
    regions = predictor.regions(picture)
    first = predictor.answer(regions, QUESTIONS)
    again = predictor.answer(regions, QUESTIONS[1:])
    assert encoded_batch_sizes == [1]
    for [one], [other] in zip(first[1:], again, strict=True):
        assert other.text == one.text
        assert other.probability == pytest.approx(one.probability, abs=1e-5)
    for question, [best] in zip(QUESTIONS, first, strict=True):
        inputs = predictor.processor(text=question, regions=regions)
        with torch.inference_mode():
            scores = predictor.model(**inputs).question_answering_score[0].softmax(dim=0)
        assert best.probability == pytest.approx(float(scores.max()), abs=1e-5)
        assert best.label == int(scores.argmax())


def test_changed_weights_invalidate_cached_states(
    predictor: LxmertPredictor, encoded_batch_sizes: list[int]
) -> None:
    regions = random_regions(1)
    weights = predictor.model.lxmert.encoder.r_layers[0].output.dense.weight
    before = predictor.answer(regions, QUESTIONS)
    with torch.no_grad():
        weights.mul_(-1.0)
    changed = predictor.answer(regions, QUESTIONS)
    with torch.no_grad():
        weights.mul_(-1.0)
    after = predictor.answer(regions, QUESTIONS)
    assert encoded_batch_sizes == [1, 1, 1]
    probabilities = [[best.probability for [best] in answers] for answers in (before, changed, after)]
    assert probabilities[1] != pytest.approx(probabilities[0], abs=1e-5)
    assert probabilities[2] == pytest.approx(probabilities[0], abs=1e-6)


@pytest.mark.parametrize("field", ["features", "boxes_xyxy_px"])
def test_regions_changed_in_place_are_encoded_again(
    predictor: LxmertPredictor, encoded_batch_sizes: list[int], field: str
) -> None:
    regions = random_regions(1)
    before = predictor.answer(regions, QUESTIONS)
    getattr(regions, field)[1:] = getattr(regions, field)[0].clone()
    changed = predictor.answer(regions, QUESTIONS)
    fresh = predictor.answer(regions.select([0, 1, 2, 3]), QUESTIONS)
    assert encoded_batch_sizes == [1, 1, 1]
    probabilities = [[best.probability for [best] in answers] for answers in (before, changed, fresh)]
    assert probabilities[1] == pytest.approx(probabilities[2], abs=1e-6)
    assert probabilities[1] != pytest.approx(probabilities[0], abs=1e-5)


def test_regions_made_in_inference_mode_are_accepted(predictor: LxmertPredictor) -> None:
    with torch.inference_mode():
        regions = random_regions(1)
    assert predictor.answer(regions, QUESTIONS) == predictor.answer(random_regions(1), QUESTIONS)


def test_least_recently_used_states_are_evicted_first(
    predictor: LxmertPredictor, encoded_batch_sizes: list[int]
) -> None:
    size = 4 * (128 * 4 + 8)  # four objects: a float32 state and an int64 mask each
    states = ObjectStateCache(FastModel(predictor.model), max_bytes=2 * size)
    first, second, third = (random_regions(seed) for seed in (1, 2, 3))
    for regions in (first, second, first, third, first, second):
        states.get(regions)
        assert states.cached_bytes in (size, 2 * size)
    # The first stayed, because it had been asked for again; the second made room for the third.
    assert encoded_batch_sizes == [1, 1, 1, 1]


def test_cache_drops_deleted_regions_and_is_disabled_by_max_bytes_0(predictor: LxmertPredictor) -> None:
    states = ObjectStateCache(FastModel(predictor.model))
    regions = random_regions(1)
    states.get(regions)
    assert states.cached_bytes > 0
    del regions
    gc.collect()
    assert states.cached_bytes == 0
    disabled = ObjectStateCache(FastModel(predictor.model), max_bytes=0)
    regions = random_regions(1)
    torch.testing.assert_close(disabled.get(regions), states.get(regions))
    assert disabled.cached_bytes == 0


def test_weights_made_in_inference_mode_are_accepted(predictor: LxmertPredictor) -> None:
    with torch.inference_mode():
        model = LxmertForQuestionAnswering(predictor.model.config).eval()
        ObjectStateCache(FastModel(model)).get(random_regions(1))


def test_deleted_cache_is_freed_without_garbage_collection(predictor: LxmertPredictor) -> None:
    states, regions = ObjectStateCache(FastModel(predictor.model)), random_regions(1)
    kept = ref(states.get(regions)["object_states"])
    gc.disable()
    try:
        del states
        assert kept() is None
    finally:
        gc.enable()
    del regions  # Whose finalizer refers to the cache.


def test_compiled_predictor_encodes_objects_with_compiled_code(
    predictor: LxmertPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(part: CompiledPart, *inputs: Tensor) -> Tensor:
        ran.append(part._name)
        return part._part(*inputs)

    monkeypatch.setattr(CompiledPart, "__call__", run)
    model = LxmertForQuestionAnswering(predictor.model.config)
    model.load_state_dict(predictor.model.state_dict())
    compiled = LxmertPredictor(model, predictor.processor, setup=ModelSetup("float32", compiled=True))
    regions = random_regions(1)
    for [one], [other] in zip(
        compiled.answer(regions, QUESTIONS), predictor.answer(regions, QUESTIONS), strict=True
    ):
        assert one.probability == pytest.approx(other.probability, abs=1e-5)
    assert sorted(ran) == ["object encoder", "scorer", "word encoder"]
    compiled.answer(regions, QUESTIONS)
    assert ran.count("object encoder") == 1


class _BlockingModel:
    """A model whose encoding of images with 3 objects waits until `may_continue` is set."""

    def __init__(self, fast: FastModel) -> None:
        self.fast, self.model, self.device = fast, fast.model, fast.device
        self.is_waiting, self.may_continue = Event(), Event()

    def encode_objects(self, visual_feats: Tensor, **more: Any) -> Tensor:
        if visual_feats.shape[1] == 3:
            self.is_waiting.set()
            assert self.may_continue.wait(60)
        return self.fast.encode_objects(visual_feats, **more)


def test_get_does_not_wait_while_another_thread_encodes(predictor: LxmertPredictor) -> None:
    blocking = _BlockingModel(FastModel(predictor.model))
    states = ObjectStateCache(blocking)  # type: ignore[arg-type]
    slow, quick = random_regions(1, objects=3), random_regions(2)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(states.get, slow)
        assert blocking.is_waiting.wait(60)
        found = threads.submit(states.get, quick).result(60)
        weights = predictor.model.lxmert.encoder.r_layers[0].output.dense.weight
        with torch.no_grad():
            weights.mul_(2.0)
            weights.mul_(0.5)
        assert states.get(quick) is not found, "the weights were changed"
        kept = states.cached_bytes
        blocking.may_continue.set()
        assert first.result(60)["object_states"].shape == (1, 3, 128)
    assert states.cached_bytes == kept, "of weights that are no longer there nothing is kept"


@pytest.fixture
def rapid_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("rapid_switches")
def test_concurrent_get_returns_right_states_and_respects_max_bytes(predictor: LxmertPredictor) -> None:
    size = 4 * (128 * 4 + 8)
    fast = FastModel(predictor.model)
    quick = _BlockingModel(fast)
    quick.encode_objects = lambda visual_feats, **more: visual_feats[..., :128]  # type: ignore[method-assign]
    states = ObjectStateCache(quick, max_bytes=40 * size)  # type: ignore[arg-type]
    long_lived = [random_regions(seed) for seed in range(50)]

    def get_states(thread: int) -> None:
        for turn in range(400):
            regions = random_regions(turn) if turn % 2 else long_lived[(thread * 7 + turn) % 50]
            found = states.get(regions)["object_states"]
            assert torch.equal(found[0], regions.features[:, :128])
            del regions

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(get_states, range(4)))
    assert 0 < states.cached_bytes <= 40 * size
    long_lived.clear()
    gc.collect()
    assert states.cached_bytes == 0
