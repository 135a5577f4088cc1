import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.files import VqaFiles
from lxmert.data.vqa_split import VqaSplit
from lxmert.errors import ConfigurationError, DataError
from lxmert.model import LxmertForQuestionAnswering
from lxmert.processing import LxmertProcessor
from lxmert.training.evaluation import VqaReport, evaluate_vqa
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.vqa_task import VqaTask


@pytest.fixture
def model_and_processor(
    tiny_recipe: Callable[..., FinetuneRecipe],
) -> tuple[LxmertForQuestionAnswering, LxmertProcessor]:
    prepared = VqaTask().prepare(tiny_recipe())
    return prepared.model, prepared.processor


def test_accuracy_agrees_with_asking_one_question_at_a_time(
    model_and_processor: tuple[LxmertForQuestionAnswering, LxmertProcessor], scenes_folder: Path
) -> None:
    model, processor = model_and_processor
    report = evaluate_vqa(model, processor, scenes_folder, "val", limit=25, batch_size=7)
    assert (report.split, report.scores.questions, len(report.predictions)) == ("val", 25, 25)
    split = VqaSplit(scenes_folder, "val")
    examples = split.examples()[:25]
    right = 0
    for example in examples:
        [image] = [
            path
            for path in (scenes_folder / "images/val").iterdir()
            if path.stem.endswith(f"{example.image_id:012d}")
        ]
        boxes = _boxes(scenes_folder, example.image_id)
        inputs = processor(images=image, text=example.question, boxes=boxes)
        with torch.inference_mode():
            [[answer]] = processor.decode_answers(model(**inputs).question_answering_score)
        assert report.predictions[example.question_id] == answer.text
        right += answer.text == example.multiple_choice_answer
    # The made annotators agree on the truth, so it scores 1; a dissenter's answer may score a little.
    assert report.accuracy >= 100 * right / 25


def _boxes(folder: Path, image_id: int) -> torch.Tensor:
    from lxmert.data.coco import read_instances

    return read_instances(folder / "annotations/instances_val.json")[image_id].boxes_xyxy_px


def test_batch_size_does_not_change_predictions(
    model_and_processor: tuple[LxmertForQuestionAnswering, LxmertProcessor], scenes_folder: Path
) -> None:
    def predictions(batch_size: int) -> VqaReport:
        return evaluate_vqa(*model_and_processor, scenes_folder, "test", batch_size=batch_size)

    assert predictions(3).predictions == predictions(500).predictions


def test_splits_can_be_cut_to_types_of_questions(scenes_folder: Path) -> None:
    whole = VqaSplit(scenes_folder, "train").examples()
    cut = VqaSplit(scenes_folder, "train", question_types=["count", "exist"], first_questions=5).examples()
    assert list(cut) == [one for one in whole if one.question_type in {"count", "exist"}][:5]
    with pytest.raises(DataError, match="no train question is of type knot"):
        VqaSplit(scenes_folder, "train", question_types=["count", "knot"]).examples()


def test_splits_can_be_cut_by_images_and_questions(scenes_folder: Path) -> None:
    whole = VqaSplit(scenes_folder, "train")
    images = list(dict.fromkeys(example.image_id for example in whole.examples()))
    two = dataclasses.replace(whole, first_images=2)
    assert {example.image_id for example in two.examples()} == set(images[:2])
    assert len(two.examples()) == 40
    assert dataclasses.replace(two, first_questions=3).examples() == whole.examples()[:3]


def test_what_is_missing_is_named(
    model_and_processor: tuple[LxmertForQuestionAnswering, LxmertProcessor],
    scenes_folder: Path,
    tmp_path: Path,
) -> None:
    model, processor = model_and_processor
    with pytest.raises(DataError, match="no such data directory"):
        evaluate_vqa(model, processor, tmp_path / "none")
    with pytest.raises(DataError, match=r"vqa_dev_questions\.json: no such file"):
        evaluate_vqa(model, processor, scenes_folder, "dev")
    bare = VqaFiles(instances=None)
    with pytest.raises(DataError, match="needs boxes"):
        evaluate_vqa(model, processor, scenes_folder, files=bare)
    no_answers = LxmertProcessor(processor.tokenizer, processor.extractor)
    with pytest.raises(ConfigurationError, match="no answers"):
        evaluate_vqa(model, no_answers, scenes_folder)
    no_extractor = LxmertProcessor(processor.tokenizer, answers=processor.answers)
    with pytest.raises(ConfigurationError, match="no extractor"):
        evaluate_vqa(model, no_extractor, scenes_folder)


def test_other_layouts_name_images_by_their_id(scenes_folder: Path) -> None:
    processor = LxmertProcessor(
        tokenizer=_tokenizer(),
        extractor={
            "kind": "regular_grid",
            "rows": 1,
            "columns": 2,
            "encoder": {"kind": "pooled_pixels", "size": 2},
        },
    )
    files = VqaFiles(instances=None, image_name="scenes_{split}_{image_id:012d}.png")
    dataset = VqaSplit(scenes_folder, "val", files, first_images=2).dataset(
        processor, AnswerVocabulary(["yes"])
    )
    assert dataset.regions.inputs["visual_feats"].shape == (2, 2, 12)


def _tokenizer() -> object:
    from lxmert.scenes import scene_vocabulary
    from lxmert.tokenization import LxmertTokenizerFast

    return LxmertTokenizerFast(vocab={word: number for number, word in enumerate(scene_vocabulary())})
