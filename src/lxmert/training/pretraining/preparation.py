"""Preparation of a pre-training run from its recipe: sentences, regions, model, processor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.corpus import Corpus, read_corpus
from lxmert.data.image_files import check_store_extractor
from lxmert.data.interning import gc_disabled
from lxmert.data.joined_stores import RegionStore, open_stores
from lxmert.data.masking import ObjectMasking, WordMasking
from lxmert.data.pretraining_dataset import PretrainingCollator, PretrainingDataset
from lxmert.data.pretraining_settings import PretrainingSettings
from lxmert.data.progress import StartProgress, iterate_with_progress, no_progress
from lxmert.data.region_source import open_regions
from lxmert.errors import DataError
from lxmert.processing import LxmertProcessor
from lxmert.training.arguments import choose_kernels
from lxmert.training.initial_model import check_texts
from lxmert.training.pretraining.constant_baseline import ConstantBaseline, constant_baselines
from lxmert.training.pretraining.initial_model import (
    build_pretraining_model,
    build_pretraining_tokenizer,
    retained_answers,
)
from lxmert.training.pretraining.model import LxmertInPreTraining
from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.training.pretraining.target_counts import OBJECT_TASKS, TASKS
from lxmert.training.pretraining.validation import ValidationData
from lxmert.training.resuming import fingerprint, fingerprint_features
from lxmert.vision.build import build_extractor
from lxmert.vision.extractor import RegionExtractor


@dataclass(frozen=True)
class PreparedPretraining:
    """A pre-training run prepared for its training loop.

    Attributes:
        model: with its initial weights.
        processor: saved with it.
        train: training sentences; items by draw number.
        collate: from training items to the model's inputs and targets.
        validation: the sentences that the model is scored on.
        weights: by task, the recipe's.
        factors: by task, the model's own factor of the loss.
        baselines: by task, the figures of the best constant predictor on the validation sentences.
        metadata: figures about data and model for metrics.json.
        fingerprints: fingerprints of the parts of the data, by name.
    """

    model: LxmertInPreTraining
    processor: LxmertProcessor
    train: PretrainingDataset
    collate: Callable[[Sequence[Any]], dict[str, Any]]
    validation: ValidationData
    weights: Mapping[str, float]
    factors: Mapping[str, float]
    baselines: Mapping[str, ConstantBaseline]
    metadata: dict[str, Any]
    fingerprints: Mapping[str, str]


# Until the sentences have become a few arrays, each garbage collection would visit all of them.
@gc_disabled()
def prepare_pretraining(recipe: PretrainRecipe, progress: StartProgress = no_progress) -> PreparedPretraining:
    """Read sentences and regions, and create the model.

    Raises:
        LxmertError: data or model are missing, malformed or do not fit together.
    """
    tokenizer = build_pretraining_tokenizer(recipe.model, lower_case=recipe.text.lower_case)
    specification = recipe.data.extractor
    extractor = None if specification is None else build_extractor(specification)
    corpora = _read_corpora(recipe, extractor, progress)
    answers = _build_answers(recipe, corpora.train, progress)
    if answers is not None:
        corpora = corpora.with_answers(answers, progress)
    train, validation = _build_datasets(recipe, corpora, tokenizer, answers, progress)
    weights = recipe.tasks.weights
    model, origin = build_pretraining_model(
        recipe.model, tokenizer, answers, weights, _config_sizes(train, validation)
    )
    named = retained_answers(recipe.model, model, origin) if answers is None else answers
    check_texts(recipe.text, tokenizer, model.config)
    choose_kernels(model, recipe.optimisation)
    data = ValidationData(
        validation,
        PretrainingCollator(validation, pad_to_multiple_of=recipe.text.pad_to_multiple_of),
        recipe.evaluation.batch_size,
        recipe.optimisation.loader_processes,
    )
    baselines = _compute_baselines(data, weights)
    return PreparedPretraining(
        model=model,
        processor=LxmertProcessor(
            tokenizer=tokenizer,
            extractor=extractor,
            answers=None if named is None else list(named),
            max_text_length=recipe.text.max_length,
        ),
        train=train,
        collate=PretrainingCollator(train, pad_to_multiple_of=recipe.text.pad_to_multiple_of),
        validation=data,
        weights=weights,
        factors={
            task: model.config.visual_loss_normalizer if task in OBJECT_TASKS else 1.0 for task in TASKS
        },
        baselines=baselines,
        metadata=_collect_metadata(corpora, train, validation, answers, model) | origin,
        fingerprints={
            "answers": fingerprint(answers or ()),
            "training sentences": _fingerprint_corpus(corpora.train, progress),
            "validation sentences": _fingerprint_corpus(corpora.validation, progress),
            "extractor of the features": train.regions.extractor,
            "features": fingerprint_features(corpora.store, train.regions, validation.regions),
        },
    )


def _fingerprint_corpus(corpus: Corpus, progress: StartProgress) -> str:
    texts = iterate_with_progress(corpus.texts, "Computing fingerprints", progress)
    # With nine million sentences, a tuple for each would cost too much.
    return fingerprint(f"{text.image}\0{text.sentence}\0{text.answers}" for text in texts)


def _settings(recipe: PretrainRecipe, *, for_validation: bool) -> PretrainingSettings:
    """Settings of the tasks; for validation including masked objects, to count correct predictions there."""
    tasks = recipe.tasks
    weights = tasks.weights
    targets = [target for task, target in OBJECT_TASKS.items() if weights[task] > 0]
    if targets and for_validation and "feat" not in targets:
        targets.append("feat")
    return PretrainingSettings(
        seed=recipe.optimisation.seed,
        words=WordMasking(tasks.word_mask_rate) if weights["masked_words"] > 0 else None,
        objects=ObjectMasking(tasks.object_mask_rate) if targets else None,
        mismatch_probability=tasks.mismatch_probability if weights["matched"] > 0 else 0.0,
        object_targets=targets,
        object_label_loss=tasks.object_label_loss,
    )


def _config_sizes(*data: PretrainingDataset) -> dict[str, int]:
    """The values of LxmertConfig that follow from the features."""
    sizes = {"visual_feat_dim": data[0].regions.feature_dim}
    # A store without names has only the classes in its images, which may lack some.
    labels = [part.regions.object_labels for part in data]
    known = [part_labels for part_labels in labels if part_labels is not None]
    if known:
        sizes["num_object_labels"] = max(part_labels.object_count for part_labels in known)
        sizes["num_attr_labels"] = max(part_labels.attribute_count for part_labels in known)
    return sizes


@dataclass(frozen=True)
class _Corpora:
    """The sentences, and the store of their images' regions."""

    train: Corpus
    validation: Corpus
    store: RegionStore

    def with_answers(self, answers: AnswerVocabulary, progress: StartProgress) -> "_Corpora":
        """The same, with questions without a known answer counted."""
        return replace(
            self,
            train=self.train.with_answers(answers, progress),
            validation=self.validation.with_answers(answers, progress),
        )


