import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from lxmert.errors import ConfigurationError
from lxmert.training import recipe as recipe_module
from lxmert.training.included_recipes import included_recipes
from lxmert.training.recipe import FinetuneRecipe, GqaRecipe, VqaRecipe

SMALLEST: dict[str, Any] = {"model": {"vocabulary": "scenes"}, "data": {"directory": "scenes"}}
CONFIGS = [path for name, path in included_recipes().items() if name.endswith(("_vqa", "_gqa", "_nlvr2"))]


def test_all_faults_are_reported_together() -> None:
    values = {
        "model": {"vocabulary": "scenes", "config": {"hidden_size": 10, "num_attention_heads": 3}},
        "data": {},
        "optimisation": {"epochs": -1, "batchsize": 3, "loss": "mse", "warmup": "soon"},
        "colour": "red",
    }
    with pytest.raises(ConfigurationError) as caught:
        FinetuneRecipe.from_dict(values, "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: 7 faults: ")
    for part in (
        "model.config",
        "hidden_size 10 is not a multiple of num_attention_heads 3",
        "data.directory: Field required",
        "optimisation.epochs",
        "(got -1)",
        "optimisation.batchsize",
        "optimisation.loss",
        "(got 'mse')",
        "optimisation.warmup",
        "colour",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({}, "a vocabulary is required"),
        ({"from_pretrained": "x", "vocabulary": "scenes"}, "only one of the two"),
        ({"from_pretrained": "x", "config": {"hidden_size": 12}}, "only one of the two"),
        ({"vocabulary": "scenes", "config": {"num_qa_labels": 3}}, "num_qa_labels must not be set"),
        (
            {"vocabulary": "scenes", "config": {"pad_token_id": 1}},
            "pad_token_id must not be set: derived from the vocabulary",
        ),
        ({"vocabulary": "scenes", "config": {"hiden_size": 3}}, "hiden_size: not a parameter"),
    ],
)
def test_contradictory_models_are_rejected(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FinetuneRecipe.from_dict(SMALLEST | {"model": model})


@pytest.mark.parametrize("key", ["epochs", "peak_learning_rate", "warmup", "weight_decay"])
def test_infinite_optimisation_value_is_rejected(key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"optimisation\.{key}: Input should be a finite number"):
        FinetuneRecipe.from_dict(SMALLEST | {"optimisation": {key: float("inf")}})


def test_place_weight_without_object_prediction_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="place_weight requires object_prediction"):
        FinetuneRecipe.from_dict(SMALLEST | {"optimisation": {"place_weight": 1.0}})


def test_selecting_the_best_epoch_needs_checkpoints_per_epoch() -> None:
    with pytest.raises(ConfigurationError, match="select: best"):
        FinetuneRecipe.from_dict(SMALLEST | {"saving": {"checkpoint_every_steps": 5}})
    FinetuneRecipe.from_dict(SMALLEST | {"saving": {"checkpoint_every_steps": 5, "select": "last"}})


def test_unknown_placeholder_in_a_file_name_is_rejected() -> None:
    data = {"directory": "d", "files": {"questions": "{part}.json"}}
    with pytest.raises(ConfigurationError, match=r"questions contains \{part\}"):
        FinetuneRecipe.from_dict(SMALLEST | {"data": data})


def test_image_id_placeholder_is_allowed_only_in_image_name() -> None:
    files = {"image_name": "{split}/{image_id}.jpg"}
    FinetuneRecipe.from_dict(SMALLEST | {"data": {"directory": "d", "files": files}})
    with pytest.raises(ConfigurationError, match=r"images contains \{image_id\}, but only \{split\} can"):
        FinetuneRecipe.from_dict(SMALLEST | {"data": {"directory": "d", "files": {"images": "{image_id}"}}})


def test_seed_of_more_than_32_bits_is_rejected() -> None:
    FinetuneRecipe.from_dict(SMALLEST | {"optimisation": {"seed": 2**32 - 1}})
    with pytest.raises(ConfigurationError, match="less than 4294967296"):
        FinetuneRecipe.from_dict(SMALLEST | {"optimisation": {"seed": 2**32}})


