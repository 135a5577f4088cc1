"""`lxmert pretrain`: pre-train a model on sentences about images, by a recipe."""

import json
from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", help="The recipe, such as configs/scenes_pretrain.yaml.", show_default=False
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
        typer.Option("--set", help="Change a value, as in --set tasks.qa=0. Repeatable."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Pre-train a model by a recipe: masked words, matching, masked objects, questions.

    The output folder becomes a complete model folder, from which `lxmert finetune` starts when its recipe
    says `model.from_pretrained`. In metrics.json each task's loss and accuracy stand beside those of the best
    constant predictor.
    """
    from lxmert.training.pretraining.recipe import PretrainRecipe
    from lxmert.training.pretraining.running import pretrain as run
    from lxmert.training.running import is_main_process

    changes = list(overrides or [])
    if data is not None:
        changes.append(f"data.directory={json.dumps(str(data))}")  # quoted: the value is read as YAML
    recipe = PretrainRecipe.from_yaml(config, changes)
    folder = output or Path("runs") / config.stem
    result = run(recipe, folder, resume=resume, progress=not quiet)
    if not is_main_process():
        return
    parts = [
        f"{task} {figures['loss']:.3f} (constant {figures['constant_loss']:.3f})"
        for task, figures in result.metrics["validation"]["tasks"].items()
    ]
    typer.echo(f"{result.folder}: validation loss {result.validation_loss:.4f}: {', '.join(parts)}")
