"""TaskDataset and TaskCollator: batches of the fine-tuning tasks."""

from collections.abc import Callable

import pytest
import torch

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.file_layouts import VqaFiles
from lxmert.data.object_labels import ObjectLabels
from lxmert.data.region_table import RegionTable
from lxmert.data.task_dataset import TargetKind, TaskCollator, TaskDataset
from lxmert.data.task_examples import IGNORED_LABEL, Target, TaskExample
from lxmert.data.token_table import TokenTable
from lxmert.data.vqa import VqaExample
from lxmert.data.vqa_split import VqaReader
from lxmert.errors import DataError
from lxmert.texts import unknown_word_token_ids
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "red", "big", "?"]
TOKENIZER = LxmertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)})


def regions(objects: int, start: float) -> Regions:
    left = torch.arange(objects, dtype=torch.float32)[:, None]
    boxes = torch.cat([left, left, left + 5, left + 7], dim=1)
    features = start + torch.arange(objects * 3, dtype=torch.float32).reshape(objects, 3)
    return Regions(boxes, features, (40, 20), "test")


IMAGES = {"i7": regions(2, 0.0), "i3": regions(4, 100.0), "i9": regions(1, 200.0)}
ANSWERS = AnswerVocabulary(["red", "2", "yes"])


def example(number: int, image: int, text: str, top: str | None, *answers: str) -> TaskExample:
    vqa = VqaExample(number, image, text, "t", "other", answers, top)
    return TaskExample(number, text, (f"i{image}",), "t", vqa)


@pytest.fixture
def dataset(tmp_path_factory: pytest.TempPathFactory) -> TaskDataset:
    examples = [
        example(1, 9, "what is red ?", "red", *["red"] * 8, "2", "2"),
        example(2, 7, " red ? ", "Two", *["two"] * 3, *["2"] * 2, *["yes"] * 5),
        example(3, 9, "what is big what is big", "cow", *["cow"] * 10),
        example(4, 3, "is red", "cow", *["yes"] * 2, *["cow"] * 8),
    ]
    reader = VqaReader(tmp_path_factory.mktemp("data"), VqaFiles())
    targets = [reader.target(question, ANSWERS) for question in examples]
    return TaskDataset(examples, targets, TOKENIZER, 6, RegionTable.from_regions(IMAGES))


def test_unknown_word_fraction_counts_all_but_special_tokens() -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "к", "##о", "##т", "cat", "##s", "##fish"]
    tokenizer = LxmertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    tokens = TokenTable(["кот", "cats catfish dog", ""], tokenizer, 20)
    # ##о and ##т, ##s and [UNK]; neither к, cat twice, nor ##fish.
    assert tokens.fraction_of(unknown_word_token_ids(tokenizer)) == 4 / 8
    assert TokenTable([], tokenizer, 20).fraction_of({1}) == 0


@pytest.fixture
def pairs() -> TaskDataset:
    examples = [
        TaskExample("a", "is red", ("i7", "i9"), None, None),
        TaskExample("b", "what", ("i9", "i9"), None, None),
        TaskExample("c", "big ?", ("i9", "i3"), None, None),
    ]
    targets = [Target(1, {1: 1.0}), Target(IGNORED_LABEL, {}), Target(0, {0: 1.0})]
    return TaskDataset(examples, targets, TOKENIZER, 6, RegionTable.from_regions(IMAGES))


def collator(dataset: TaskDataset, target: TargetKind, multiple: int = 1) -> TaskCollator:
    return TaskCollator(dataset.regions, 0, len(ANSWERS), target, multiple)