def test_resolved_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = FinetuneRecipe.from_dict(SMALLEST | {"optimisation": {"peak_learning_rate": 3e-4}})
    (tmp_path / "r.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    again = FinetuneRecipe.from_yaml(tmp_path / "r.yaml")
    assert again == recipe
    assert recipe.differences(again) == []
    # Every default is spelled out.
    assert yaml.safe_load(recipe.to_yaml())["optimisation"]["weight_decay"] == 0.01


def test_overrides_change_values_and_make_sections(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(SMALLEST))
    recipe = FinetuneRecipe.from_yaml(
        tmp_path / "r.yaml",
        [
            "optimisation.epochs=2",
            "optimisation.peak_learning_rate=3e-4",
            "data.test_split=null",
            "model.config.hidden_size=24",
        ],
    )
    assert recipe.optimisation.epochs == 2
    assert recipe.optimisation.peak_learning_rate == pytest.approx(3e-4)
    assert recipe.data.test_split is None
    assert recipe.model.config == {"hidden_size": 24}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "not of the form"),
        ("=3", "not of the form"),
        ("data.directory.deep=3", "directory is not a section"),
        ("optimisation.epoch=3", "optimisation.epoch:"),
        ("optimisation.epochs=[", "not YAML"),
    ],
)
def test_wrong_overrides_are_rejected(tmp_path: Path, override: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(SMALLEST))
    with pytest.raises(ConfigurationError, match=message):
        FinetuneRecipe.from_yaml(tmp_path / "r.yaml", [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not YAML"), ("- 1", "sections with keys, got list"), ("", "sections with keys, got NoneType")],
)
def test_file_that_is_not_a_recipe_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        FinetuneRecipe.from_yaml(tmp_path / "r.yaml")
    with pytest.raises(ConfigurationError, match=r"none\.yaml: no such file; expected a recipe in YAML$"):
        FinetuneRecipe.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        FinetuneRecipe.from_yaml(tmp_path)


def test_differences_name_the_key_and_both_values() -> None:
    one = FinetuneRecipe.from_dict(SMALLEST)
    other = FinetuneRecipe.from_dict(SMALLEST | {"optimisation": {"epochs": 9}})
    assert one.differences(other) == ["optimisation.epochs: 4.0 here, 9.0 there"]


def test_every_field_is_described() -> None:
    sections = [
        value
        for value in vars(recipe_module).values()
        if isinstance(value, type) and issubclass(value, BaseModel)
    ]
    assert len(sections) >= 8
    bare = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not field.description
        and not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    ]
    assert bare == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_recipes_are_valid_and_have_header_comments(path: Path) -> None:
    recipe = FinetuneRecipe.from_yaml(path)
    assert recipe.task in path.stem.split("_")
    header = path.read_text(encoding="utf-8")
    for word in ("Purpose:", "Hardware:", "Launch:", "Expected"):
        assert word in header
    assert f"lxmert finetune {recipe.task} --config {path.stem}\n" in header


def test_paper_recipes_use_hyperparameters_of_paper() -> None:
    recipes = {path.stem: FinetuneRecipe.from_yaml(path) for path in CONFIGS}
    for task, rate in (("vqa", 5e-5), ("gqa", 1e-5), ("nlvr2", 5e-5)):
        loop = recipes[f"paper_{task}"].optimisation
        assert (loop.peak_learning_rate, loop.epochs, loop.batch_size, loop.warmup) == (rate, 4, 32, 0.1)
        assert (loop.max_gradient_norm, loop.weight_decay, loop.seed) == (5.0, 0.01, 9595)
        assert (loop.optimizer, loop.schedule) == ("bert_adam", "linear")
        assert (loop.adam_beta2, loop.adam_epsilon) == (0.999, 1e-6)
        assert getattr(loop, "loss", "soft_bce") == "soft_bce"
        assert recipes[f"paper_{task}"].text.max_length == 20


