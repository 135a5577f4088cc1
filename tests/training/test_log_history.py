"""The metrics of each validation, read from a Trainer's log history."""

import pytest

from lxmert.training.log_history import epochs_from_log


def test_training_losses_are_means_since_previous_validation() -> None:
    log = [
        {"step": 4, "epoch": 0.4, "loss": 3.0, "loss_words": 2.0, "grad_norm": 9.0},
        {"step": 10, "epoch": 1.0, "loss": 1.0, "loss_words": 4.0},
        {"step": 10, "epoch": 1.0, "eval_loss": 5.0},
        # Questions begin at step 14.
        {"step": 14, "epoch": 1.4, "loss": 8.0},
        {"step": 15, "epoch": 1.5, "loss": 3.0, "loss_qa": 0.5},
        {"step": 15, "epoch": 1.5, "eval_other": 5.0},
        {"step": 20, "epoch": 2.0, "loss": 3.0, "loss_qa": 1.1},
        {"step": 20, "epoch": 2.0, "eval_loss": 4.0},
        {"step": 20, "epoch": 2.0, "train_loss": 4.0},
        {"step": 30, "epoch": 3.0, "eval_loss": 4.0},
    ]
    first, second, third = epochs_from_log(log, "loss")
    assert (first["step"], second["step"], third["step"]) == (10, 20, 30)
    assert first["train"] == pytest.approx({"loss": (4 * 3 + 6 * 1) / 10, "loss_words": (4 * 2 + 6 * 4) / 10})
    assert second["train"] == pytest.approx({"loss": (4 * 8 + 6 * 3) / 10, "loss_qa": (0.5 + 5 * 1.1) / 6})
    # Nothing was logged since the second validation, so there are no training losses.
    assert third["train"] == {}
