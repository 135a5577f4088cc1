"""Published checkpoints, with the answers, detector and vocabularies that belong to each.

The authors' fine-tuned models are on the hub without answer table, detector or vocabularies of the objects.
This table names them: the files by address and SHA-256, the detector by name with its settings.

Source: airsplay/lxmert and airsplay/py-bottom-up-attention on GitHub; the hub's organisation unc-nlp.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxmert.downloads import MIRRORED_SITE, PublishedFile

_LXMERT = f"{MIRRORED_SITE}/airsplay/lxmert/master/data"
_GENOME = f"{MIRRORED_SITE}/airsplay/py-bottom-up-attention/master/demo/data/genome/1600-400-20"

VQA_ANSWERS = PublishedFile(
    f"{_LXMERT}/vqa/trainval_label2ans.json",
    "e72e568a6303130f5a627db06360605ee3b306366ff463aa5153d782adc12a7d",
)
"""3,129 answers of VQA 2.0 in class order."""

GQA_ANSWERS = PublishedFile(
    f"{_LXMERT}/gqa/trainval_label2ans.json",
    "3ba2e3668760dfcfcfe40dc58711a7c551ca7da48be87a7fdd3fae9963f8264d",
)
"""1,842 answers of GQA in class order."""

PRETRAINING_ANSWERS = PublishedFile(
    f"{_LXMERT}/lxmert/all_ans.json", "b860c6cd7b8fe3afa1e5308933664c37bc8728eff967e9845543169a06d012b8"
)
"""9,500 answers of pre-training in class order, each with the data sets that have it."""

GENOME_OBJECTS = PublishedFile(
    f"{_GENOME}/objects_vocab.txt", "d985096938db111f585a311ff0a2ee9092fbc325c3a619ac9622e57e5389722f"
)
"""1,600 object classes of Visual Genome, one a line, synonyms after commas."""

GENOME_ATTRIBUTES = PublishedFile(
    f"{_GENOME}/attributes_vocab.txt", "19981b5a288f284c576545a21de78634f1a78c26b6949f7acf12b924739fdc66"
)
"""400 attributes of Visual Genome, likewise."""


@dataclass(frozen=True)
class PublishedDetector:
    """A detector on the hub.

    Attributes:
        name: its hub name.
        settings: of LXMERT's features, as arguments of `build_extractor`.
        objects: its object classes.
        attributes: its attributes.
    """

    name: str
    settings: Mapping[str, Any]
    objects: PublishedFile
    attributes: PublishedFile

    def to_dict(self) -> dict[str, Any]:
        """The extractor's specification for `build_extractor`."""
        return {"kind": "faster_rcnn", "detector": self.name, **self.settings}


@dataclass(frozen=True)
class PublishedModel:
    """A question-answering model on the hub.

    Attributes:
        name: its hub name.
        answers: its answer table.
        detector: the detector of its objects.
    """

    name: str
    answers: PublishedFile
    detector: PublishedDetector

    def fill_missing(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a processor, with its extractor and answers filled in where they are missing."""
        stored = {key: value for key, value in settings.items() if value is not None}
        return {**settings, "extractor": self.detector, "answers": self.answers, **stored}


VISUAL_GENOME_DETECTOR = PublishedDetector(
    name="unc-nlp/frcnn-vg-finetuned",
    settings={"preset": "published", "min_objects": 36, "max_objects": 36},
    objects=GENOME_OBJECTS,
    attributes=GENOME_ATTRIBUTES,
)

_MODELS = {
    model.name: model
    for model in (
        PublishedModel("unc-nlp/lxmert-vqa-uncased", VQA_ANSWERS, VISUAL_GENOME_DETECTOR),
        PublishedModel("unc-nlp/lxmert-gqa-uncased", GQA_ANSWERS, VISUAL_GENOME_DETECTOR),
    )
}
_PRETRAINED = "unc-nlp/lxmert-base-uncased"
_DETECTORS = {VISUAL_GENOME_DETECTOR.name: VISUAL_GENOME_DETECTOR}
PUBLISHED_ANSWERS = {"vqa": VQA_ANSWERS, "gqa": GQA_ANSWERS}
"""Answer tables by the name of their data set."""


def published_model(name: str | Path) -> PublishedModel | None:
    """The published model of this hub name, or None; a folder of the same name is the user's own."""
    return None if Path(name).is_dir() else _MODELS.get(str(name))


def published_answers(name: str | Path) -> PublishedFile | None:
    """The answer table of this hub name's model, or None; a folder of the same name is the user's own."""
    if (model := published_model(name)) is not None:
        return model.answers
    return PRETRAINING_ANSWERS if str(name) == _PRETRAINED and not Path(name).is_dir() else None


def published_detector(name: str | Path) -> PublishedDetector | None:
    """The detector of this hub name, or None; a folder of the same name is the user's own."""
    return None if Path(name).is_dir() else _DETECTORS.get(str(name))


def detector_spec(name: str | Path) -> dict[str, Any]:
    """The specification of the extractor with a detector: "scenes", a folder, or a hub name."""
    known = published_detector(name)
    return {"kind": "faster_rcnn", "detector": str(name)} if known is None else known.to_dict()
