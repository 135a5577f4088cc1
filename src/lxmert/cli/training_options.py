"""Shared by the verbs that train by a recipe: their options, and how these become a recipe and a folder."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lxmert.cli.interrupts import report_interrupted

if TYPE_CHECKING:
    from lxmert.training.recipe_base import Recipe

RecipeClass = TypeVar("RecipeClass", bound="Recipe")

ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        "-c",
        help="Recipe: the name of an included one, which lxmert recipes lists, or a YAML file.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data directory, overriding the recipe's.", show_default=False),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for the result.", show_default="runs/ and the recipe's name"),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Continue the run in the output folder, or start one if there is none."),
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override a value of the recipe, as in --set optimisation.epochs=2. Repeatable."
    ),
]
ResultOnlyOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only the result: no progress bars, epochs or notes.")
]


def load_recipe(
    recipe_class: type[RecipeClass], config: str, data: Path | None, overrides: Sequence[str] | None
) -> RecipeClass:
    """Read an included recipe or that of a file, with the changes of the command line.

    Raises:
        ConfigurationError: there is no such recipe, or it has faults: all are named.
    """
    from lxmert.training.included_recipes import recipe_path

    changes = list(overrides or ())
    if data is not None:
        changes.append(f"data.directory={json.dumps(str(data))}")  # quoted: the value is read as YAML
    return recipe_class.from_yaml(recipe_path(config), changes)


def output_folder(output: Path | None, config: str) -> Path:
    """Return the folder of the result."""
    return output or Path("runs") / Path(config).stem


@contextmanager
def training_run(folder: Path) -> Iterator[None]:
    """Around a run: print how to resume if Ctrl-C ends it with a checkpoint, and leave the process group."""
    try:
        yield
    except KeyboardInterrupt:
        from lxmert.training.run_folder import RunFolder
        from lxmert.training.running import is_main_process

        if is_main_process() and RunFolder(folder).all_checkpoints():
            report_interrupted(
                f"a checkpoint is kept in {folder}", "run the same command with --resume to continue"
            )
        raise
    else:
        from lxmert.inference.ranks import leave_group

        leave_group()
