from pathlib import Path

import pytest
import yaml

from lxmert.errors import ConfigurationError
from lxmert.training.included_recipes import included_recipes, recipe_description, recipe_path


def test_included_recipes_are_found_by_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = recipe_path("scenes_vqa")
    assert path == included_recipes()["scenes_vqa"]
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["task"] == "vqa"


def test_file_called_like_an_included_recipe_is_named_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes_vqa").write_text("task: vqa")
    assert recipe_path("scenes_vqa") == included_recipes()["scenes_vqa"]
    assert recipe_path("./scenes_vqa").samefile(tmp_path / "scenes_vqa")


@pytest.mark.parametrize("name", ["scenes_vqaa", "./scenes_vqa", "scenes_vqa.yaml"])
def test_unknown_recipe_is_an_error_that_lists_the_included_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"^{name}: no such file; .*paper_gqa, .*scenes_vqa\)$"):
        recipe_path(name)


def test_every_included_recipe_describes_itself() -> None:
    for name, path in included_recipes().items():
        assert recipe_description(path.read_text(encoding="utf-8")).endswith("."), name


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("# One line.\n#\n# Purpose: none", "One line."),
        ("# Two\n# lines.\ntask: vqa\n# more", "Two lines."),
        ("task: vqa\n# too late", ""),
        ("", ""),
    ],
)
def test_description_is_the_first_paragraph_of_the_first_comment(text: str, description: str) -> None:
    assert recipe_description(text) == description
