from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxmert.errors import ConfigurationError
from lxmert.training.included_recipes import included_recipes
from lxmert.training.pretraining.recipe import PretrainOptimisationSection, PretrainRecipe

Make = Callable[..., PretrainRecipe]
RECIPES = {name: path for name, path in included_recipes().items() if "pretrain" in name}


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_valid_and_read_back_equal(name: str) -> None:
    recipe = PretrainRecipe.from_yaml(RECIPES[name])
    assert PretrainRecipe.from_dict(recipe.model_dump(mode="json")) == recipe


def test_paper_and_scenes_recipes_are_shipped() -> None:
    assert RECIPES.keys() >= {"paper_pretrain", "scenes_pretrain"}


def test_paper_recipe_uses_hyperparameters_of_paper() -> None:
    recipe = PretrainRecipe.from_yaml(RECIPES["paper_pretrain"])
    optimisation = recipe.optimisation
    assert (optimisation.epochs, optimisation.batch_size, optimisation.peak_learning_rate) == (20, 256, 1e-4)
    assert (optimisation.warmup, optimisation.max_gradient_norm, optimisation.seed) == (0.05, 1.0, 9595)
    assert (optimisation.optimizer, optimisation.schedule) == ("bert_adam", "linear")
    assert (optimisation.adam_beta2, optimisation.adam_epsilon) == (0.999, 1e-6)
    assert optimisation.weight_decay == 0.01
    tasks = recipe.tasks
    assert (tasks.word_mask_rate, tasks.object_mask_rate, tasks.mismatch_probability) == (0.15, 0.15, 0.5)
    assert (tasks.object_label_loss, tasks.qa_from) == ("all_confidence", 0.0)
    assert recipe.model.config == {"visual_loss_normalizer": pytest.approx(1 / 0.15)}
    assert recipe.text.max_length == 20
    assert set(recipe.tasks.weights.values()) == {1.0, 0.0}


def test_default_optimisation_uses_hyperparameters_of_paper() -> None:
    optimisation = PretrainOptimisationSection()
    assert (optimisation.epochs, optimisation.batch_size, optimisation.peak_learning_rate) == (20, 256, 1e-4)
    assert (optimisation.warmup, optimisation.max_gradient_norm, optimisation.seed) == (0.05, 1.0, 9595)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"config": {"task_qa": False}}}, r"task_qa \(tasks\.qa\) must not be set"),
        ({"model": {"config": {"num_object_labels": 5}}}, r"num_object_labels \(the features\)"),
        ({"model": {"config": {"visual_feat_dim": 5}}}, "must not be set"),
        (
            {"model": {"config": {"pad_token_id": 5}}},
            "pad_token_id must not be set: derived from the vocabulary",
        ),
        ({"model": {"bert": "x", "from_pretrained": "y"}}, "from_pretrained brings its own config"),
        ({"model": {"vocabulary": None}}, "a vocabulary is required without from_pretrained or bert"),
        ({"tasks": {"qa_from": 1.0}}, "qa_from"),
        *(
            ({"tasks": {name: rate}}, f"tasks.{name}")
            for name in ("word_mask_rate", "mismatch_probability", "object_mask_rate")
            for rate in ((-0.1, 1.0) if name == "object_mask_rate" else (0.0, 1.0))
        ),
        ({"tasks": {"object_label_loss": "some"}}, "object_label_loss"),
        ({"tasks": {"object_mask_rate": 0}}, "with object_mask_rate 0 no object is masked"),
        (
            {"tasks": {"object_mask_rate": 0, "feature_regression": 0, "object_label_loss": "masked"}},
            "with object_mask_rate 0 no object is masked",
        ),
        ({"saving": {"select": "last", "patience": 2}}, "patience requires select: best"),
        ({"data": {"features": []}}, "data.features"),
        ({"data": {"train": {"sources": []}}}, "data.train.sources"),
        ({"evaluation": {"every_steps": 0}}, "every_steps"),
        ({"optimisation": {"optimizer": "sgd"}}, "optimizer"),
    ],
)
def test_wrong_values_are_rejected(
    tiny_pretrain_recipe: Make, changes: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tiny_pretrain_recipe(**changes)


def test_unknown_key_of_a_source_is_an_error_that_names_nearest_known_one(tiny_pretrain_recipe: Make) -> None:
    values = tiny_pretrain_recipe().model_dump(mode="json")
    values["data"]["train"]["sources"][1]["fil"] = "x"
    with pytest.raises(
        ConfigurationError,
        match=r"^recipe: data.train.sources.1.fil: unknown key, nearest known: 'file' \(got 'x'\)$",
    ):
        PretrainRecipe.from_dict(values)


def test_fault_of_the_only_source_is_the_only_fault(tiny_pretrain_recipe: Make) -> None:
    """Without it the list of sources is empty, which is no other fault."""
    values = tiny_pretrain_recipe().model_dump()
    values["data"]["train"]["sources"] = [{"kind": "jsonln", "file": "own.jsonl"}]
    with pytest.raises(ConfigurationError, match=r"^recipe: data\.train\.sources\.0\.kind: .*'jsonln'\)$"):
        PretrainRecipe.from_dict(values)


@pytest.mark.parametrize("features", [None, [], 3])
def test_missing_feature_stores_are_asked_for(tiny_pretrain_recipe: Make, features: object) -> None:
    with pytest.raises(ConfigurationError, match=r"data\.features: expected one or more feature stores, "):
        tiny_pretrain_recipe(data={"features": features})


def test_recipe_with_nothing_to_learn_is_rejected(tiny_pretrain_recipe: Make) -> None:
    tasks = ("masked_words", "matched", "object_labels", "attribute_labels", "feature_regression", "qa")
    with pytest.raises(ConfigurationError, match="nothing to learn"):
        tiny_pretrain_recipe(tasks=dict.fromkeys((*tasks, "place_weight"), 0.0))
    qa_alone = dict.fromkeys((*tasks, "place_weight"), 0) | {"qa": 1, "qa_from": 0.5}
    with pytest.raises(ConfigurationError, match="before qa_from there is nothing to learn"):
        tiny_pretrain_recipe(tasks=qa_alone)


def test_object_mask_rate_zero_is_allowed_without_masked_object_tasks(tiny_pretrain_recipe: Make) -> None:
    tasks = {"object_mask_rate": 0, "feature_regression": 0}
    assert tiny_pretrain_recipe(tasks=tasks).tasks.object_mask_rate == 0
    none = tasks | {"object_labels": 0, "attribute_labels": 0, "object_label_loss": "masked"}
    assert tiny_pretrain_recipe(tasks=none).tasks.qa == 1


def test_features_may_be_one_store_or_several(tiny_pretrain_recipe: Make) -> None:
    assert tiny_pretrain_recipe(data={"features": "a"}).data.features == (Path("a"),)
    assert tiny_pretrain_recipe(data={"features": ["a", "b"]}).data.features == (Path("a"), Path("b"))
