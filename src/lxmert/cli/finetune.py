"""`lxmert finetune`: train a model on questions or sentences about images, by a recipe."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def finetune(
    task: Annotated[
        Literal["vqa", "gqa", "nlvr2"],
        typer.Argument(
            help="What to train: vqa or gqa, questions with a list of answers; nlvr2, sentences that are "
            "true or false of two images.",
            show_default=False,
        ),
    ],
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", help="The recipe, such as configs/scenes_vqa.yaml.", show_default=False
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data directory, instead of the recipe's.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the result (default: runs/ and the recipe's name)."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value, as in --set optimisation.epochs=2. Repeatable."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Train a model by a recipe and score it on the test split.

    The output folder becomes a complete model folder: `lxmert eval` and `lxmert ask --model` take it.
    """
    from lxmert.errors import ConfigurationError
    from lxmert.training.finetuning import finetune as run
    from lxmert.training.recipe import FinetuneRecipe
    from lxmert.training.running import is_main_process

    changes = list(overrides or [])
    if data is not None:
        changes.append(f"data.directory={json.dumps(str(data))}")  # quoted: the value is read as YAML
    recipe = FinetuneRecipe.from_yaml(config, changes)
    if recipe.task != task:
        raise ConfigurationError(
            f"{config} is a recipe of {recipe.task}, not of {task}: run lxmert finetune {recipe.task}, or "
            "give another recipe"
        )
    folder = output or Path("runs") / config.stem
    result = run(recipe, folder, resume=resume, progress=not quiet)
    line = f"{result.folder}: validation accuracy {result.validation_accuracy:.2f} %"
    if result.test_accuracy is not None:
        line += f", test accuracy {result.test_accuracy:.2f} %"
    if is_main_process():
        typer.echo(line)
