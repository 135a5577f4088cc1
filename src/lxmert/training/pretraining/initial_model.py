"""The initial model of pre-training: from random weights, from BERT, or from a pre-trained one."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from lxmert.configuration import LxmertConfig
from lxmert.data.answers import AnswerVocabulary
from lxmert.errors import ConfigurationError, IncompleteWeightsError
from lxmert.training.answer_head import carry_over_answers, load_model_answers
from lxmert.training.initial_model import build_tokenizer, locate_pretrained
from lxmert.training.pretraining.model import LxmertInPreTraining
from lxmert.training.pretraining.recipe import PretrainModelSection
from lxmert.training.pretraining.target_counts import OBJECT_TASKS
from lxmert.weights.bert import bert_folder, load_bert
from lxmert.weights.report import load_with_report

# The parts that may be initialised anew, because the model was trained on other tasks before.
_HEADS = ("cls.", "obj_predict_head.", "answer_head.", "place_predict_head.")

_CLASS_COUNTS = {"num_object_labels", "num_attr_labels"}


def build_pretraining_tokenizer(
    section: PretrainModelSection, *, lower_case: bool
) -> PreTrainedTokenizerBase:
    """The tokenizer of the recipe's vocabulary, or else of the pretrained model or BERT."""
    if section.vocabulary is None and section.bert is not None:
        vocabulary = bert_folder(section.bert) / "vocab.txt"
        section = section.model_copy(update={"vocabulary": str(vocabulary)})
    return build_tokenizer(section, lower_case=lower_case)


def build_pretraining_model(
    section: PretrainModelSection,
    tokenizer: PreTrainedTokenizerBase,
    answers: AnswerVocabulary | None,
    weights: Mapping[str, float],
    sizes: Mapping[str, int],
) -> tuple[LxmertInPreTraining, dict[str, Any]]:
    """Create the model with its initial weights; also returns facts about their origin for metrics.json.

    Args:
        section: the recipe's model.
        tokenizer: determines the vocabulary size.
        answers: the classes that the model chooses from, None without question answering.
        weights: of the tasks.
        sizes: values of LxmertConfig that follow from the data.

    Raises:
        WeightsError: there is no checkpoint, or it cannot be read or does not fit.
        IncompleteWeightsError: the checkpoint lacks more than heads.
        ConfigurationError: the checkpoint expects other features, or scores other answers.
    """
    flags = _task_flags(weights)
    if section.from_pretrained is not None:
        return _load_pretrained(section.from_pretrained, answers, weights, flags | dict(sizes))
    derived = {"pad_token_id": tokenizer.pad_token_id}
    if answers is not None:
        derived["num_qa_labels"] = len(answers)
    config = LxmertConfig(**{"vocab_size": len(tokenizer)} | section.config | derived | flags | dict(sizes))
    model = LxmertInPreTraining(config, predicts_places=weights["places"] > 0)
    if section.bert is None:
        return model, {}
    report = load_bert(model, section.bert)
    return model, {"started_from_bert": section.bert, "tensors_from_bert": len(report.matched)}


def retained_answers(
    section: PretrainModelSection, model: LxmertInPreTraining, origin: Mapping[str, Any]
) -> AnswerVocabulary | None:
    """The answers of a pretrained head that a run without question answering keeps; None if unknown.

    Args:
        section: the recipe's model.
        model: from `build_pretraining_model`, as are the facts.
        origin: facts about the origin of its weights.
    """
    if section.from_pretrained is None or not model.config.task_qa or "answer_head" in origin["begun_anew"]:
        return None
    return load_model_answers(locate_pretrained(section.from_pretrained))


def _task_flags(weights: Mapping[str, float]) -> dict[str, bool]:
    """The heads and losses that these tasks need."""
    return {
        "task_mask_lm": weights["masked_words"] > 0,
        "task_matched": weights["matched"] > 0,
        "task_obj_predict": any(weights[task] > 0 for task in OBJECT_TASKS),
        "task_qa": weights["qa"] > 0,
        "visual_obj_loss": weights["object_labels"] > 0,
        "visual_attr_loss": weights["attribute_labels"] > 0,
        "visual_feat_loss": weights["feature_regression"] > 0,
    }


def _load_pretrained(
    name: str,
    answers: AnswerVocabulary | None,
    weights: Mapping[str, float],
    required: Mapping[str, Any],
) -> tuple[LxmertInPreTraining, dict[str, Any]]:
    folder = locate_pretrained(name)
    config = LxmertConfig.from_pretrained(folder)
    if config.visual_feat_dim != required["visual_feat_dim"]:
        raise ConfigurationError(
            f"{name} takes {config.visual_feat_dim} features per object, but the data have "
            f"{required['visual_feat_dim']}; use the features that it was trained with"
        )
    # Its heads are kept, even those of tasks that are not learned now, and those with more classes than occur
    # in the data: features without names show only the classes of their objects.
    updates = {field: value for field, value in required.items() if value is not False}
    for field in _CLASS_COUNTS & updates.keys():
        updates[field] = max(updates[field], getattr(config, field))
    config.update(updates)
    model, report = load_with_report(
        LxmertInPreTraining, folder, config=config, predicts_places=weights["places"] > 0, dtype=torch.float32
    )
    if any(not part.startswith(_HEADS) for part in report.unfilled):
        raise IncompleteWeightsError(
            f"{report.summary()}. Training would start from a partly random encoder: only heads may be "
            "missing; use a complete checkpoint"
        )
    metadata: dict[str, Any] = {
        "started_from": name,
        "begun_anew": sorted({part.split(".")[0] for part in report.unfilled}),
    }
    if answers is not None:
        metadata["answers_carried_over"] = carry_over_answers(model, report, answers)
    return model, metadata
