"""Ending a run early."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback


class EarlyStopping(TrainerCallback):
    """Ends a run after a number of evaluations in a row without a new best one.

    They are counted in the Trainer's log, which checkpoints include, so that a resumed run stops where an
    uninterrupted one does.

    Args:
        score: name of the figure in the log.
        patience: number of evaluations.
        higher_is_better: False for a figure to minimise.
    """

    def __init__(self, score: str, patience: int, *, higher_is_better: bool) -> None:
        self._score = score
        self._patience = patience
        self._sign = 1 if higher_is_better else -1

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Request the stop when it is due."""
        if self.should_stop(state.log_history):
            control.should_training_stop = True

    def should_stop(self, log: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a run with this log has to stop."""
        scores = [self._sign * entry[self._score] for entry in log if self._score in entry]
        return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= self._patience
