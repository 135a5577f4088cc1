"""The table of published checkpoints: names, files by hash, and what is taken from it."""

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lxmert.answers import read_answers
from lxmert.weights.published import (
    GENOME_ATTRIBUTES,
    GENOME_OBJECTS,
    GQA_ANSWERS,
    PRETRAINING_ANSWERS,
    VISUAL_GENOME_DETECTOR,
    VQA_ANSWERS,
    detector_spec,
    published_answers,
    published_detector,
    published_model,
)

# The same files in the folder of public data.
COPIES = {
    VQA_ANSWERS: "answers/vqa_trainval_label2ans.json",
    GQA_ANSWERS: "answers/gqa_trainval_label2ans.json",
    GENOME_OBJECTS: "vg/objects_vocab.txt",
    GENOME_ATTRIBUTES: "vg/attributes_vocab.txt",
}


@pytest.mark.parametrize("file", COPIES, ids=lambda file: file.url.rpartition("data/")[2])
def test_pinned_hashes_match_public_files(shared_data: Path, file) -> None:
    content = (shared_data / COPIES[file]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == file.sha256
    assert urlsplit(file.url).hostname == "raw.githubusercontent.com"


@pytest.mark.parametrize(("file", "count"), [(VQA_ANSWERS, 3129), (GQA_ANSWERS, 1842)])
def test_published_answer_tables_are_read(shared_data: Path, file, count: int) -> None:
    assert len(read_answers(shared_data / COPIES[file])) == count


def test_each_published_model_has_its_own_answers() -> None:
    vqa, gqa = (published_model(f"unc-nlp/lxmert-{task}-uncased") for task in ("vqa", "gqa"))
    assert (vqa.answers, gqa.answers) == (VQA_ANSWERS, GQA_ANSWERS)
    assert vqa.detector is gqa.detector is VISUAL_GENOME_DETECTOR
    assert published_answers("unc-nlp/lxmert-gqa-uncased") is GQA_ANSWERS
    assert published_model("unc-nlp/lxmert-base-uncased") is None
    assert published_answers("unc-nlp/lxmert-base-uncased") is PRETRAINING_ANSWERS
    assert published_answers("another/model") is None


def test_local_folder_shadows_published_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unc-nlp" / "lxmert-vqa-uncased").mkdir(parents=True)
    (tmp_path / "unc-nlp" / "lxmert-base-uncased").mkdir()
    (tmp_path / "unc-nlp" / "frcnn-vg-finetuned").mkdir()
    monkeypatch.chdir(tmp_path)
    assert published_model("unc-nlp/lxmert-vqa-uncased") is None
    assert published_answers("unc-nlp/lxmert-base-uncased") is None
    assert published_detector("unc-nlp/frcnn-vg-finetuned") is None
    assert detector_spec("unc-nlp/frcnn-vg-finetuned") == {
        "kind": "faster_rcnn",
        "detector": "unc-nlp/frcnn-vg-finetuned",
    }


def test_detector_spec_of_published_detector_asks_for_36_boxes() -> None:
    assert detector_spec("unc-nlp/frcnn-vg-finetuned") == {
        "kind": "faster_rcnn",
        "detector": "unc-nlp/frcnn-vg-finetuned",
        "preset": "published",
        "min_objects": 36,
        "max_objects": 36,
    }
    assert detector_spec(Path("my/detector")) == {"kind": "faster_rcnn", "detector": "my/detector"}


def test_fill_missing_fills_absent_settings_and_keeps_given_ones() -> None:
    model = published_model("unc-nlp/lxmert-vqa-uncased")
    assert model.fill_missing({"max_text_length": 9, "answers": None}) == {
        "max_text_length": 9,
        "answers": VQA_ANSWERS,
        "extractor": VISUAL_GENOME_DETECTOR,
    }
    own = {"extractor": {"kind": "given_boxes"}, "answers": ["yes"]}
    assert model.fill_missing(own) == own
