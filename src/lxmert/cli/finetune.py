"""`lxmert finetune`: train a model on questions or sentences about images, by a recipe."""

from typing import Annotated, Literal

import typer

from lxmert.cli.training_options import (
    ConfigOption,
    DataOption,
    OutputOption,
    OverridesOption,
    ResultOnlyOption,
    ResumeOption,
    load_recipe,
    output_folder,
    training_run,
)
from lxmert.errors import ConfigurationError


def finetune(
    task: Annotated[
        Literal["vqa", "gqa", "nlvr2"],
        typer.Argument(
            help="Task to train. vqa, gqa: questions with a fixed list of answers; nlvr2: sentences that are "
            "true or false of two images.",
            show_default=False,
        ),
    ],
    config: ConfigOption,
    data: DataOption = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    overrides: OverridesOption = None,
    quiet: ResultOnlyOption = False,
) -> None:
    """Fine-tune a model from a recipe and score it on the test split.

    The output folder becomes a complete model folder for `lxmert eval` and `lxmert ask --model`.
    """
    from lxmert.training.finetuning import finetune as run
    from lxmert.training.recipe import FinetuneRecipe
    from lxmert.training.running import is_main_process

    recipe = load_recipe(FinetuneRecipe, config, data, overrides)
    if recipe.task != task:
        raise ConfigurationError(
            f"{config} is a recipe for {recipe.task}, not for {task}: run lxmert finetune {recipe.task}, "
            "or use another recipe"
        )
    folder = output_folder(output, config)
    with training_run(folder):
        result = run(recipe, folder, resume=resume, progress=not quiet)
    line = f"{result.folder}: validation accuracy {result.validation_accuracy:.2f} %"
    if result.test_accuracy is not None:
        line += f", test accuracy {result.test_accuracy:.2f} %"
    if is_main_process():
        typer.echo(line)
