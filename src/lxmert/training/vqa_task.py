"""The VQA task: official question files, the question answering head, the official accuracy.

Source: paper section 3.3 and the fine-tuning code of airsplay/lxmert.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lxmert.configuration import LxmertConfig
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.collation import QuestionCollator, TargetKind
from lxmert.data.vqa import VqaExample
from lxmert.data.vqa_split import StartProgress, VqaSplit, no_progress
from lxmert.errors import ConfigurationError, DataError, IncompleteWeightsError
from lxmert.model import LxmertForQuestionAnswering
from lxmert.processing import LxmertProcessor
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.training.answer_head import known_answers, set_answers
from lxmert.training.evaluation import VqaReport, evaluate_vqa, score_labels
from lxmert.training.metrics.vqa import VqaEvaluator
from lxmert.training.object_prediction import LxmertWithObjectPrediction
from lxmert.training.recipe import SCENES, FinetuneRecipe
from lxmert.training.tasks import PreparedTask
from lxmert.vision.build import build_extractor
from lxmert.weights.report import load_reported

# The part of the model that fine-tuning may begin anew.
_HEAD = "answer_head."


class VqaTask:
    """Questions with a closed list of answers.

    Args:
        progress: Shows the extraction of regions.
    """

    name = "vqa"

    def __init__(self, progress: StartProgress = no_progress) -> None:
        self._progress = progress

    def prepare(self, recipe: FinetuneRecipe) -> PreparedTask:
        """Read the splits, extract regions and build model and processor.

        Raises:
            LxmertError: The data or the recipe's references are wrong.
        """
        _check_start(recipe.model.from_pretrained)
        data = recipe.data
        train_split = VqaSplit(
            data.directory,
            data.train_split,
            data.files,
            data.train_images,
            data.train_question_types,
            features=data.features,
        )
        validation_split = VqaSplit(
            data.directory,
            data.validation_split,
            data.files,
            data.validation_images,
            features=data.features,
        )
        train_examples = train_split.examples()
        answers = _answers(recipe, train_examples)
        processor = LxmertProcessor(
            tokenizer=_tokenizer(recipe),
            extractor=build_extractor(recipe.data.extractor),
            answers=list(answers),
            max_text_length=recipe.text.max_length,
        )
        model = _model(recipe, processor, len(answers))
        if recipe.optimisation.attention is not None:
            model.set_attn_implementation(recipe.optimisation.attention)
        train = train_split.dataset(processor, answers, examples=train_examples, progress=self._progress)
        validation = validation_split.dataset(processor, answers, progress=self._progress)
        if not (train.answerable and len(validation)):
            raise DataError(
                f"{recipe.data.directory}: {train.answerable} training questions have a known answer and "
                f"there are {len(validation)} validation questions; both must be more than 0"
            )
        object_labels = None
        if recipe.optimisation.object_prediction:
            object_labels = train_split.object_labels(train.regions)
            model = LxmertWithObjectPrediction.around(model, object_labels, recipe.optimisation.place_weight)
        target = TargetKind.SOFT if recipe.optimisation.loss == "soft_bce" else TargetKind.CLASS
        pad_token_id = processor.tokenizer.pad_token_id
        collate_train, collate_validation = (
            QuestionCollator(
                dataset.regions,
                pad_token_id,
                len(answers),
                target,
                recipe.text.pad_to_multiple_of,
                object_labels if dataset is train else None,
            )
            for dataset in (train, validation)
        )
        evaluator = VqaEvaluator(recipe.evaluation.evaluator)
        return PreparedTask(
            model=model,
            processor=processor,
            train=train,
            validation=validation,
            collate_train=collate_train,
            collate_validation=collate_validation,
            score=lambda labels: score_labels(
                labels, validation, answers, recipe.data.validation_split, evaluator=evaluator
            ),
            facts=_facts(train_split, train.answerable, train_examples, answers, model),
        )

    def load(self, folder: str) -> PreTrainedModel:
        """Load a saved model in float32."""
        return LxmertForQuestionAnswering.from_pretrained(folder, dtype=torch.float32)

    def test(self, recipe: FinetuneRecipe, folder: str, split: str) -> VqaReport:
        """Score a saved model folder on a split, as `lxmert eval` does."""
        return evaluate_vqa(
            self.load(folder),
            LxmertProcessor.from_pretrained(folder),
            recipe.data.directory,
            split,
            files=recipe.data.files,
            features=recipe.data.features,
            batch_size=recipe.evaluation.batch_size,
            evaluator=VqaEvaluator(recipe.evaluation.evaluator),
            progress=self._progress,
        )


def _check_start(name: str | None) -> None:
    """Refuse a folder that is not there; as the name of a hub model it would be waited for for minutes."""
    if name is None or Path(name).is_dir():
        return
    first, *rest = Path(name).parts or (".",)
    if name.startswith(("runs/", ".", "/")) or (rest and Path(first).is_dir()):
        raise ConfigurationError(
            f"model.from_pretrained: {name}: no such model folder; run the recipe that makes it first"
        )


def _answers(recipe: FinetuneRecipe, examples: Sequence[VqaExample]) -> AnswerVocabulary:
    source = recipe.data.answers.source
    if source == "annotations":
        return AnswerVocabulary.build(examples, min_count=recipe.data.answers.min_count)
    if source == SCENES:
        from lxmert.scenes.vocabulary import answer_list

        return AnswerVocabulary(answer_list())
    return AnswerVocabulary.load(source)


def _tokenizer(recipe: FinetuneRecipe) -> PreTrainedTokenizerBase:
    model = recipe.model
    if model.from_pretrained is not None:
        return LxmertTokenizerFast.from_pretrained(model.from_pretrained)
    if model.vocabulary == SCENES:
        from lxmert.scenes.vocabulary import scene_vocabulary

        words = {word: number for number, word in enumerate(scene_vocabulary())}
        return LxmertTokenizerFast(vocab=words, do_lower_case=recipe.text.lower_case)
    return LxmertTokenizerFast(vocab_file=model.vocabulary, do_lower_case=recipe.text.lower_case)


def _model(recipe: FinetuneRecipe, processor: LxmertProcessor, answers: int) -> PreTrainedModel:
    if recipe.model.from_pretrained is None:
        if processor.extractor is None:
            raise ConfigurationError(
                "a model from random weights needs an extractor to know its feature width"
            )
        config = LxmertConfig(
            **{"vocab_size": len(processor.tokenizer), "pad_token_id": processor.tokenizer.pad_token_id}
            | recipe.model.config
            | {"num_qa_labels": answers, "visual_feat_dim": processor.extractor.feature_dim}
        )
        return LxmertForQuestionAnswering(config)
    return _pretrained_model(recipe.model.from_pretrained, processor)


def _pretrained_model(folder: str, processor: LxmertProcessor) -> PreTrainedModel:
    model, report = load_reported(LxmertForQuestionAnswering, folder, dtype=torch.float32)
    # A pre-trained model may come without an answer head: that is what fine-tuning makes.
    if any(not name.startswith(_HEAD) for name in (*report.missing, *report.reshaped)):
        raise IncompleteWeightsError(
            f"{report.summary()}. Fine-tuning would start from a partly random encoder: only {_HEAD}* may be "
            "missing; use a complete checkpoint"
        )
    if processor.extractor is not None and processor.extractor.feature_dim != model.config.visual_feat_dim:
        raise ConfigurationError(
            f"{folder} takes {model.config.visual_feat_dim} features per object, "
            f"{processor.extractor.identity} makes {processor.extractor.feature_dim}; choose the extractor "
            "it was trained with"
        )
    old, new = known_answers(folder), AnswerVocabulary(processor.answers or ())
    if old != new:
        set_answers(model, old, new)
    return model


def _facts(
    split: VqaSplit,
    answerable: int,
    examples: Sequence[VqaExample],
    answers: AnswerVocabulary,
    model: PreTrainedModel,
) -> dict[str, Any]:
    return {
        "train_split": split.name,
        "train_questions": len(examples),
        "train_questions_with_known_answer": answerable,
        "train_images": len({example.image_id for example in examples}),
        "answers": len(answers),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
