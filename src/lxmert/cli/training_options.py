"""Shared by the verbs that train by a recipe: their options, and how these become a recipe and a folder."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lxmert.cli.interrupts import tell_interrupted

if TYPE_CHECKING:
    from lxmert.training.recipe_base import Recipe

RecipeClass = TypeVar("RecipeClass", bound="Recipe")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", help="The recipe; the folder configs has some.", show_default=False),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data directory, instead of the recipe's.", show_default=False),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the result (default: runs/ and the recipe's name)."),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a value, as in --set optimisation.epochs=2. Repeatable."),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="The result alone: no bars, epochs and notes.")
]


def recipe_of(
    recipe_class: type[RecipeClass], config: Path, data: Path | None, overrides: Sequence[str] | None
) -> RecipeClass:
    """Read the recipe of a file, with the changes of the command line.

    Raises:
        ConfigurationError: naming all faults of the recipe.
    """
    changes = list(overrides or ())
    if data is not None:
        changes.append(f"data.directory={json.dumps(str(data))}")  # quoted: the value is read as YAML
    return recipe_class.from_yaml(config, changes)


def folder_of(output: Path | None, config: Path) -> Path:
    """Return the folder of the result."""
    return output or Path("runs") / config.stem


@contextmanager
def telling_how_to_go_on(folder: Path) -> Iterator[None]:
    """Print how to resume if Ctrl-C ends a run that has a checkpoint."""
    try:
        yield
    except KeyboardInterrupt:
        from lxmert.training.run_folder import RunFolder
        from lxmert.training.running import is_main_process

        if is_main_process() and RunFolder(folder).all_checkpoints():
            tell_interrupted(f"a checkpoint is kept in {folder}", "the same command with --resume goes on")
        raise
