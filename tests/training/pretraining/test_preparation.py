"""What of a recipe reaches the data, and which data a resumed run may have."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert.data.feature_store import FeatureStoreWriter, StoreManifest
from lxmert.data.masking import ObjectMasking, WordMasking
from lxmert.data.pretraining_settings import PretrainingSettings
from lxmert.errors import ConfigurationError
from lxmert.training.pretraining.preparation import prepare_pretraining
from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.vision.regions import Regions

Make = Callable[..., PretrainRecipe]


def test_prepared_data_follow_recipe(tiny_pretrain_recipe: Make) -> None:
    recipe = tiny_pretrain_recipe(
        data={"train_images": 4, "validation_images": 2},
        text={"max_length": 9, "pad_to_multiple_of": 8, "lower_case": False},
        tasks={
            "word_mask_rate": 0.25,
            "mismatch_probability": 0.75,
            "object_mask_rate": 0.375,
            "object_label_loss": "masked",
            "feature_regression": 0.0,
        },
        optimisation={"seed": 7, "loader_processes": 2},
        evaluation={"batch_size": 11},
    )
    prepared = prepare_pretraining(recipe)
    train, validation = prepared.train, prepared.validation
    assert train.settings == PretrainingSettings(
        seed=7,
        words=WordMasking(0.25),
        objects=ObjectMasking(0.375),
        mismatch_probability=0.75,
        object_targets=["obj", "attr"],
        object_label_loss="masked",
    )
    # The validation also has to know which objects are masked.
    assert list(validation.dataset.settings.object_targets) == ["obj", "attr", "feat"]
    assert (validation.batch_size, validation.loader_processes) == (11, 2)
    assert max(train.lengths) == max(validation.dataset.lengths) == 9
    for collate, dataset in ((prepared.collate, train), (validation.collate, validation.dataset)):
        assert collate([dataset[index] for index in range(50)])["input_ids"].shape == (50, 16)
    assert prepared.processor.max_text_length == 9
    assert prepared.processor.tokenizer.do_lower_case is False
    data = prepared.metadata
    # 25 sentences about each image.
    assert (data["train_images"], data["train_sentences"]) == (4, 100)
    assert (data["validation_images"], data["validation_sentences"]) == (2, 50)
    for split, count in (("train", 100), ("validation", 50)):
        assert sum(source["texts"] for source in data[split]["sources"].values()) == count
    assert data["answers"] == len(prepared.processor.answers or ()) > 0


@pytest.mark.parametrize(
    ("task", "setting"), [("masked_words", "words"), ("matched", "mismatch_probability")]
)
def test_sentences_are_not_altered_for_task_of_weight_zero(
    tiny_pretrain_recipe: Make, task: str, setting: str
) -> None:
    recipe = tiny_pretrain_recipe(tasks={task: 0.0}, data={"train_images": 3, "validation_images": 2})
    assert not getattr(prepare_pretraining(recipe).train.settings, setting)


def test_objects_are_not_masked_without_object_tasks(tiny_pretrain_recipe: Make) -> None:
    tasks = {"object_labels": 0.0, "attribute_labels": 0.0, "feature_regression": 0.0}
    prepared = prepare_pretraining(
        tiny_pretrain_recipe(tasks=tasks, data={"train_images": 3, "validation_images": 2})
    )
    for dataset in (prepared.train, prepared.validation.dataset):
        assert (dataset.settings.objects, list(dataset.settings.object_targets)) == (None, [])


def test_answers_are_those_frequent_among_training_questions(
    tiny_pretrain_recipe: Make, scenes_folder: Path
) -> None:
    path = scenes_folder / "annotations/vqa_train_annotations.json"
    questions = json.loads(path.read_text())["annotations"]
    counts = Counter(question["multiple_choice_answer"] for question in questions)
    frequent = {answer for answer, count in counts.items() if count >= 9}
    assert 1 < len(frequent) < len(counts)
    recipe = tiny_pretrain_recipe(
        data={"train_images": None, "answers": {"source": "annotations", "min_count": 9}}
    )
    assert set(prepare_pretraining(recipe).processor.answers or ()) == frequent


def test_max_length_beyond_model_positions_is_rejected(tiny_pretrain_recipe: Make) -> None:
    with pytest.raises(ConfigurationError, match="of 33 word pieces, but the model has 32 positions"):
        prepare_pretraining(tiny_pretrain_recipe(text={"max_length": 33}))


def test_fewer_word_embeddings_than_words_are_rejected(tiny_pretrain_recipe: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"has \d+ word pieces, but the model embeddings of 9 "):
        prepare_pretraining(tiny_pretrain_recipe(model={"config": {"vocab_size": 9}}))


@pytest.fixture
def own_data(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Makes data of one's own, changed in one way, and returns the fingerprints of a run with them."""

    def fingerprints(make: Make, **changes: Any) -> dict[str, str]:
        extractor = changes.get("extractor", "test/3")
        folder = tmp_path / "features"
        shutil.rmtree(folder, ignore_errors=True)
        manifest = StoreManifest(3, changes.get("dtype", "float32"), extractor)
        with FeatureStoreWriter(folder, manifest) as writer:
            for name in f"{changes.get('more_images', '')}abcd":
                box = torch.tensor([[0.0, 0.0, 5.0, 5.0 + ord(name) % 5]])
                writer.add(name, Regions(box, torch.ones(1, 3), (9, 9), extractor, torch.tensor([0])))
        for split, image in (("train", "a"), ("val", "c")):
            first = {"image": image, "sentence": "What is it?", "answer": "cat"} | changes.get(split, {})
            second = {"image": "b" if split == "train" else "d", "sentence": "See.", "answer": "dog"}
            lines = "".join(f"{json.dumps(line)}\n" for line in (first, second))
            (tmp_path / f"{split}.jsonl").write_text(lines)
        (tmp_path / "answers.json").write_text(json.dumps(changes.get("answers", ["cat", "dog"])))
        data = {
            "directory": str(tmp_path),
            "features": str(folder),
            "train": {"sources": [{"kind": "jsonl", "file": "train.jsonl"}]},
            "validation": {"sources": [{"kind": "jsonl", "file": "val.jsonl"}]},
            "answers": {"source": str(tmp_path / "answers.json")},
        }
        return dict(prepare_pretraining(make(data=data, tasks={"attribute_labels": 0.0})).fingerprints)

    return fingerprints


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({}, []),
        ({"answers": ["dog", "cat"]}, ["answers"]),
        ({"train": {"sentence": "What is this?"}}, ["training sentences"]),
        ({"train": {"image": "d"}}, ["training sentences", "features"]),
        ({"train": {"answer": "dog"}}, ["training sentences"]),
        ({"val": {"answer": "dog"}}, ["validation sentences"]),
        ({"extractor": "other/3"}, ["extractor of the features"]),
        ({"dtype": "float16"}, ["features"]),
        ({"more_images": "e"}, []),
    ],
)
def test_fingerprints_differ_only_in_changed_part_of_data(
    tiny_pretrain_recipe: Make,
    own_data: Callable[..., dict[str, str]],
    changes: dict[str, Any],
    differing: list[str],
) -> None:
    before, after = own_data(tiny_pretrain_recipe), own_data(tiny_pretrain_recipe, **changes)
    assert [name for name in before if before[name] != after[name]] == differing
