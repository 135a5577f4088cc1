"""The start of a fine-tuning run: its answers, its tokenizer, its model's initial weights.

Source: the authors' `loadLXMERT` and `loadLXMERTQA` (airsplay/lxmert).
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lxmert.configuration import LxmertConfig
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.nlvr2_split import TRUTH_VALUES
from lxmert.data.task_examples import TaskExample
from lxmert.data.task_split import SplitReader
from lxmert.errors import ConfigurationError, IncompleteWeightsError
from lxmert.inference.models import locate_model
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.training.answer_head import carry_over_answers
from lxmert.training.recipe import FinetuneRecipe, ModelSection, TextSection
from lxmert.training.recipe_data import SCENES, AnswersSection
from lxmert.training.tasks import Task
from lxmert.weights.report import load_with_report


def locate_pretrained(name: str) -> str:
    """Locate the model that a run starts from; returns a folder's path or a hub name for `from_pretrained`.

    A missing folder is refused at once; looked up as a hub model, it would fail only after minutes.

    Raises:
        ConfigurationError: The folder is not there.
        WeightsError: There is no model of this name, or none in the folder.
    """
    first, *rest = Path(name).parts or (".",)
    is_path = name.startswith(("runs/", ".", "/")) or (rest and Path(first).is_dir())
    if is_path and not Path(name).exists():
        raise ConfigurationError(
            f"model.from_pretrained: {name}: no such model folder; run the recipe that makes it first"
        )
    return locate_model(name)


def check_texts(text: TextSection, tokenizer: PreTrainedTokenizerBase, config: LxmertConfig) -> None:
    """Refuse words and texts that the model cannot read, which might first occur late in a run, or after it.

    Raises:
        ConfigurationError: The vocabulary exceeds the model's word embeddings, or the longest text that the
            recipe allows its positions.
    """
    if len(tokenizer) > config.vocab_size:
        raise ConfigurationError(
            f"the vocabulary has {len(tokenizer)} word pieces, but the model embeddings of "
            f"{config.vocab_size} (vocab_size)"
        )
    longest = math.ceil(text.max_length / text.pad_to_multiple_of) * text.pad_to_multiple_of
    if longest > config.max_position_embeddings:
        raise ConfigurationError(
            f"text.max_length {text.max_length}, padded to a multiple of {text.pad_to_multiple_of}, gives "
            f"texts of {longest} word pieces, but the model has {config.max_position_embeddings} "
            "positions (max_position_embeddings); lower text.max_length or, in a new model, raise "
            "max_position_embeddings"
        )


def build_answer_vocabulary(
    recipe: FinetuneRecipe, reader: SplitReader, examples: Iterable[TaskExample]
) -> AnswerVocabulary:
    """The classes that the model chooses from."""
    section: AnswersSection | None = getattr(recipe.data, "answers", None)
    if section is None:
        return AnswerVocabulary(TRUTH_VALUES)
    return section.vocabulary(lambda min_count: reader.vocabulary(examples, min_count))


def build_tokenizer(model: ModelSection, *, lower_case: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of the pretrained model, or of the recipe's vocabulary.

    Args:
        model: Names one of them.
        lower_case: True lower-cases the text; must agree with the tokenizer of a pretrained model.

    Raises:
        ConfigurationError: The model's tokenizer differs from `lower_case`.
    """
    if model.from_pretrained is not None:
        tokenizer = LxmertTokenizerFast.from_pretrained(locate_pretrained(model.from_pretrained))
        if tokenizer.do_lower_case != lower_case:
            actual, expected = (str(value).lower() for value in (tokenizer.do_lower_case, lower_case))
            raise ConfigurationError(
                f"text.lower_case is {expected}, but the tokenizer of {model.from_pretrained} has "
                f"{actual}; set text.lower_case: {actual}"
            )
        return tokenizer
    if model.vocabulary == SCENES:
        from lxmert.scenes.vocabulary import scene_vocabulary

        vocabulary = {word: number for number, word in enumerate(scene_vocabulary())}
        return LxmertTokenizerFast(vocab=vocabulary, do_lower_case=lower_case)
    return LxmertTokenizerFast(vocab_file=model.vocabulary, do_lower_case=lower_case)


def build_model(
    task: Task,
    section: ModelSection,
    tokenizer: PreTrainedTokenizerBase,
    answers: AnswerVocabulary,
    feature_dim: int,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Create the model with its initial weights; also returns facts about their origin for metrics.json.

    Args:
        task: Has the model's class.
        section: The recipe's model.
        tokenizer: Determines the vocabulary size.
        answers: The classes that the model chooses from.
        feature_dim: Features per object of the data.

    Raises:
        WeightsError: There is no checkpoint, or it cannot be read.
        IncompleteWeightsError: The checkpoint lacks more than the task's head.
        ConfigurationError: The checkpoint expects another number of features.
    """
    if section.from_pretrained is not None:
        return _load_pretrained(task, section.from_pretrained, answers, feature_dim)
    config = LxmertConfig(
        **{"vocab_size": len(tokenizer)} | section.config,
        pad_token_id=tokenizer.pad_token_id,
        num_qa_labels=len(answers),
        visual_feat_dim=feature_dim,
    )
    return task.model_class(config), {}


def _load_pretrained(
    task: Task, name: str, answers: AnswerVocabulary, feature_dim: int
) -> tuple[PreTrainedModel, dict[str, Any]]:
    folder = locate_pretrained(name)
    model, report = load_with_report(task.model_class, folder, dtype=torch.float32)
    # A pre-trained model may lack the head of a task, which fine-tuning trains.
    if any(not part.startswith(task.head_prefix) for part in report.unfilled):
        raise IncompleteWeightsError(
            f"{report.summary()}. Fine-tuning would start from a partly random encoder: only "
            f"{task.head_prefix}* may be missing; use a complete checkpoint"
        )
    if feature_dim != model.config.visual_feat_dim:
        raise ConfigurationError(
            f"{name} takes {model.config.visual_feat_dim} features per object, but the data have "
            f"{feature_dim}; use the extractor that it was trained with"
        )
    metadata: dict[str, Any] = {"started_from": name}
    if hasattr(model, "answer_head"):
        metadata["answers_carried_over"] = carry_over_answers(model, report, answers)
    return model, metadata
