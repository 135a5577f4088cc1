"""Pre-training batches: masking, pairing and answers, determined by the draw number alone."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.feature_store import FeatureStore
from lxmert.data.image_text import ImageText
from lxmert.data.masking import ObjectMasking, WordMasking
from lxmert.data.object_labels import ObjectLabels
from lxmert.data.pretraining_dataset import PretrainingCollator, PretrainingDataset, PretrainingSettings
from lxmert.data.region_source import RegionSource, open_regions
from lxmert.data.token_table import TokenTable
from lxmert.errors import DataError
from lxmert.texts import encode_texts
from lxmert.tokenization import LxmertTokenizerFast
from tests.data.binomial import assert_binomial_count
from tests.data.stores import random_regions, write_store

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, CLS, SEP, MASK = 0, 2, 3, 4
IMAGES = 7
COUNTS = (5, 3, 6, 1, 4, 0, 6)
LENGTHS = (2, 9, 5, 12, 3, 1, 7)
"""Words of an image's sentences, which are all made of the image's own word."""
ANSWERS = AnswerVocabulary(["red", "2", "yes"])
LABELS: list[dict[str, float] | None] = [
    None,
    {"Red.": 0.9, "two": 0.3, "the 2": 0.6, "cow": 1.0},
    {"yes": 1.0},
    {"cow": 1.0},
    {},
]


def word(image: int) -> str:
    return f"word{image}"


WORDS = [*SPECIAL, *(word(image) for image in range(IMAGES)), *(f"other{n}" for n in range(88))]
TOKENIZER = LxmertTokenizerFast(vocab={text: number for number, text in enumerate(WORDS)})


def sentences(times: int) -> list[ImageText]:
    """Each image has `times` sentences about it, image 2 four times as many."""
    return [
        ImageText(
            f"image{image}",
            f" {' '.join([word(image)] * LENGTHS[image])} ",
            "vqa" if LABELS[n % 5] is not None else "mscoco",
            LABELS[n % 5],
        )
        for image in range(IMAGES)
        for n in range(times * (4 if image == 2 else 1))
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    images = {f"image{n}.jpg": random_regions(n, count) for n, count in enumerate(COUNTS)}
    return FeatureStore(write_store(tmp_path_factory.mktemp("store") / "s", images))


@pytest.fixture(params=["table", "stored"])
def regions(request: pytest.FixtureRequest, store: FeatureStore) -> RegionSource:
    names = [f"image{n}" for n in range(IMAGES)]
    return open_regions(store, names, in_memory_bytes=0 if request.param == "stored" else 2**20)


def dataset(regions: RegionSource, times: int = 5, **settings: Any) -> PretrainingDataset:
    pretraining_settings = PretrainingSettings(**settings)
    return PretrainingDataset(sentences(times), TOKENIZER, 11, regions, ANSWERS, pretraining_settings)


def flat_tensors(batch: Any) -> dict[str, torch.Tensor]:
    """All tensors of a batch, by a single name each."""
    found = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            for task, (target, weight) in value.items():
                found[f"{name}/{task}"], found[f"{name}/{task}/weight"] = target, weight
        else:
            found[name] = value
    return found


PADDING = {"labels": -100, "obj_labels/obj": -100, "obj_labels/attr": -100}


def assert_same_row(first: Any, row: int, second: Any, other: int) -> None:
    """Equal but for padding, which may be longer in one of them."""
    first_tensors, second_tensors = flat_tensors(first), flat_tensors(second)
    assert first_tensors.keys() == second_tensors.keys()
    for name in first_tensors:
        a, b = first_tensors[name][row], second_tensors[name][other]
        if a.ndim:
            size = min(len(a), len(b))
            for rest in (a[size:], b[size:]):
                assert (rest == PADDING.get(name, 0)).all(), name
            a, b = a[:size], b[:size]
        assert torch.equal(a, b), name


def collate(data: PretrainingDataset, draws: Sequence[int], **options: Any) -> Any:
    return PretrainingCollator(data, **options)([data[draw] for draw in draws])


class TestReproducibility:
    def test_example_does_not_depend_on_other_rows_or_padding(self, regions: RegionSource) -> None:
        data = dataset(regions, words=WordMasking(0.5), objects=ObjectMasking(0.5))
        draws = [3, 9, 200, 31, 40, 12, 77]
        together = collate(data, draws)
        for place, draw in enumerate(draws):
            assert_same_row(collate(data, [draw]), 0, together, place)
            assert_same_row(collate(data, [*draws[::-1], draw], pad_to_multiple_of=8), 7, together, place)

    def test_batches_do_not_depend_on_number_of_workers(self, store: FeatureStore) -> None:
        names = [f"image{n}" for n in range(IMAGES)]
        data = dataset(open_regions(store, names, in_memory_bytes=0))
        batches = [list(range(start, start + 7)) for start in (0, 70, 14)]
        collator = PretrainingCollator(data)
        without_workers, with_workers = (
            list(DataLoader(data, batch_sampler=batches, collate_fn=collator, num_workers=workers))
            for workers in (0, 2)
        )
        for first, second in zip(without_workers, with_workers, strict=True):
            for name, values in flat_tensors(first).items():
                assert torch.equal(values, flat_tensors(second)[name]), name

    def test_batches_do_not_depend_on_regions_being_in_memory(self, store: FeatureStore) -> None:
        names = [f"image{n}" for n in range(IMAGES)]
        draws = list(range(0, 150, 9))
        batches = [
            flat_tensors(collate(dataset(open_regions(store, names, in_memory_bytes=size)), draws))
            for size in (0, 2**20)
        ]
        for name, values in batches[0].items():
            assert torch.equal(values, batches[1][name]), name

    def test_batches_depend_on_seed_and_epoch(self, regions: RegionSource) -> None:
        data = dataset(regions)
        draws = list(range(len(data)))
        first = flat_tensors(collate(data, draws))
        for other in (
            flat_tensors(collate(data, [draw + len(data) for draw in draws])),
            flat_tensors(collate(dataset(regions, seed=1), draws)),
        ):
            assert not torch.equal(first["matched_label"], other["matched_label"])
            assert not torch.equal(first["obj_labels/feat/weight"], other["obj_labels/feat/weight"])
            assert torch.equal(first["visual_pos"], other["visual_pos"])


class TestMismatchedPairs:
    def test_half_of_sentences_come_from_another_image(self, regions: RegionSource) -> None:
        data = dataset(regions, words=None)
        matched = Counter[bool]()
        donors = Counter[int]()
        for draw in range(20 * len(data)):
            item = data[draw]
            image = image_of_row(regions, item.region_row)
            inside = item.token_ids[1:-1]
            assert (item.token_ids[0], item.token_ids[-1]) == (CLS, SEP)
            assert (inside == inside[0]).all()
            assert len(inside) == min(LENGTHS[int(inside[0]) - 5], 9)
            assert item.is_matched == (inside[0] == 5 + image)
            matched[item.is_matched] += 1
            if not item.is_matched and image == 0:
                donors[int(inside[0]) - 5] += 1
        assert_binomial_count(matched[True], sum(matched.values()), 0.5)
        # Image 2 has 20 of the 45 sentences that are not about image 0.
        assert_binomial_count(donors[2], sum(donors.values()), 20 / 45)

    def test_matched_label_equals_is_matched_of_examples(self, regions: RegionSource) -> None:
        data = dataset(regions)
        batch = collate(data, range(40))
        assert batch["matched_label"].tolist() == [int(data[draw].is_matched) for draw in range(40)]

    def test_zero_mismatch_probability_keeps_all_pairs_without_matched_label(
        self, regions: RegionSource
    ) -> None:
        data = dataset(regions, mismatch_probability=0.0)
        assert all(data[draw].is_matched for draw in range(3 * len(data)))
        assert "matched_label" not in collate(data, [0, 1, 2])

    def test_single_image_with_mismatches_is_rejected(self, regions: RegionSource) -> None:
        texts = [ImageText("image0", "word0", "x")] * 3
        with pytest.raises(DataError, match="about one image"):
            PretrainingDataset(texts, TOKENIZER, 11, regions)
        settings = PretrainingSettings(mismatch_probability=0.0)
        assert len(PretrainingDataset(texts, TOKENIZER, 11, regions, settings=settings)) == 3


class TestAnswers:
    def test_answer_is_drawn_in_proportion_to_merged_scores(self, regions: RegionSource) -> None:
        data = dataset(regions)
        drawn = Counter(data[1 + epoch * len(data)].answer for epoch in range(2000))
        # Red 0.9; "two" and "the 2" meet in 2, together 0.9; "cow" is unknown.
        assert data.answer_scores(1) == pytest.approx({0: 0.9, 1: 0.9})
        assert set(drawn) == {-100, 0, 1}
        assert_binomial_count(drawn[-100], 2000, 0.5)
        assert_binomial_count(drawn[0], drawn[0] + drawn[1], 0.5)

    def test_unequal_scores_give_unequal_answer_frequencies(self, regions: RegionSource) -> None:
        texts = [ImageText(f"image{n}", "word0", "vqa", {"red": 0.3, "yes": 0.9, "2": 0.0}) for n in range(2)]
        settings = PretrainingSettings(mismatch_probability=0.0)
        data = PretrainingDataset(texts, TOKENIZER, 11, regions, ANSWERS, settings)
        drawn = Counter(data[draw].answer for draw in range(4000))
        assert set(drawn) == {0, 2}
        assert_binomial_count(drawn[0], 4000, 0.25)

    def test_scores_of_equal_spellings_are_clipped_to_one(self, regions: RegionSource) -> None:
        texts = [ImageText("image0", "word0", "vqa", {"two": 0.9, "2": 0.6})] * 2
        settings = PretrainingSettings(mismatch_probability=0.0)
        data = PretrainingDataset(texts, TOKENIZER, 11, regions, ANSWERS, settings)
        assert data.answer_scores(0) == {1: 1.0}

    def test_captions_unknown_answers_and_mismatches_have_no_answer(self, regions: RegionSource) -> None:
        data = dataset(regions, mismatch_probability=0.0)
        assert [data[draw].answer for draw in (0, 2, 3, 4)] == [-100, 2, -100, -100]
        assert data.question_count == 2 * (IMAGES + 3)
        assert data.answer_scores(0) == data.answer_scores(3) == {}
        mixed = dataset(regions)
        items = [mixed[draw] for draw in range(200)]
        assert all(item.answer == -100 for item in items if not item.is_matched)
        assert PretrainingCollator(mixed)(items)["ans"].tolist() == [item.answer for item in items]

    def test_dataset_without_vocabulary_has_no_questions(self, regions: RegionSource) -> None:
        data = PretrainingDataset(sentences(2), TOKENIZER, 11, regions)
        assert "ans" not in collate(data, [0, 1, 2])
        assert data.question_count == 0


class TestWords:
    def test_only_masked_words_have_labels(self, regions: RegionSource) -> None:
        data = dataset(regions)
        chosen = masked = pieces = 0
        for start in range(0, 30 * len(data), 50):
            items = [data[draw] for draw in range(start, start + 50)]
            batch = PretrainingCollator(data)(items)
            for place, item in enumerate(items):
                length = len(item.token_ids)
                shown, labels = batch["input_ids"][place], batch["labels"][place]
                assert (batch["attention_mask"][place] == (torch.arange(len(shown)) < length)).all()
                assert (labels[[0, length - 1]] == -100).all()
                assert (labels[length:] == -100).all()
                assert (shown[length:] == PAD).all()
                labelled = labels != -100
                true = torch.from_numpy(item.token_ids)
                assert torch.equal(labels[:length][labelled[:length]], true[labelled[:length]])
                assert torch.equal(shown[:length][~labelled[:length]], true[~labelled[:length]])
                pieces += length - 2
                chosen += int(labelled.sum())
                masked += int((shown[labelled] == MASK).sum())
        assert_binomial_count(chosen, pieces, 0.15)
        assert_binomial_count(masked, chosen, 0.8 + 0.1 / len(WORDS))

    def test_words_none_masks_no_words(self, regions: RegionSource) -> None:
        data = dataset(regions, words=None)
        batch = collate(data, range(20))
        assert "labels" not in batch
        assert not (batch["input_ids"] == MASK).any()

    def test_token_type_ids_are_zero(self, regions: RegionSource) -> None:
        batch = collate(dataset(regions), range(5))
        assert batch["token_type_ids"].shape == batch["input_ids"].shape
        assert not batch["token_type_ids"].any()

    def test_lengths_are_those_of_matched_sentences(self, regions: RegionSource) -> None:
        data = dataset(regions, times=1)
        own = [min(LENGTHS[image], 9) + 2 for image in range(IMAGES) for _ in range(4 if image == 2 else 1)]
        assert data.lengths == own


class TestObjects:
    def test_masked_features_are_zeroed_replaced_or_kept_and_are_targets(self, regions: RegionSource) -> None:
        data = dataset(regions)
        all_features = torch.cat(
            [regions.batch(torch.tensor([row]))["visual_feats"][0] for row in region_rows(regions)]
        )
        totals = Counter[str]()
        for start in range(0, 20 * len(data), 50):
            items = [data[draw] for draw in range(start, start + 50)]
            batch = PretrainingCollator(data)(items)
            plain = regions.batch(torch.tensor([item.region_row for item in items]))
            for name in ("visual_pos", "visual_attention_mask"):
                assert torch.equal(batch[name], plain[name])
            target, weight = batch["obj_labels"]["feat"]
            assert torch.equal(target, plain["visual_feats"])
            real = plain["visual_attention_mask"] != 0
            assert not (weight[~real] != 0).any()
            assert set(weight.unique().tolist()) <= {0.0, 1.0}
            seen, hidden = batch["visual_feats"], weight != 0
            assert torch.equal(seen[~hidden], target[~hidden])
            zero = (seen == 0).all(dim=2) & hidden
            same = (seen == target).all(dim=2) & hidden & ~zero
            other = seen[hidden & ~zero & ~same]
            assert (other[:, None] == all_features).all(dim=2).any(dim=1).all()
            for name, found in (("real", real), ("hidden", hidden), ("zero", zero), ("same", same)):
                totals[name] += int(found.sum())
        assert_binomial_count(totals["hidden"], totals["real"], 0.15)
        # A replacement is of an image without objects, and so zeros, for 5 sentences of 50; and it is the
        # object itself for 1 or 4 sentences in 10, each time for one object of one to six.
        assert_binomial_count(totals["zero"], totals["hidden"], 0.8 + 0.1 * 5 / 50)
        assert totals["same"] > 0.1 * totals["hidden"] * 0.7

    def test_replacement_features_follow_sentences_per_image(self, regions: RegionSource) -> None:
        data = dataset(regions, objects=ObjectMasking(1.0, 0.0, 1.0))
        owners = [
            (image, regions.batch(torch.tensor([regions.rows[f"image{image}"]]))["visual_feats"][0])
            for image in range(IMAGES)
        ]
        found, places = Counter[int](), Counter[int]()
        for start in range(0, 10 * len(data), 50):
            batch = collate(data, range(start, start + 50))
            for features in batch["visual_feats"][batch["visual_attention_mask"] != 0]:
                [image] = [number for number, rows in owners if (rows == features).all(dim=1).any()]
                found[image] += 1
                if image == 2:
                    places[int((owners[2][1] == features).all(dim=1).nonzero())] += 1
        for image in range(IMAGES):
            assert_binomial_count(found[image], sum(found.values()), (20 if image == 2 else 5) / 50)
        for place in range(6):
            assert_binomial_count(places[place], found[2], 1 / 6)

    def test_object_labels_cover_all_objects_weighted_by_confidence(self, regions: RegionSource) -> None:
        data = dataset(regions)
        rows = torch.tensor([data[draw].region_row for draw in range(30)])
        batch = collate(data, range(30))
        labels = regions.object_labels
        assert labels is not None
        expected = labels.batch(rows, batch["visual_feats"].shape[1], confidences=True)
        for task in ("obj", "attr"):
            for actual, wanted in zip(batch["obj_labels"][task], expected[task], strict=True):
                assert torch.equal(actual, wanted)

    def test_object_label_loss_masked_weights_only_masked_objects(self, regions: RegionSource) -> None:
        data = dataset(regions, object_label_loss="masked")
        batch = collate(data, range(30))
        hidden = batch["obj_labels"]["feat"][1]
        assert hidden.any()
        for task in ("obj", "attr"):
            assert torch.equal(batch["obj_labels"][task][1], hidden)

    def test_object_targets_and_masking_select_object_labels(self, regions: RegionSource) -> None:
        batch = collate(dataset(regions, object_targets=["attr"]), range(9))
        assert set(batch["obj_labels"]) == {"attr"}
        assert "obj_labels" not in collate(dataset(regions, object_targets=[]), range(9))
        unmasked = collate(dataset(regions, objects=None), range(9))
        assert set(unmasked["obj_labels"]) == {"obj", "attr"}
        assert torch.equal(
            unmasked["visual_feats"],
            regions.batch(torch.tensor([dataset(regions)[draw].region_row for draw in range(9)]))[
                "visual_feats"
            ],
        )

    def test_class_targets_without_labels_are_rejected_unless_given(self, tmp_path: Path) -> None:
        images = {f"image{n}": random_regions(n, 3, labels=False) for n in range(IMAGES)}
        source = open_regions(FeatureStore(write_store(tmp_path / "s", images)), list(images))
        with pytest.raises(DataError, match="does not provide the classes"):
            PretrainingCollator(dataset(source))
        assert "feat" in collate(dataset(source, object_targets=["feat"]), range(5))["obj_labels"]
        given_labels = ObjectLabels(torch.ones(IMAGES, 3).long(), torch.zeros(IMAGES, 3).long(), 2, 1)
        batch = collate(dataset(source), range(5), object_labels=given_labels)
        assert (batch["obj_labels"]["obj"][0] == 1).all()

    def test_float16_features_keep_their_dtype(self, store: FeatureStore) -> None:
        names = [f"image{n}" for n in range(IMAGES)]
        for size in (0, 2**20):
            source = open_regions(store, names, in_memory_bytes=size, feature_dtype=torch.float16)
            batch = collate(dataset(source), range(20))
            assert batch["visual_feats"].dtype == torch.float16
            assert batch["obj_labels"]["feat"][0].dtype == torch.float16


def test_source_ids_index_source_names(regions: RegionSource) -> None:
    data = dataset(regions, times=1)
    texts = sentences(1)
    assert data.sources == ["mscoco", "vqa"]
    assert [data.sources[number] for number in data.source_ids.tolist()] == [text.source for text in texts]


def test_missing_regions_and_empty_sentences_are_rejected(regions: RegionSource) -> None:
    texts = [*sentences(1), ImageText("image99", "word0", "x"), ImageText("image98", "word0", "x")]
    with pytest.raises(DataError, match=r"2 of 9 images have no regions, starting with image98"):
        PretrainingDataset(texts, TOKENIZER, 11, regions)
    with pytest.raises(DataError, match="no sentences"):
        PretrainingDataset([], TOKENIZER, 11, regions)


def region_rows(regions: RegionSource) -> list[int]:
    return [regions.rows[f"image{n}"] for n in range(IMAGES)]


def image_of_row(regions: RegionSource, row: int) -> int:
    return region_rows(regions).index(row)


def test_token_ids_above_65535_do_not_overflow() -> None:
    words = {**{f"[unused{n}]": n for n in range(66_000)}, **dict.fromkeys([])}
    vocabulary = {text: number for number, text in enumerate([*SPECIAL, *words, "last"])}
    tokenizer = LxmertTokenizerFast(vocab=vocabulary)
    table = TokenTable(["last last", "", "[UNK] last"], tokenizer, 4)
    assert table[0].tolist() == [CLS, len(vocabulary) - 1, len(vocabulary) - 1, SEP]
    assert table[1].tolist() == [CLS, SEP]
    assert table.lengths == [4, 2, 4]
    assert np.issubdtype(table[0].dtype, np.int64)


def test_token_table_equals_tokenizer_output() -> None:
    texts = ["Other1 otHer2, word3!", " [MASK] other5 [SEP] \u00e9", "other4 " * 9, "", "w\u00f6rd1\tother9"]
    # Of the last call, which neither length nor padding may be taken from.
    TOKENIZER("other1 other2", truncation=True, max_length=4, padding="max_length")
    shown: list[int] = []
    table = TokenTable(texts * 1500, TOKENIZER, 7, shown.append)
    expected = [TOKENIZER(text, truncation=True, max_length=7)["input_ids"] for text in texts]
    assert [table[n].tolist() for n in range(len(table))] == expected * 1500
    assert sum(shown) == 7500
    assert len(shown) > 3


def test_token_table_accepts_slow_tokenizer() -> None:
    from transformers import PreTrainedTokenizer

    class Letters(PreTrainedTokenizer):
        vocab_size = 9
        model_input_names = ("input_ids",)

        def get_vocab(self) -> dict[str, int]:
            return {str(number): number for number in range(9)}

        def _tokenize(self, text: str) -> list[str]:
            return list(text)

        def _convert_token_to_id(self, token: str) -> int:
            return int(token)

    table = TokenTable(["123", "45678"], Letters(), 4)
    assert [table[n].tolist() for n in range(2)] == [[1, 2, 3], [4, 5, 6, 7]]


def test_token_table_rejects_lone_surrogate_and_accepts_emoji() -> None:
    assert len(TokenTable(["dog \U0001f44d", "\u00e9"], TOKENIZER, 9)) == 2
    with pytest.raises(
        DataError, match=r"sentence str 'a \\udc4d dog': character 2 is half of a surrogate pair"
    ):
        TokenTable(["dog", "a \udc4d dog", "dog"], TOKENIZER, 9)


def test_truncation_length_is_not_changed_by_other_threads() -> None:
    """A tokenizer keeps the last length in itself; here another thread sets its own amid every call."""
    from concurrent.futures import ThreadPoolExecutor

    text = " ".join(["other1"] * 30)
    with ThreadPoolExecutor(2) as threads:
        cut = {"tensors": False, "max_length": 5, "padding": True, "truncation": True}
        others = [threads.submit(encode_texts, TOKENIZER, [text], None, **cut) for _ in range(400)]
        tables = [TokenTable([text] * 200, TOKENIZER, 20) for _ in range(20)]
    assert {length for table in tables for length in table.lengths} == {20}
    assert {len(other.result()["input_ids"][0]) for other in others} == {5}
