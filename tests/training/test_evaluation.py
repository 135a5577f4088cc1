from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lxmert.data.coco import read_instances
from lxmert.data.file_layouts import VqaFiles
from lxmert.errors import ConfigurationError, DataError
from lxmert.model import LxmertForQuestionAnswering
from lxmert.processing import LxmertProcessor
from lxmert.training.evaluation import evaluate_model
from lxmert.training.preparation import prepare_task
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.task_registry import get_task
from lxmert.training.tasks import EvaluationReport

Pair = tuple[LxmertForQuestionAnswering, LxmertProcessor]


@pytest.fixture
def model_and_processor(tiny_recipe: Callable[..., FinetuneRecipe]) -> Pair:
    prepared = prepare_task(get_task("vqa"), tiny_recipe())
    return prepared.model, prepared.processor


def test_accuracy_agrees_with_asking_one_question_at_a_time(
    model_and_processor: Pair, scenes_folder: Path
) -> None:
    model, processor = model_and_processor
    report = evaluate_model(model, processor, scenes_folder, "val", limit=25, batch_size=7)
    assert (report.split, len(report.predictions)) == ("val", 25)
    examples = get_task("vqa").split(scenes_folder, "val").read().examples[:25]
    instances = read_instances(scenes_folder / "annotations/instances_val.json")
    correct = 0
    for example in examples:
        vqa = example.source
        boxes = instances[vqa.image_id].boxes_xyxy_px
        image = scenes_folder / "images/val" / instances[vqa.image_id].file_name
        inputs = processor(images=image, text=vqa.question, boxes=boxes)
        with torch.inference_mode():
            [[answer]] = processor.decode_answers(model(**inputs).question_answering_score)
        assert report.predictions[vqa.question_id] == answer.text
        correct += answer.text == vqa.multiple_choice_answer
    # The made annotators agree on the truth, so it scores 1; a dissenter's answer may score a little.
    assert report.accuracy >= 100 * correct / 25


def test_batch_size_does_not_change_predictions(model_and_processor: Pair, scenes_folder: Path) -> None:
    def scored(batch_size: int) -> EvaluationReport:
        return evaluate_model(*model_and_processor, scenes_folder, "test", batch_size=batch_size)

    assert scored(3).predictions == scored(500).predictions


def test_evaluator_setting_is_passed_to_metric(model_and_processor: Pair, scenes_folder: Path) -> None:
    """The older evaluator normalises every answer, the present one only where the annotators differ."""
    model, processor = model_and_processor
    assert processor.answers is not None
    spelled = [f"{answer.capitalize()}." for answer in processor.answers]
    other = LxmertProcessor(processor.tokenizer, processor.extractor, answers=spelled)

    def accuracy(evaluator: str) -> float:
        return evaluate_model(model, other, scenes_folder, evaluator=evaluator).accuracy

    plain = evaluate_model(model, processor, scenes_folder).accuracy
    assert accuracy("before-2021-03") == plain > accuracy("present")


def test_missing_inputs_raise_errors_naming_them(
    model_and_processor: Pair, scenes_folder: Path, tmp_path: Path
) -> None:
    model, processor = model_and_processor
    with pytest.raises(DataError, match="no such data directory"):
        evaluate_model(model, processor, tmp_path / "none")
    with pytest.raises(DataError, match=r"vqa_dev_\w+\.json: no such file"):
        evaluate_model(model, processor, scenes_folder, "dev")
    bare = VqaFiles(instances=None, image_name="scenes_{split}_{image_id:012d}.png")
    with pytest.raises(DataError, match="boxes come from an instances file"):
        evaluate_model(model, processor, scenes_folder, files=bare)
    no_answers = LxmertProcessor(processor.tokenizer, processor.extractor)
    with pytest.raises(ConfigurationError, match="no answers"):
        evaluate_model(model, no_answers, scenes_folder)
    no_extractor = LxmertProcessor(processor.tokenizer, answers=processor.answers)
    with pytest.raises(ConfigurationError, match="no extractor"):
        evaluate_model(model, no_extractor, scenes_folder)
    with pytest.raises(ConfigurationError, match="unknown task 'vcr'"):
        evaluate_model(model, processor, scenes_folder, task="vcr")


def test_answer_list_of_another_length_is_rejected(model_and_processor: Pair, scenes_folder: Path) -> None:
    model, processor = model_and_processor
    fewer = LxmertProcessor(processor.tokenizer, processor.extractor, answers=["yes", "no"])
    with pytest.raises(ConfigurationError, match="2 answers"):
        evaluate_model(model, fewer, scenes_folder, limit=3)
