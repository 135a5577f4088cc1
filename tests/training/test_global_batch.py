"""Gradient accumulation, early stopping, and runs whose gradients or losses are not finite."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from lxmert.errors import TrainingError
from lxmert.training.early_stopping import EarlyStopping
from lxmert.training.finetuning import finetune
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.trainer import FinetuneTrainer

Make = Callable[..., FinetuneRecipe]


@pytest.mark.parametrize("loss", ["cross_entropy", "soft_bce"])
def test_accumulated_batches_give_losses_and_weights_of_one_big_batch(
    tiny_recipe: Make, tmp_path: Path, loss: str
) -> None:
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
def test_early_stopping_stops_after_patience_validations_without_improvement(
    scores: list[float], patience: int, higher_is_better: bool, stops: bool
) -> None:
    control = SimpleNamespace(should_training_stop=False)
    log = [{"loss": 1.0}, *({"eval_x": score} for score in scores)]
    stop = EarlyStopping("eval_x", patience, higher_is_better=higher_is_better)
    stop.on_evaluate(None, SimpleNamespace(log_history=log), control)
    assert control.should_training_stop == stops


@pytest.mark.parametrize("norm", [0.0, 5.0])
def test_non_finite_gradients_end_run_and_keep_finite_checkpoint(
    tiny_recipe: Make, tmp_path: Path, norm: float
) -> None:
    # Two steps are sound; the third meets weights that the second has thrown beyond float32.
    recipe = tiny_recipe(
        data={"test_split": None},
        optimisation={"peak_learning_rate": 1e38, "max_gradient_norm": norm, "warmup": 2},
        saving={"checkpoint_every_steps": 1, "select": "last"},
    )
    with pytest.raises(
        TrainingError, match=r"after step 2 the norm of the gradients is (nan|inf), so the run"
    ):
        finetune(recipe, tmp_path / "run")
    [checkpoint] = (tmp_path / "run" / "checkpoints").glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-2"
    assert all(tensor.isfinite().all() for tensor in load_file(checkpoint / "model.safetensors").values())
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_nan_validation_loss_ends_run_without_checkpoint(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where float16 leaves out every update, so that no gradient reaches the weights.
    monkeypatch.setattr(FinetuneTrainer, "_get_grad_norm", lambda self, model, grad_norm=None: grad_norm)
    recipe = tiny_recipe(
        data={"test_split": None}, optimisation={"peak_learning_rate": 1e38, "max_gradient_norm": 0}
    )
    with pytest.raises(TrainingError, match="the validation loss is nan"):
        finetune(recipe, tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob("checkpoint-*"))
