"""`lxmert recipes`: list the recipes that ship inside the package, or print one to change."""

from typing import Annotated

import typer

from lxmert.errors import ConfigurationError


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="Recipe to print, with its comments.", show_default="a list of all recipes"),
    ] = None,
) -> None:
    """List the included recipes for --config of pretrain, finetune and train-detector, or print one.

    To change more of a recipe than --set is good for, copy it: lxmert recipes scenes_vqa > mine.yaml
    """
    from lxmert.training.included_recipes import included_recipes, recipe_description

    included = included_recipes()
    if name is not None:
        if name not in included:
            raise ConfigurationError(f"{name}: not an included recipe; they are {', '.join(included)}")
        typer.echo(included[name].read_text(encoding="utf-8"), nl=False)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "description", box=None, pad_edge=False)
    for stem, path in included.items():
        table.add_row(stem, recipe_description(path.read_text(encoding="utf-8")))
    Console().print(table)
