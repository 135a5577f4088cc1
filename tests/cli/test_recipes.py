"""`lxmert recipes`, and the names it lists as values of `--config`."""

from pathlib import Path

import pytest

from lxmert.training.included_recipes import included_recipes
from tests.command_line import CommandLine


def test_all_recipes_are_listed(lxmert: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, output, _ = lxmert.run("recipes")
    assert status == 0
    listed = [line.split()[0] for line in output.splitlines() if line and not line.startswith(" ")]
    assert listed == ["recipe", *included_recipes()]


def test_one_recipe_is_printed_byte_for_byte(lxmert: CommandLine) -> None:
    status, output, _ = lxmert.run("recipes", "paper_vqa")
    assert status == 0
    assert output == included_recipes()["paper_vqa"].read_text(encoding="utf-8")


def test_unknown_recipe_is_an_error(lxmert: CommandLine) -> None:
    message = "lxmert: error: scenes: not an included recipe; they are paper_gqa,"
    assert lxmert.error("recipes", "scenes").startswith(message)


@pytest.mark.parametrize(
    ("command", "recipe"),
    [
        (["pretrain"], "scenes_pretrain_words"),
        (["finetune", "vqa"], "scenes_vqa"),
        (["train-detector"], "scenes_detector"),
    ],
)
def test_training_commands_take_the_names(
    command: list[str],
    recipe: str,
    lxmert: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lxmert.error(*command, "--config", recipe).startswith("lxmert: error: scenes-data")
    assert "no such file; expected a recipe" in lxmert.error(*command, "--config", f"{recipe}.yaml")
