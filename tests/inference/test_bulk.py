"""`BulkAnswerer`: scores equal those of one question at a time, and nothing is computed twice."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lxmert import LxmertConfig, LxmertForQuestionAnswering, LxmertForVisualReasoning
from lxmert.errors import TensorError
from lxmert.inference.bulk import BulkAnswerer, BulkSettings, best_labels
from lxmert.inference.bulk_packing import BatchLimits, TokenizedQuestion
from lxmert.inference.fast_model import FastModel

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "l_layers": 2,
    "r_layers": 2,
    "x_layers": 2,
    "visual_feat_dim": 5,
    "num_qa_labels": 7,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
}


class RecordingSource:
    """Objects of random images; counts which were loaded."""

    def __init__(self, counts: Sequence[int]) -> None:
        generator = torch.Generator().manual_seed(2)
        self.objects = [
            (torch.randn(count, 5, generator=generator), torch.rand(count, 4, generator=generator))
            for count in counts
        ]
        self.loaded: Counter[Hashable] = Counter()

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        self.loaded.update(images)
        most = max(1, *(len(self.objects[int(str(image))][0]) for image in images))
        batch = {
            "visual_feats": torch.zeros(len(images), most, 5),
            "visual_pos": torch.zeros(len(images), most, 4),
            "visual_attention_mask": torch.zeros(len(images), most, dtype=torch.int64),
        }
        for row, image in enumerate(images):
            features, boxes = self.objects[int(str(image))]
            for values, mine in zip(batch.values(), (features, boxes, torch.tensor(1)), strict=True):
                values[row, : len(features)] = mine
        return batch


class Spy(FastModel):
    """Records the inputs of each call of the model."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.asked: list[tuple[Tensor | None, ...]] = []
        self.encoded: list[tuple[int, ...]] = []
        self.read = 0

    def encode_objects(self, *inputs: Tensor) -> Tensor:  # type: ignore[override]
        self.encoded.append(tuple(inputs[0].shape))
        return super().encode_objects(*inputs)

    def encode_words(self, *inputs: Tensor | None) -> Tensor:  # type: ignore[override]
        self.read += len(inputs[0])  # type: ignore[arg-type]
        return super().encode_words(*inputs)  # type: ignore[arg-type]

    def scores(self, *inputs: Tensor | None) -> Tensor:  # type: ignore[override]
        self.asked.append(inputs)
        return super().scores(*inputs)  # type: ignore[arg-type]


def model(kind: type) -> Any:
    torch.manual_seed(0)
    return kind(LxmertConfig(**SIZES)).eval()


def question(seed: int, words: int, *images: int) -> TokenizedQuestion:
    return TokenizedQuestion(np.random.default_rng(seed).integers(1, 50, words), images)


def scores_of_one_question(model: Any, asked: TokenizedQuestion, images: RecordingSource) -> Tensor:
    """The scores (C,) of one question alone, without padding, from features to scores at once."""
    loaded = [images.load([image]) for image in asked.images]
    most = max(one["visual_feats"].shape[1] for one in loaded)
    names = ("visual_feats", "visual_pos", "visual_attention_mask")
    stacked = {
        name: torch.stack(
            [
                torch.cat(
                    [one[name][0], one[name].new_zeros(most - one[name].shape[1], *one[name].shape[2:])]
                )
                for one in loaded
            ]
        )
        for name in names
    }
    if len(asked.images) > 1:
        stacked = {name: values[None] for name, values in stacked.items()}
    with torch.no_grad():
        scores: Tensor = model(
            input_ids=torch.from_numpy(asked.token_ids)[None], **stacked, return_dict=False
        )[0]
    return scores[0]


def rows(scores: Tensor) -> list[Tensor]:
    return list(scores)


COUNTS = [3, 7, 0, 1, 7, 9, 2, 30]


@pytest.mark.parametrize("counts", [COUNTS, [5] * 8], ids=["different counts", "equal counts"])
@pytest.mark.parametrize("tokens", [1, 70, 100_000])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_scores_equal_those_of_one_question_at_a_time(
    counts: list[int], tokens: int, is_compiled: bool
) -> None:
    qa_model = model(LxmertForQuestionAnswering)
    images = RecordingSource(counts)
    asked = [question(seed, 3 + seed * 5 % 9, seed * 3 % 8) for seed in range(33)]
    expected = [scores_of_one_question(qa_model, one, images) for one in asked]
    fast = FastModel(qa_model)
    fast.compiled = is_compiled
    engine = BulkAnswerer(fast, images, 0, rows, BulkSettings(batches=BatchLimits(tokens=tokens)))
    found = engine.answer_in_order(asked)
    assert torch.allclose(torch.stack(found), torch.stack(expected), rtol=0, atol=1e-5)
    assert torch.stack(expected).std(dim=0).min() > 0.01, "the questions are too alike to tell"


def test_scores_of_pairs_equal_those_of_one_pair_at_a_time() -> None:
    pair_model = model(LxmertForVisualReasoning)
    images = RecordingSource(COUNTS)
    asked = [question(seed, 3 + seed * 5 % 9, seed * 3 % 8, seed * 5 % 8) for seed in range(33)]
    expected = [scores_of_one_question(pair_model, one, images) for one in asked]
    spy = Spy(pair_model)
    found = BulkAnswerer(spy, images, 0, rows, BulkSettings(BatchLimits(tokens=120))).answer_in_order(asked)
    assert torch.allclose(torch.stack(found), torch.stack(expected), rtol=0, atol=1e-5)
    for words, _, objects, _ in spy.asked:
        pairs, _, most, _ = objects.shape  # type: ignore[union-attr]
        assert pairs == 1 or 2 * pairs * (most + words.shape[1]) <= 120  # type: ignore[union-attr]


