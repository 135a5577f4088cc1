"""What a run shows while it trains."""

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from lxmert.training.progress import ProgressDisplay, TrainingProgress


@pytest.mark.parametrize("family", ["what [color] is", "is it [/b]"])
def test_families_of_questions_are_shown_as_they_are_called(family: str) -> None:
    told = StringIO()
    display = ProgressDisplay(enabled=True, console=Console(file=told, width=200))
    state = SimpleNamespace(is_world_process_zero=True, epoch=1.0)
    with display:
        TrainingProgress(display).on_evaluate(
            None, state, None, metrics={"eval_accuracy": 50.0, f"eval_accuracy/{family}": 40.0}
        )
    assert f"epoch 1: validation accuracy 50.00 %  {family} 40.0" in told.getvalue()
