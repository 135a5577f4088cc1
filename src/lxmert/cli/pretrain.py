"""`lxmert pretrain`: pre-train a model on sentences about images, by a recipe."""

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


def pretrain(
    config: ConfigOption,
    data: DataOption = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    overrides: OverridesOption = None,
    quiet: ResultOnlyOption = False,
) -> None:
    """Pre-train a model from a recipe: masked words, matching, masked objects, questions.

    The output folder becomes a complete model folder, which a fine-tuning recipe can start from with
    `model.from_pretrained`. metrics.json lists the loss and accuracy of each task next to those of the best
    constant predictor.
    """
    from lxmert.training.pretraining.recipe import PretrainRecipe
    from lxmert.training.pretraining.running import pretrain as run
    from lxmert.training.running import is_main_process

    recipe = load_recipe(PretrainRecipe, config, data, overrides)
    folder = output_folder(output, config)
    with training_run(folder):
        result = run(recipe, folder, resume=resume, progress=not quiet)
    if not is_main_process():
        return
    parts = [
        f"{task} {figures['loss']:.3f} (constant {figures['constant_loss']:.3f})"
        for task, figures in result.metrics["validation"]["tasks"].items()
    ]
    typer.echo(f"{result.folder}: validation loss {result.validation_loss:.4f}: {', '.join(parts)}")
