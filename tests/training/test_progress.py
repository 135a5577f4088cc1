"""What a run shows while it trains."""

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from lxmert.training.progress import ProgressDisplay, TrainingProgressCallback


@pytest.mark.parametrize(
    ("family", "shown"),
    [
        ("what [color] is", "what [color] is"),
        ("is it [/b]", "is it [/b]"),
        ("how\x1b[2J", r"how\x1b[2J"),
    ],
)
def test_families_of_questions_are_shown_as_they_are_called(family: str, shown: str) -> None:
    told = StringIO()
    display = ProgressDisplay(enabled=True, console=Console(file=told, width=200))
    state = SimpleNamespace(is_world_process_zero=True, epoch=1.0)
    with display:
        TrainingProgressCallback(display).on_evaluate(
            None, state, None, metrics={"eval_accuracy": 50.0, f"eval_accuracy/{family}": 40.0}
        )
    assert f"epoch 1: validation accuracy 50.00 %  {shown} 40.0" in told.getvalue()


@pytest.mark.parametrize("width", [80, 140])
def test_the_numbers_of_all_bars_stay_whole_on_a_narrow_terminal(width: int) -> None:
    told = StringIO()
    with ProgressDisplay(console=Console(file=told, width=width)) as display:
        display.start("Reading v2_OpenEnded_mscoco_train2014_questions.json (MB)", 36)(36)
        display.start("Tokenising own[0].jsonl", 658_000)(658_000)
        display.start_steps("Training", 186_000, 0)(12_345, "epoch 12.34  loss 24.2826")
    reading, tokenising, training = told.getvalue().splitlines()
    assert reading.startswith("Reading v2_OpenEnded")
    assert " 36/36 " in reading
    assert tokenising.startswith("Tokenising own[0].jsonl ")
    assert " 658000/658000 0:00:00" in tokenising
    assert training.startswith("Training  epoch 12.34  loss 24.2826 ")
    assert " 12345/186000 0:00:00" in training


def test_what_is_done_again_and_again_has_one_bar() -> None:
    told = StringIO()
    with ProgressDisplay(console=Console(file=told, width=120)) as display:
        display.start("Reading", 3)(3)
        for images in (5, 6, 7):
            display.start("Validation", images)(images)
        display.start("Test", 4)(2)
        display.start("Test", 4)(4)  # One that is not full stays.
    lines = [line.split()[0] for line in told.getvalue().splitlines()]
    assert lines == ["Reading", "Validation", "Test", "Test"]
    assert " 7/7 " in told.getvalue()
