"""Preparation of a run from its recipe, the same for all tasks: data, regions, processor and model."""

from dataclasses import replace
from typing import Any

from transformers import PreTrainedModel

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.joined_stores import RegionStore, open_stores
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.region_source import RegionSource
from lxmert.data.task_dataset import TargetKind, TaskCollator, TaskDataset
from lxmert.data.task_examples import Purpose, Subset
from lxmert.data.task_split import SplitExamples
from lxmert.devices import resolve_device
from lxmert.errors import ConfigurationError, DataError
from lxmert.processing import LxmertProcessor
from lxmert.training.arguments import choose_kernels
from lxmert.training.evaluation import evaluate_model, load_regions, score_labels
from lxmert.training.initial_model import (
    build_answer_vocabulary,
    build_model,
    build_tokenizer,
    check_texts,
    locate_pretrained,
)
from lxmert.training.object_prediction import add_object_prediction
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.resuming import fingerprint, fingerprint_features
from lxmert.training.tasks import EvaluationReport, PreparedTask, Task
from lxmert.vision.build import build_extractor
from lxmert.weights.report import load_complete


def prepare_task(task: Task, recipe: FinetuneRecipe, progress: StartProgress = no_progress) -> PreparedTask:
    """Read the splits, obtain their images' regions, and build model and processor.

    Raises:
        LxmertError: The data or the recipe's references are wrong.
    """
    if recipe.model.from_pretrained is not None:
        locate_pretrained(recipe.model.from_pretrained)
    train_examples, validation_examples = _read_examples(task, recipe, progress)
    if not (train_examples.examples and validation_examples.examples):
        raise DataError(
            f"{recipe.data.directory}: there are {len(train_examples)} training and "
            f"{len(validation_examples)} validation examples; both must be more than 0"
        )
    answers = build_answer_vocabulary(recipe, train_examples.split.reader, train_examples.examples)
    specification, stores = recipe.data.extractor, recipe.data.stores
    store = open_stores(stores) if stores else None
    processor = LxmertProcessor(
        tokenizer=build_tokenizer(recipe.model, lower_case=recipe.text.lower_case),
        extractor=None if specification is None else build_extractor(specification),
        answers=list(answers),
        max_text_length=recipe.text.max_length,
    )
    if store is None:
        processor.to(resolve_device())
    # Before any image is read, so that a mismatch is reported at once.
    feature_dim = _feature_dim(processor, store)
    model, origin = build_model(task, recipe.model, processor.tokenizer, answers, feature_dim)
    check_texts(recipe.text, processor.tokenizer, model.config)
    train, validation = (
        TaskDataset(
            examples.examples,
            examples.targets(answers),
            processor.tokenizer,
            processor.max_text_length,
            load_regions(examples, processor, store, progress),
            progress=progress,
        )
        for examples in (train_examples, validation_examples)
    )
    if not train.answerable_count:
        raise DataError(
            f"{recipe.data.directory}: none of the {len(train)} training examples has a known answer"
        )
    fingerprints = {
        "answers": fingerprint(answers),
        "training examples": _fingerprint_dataset(train),
        "validation examples": _fingerprint_dataset(validation),
        "extractor of the features": train.regions.extractor,
    }
    if store is not None:
        fingerprints["features"] = fingerprint_features(store, train.regions, validation.regions)
    metadata = _collect_metadata(train_examples, train.answerable_count, answers, model) | origin
    object_labels = None
    if recipe.optimisation.object_prediction:
        object_labels = train_examples.object_labels(train.regions)
        model = add_object_prediction(model, object_labels, recipe.optimisation.place_weight)
    choose_kernels(model, recipe.optimisation)
    collate = _build_collator(recipe, train.regions, processor, len(answers))
    settings = recipe.evaluation.model_dump(exclude={"batch_size"})
    return PreparedTask(
        model=model,
        processor=processor,
        train=train,
        validation=validation,
        collate_train=replace(collate, object_labels=object_labels),
        collate_validation=replace(collate, regions=validation.regions),
        score=lambda labels: score_labels(
            task, labels, validation_examples, answers, validation.answerable_count, settings=settings
        ),
        metadata=metadata,
        fingerprints=fingerprints,
    )


def _fingerprint_dataset(data: TaskDataset) -> str:
    pairs = zip(data.examples, data.targets, strict=True)
    return fingerprint(repr((example[:3], target[:])) for example, target in pairs)


def evaluate_folder(
    task: Task, recipe: FinetuneRecipe, folder: str, split: str, progress: StartProgress = no_progress
) -> EvaluationReport:
    """Score a saved model folder on a split, on the device that `lxmert eval` uses."""
    device = resolve_device()
    model, _ = load_complete(task.model_class, folder)
    return evaluate_model(
        model.to(device),
        LxmertProcessor.from_pretrained(folder).to(device),
        recipe.data.directory,
        split,
        task=task.name,
        files=recipe.data.files,
        features=recipe.data.stores,
        progress=progress,
        **recipe.evaluation.model_dump(),
    )


def _feature_dim(processor: LxmertProcessor, store: RegionStore | None) -> int:
    """Features per object of the data."""
    if processor.extractor is not None:
        return processor.extractor.feature_dim
    if store is None:
        raise ConfigurationError(
            "data.extractor and data.features are both null; set one of them, since the regions must come "
            "from one"
        )
    return store.feature_dim


def _read_examples(
    task: Task, recipe: FinetuneRecipe, progress: StartProgress
) -> tuple[SplitExamples, SplitExamples]:
    data = recipe.data
    train = Subset(
        first_images=data.train_images,
        kinds=getattr(data, "train_question_types", None),
        share=data.train_share,
    )
    validation = Subset(first_images=data.validation_images)
    return (
        task.split(data.directory, data.train_split, data.files, train, Purpose.TRAINING).read(progress),
        task.split(data.directory, data.validation_split, data.files, validation).read(progress),
    )


def _build_collator(
    recipe: FinetuneRecipe, regions: RegionSource, processor: LxmertProcessor, classes: int
) -> TaskCollator:
    loss = getattr(recipe.optimisation, "loss", "cross_entropy")
    target = TargetKind.SOFT if loss == "soft_bce" else TargetKind.CLASS
    pad = processor.tokenizer.pad_token_id
    return TaskCollator(regions, pad, classes, target, recipe.text.pad_to_multiple_of)


def _collect_metadata(
    examples: SplitExamples, answerable: int, answers: AnswerVocabulary, model: PreTrainedModel
) -> dict[str, Any]:
    return {
        "train_split": examples.split.name,
        "train_questions": len(examples),
        "train_questions_with_known_answer": answerable,
        "train_images": len(examples.image_names()),
        "answers": len(answers),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
