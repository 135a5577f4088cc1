"""The fine-tuning tasks by name, and which of them a saved model belongs to."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lxmert.data.files import TaskFiles
from lxmert.errors import ConfigurationError
from lxmert.training.gqa_task import GqaTask
from lxmert.training.nlvr2_task import Nlvr2Task
from lxmert.training.recipe_values import all_faults
from lxmert.training.run_folder import RunFolder
from lxmert.training.tasks import Task
from lxmert.training.vqa_task import VqaTask
from lxmert.weights.published import GQA_ANSWERS, published_answers
from lxmert.yaml_files import parse_yaml

TASKS: dict[str, Task] = {task.name: task for task in (VqaTask(), GqaTask(), Nlvr2Task())}


def task_named(name: str) -> Task:
    """The task of this name.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in TASKS:
        raise ConfigurationError(f"no task {name!r}; expected one of {', '.join(TASKS)}")
    return TASKS[name]


def task_of_model(name: str, folder: str | Path) -> Task:
    """The task that a model was fine-tuned on.

    Its resolved recipe says it, or the table of published models, or its class; a question answering model of
    which nothing else is known is taken for one of VQA.

    Args:
        name: The model's name as it was given.
        folder: Where it lies.

    Raises:
        ConfigurationError: It is no model of any task, such as a pre-trained one.
    """
    trained = trained_for(folder)
    if trained is not None:
        return trained[0]
    if published_answers(name) == GQA_ANSWERS:
        return task_named("gqa")
    classes = _architectures(folder)
    for task in TASKS.values():
        if task.model_class.__name__ in classes:
            return task
    raise ConfigurationError(
        f"{name} holds {', '.join(classes) or 'no named model class'}, which is the model of no task; "
        "fine-tune it first, or say --task"
    )


def trained_for(folder: str | Path) -> tuple[Task, TaskFiles] | None:
    """What the resolved fine-tuning recipe in a model folder says: the task, and how its data are laid out.

    None where there is none. The rest of it is not looked at, so that a model is used whatever recipes may
    say by now.

    Raises:
        ConfigurationError: The layout is malformed.
    """
    path = RunFolder(Path(folder)).recipe_path
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigurationError):
        return None
    # A folder of pre-training holds a recipe of another kind.
    if not isinstance(values, dict) or values.get("task") not in list(TASKS):
        return None
    task, data = TASKS[values["task"]], values.get("data")
    try:
        return task, task.files_class.model_validate(data.get("files", {}) if isinstance(data, dict) else {})
    except ValidationError as error:
        raise ConfigurationError(f"{path}: data.files: {all_faults(error)}") from None


def _architectures(folder: str | Path) -> list[str]:
    try:
        config: Any = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return list(config.get("architectures") or [])
    except (OSError, ValueError, AttributeError):
        return []