def test_words_are_padded_to_longest_sentence_of_batch(dataset: TaskDataset) -> None:
    batch = collator(dataset, TargetKind.CLASS)([dataset[0], dataset[1]])
    assert batch["input_ids"].tolist() == [[2, 5, 6, 7, 9, 3], [2, 7, 9, 3, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
    assert batch["token_type_ids"].sum() == 0
    assert collator(dataset, TargetKind.CLASS)([dataset[1]])["input_ids"].shape == (1, 4)


def test_tokenising_reports_progress(dataset: TaskDataset) -> None:
    bars: list[tuple[str, int]] = []
    done: list[int] = []

    def start(name: str, total: int) -> Callable[[int], None]:
        bars.append((name, total))
        return done.append

    TaskDataset(dataset.examples, dataset.targets, TOKENIZER, 6, dataset.regions, progress=start)
    assert bars == [("Tokenising", 4)]
    assert sum(done) == 4


def test_sentences_are_truncated_to_maximum_length(dataset: TaskDataset) -> None:
    assert dataset.lengths == [6, 4, 6, 4]
    assert dataset[2].token_ids.tolist() == [2, 5, 6, 8, 5, 3]


def test_words_are_padded_to_a_multiple_on_request(dataset: TaskDataset) -> None:
    batch = collator(dataset, TargetKind.CLASS, 16)([dataset[0], dataset[1]])
    assert batch["input_ids"].shape == (2, 16)
    assert batch["attention_mask"].sum(dim=1).tolist() == [6, 4]


def test_batch_objects_equal_pad_regions(dataset: TaskDataset) -> None:
    rows = [0, 1, 2]
    batch = collator(dataset, TargetKind.CLASS)([dataset[row] for row in rows])
    expected = pad_regions([IMAGES[dataset.examples[row].images[0]] for row in rows])
    assert expected["visual_feats"].shape == (3, 2, 3)
    for name, tensor in expected.items():
        assert torch.equal(batch[name], tensor), name
        assert batch[name].dtype == tensor.dtype


def test_pair_images_lie_on_own_axis_left_first(pairs: TaskDataset) -> None:
    batch = collator(pairs, TargetKind.CLASS)([pairs[row] for row in range(3)])
    assert batch["visual_feats"].shape == (3, 2, 4, 3)
    assert batch["visual_attention_mask"].sum(dim=2).tolist() == [[2, 1], [1, 1], [1, 4]]
    for row, images in enumerate([("i7", "i9"), ("i9", "i9"), ("i9", "i3")]):
        for place, name in enumerate(images):
            expected = pad_regions([IMAGES[name]])
            objects = len(IMAGES[name])
            for key in ("visual_feats", "visual_pos"):
                assert torch.equal(batch[key][row, place, :objects], expected[key][0]), key
            assert not batch["visual_feats"][row, place, objects:].any()
    assert batch["labels"].tolist() == [1, IGNORED_LABEL, 0]


def test_object_labels_have_shape_of_objects(dataset: TaskDataset, pairs: TaskDataset) -> None:
    ids = torch.tensor([[0, 1, -100, -100], [2, 3, 4, 5], [6, -100, -100, -100]])
    labels = ObjectLabels(ids, ids + 0, 7, 7)
    single = TaskCollator(dataset.regions, 0, 3, TargetKind.CLASS, object_labels=labels)
    batch = single([dataset[0], dataset[1], dataset[2]])
    assert batch["obj_labels"]["obj"][0].tolist() == [[6, -100], [0, 1], [6, -100]]
    double = TaskCollator(pairs.regions, 0, 2, TargetKind.CLASS, object_labels=labels)
    objects, weights = double([pairs[0], pairs[2]])["obj_labels"]["obj"]
    assert objects[0].tolist() == [[0, 1, -100, -100], [6, -100, -100, -100]]
    assert objects[1].tolist() == [[6, -100, -100, -100], [2, 3, 4, 5]]
    assert weights.shape == (2, 2, 4)


def test_class_target_is_top_answer_else_best_scored_else_ignored(dataset: TaskDataset) -> None:
    batch = collator(dataset, TargetKind.CLASS)([dataset[row] for row in range(4)])
    assert batch["labels"].tolist() == [0, 1, IGNORED_LABEL, 2]


def test_soft_targets_contain_all_scores(dataset: TaskDataset) -> None:
    batch = collator(dataset, TargetKind.SOFT)([dataset[row] for row in range(4)])
    expected = torch.tensor([[1.0, 0.6, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.6]])
    assert torch.equal(batch["labels"], expected)
    assert (dataset.answerable_count, len(dataset)) == (3, 4)


def test_batch_contains_only_model_inputs_and_labels(dataset: TaskDataset) -> None:
    batch = collator(dataset, TargetKind.CLASS)([dataset[0]])
    assert set(batch) == {
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "visual_feats",
        "visual_pos",
        "visual_attention_mask",
        "labels",
    }


def test_region_table_without_images_is_rejected() -> None:
    with pytest.raises(DataError, match="no image"):
        RegionTable.from_regions({})
