import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lxmert import LxmertForQuestionAnswering
from lxmert.inference import agreement, dtype_choice, fast_model
from lxmert.inference.agreement import Agreement
from lxmert.inference.fast_model import FastModel
from lxmert.training.preparation import prepare_task
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.task_registry import get_task
from tests.command_line import CommandLine
from tests.training.prediction.predicting import Predict
from tests.training.test_tasks import recipe_values


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def model_of(models: Path, tiny_values: dict[str, Any]) -> Callable[[str], Path]:
    """Makes the folder of an untrained model of a task, once."""

    def make(task: str) -> Path:
        folder = models / task
        if not folder.exists():
            torch.manual_seed(6)
            prepared = prepare_task(
                get_task(task), FinetuneRecipe.from_dict(recipe_values(task, tiny_values))
            )
            with torch.no_grad():  # Else an untrained model gives the same answer to everything.
                for name, weights in prepared.model.named_parameters():
                    if name.endswith("logit_fc.3.weight"):
                        weights.normal_()
                    elif task == "nlvr2" and name.endswith(("value.weight", "dense.weight")):
                        weights *= 5  # Of its two answers smaller ones always give the same.
            prepared.model.save_pretrained(folder)
            prepared.processor.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str]) -> Predict:
    def run(*words: object) -> tuple[int, str, str]:
        return CommandLine(capsys).run("predict", *words)

    return run


@pytest.fixture
def answered_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of questions of each batch that the model has answered."""
    batches: list[int] = []
    scores = FastModel.scores

    def counted(self: FastModel, words: Tensor, *others: Any) -> Tensor:
        batches.append(len(words))
        return scores(self, words, *others)

    monkeypatch.setattr(FastModel, "scores", counted)
    return batches


@pytest.fixture
def interrupted_after(
    answered_batch_sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], AbstractContextManager[None]]:
    """Makes a context that interrupts the run in it once the model has answered so many batches."""

    @contextmanager
    def interrupting(batches: int) -> Iterator[None]:
        scores = FastModel.scores

        def interrupted(self: FastModel, *inputs: Any) -> Tensor:
            if len(answered_batch_sizes) == batches:
                raise KeyboardInterrupt
            return scores(self, *inputs)

        answered_batch_sizes.clear()
        with monkeypatch.context() as patch:
            patch.setattr(FastModel, "scores", interrupted)
            yield

    return interrupting


@pytest.fixture
def agreements(monkeypatch: pytest.MonkeyPatch) -> list[Agreement]:
    """The comparisons made so far; enabled on any machine and for narrow models.

    A run needs only twice as many questions as are compared: 128 for bfloat16, 512 for 8 bits.
    """
    found: list[Agreement] = []

    def recorded(compare: Callable[..., Any]) -> Callable[..., Any]:
        def comparing(*given: Any, **named: Any) -> Any:
            result = compare(*given, **named)
            found.append(result if isinstance(result, Agreement) else result[0])
            return result

        return comparing

    for compare in (agreement.compare_dtypes, agreement.compare_int8):
        monkeypatch.setattr(dtype_choice, compare.__name__, recorded(compare))
    monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(agreement, "MIN_EXAMPLES_PER_QUESTION_WITH_EXTRACTION", 2)
    monkeypatch.setattr(agreement, "MIN_EXAMPLES_PER_QUESTION", 2)
    monkeypatch.setattr(agreement, "MIN_HIDDEN_SIZE", 1)
    return found


@pytest.fixture
def close_calls_model(model_of: Callable[[str], Path], models: Path) -> Path:
    """The folder of a model whose answers bfloat16 cannot tell apart."""
    folder = models / "close-calls"
    if not folder.exists():
        shutil.copytree(model_of("vqa"), folder)
        model = LxmertForQuestionAnswering.from_pretrained(folder)
        torch.manual_seed(7)
        weights = model.answer_head.logit_fc[3].weight
        with torch.no_grad():
            weights.copy_(1 + 1e-3 * torch.randn_like(weights))
        model.save_pretrained(folder)
    return folder


@pytest.fixture
def no_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables compilation, which takes minutes and changes no answer, and GPUs, which have no int8."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(fast_model, "CompiledPart", lambda part, *arguments: part)
    monkeypatch.setattr(FastModel, "warm_up", lambda fast, advance: None)