def _read_corpora(
    recipe: PretrainRecipe, extractor: RegionExtractor | None, progress: StartProgress
) -> _Corpora:
    data = recipe.data
    store = open_stores(data.features)
    check_store_extractor(store, extractor)
    train, validation = (
        read_corpus(section, data.directory, store=store, progress=progress).limit_images(images)
        for section, images in ((data.train, data.train_images), (data.validation, data.validation_images))
    )
    return _Corpora(train, validation, store)


def _build_answers(
    recipe: PretrainRecipe, corpus: Corpus, progress: StartProgress
) -> AnswerVocabulary | None:
    """The closed list of answers; None without question answering."""
    if recipe.tasks.qa == 0:
        return None
    texts = iterate_with_progress(corpus.texts, "Collecting answers", progress)
    best = (text.best_answer for text in texts)
    return recipe.data.answers.vocabulary(
        lambda min_count: AnswerVocabulary.from_answers(
            (answer for answer in best if answer is not None), min_count=min_count
        )
    )


def _build_datasets(
    recipe: PretrainRecipe,
    corpora: _Corpora,
    tokenizer: Any,
    answers: AnswerVocabulary | None,
    progress: StartProgress,
) -> tuple[PretrainingDataset, PretrainingDataset]:
    """The training and the validation sentences, with their images' regions."""
    train, validation = (
        PretrainingDataset(
            corpus.texts,
            tokenizer,
            recipe.text.max_length,
            open_regions(
                corpora.store,
                (text.image for text in corpus.texts),
                in_memory_bytes=int(recipe.data.in_memory_gib * 2**30),
                progress=progress,
            ),
            answers,
            _settings(recipe, for_validation=corpus is corpora.validation),
            progress=progress,
        )
        for corpus in (corpora.train, corpora.validation)
    )
    if answers is not None and not train.question_count:
        raise DataError(
            "no training sentence is a question with an answer of the list; set tasks.qa to 0, or add "
            "questions or answers"
        )
    return train, validation


def _compute_baselines(data: ValidationData, weights: Mapping[str, float]) -> dict[str, ConstantBaseline]:
    """The figures of constant predictors in the tasks that are learned.

    Raises:
        DataError: none of them has anything to score, so that all weights would be equally good.
    """
    baselines = {task: best for task, best in constant_baselines(data).items() if weights[task] > 0}
    if not baselines:
        raise DataError(
            f"the {len(data):,} validation sentences have no target for the tasks that are learned, so no "
            "model can be evaluated on them; add other sentences to data.validation"
        )
    return baselines


def _collect_metadata(
    corpora: _Corpora,
    train: PretrainingDataset,
    validation: PretrainingDataset,
    answers: AnswerVocabulary | None,
    model: LxmertInPreTraining,
) -> dict[str, Any]:
    return {
        "train_sentences": len(train),
        "train_images": len(corpora.train.image_names),
        "train_questions_with_known_answer": train.question_count,
        "validation_sentences": len(validation),
        "validation_images": len(corpora.validation.image_names),
        "train": corpora.train.report.to_dict(),
        "validation": corpora.validation.report.to_dict(),
        "answers": None if answers is None else len(answers),
        "parameters": model.plain_parameter_count,
    }
