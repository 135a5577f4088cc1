"""`lxmert train-detector`: train an object detector with attributes, by a recipe."""

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


def train_detector(
    config: ConfigOption,
    data: DataOption = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    overrides: OverridesOption = None,
    quiet: ResultOnlyOption = False,
) -> None:
    """Train an object detector from a recipe and score it on the test split.

    The output folder becomes a complete model folder for `FasterRcnn.from_pretrained`.
    """
    from lxmert.training.detection.recipe import DetectorRecipe
    from lxmert.training.detection.running import train_detector as run

    recipe = load_recipe(DetectorRecipe, config, data, overrides)
    folder = output_folder(output, config)
    with training_run(folder):
        result = run(recipe, folder, resume=resume, progress=not quiet)
    line = f"{result.folder}: validation mAP@0.5 {result.validation_map_50:.2f} %"
    if result.test is not None:
        line += f", test mAP@0.5 {result.test['map_50']:.2f} %"
        if result.test["attribute_accuracy"] is not None:
            line += f", attributes {result.test['attribute_accuracy']:.2f} %"
    typer.echo(line)
