"""The progress display of a training run."""

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
def test_question_family_names_are_shown_literally_with_escapes_visible(family: str, shown: str) -> None:
    output = StringIO()
    display = ProgressDisplay(enabled=True, console=Console(file=output, width=200))
    state = SimpleNamespace(is_world_process_zero=True, epoch=1.0)
    with display:
        TrainingProgressCallback(display).on_evaluate(
            None, state, None, metrics={"eval_accuracy": 50.0, f"eval_accuracy/{family}": 40.0}
        )
    assert f"epoch 1: validation accuracy 50.00 %  {shown} 40.0" in output.getvalue()


@pytest.mark.parametrize("width", [80, 140])
def test_progress_bar_counts_are_not_truncated_on_narrow_terminal(width: int) -> None:
    output = StringIO()
    with ProgressDisplay(console=Console(file=output, width=width)) as display:
        display.start("Reading v2_OpenEnded_mscoco_train2014_questions.json (MB)", 36)(36)
        display.start("Tokenising own[0].jsonl", 658_000)(658_000)
        display.start_steps("Training", 186_000, 0)(12_345, "epoch 12.34  loss 24.2826")
    reading, tokenising, training = output.getvalue().splitlines()
    assert reading.startswith("Reading v2_OpenEnded")
    assert " 36/36 " in reading
    assert tokenising.startswith("Tokenising own[0].jsonl ")
    assert " 658000/658000 0:00:00" in tokenising
    assert training.startswith("Training  epoch 12.34  loss 24.2826 ")
    assert " 12345/186000 0:00:00" in training


def test_repeated_task_reuses_its_finished_progress_bar() -> None:
    output = StringIO()
    with ProgressDisplay(console=Console(file=output, width=120)) as display:
        display.start("Reading", 3)(3)
        for images in (5, 6, 7):
            display.start("Validation", images)(images)
        display.start("Test", 4)(2)
        display.start("Test", 4)(4)  # One that is not full stays.
    lines = [line.split()[0] for line in output.getvalue().splitlines()]
    assert lines == ["Reading", "Validation", "Test", "Test"]
    assert " 7/7 " in output.getvalue()
