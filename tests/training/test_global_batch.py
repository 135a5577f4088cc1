"""Updates of several batches, and the end of runs that get no better."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from lxmert.training.finetuning import finetune
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.stopping import StopEarly

Make = Callable[..., FinetuneRecipe]


@pytest.mark.parametrize("loss", ["cross_entropy", "soft_bce"])
def test_accumulated_batches_are_one_big_batch(tiny_recipe: Make, tmp_path: Path, loss: str) -> None:
    model = tiny_recipe().model.model_dump(include={"config", "vocabulary"})
    model["config"] |= {
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "visual_feat_loss": False,
    }
    # Answers that are not in the list, and images of unequal numbers of objects: batches of unequal weight.
    (tmp_path / "answers.json").write_text('["red", "yes", "2", "circle"]')
    data = {"answers": {"source": str(tmp_path / "answers.json")}, "test_split": None}
    steps = {
        "epochs": 1,
        "loss": loss,
        "object_prediction": True,
        "place_weight": 1.0,
        "optimizer": "bert_adam",
    }
    losses = {}
    for name, batches in (("one", {"batch_size": 24}), ("three", {"batch_size": 8, "accumulation_steps": 3})):
        recipe = tiny_recipe(
            model=model, data=data, optimisation=steps | batches, saving={"log_every_steps": 1}
        )
        losses[name] = finetune(recipe, tmp_path / name).metrics["epochs"][0]["train_loss"]
    assert losses["three"] == pytest.approx(losses["one"], abs=1e-5)
    found = load_file(tmp_path / "three" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "one" / "model.safetensors").items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("scores", "patience", "higher_is_better", "stops"),
    [
        ([1.0, 2.0, 3.0], 1, True, False),
        ([3.0, 2.0], 1, True, True),
        ([3.0, 2.0], 2, True, False),
        ([3.0, 2.0, 2.9], 2, True, True),
        ([1.0, 2.0], 1, False, True),
        ([2.0, 1.0], 1, False, False),
        # Equal is not better.
        ([2.0, 2.0], 1, False, True),
        ([], 1, True, False),
    ],
)
def test_a_run_stops_after_so_many_validations_without_a_new_best(
    scores: list[float], patience: int, higher_is_better: bool, stops: bool
) -> None:
    control = SimpleNamespace(should_training_stop=False)
    log = [{"loss": 1.0}, *({"eval_x": score} for score in scores)]
    stop = StopEarly("eval_x", patience, higher_is_better=higher_is_better)
    stop.on_evaluate(None, SimpleNamespace(log_history=log), control)
    assert control.should_training_stop == stops
