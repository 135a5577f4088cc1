"""Preparation of a detector's training from its recipe: vocabulary, data sets, model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxmert.data.box_annotations import (
    AnnotatedImage,
    BoxVocabulary,
    NamedBoxes,
    NameList,
    collect_vocabulary,
    encode_names,
    read_coco_boxes,
)
from lxmert.data.file_layouts import validate_directory
from lxmert.data.image_files import check_files_exist
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.visual_genome import read_image_ids, read_visual_genome_boxes
from lxmert.errors import DataError
from lxmert.training.detection.dataset import DetectionDataset
from lxmert.training.detection.initialisation import build_detector
from lxmert.training.detection.model import DetectorInTraining
from lxmert.training.detection.recipe import DetectionDataSection, DetectorRecipe
from lxmert.training.resuming import fingerprint


@dataclass(frozen=True)
class PreparedDetection:
    """Model and data of a run.

    Attributes:
        model: with the losses, and weights initialised or loaded.
        train: varied from epoch to epoch.
        validation: the images scored after each epoch.
        vocabulary: names of classes and attributes.
        metadata: figures about data and model, for metrics.json.
        fingerprints: fingerprints of the parts of the data, by name.
    """

    model: DetectorInTraining
    train: DetectionDataset
    validation: list[AnnotatedImage]
    vocabulary: BoxVocabulary
    metadata: dict[str, Any]
    fingerprints: dict[str, str]


def prepare_detection(recipe: DetectorRecipe, progress: StartProgress = no_progress) -> PreparedDetection:
    """Read the data and create the model.

    Raises:
        LxmertError: data or model are missing, malformed or do not fit together.
    """
    data = recipe.data
    named = read_split(data, data.train_split, progress)[: data.train_images]
    vocabulary = _build_vocabulary(data, named)
    train = _require_boxes(
        encode_names(named, vocabulary, images_folder(data, data.train_split)), data.train_split
    )
    validation = load_split(data, data.validation_split, vocabulary, data.validation_images, progress)
    if data.test_split is not None:
        # Read now, so that a mistake in it shows before hours of training.
        load_split(data, data.test_split, vocabulary, progress=progress)
    model = build_detector(recipe, vocabulary)
    metadata = {
        "train_images": len(train),
        "train_boxes": sum(map(len, train)),
        "validation_images": len(validation),
        "object_classes": len(vocabulary.objects),
        "attributes": len(vocabulary.attributes),
        "parameters": sum(weights.numel() for weights in model.parameters()),
    }
    dataset = DetectionDataset(
        train,
        model.config,
        seed=recipe.optimisation.seed,
        mirror_share=recipe.augmentation.mirror_share,
        min_sizes_px=recipe.augmentation.min_sizes_px,
    )
    fingerprints = {
        "classes": fingerprint(vocabulary.objects.names),
        "attributes": fingerprint(vocabulary.attributes.names),
        "training images": _fingerprint_images(train),
        "validation images": _fingerprint_images(validation),
    }
    return PreparedDetection(model, dataset, validation, vocabulary, metadata, fingerprints)


def _fingerprint_images(images: Sequence[AnnotatedImage]) -> str:
    def line(image: AnnotatedImage) -> str:
        # Bytes, because decimals of millions of boxes would take long.
        boxes, ids = (tensor.numpy().tobytes() for tensor in (image.boxes_xyxy_px, image.object_ids))
        return repr((image.path.name, boxes, ids, image.attribute_ids))

    return fingerprint(map(line, images))


def load_split(
    data: DetectionDataSection,
    split: str,
    vocabulary: BoxVocabulary,
    limit: int | None = None,
    progress: StartProgress = no_progress,
) -> list[AnnotatedImage]:
    """Read the images of a split, or the first `limit` of them, with the ids of a vocabulary.

    Raises:
        DataError: files are missing or malformed, or there is no box of the vocabulary's classes.
    """
    named = read_split(data, split, progress)[:limit]
    return _require_boxes(encode_names(named, vocabulary, images_folder(data, split)), split)


def read_split(
    data: DetectionDataSection, split: str, progress: StartProgress = no_progress
) -> list[NamedBoxes]:
    """Read the images of a split, with names of their boxes.

    Raises:
        DataError: a file is missing or malformed.
    """
    files = data.visual_genome_files
    directory = validate_directory(data.directory, data.coco_files if data.format == "coco" else files)
    if data.format == "coco":
        path = boxes_file(data, split)
        return read_coco_boxes(path, data.attributes, data.attribute_keys, progress=progress)

    def path_of(template: str | None) -> Path | None:
        return None if template is None else directory / template.format(split=split)

    ids = path_of(files.image_ids)
    return read_visual_genome_boxes(
        boxes_file(data, split),
        None if data.attributes == "none" else path_of(files.attributes),
        directory / files.sizes.format(split=split),
        image_ids=None if ids is None else read_image_ids(ids),
        file_name=lambda image_id: files.image_file_name(split, image_id),
        progress=progress,
    )


def boxes_file(data: DetectionDataSection, split: str) -> Path:
    """Path of the file with the boxes of a split."""
    name = data.coco_files.instances if data.format == "coco" else data.visual_genome_files.objects
    return data.directory / name.format(split=split)


def images_folder(data: DetectionDataSection, split: str) -> Path:
    """Folder of the images of a split."""
    files = data.coco_files if data.format == "coco" else data.visual_genome_files
    return data.directory / files.images.format(split=split)


def _require_boxes(images: list[AnnotatedImage], split: str) -> list[AnnotatedImage]:
    """Return the images after checking that there are boxes and that all image files exist."""
    if not any(map(len, images)):
        raise DataError(
            f"the split {split} has no box of the selected classes; number of images: {len(images)}"
        )
    check_files_exist([image.path for image in images], f"images of the split {split}")
    return images


def _build_vocabulary(data: DetectionDataSection, train: list[NamedBoxes]) -> BoxVocabulary:
    collected = collect_vocabulary(train, data.min_count)
    objects, attributes = data.object_vocabulary, data.attribute_vocabulary
    return BoxVocabulary(
        collected.objects if objects is None else NameList.read(objects),
        collected.attributes if attributes is None else NameList.read(attributes),
    )
