"""Scoring a saved detector on annotated images, with the figures of its training.

The naming of attributes, the file names and the maximum number of detections are taken from the recipe next
to the weights, so that the figures of a run can be recomputed; without a recipe the defaults apply. If a
vocabulary file of that recipe is not there, the names in the detector serve, without synonyms.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lxmert.data.box_annotations import BoxVocabulary, NameList
from lxmert.data.file_layouts import validate_directory
from lxmert.data.progress import StartProgress, no_progress
from lxmert.devices import resolve_device
from lxmert.errors import ConfigurationError
from lxmert.training.detection.evaluation import report_metrics, score_detector
from lxmert.training.detection.preparation import boxes_file, load_split
from lxmert.training.detection.recipe import DetectionDataSection, DetectorEvaluationSection, DetectorRecipe
from lxmert.training.metrics.detection import DetectionReport
from lxmert.training.run_folder import RunFolder
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.extractor import detector_folder
from lxmert.vision.faster_rcnn.modeling import FasterRcnn
from lxmert.weights.published import published_detector

logger = logging.getLogger(__name__)

_FORMATS = ("coco", "visual_genome")


@dataclass(frozen=True)
class SavedDetectorReport:
    """The scores of a detector on one split.

    Attributes:
        split: the split's name.
        images: number of images.
        boxes: number of their true boxes of each class, by name.
        report: the figures.
        names: of the classes, by id.
    """

    split: str
    images: int
    boxes: dict[str, int]
    report: DetectionReport
    names: Sequence[str] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures as under "test" in a run's metrics.json: percent, classes by name."""
        return {"split": self.split, "images": self.images} | report_metrics(self.report, self.names)


def evaluate_detector(
    name: str,
    data_dir: str | Path,
    split: str = "test",
    limit: int | None = None,
    *,
    recipe: str | Path | None = None,
    device: str | torch.device | None = None,
    progress: StartProgress = no_progress,
) -> SavedDetectorReport:
    """Recompute a detector's figures over a data directory.

    Args:
        name: "scenes" (the embedded detector), a folder, or a hub name.
        data_dir: directory of boxes in COCO's or Visual Genome's format.
        split: the split's name.
        limit: maximum number of images, from the first; None for all.
        recipe: recipe whose `data` and `evaluation` apply instead of those of the detector's own.
        device: where to run; the GPU when there is one, else the CPU.
        progress: shows the progress.

    Raises:
        WeightsError: no such detector.
        ConfigurationError: the detector's classes have no names, or not those of the recipe's vocabulary;
            or there is no such device.
        DataError: a file is missing or malformed, or the split has no box of the detector's classes.
        ImageError: an image cannot be read.
    """
    target_device = resolve_device(device)
    folder = detector_folder(name)
    model = FasterRcnn.from_pretrained(folder)
    model.to(target_device)
    data, evaluation = _load_sections(folder, validate_directory(Path(data_dir)), split, recipe)
    if recipe is None:
        data = _forget_missing_vocabularies(data, model.config)
    vocabulary = _build_vocabulary(model, name, data)
    images = load_split(data, split, vocabulary, limit, progress)
    advance = progress(f"Detecting objects in {split}", len(images))
    report = score_detector(model, images, evaluation.max_detections, advance)
    names = vocabulary.objects.names
    ids = torch.cat([image.object_ids for image in images])
    counts = torch.bincount(ids, minlength=len(names)).tolist()
    boxes = {names[number]: counts[number] for number in report.average_precision}
    return SavedDetectorReport(split, len(images), boxes, report, names)


def _load_sections(
    folder: str, directory: Path, split: str, recipe: str | Path | None
) -> tuple[DetectionDataSection, DetectorEvaluationSection]:
    """The sections of the given recipe, or the detector's own, else the defaults."""
    own_recipe = RunFolder(Path(folder)).recipe_path
    path = own_recipe if recipe is None and own_recipe.is_file() else recipe
    if path is None:
        data, evaluation = DetectionDataSection(directory=directory), DetectorEvaluationSection()
    else:
        loaded = DetectorRecipe.from_yaml(path)
        data, evaluation = loaded.data.model_copy(update={"directory": directory}), loaded.evaluation
    if recipe is None and not boxes_file(data, split).is_file():
        # The boxes may be in another format than those that the detector was trained on.
        others = (
            data.model_copy(update={"format": format_name})
            for format_name in _FORMATS
            if format_name != data.format
        )
        data = next((other for other in others if boxes_file(other, split).is_file()), data)
    return data, evaluation


def _forget_missing_vocabularies(
    data: DetectionDataSection, config: FasterRcnnConfig
) -> DetectionDataSection:
    """Without vocabulary files that do not exist here, of which the detector has the names."""
    names = {"object_vocabulary": config.object_names, "attribute_vocabulary": config.attribute_names}
    missing = [
        key
        for key, known in names.items()
        if known is not None and (path := getattr(data, key)) is not None and not path.is_file()
    ]
    for key in missing:
        logger.warning(
            "%s: no such file, so the names in the detector are used, without synonyms; for those, start in "
            "the folder of the training, or use --config",
            getattr(data, key),
        )
    return data.model_copy(update=dict.fromkeys(missing))


def _build_vocabulary(model: FasterRcnn, name: str, data: DetectionDataSection) -> BoxVocabulary:
    """Names of the model's classes and attributes, with synonyms if there is a vocabulary file."""
    config, published = model.config, published_detector(name)
    sources = {
        "object": (config.object_names, config.num_object_labels, data.object_vocabulary),
        "attribute": (config.attribute_names, config.num_attr_labels, data.attribute_vocabulary),
    }
    files = {"object": published.objects, "attribute": published.attributes} if published else {}
    lists = []
    for kind, (names, count, path) in sources.items():
        if path is None and names is None and kind in files:
            path = files[kind].fetch()
        name_list = NameList.from_names(names or ()) if path is None else NameList.read(path)
        if len(name_list) != count or (names is not None and list(name_list.names) != list(names)):
            raise ConfigurationError(_mismatch_message(name, kind, count, len(name_list), path))
        lists.append(name_list)
    return BoxVocabulary(*lists)


def _mismatch_message(name: str, what: str, count: int, name_count: int, path: Path | None) -> str:
    if path is not None:
        return f"{path}: its {name_count} names do not match the {count} {what} classes of {name}"
    return (
        f"{name}: its {count} {what} classes have no names, so annotated boxes cannot be matched; use a "
        f"recipe (--config) with data.{what}_vocabulary, one name per line in the order of the ids"
    )
