"""`lxmert train-detector`: train an object detector with attributes, by a recipe."""

import json
from pathlib import Path
from typing import Annotated

import typer


def train_detector(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", help="The recipe, such as configs/scenes_detector.yaml.", show_default=False
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
    """Train a detector by a recipe and score it on the test split.

    The output folder becomes a complete model folder that `FasterRcnn.from_pretrained` reads.
    """
    from lxmert.training.detection.recipe import DetectorRecipe
    from lxmert.training.detection.running import train_detector as run

    changes = list(overrides or [])
    if data is not None:
        changes.append(f"data.directory={json.dumps(str(data))}")  # quoted: the value is read as YAML
    recipe = DetectorRecipe.from_yaml(config, changes)
    folder = output or Path("runs") / config.stem
    result = run(recipe, folder, resume=resume, progress=not quiet)
    line = f"{result.folder}: validation mAP@0.5 {result.validation_map_50:.2f} %"
    if result.test is not None:
        line += f", test mAP@0.5 {result.test['map_50']:.2f} %"
        if result.test["attribute_accuracy"] is not None:
            line += f", attributes {result.test['attribute_accuracy']:.2f} %"
    typer.echo(line)