def test_images_texts_and_duplicate_questions_are_computed_once() -> None:
    images = RecordingSource(COUNTS)
    spy = Spy(model(LxmertForQuestionAnswering))
    # Five sentences, each about two images.
    asked = [question(seed % 5, 4 + seed % 5 % 3, seed % 10 // 2) for seed in range(60)]
    found = BulkAnswerer(spy, images, 0, rows).answer_in_order(asked)
    assert images.loaded == Counter(range(5))
    assert sum(shape[0] for shape in spy.encoded) == 5
    assert spy.read == 5
    assert sum(len(words) for words, *_ in spy.asked) == 10  # type: ignore[arg-type]
    assert all(torch.equal(found[seed], found[seed % 10]) for seed in range(60))


def test_masks_are_none_without_padding() -> None:
    spy = Spy(model(LxmertForQuestionAnswering))
    BulkAnswerer(spy, RecordingSource([4] * 6), 0, rows).answer_in_order(
        [question(n, 5, n) for n in range(6)]
    )
    ((_, words_mask, _, objects_mask),) = spy.asked
    assert (words_mask, objects_mask) == (None, None)


@pytest.mark.parametrize(("cache_bytes", "again"), [(0, 6), (10**6, 0), (3 * 4 * 16 * 4, 3)])
def test_cache_between_windows_respects_cache_bytes(cache_bytes: int, again: int) -> None:
    images = RecordingSource([4] * 6)  # Each takes 4 objects of 16 numbers of 4 bytes.
    engine = BulkAnswerer(
        FastModel(model(LxmertForQuestionAnswering)), images, 0, rows, BulkSettings(cache_bytes=cache_bytes)
    )
    asked = [question(n, 5, n) for n in range(6)]
    first = engine.answer_in_order(asked)
    images.loaded.clear()
    second = engine.answer_in_order(asked[::-1])
    assert images.loaded.total() == again
    assert torch.allclose(torch.stack(first), torch.stack(second[::-1]), atol=1e-6)


def test_cache_evicts_least_recently_used_image() -> None:
    images = RecordingSource([4] * 4)
    settings = BulkSettings(cache_bytes=3 * 4 * 16 * 4)  # of three images
    engine = BulkAnswerer(FastModel(model(LxmertForQuestionAnswering)), images, 0, rows, settings)
    for window in ([0, 1, 2], [0, 3], [0], [2]):
        engine.answer_in_order([question(image, 5, image) for image in window])
    assert images.loaded == Counter(range(4))


def test_done_batches_are_skipped_and_others_are_unchanged() -> None:
    qa_model = model(LxmertForQuestionAnswering)
    asked = [question(seed, 3 + seed % 7, seed % 8) for seed in range(40)]
    settings = BulkSettings(batches=BatchLimits(tokens=80))
    whole = list(BulkAnswerer(FastModel(qa_model), RecordingSource(COUNTS), 0, rows, settings).answer(asked))
    done = {place for places, _ in whole[::2] for place in places}
    spy = Spy(qa_model)
    rest = list(BulkAnswerer(spy, RecordingSource(COUNTS), 0, rows, settings).answer(asked, done.issuperset))
    assert [places for places, _ in rest] == [places for places, _ in whole[1::2]]
    assert len(spy.asked) == len(rest) > 1
    for (_, one), (_, other) in zip(rest, whole[1::2], strict=True):
        assert all(map(torch.equal, one, other))


@pytest.mark.parametrize(
    ("limits", "batches", "encoded"),
    # 100 questions of 5 words and 91 objects are 9,600 tokens, the 40 images alone 3,640.
    [(BatchLimits(), 4, 2), (BatchLimits(tokens=4800), 2, 1), (BatchLimits(questions=100), 1, 2)],
)
def test_batches_use_cpu_token_limit_unless_limit_is_given(
    limits: BatchLimits, batches: int, encoded: int
) -> None:
    spy = Spy(model(LxmertForQuestionAnswering))
    engine = BulkAnswerer(spy, RecordingSource([91] * 40), 0, rows, BulkSettings(limits))
    engine.answer_in_order([question(n, 5, n % 40) for n in range(100)])
    assert (len(spy.asked), len(spy.encoded)) == (batches, encoded)


@pytest.mark.parametrize(
    ("batches", "cpu", "gpu"),
    [(BatchLimits(), 3072, 32768), (BatchLimits(questions=7), 3072, 32768), (BatchLimits(tokens=50), 50, 50)],
)
def test_encoding_limits_depend_on_device_unless_tokens_are_given(
    batches: BatchLimits, cpu: int, gpu: int
) -> None:
    settings = BulkSettings(batches)
    found = [settings.encoding_limits(torch.device(name)) for name in ("cpu", "cuda")]
    assert [(limits.tokens, limits.questions) for limits in found] == [(cpu, None), (gpu, None)]


def test_progress_counts_questions() -> None:
    progress_counts: list[int] = []
    engine = BulkAnswerer(FastModel(model(LxmertForQuestionAnswering)), RecordingSource(COUNTS), 0, rows)
    engine.answer_in_order([question(n % 9, 5, n % 8) for n in range(40)], progress_counts.append)
    assert sum(progress_counts) == 40


def test_best_labels_are_argmax_and_reject_nan() -> None:
    assert best_labels(torch.tensor([[0.1, 3.0, -2.0], [5.0, -9.0, 4.9], [-3.0, -2.0, -1.0]])) == [1, 0, 2]
    with pytest.raises(TensorError, match="NaN or infinity"):
        best_labels(torch.tensor([[0.0, float("nan")], [1.0, 2.0]]))