@pytest.mark.parametrize(("task", "rate"), [("vqa", 5e-5), ("gqa", 1e-5), ("nlvr2", 5e-5)])
def test_default_optimisation_uses_hyperparameters_of_paper(task: str, rate: float) -> None:
    recipe = FinetuneRecipe.from_dict(SMALLEST | {"task": task})
    loop = recipe.optimisation
    assert (loop.peak_learning_rate, loop.epochs, loop.batch_size, loop.warmup) == (rate, 4, 32, 0.1)
    assert (loop.max_gradient_norm, loop.weight_decay, loop.schedule) == (5.0, 0.01, "linear")
    assert getattr(loop, "loss", None) == (None if task == "nlvr2" else "soft_bce")
    assert (recipe.evaluation.batch_size, recipe.saving.select) == (512, "best")


def test_each_task_has_its_own_keys() -> None:
    gqa = FinetuneRecipe.from_dict(SMALLEST | {"task": "gqa"})
    assert isinstance(gqa, GqaRecipe)
    assert gqa.optimisation.peak_learning_rate == pytest.approx(1e-5)
    assert gqa.data.files.questions == "annotations/gqa_{split}_questions.json"
    nlvr2 = {"task": "nlvr2", "optimisation": {"loss": "soft_bce"}, "evaluation": {"evaluator": "present"}}
    with pytest.raises(ConfigurationError, match=r"2 faults: optimisation\.loss.*evaluation\.evaluator"):
        FinetuneRecipe.from_dict(SMALLEST | nlvr2)
    labelled: dict[str, Any] = {"data": {"directory": "d", "files": {"format": "lxmert"}}}
    assert isinstance(FinetuneRecipe.from_dict(SMALLEST | labelled), VqaRecipe)
    labelled["evaluation"] = {"evaluator": "before-2021-03"}
    with pytest.raises(
        ConfigurationError, match=r"evaluator before-2021-03 applies only to the official files; others"
    ):
        FinetuneRecipe.from_dict(SMALLEST | labelled)
    with pytest.raises(ConfigurationError, match=r"task: expected one of vqa, gqa, nlvr2 \(got 'vcr'\)"):
        FinetuneRecipe.from_dict(SMALLEST | {"task": "vcr"})
    with pytest.raises(ConfigurationError, match="less than or equal to 1"):
        FinetuneRecipe.from_dict(SMALLEST | {"data": {"directory": "d", "train_share": 1.5}})


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"optimisation": {"epoch": 3}}, "optimisation.epoch: unknown key, nearest known: 'epochs' (got 3)"),
        ({"modle": {}}, "modle: unknown key, nearest known: 'model' (got a section with nothing)"),
        ({"data": {"directory": "d", "zzz": 1}}, "data.zzz: unknown key (got 1)"),
    ],
)
def test_unknown_key_error_names_nearest_known_one_where_there_is_one(
    changed: dict[str, Any], line: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FinetuneRecipe.from_dict(SMALLEST | changed)
    assert str(caught.value) == f"recipe: {line}"


def test_faults_of_overridden_recipe_name_file_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(SMALLEST))
    with pytest.raises(ConfigurationError) as caught:
        FinetuneRecipe.from_yaml(path, ["optimisation.epoch=3"])
    assert str(caught.value).startswith(f"{path} with overrides: optimisation.epoch: unknown key")


def test_unknown_section_error_abbreviates_its_contents() -> None:
    sources = [{"kind": "captions", "file": "annotations/captions_train.json"}] * 5
    values = {**SMALLEST, "data": {"directory": "scenes", "train": {"sources": sources}}}
    with pytest.raises(ConfigurationError) as caught:
        FinetuneRecipe.from_dict(values, "pretraining.yaml")
    line = "data.train: unknown key, nearest known: 'train_split' (got a section with sources)"
    assert str(caught.value) == f"pretraining.yaml: {line}"
    with pytest.raises(ConfigurationError) as caught:
        FinetuneRecipe.from_dict({**SMALLEST, "sources": sources}, "pretraining.yaml")
    assert str(caught.value).endswith("…)")
    assert len(str(caught.value)) < 160
