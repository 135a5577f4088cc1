"""The fine-tuning tasks by name, and the task of a saved model."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lxmert.data.file_layouts import TaskFiles
from lxmert.errors import ConfigurationError
from lxmert.training.gqa_task import GqaTask
from lxmert.training.nlvr2_task import Nlvr2Task
from lxmert.training.recipe_values import format_validation_errors
from lxmert.training.run_folder import RunFolder
from lxmert.training.tasks import Task
from lxmert.training.vqa_task import VqaTask
from lxmert.weights.published import GQA_ANSWERS, published_answers
from lxmert.yaml_files import parse_yaml

TASKS: dict[str, Task] = {task.name: task for task in (VqaTask(), GqaTask(), Nlvr2Task())}


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in TASKS:
        raise ConfigurationError(f"unknown task {name!r}; expected one of {', '.join(TASKS)}")
    return TASKS[name]


def task_of_model(name: str, folder: str | Path) -> Task:
    """The task that a model was fine-tuned on.

    It is found in the resolved recipe, the table of published models, or the model's class; a question
    answering model of which nothing else is known is assumed to be of VQA.

    Args:
        name: The model's name as given by the user.
        folder: The model's folder.

    Raises:
        ConfigurationError: The model belongs to no task, such as a pre-trained one.
    """
    trained = read_trained_task(folder)
    if trained is not None:
        return trained[0]
    if published_answers(name) == GQA_ANSWERS:
        return get_task("gqa")
    classes = saved_architectures(folder)
    for task in TASKS.values():
        if task.model_class.__name__ in classes:
            return task
    raise ConfigurationError(
        f"{name} contains {', '.join(classes) or 'no named model class'}, which is not the model of a "
        "task; fine-tune it first, or use --task"
    )


def read_trained_task(folder: str | Path) -> tuple[Task, TaskFiles] | None:
    """The task and the data layout in the resolved fine-tuning recipe of a model folder, None if it has none.

    The rest of the recipe is ignored, so that models remain usable when the format of recipes changes.

    Raises:
        ConfigurationError: The layout is malformed.
    """
    path = RunFolder(Path(folder)).recipe_path
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigurationError):
        return None
    # A pre-trained model's folder has a recipe of another kind.
    if not isinstance(values, dict) or values.get("task") not in list(TASKS):
        return None
    task, data = TASKS[values["task"]], values.get("data")
    try:
        return task, task.files_class.model_validate(data.get("files", {}) if isinstance(data, dict) else {})
    except ValidationError as error:
        raise ConfigurationError(
            f"{path}: data.files: {format_validation_errors(error, task.files_class)}"
        ) from None


def saved_architectures(folder: str | Path) -> list[str]:
    """The model classes that config.json names; none if it cannot be read, which loading reports."""
    try:
        config: Any = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return list(config.get("architectures") or [])
    except (OSError, ValueError, AttributeError):
        return []
