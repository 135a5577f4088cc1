"""Ten rows of a published feature file: imported into a store, batched, and used in a training step."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lxmert import LxmertConfig, LxmertForPreTraining
from lxmert.data.answer_table import AnswerTable
from lxmert.data.feature_exchange import import_tsv
from lxmert.data.feature_store import FeatureStore
from lxmert.data.image_text import ImageText
from lxmert.data.pretraining_dataset import PretrainingCollator, PretrainingDataset
from lxmert.data.region_source import RegionSource, open_regions
from lxmert.tokenization import LxmertTokenizerFast

QUESTIONS = (
    ("What is the man holding?", {"tennis racket": 1.0, "racket": 0.9}),
    ("How many people are there?", {"two": 0.6, "2": 0.3}),
    ("Is it raining?", {"no": 1.0}),
)


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> dict[str, dict[str, Any]]:
    """The file's rows by image, decoded independently of the code under test."""
    found = {}
    text = (shared_data / "features" / "train2014_obj36.tsv").read_text(encoding="ascii")
    for line in text.splitlines():
        name, height, width, ids, confidences, attributes, attribute_confidences, count, boxes, features = (
            line.split("\t")
        )
        assert count == "36"
        found[name] = {
            "size": np.array([width, height] * 2, dtype=np.float32),
            "obj": (_decoded(ids, "<i8"), _decoded(confidences, "<f4")),
            "attr": (_decoded(attributes, "<i8"), _decoded(attribute_confidences, "<f4")),
            "boxes": _decoded(boxes, "<f4").reshape(36, 4),
            "features": _decoded(features, "<f4").reshape(36, 2048),
        }
    return found


def _decoded(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


@pytest.fixture(scope="module", params=["float32", "float16"])
def store(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> FeatureStore:
    folder = tmp_path_factory.mktemp("real") / "store"
    report = import_tsv(shared_data / "features" / "train2014_obj36.tsv", folder, dtype=request.param)
    assert report.added == 10
    return FeatureStore(folder)


@pytest.fixture(params=["in memory", "from disk"])
def regions(
    request: pytest.FixtureRequest, store: FeatureStore, rows: dict[str, dict[str, Any]]
) -> RegionSource:
    # Annotations name images with their ending, the feature file without.
    names = [f"{name}.jpg" for name in rows]
    return open_regions(store, names, in_memory_bytes=0 if request.param == "from disk" else 2**30)


def pretraining_dataset(regions: RegionSource, shared_data: Path) -> PretrainingDataset:
    texts = [
        ImageText(image, sentence, "vqa", answers)
        for image in regions.rows
        for sentence, answers in QUESTIONS
    ] + [ImageText(image, "A photograph of something.", "mscoco") for image in regions.rows]
    vocabulary = (shared_data / "bert" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = LxmertTokenizerFast(vocab={word: number for number, word in enumerate(vocabulary)})
    answers = AnswerTable.load(shared_data / "answers" / "all_ans.json").vocabulary
    return PretrainingDataset(texts, tokenizer, 20, regions, answers)


def test_batches_equal_rows_of_published_file(
    regions: RegionSource, store: FeatureStore, rows: dict[str, dict[str, Any]], shared_data: Path
) -> None:
    data = pretraining_dataset(regions, shared_data)
    draws = list(range(len(data)))
    batch = PretrainingCollator(data)([data[draw] for draw in draws])
    targets = batch["obj_labels"]
    half = store.manifest.feature_dtype == "float16"
    for place in range(len(draws)):
        name = list(rows)[place // 3 if place < 30 else place - 30]
        row = rows[name]
        features = targets["feat"][0][place].numpy()
        if half:
            # Half precision has 11 significant bits, and nothing below 2⁻²⁴.
            assert (np.abs(features - row["features"]) <= np.abs(row["features"]) * 2**-11 + 2**-25).all()
        else:
            assert np.array_equal(features, row["features"])
        unmasked = targets["feat"][1][place] == 0
        assert torch.equal(batch["visual_feats"][place][unmasked], targets["feat"][0][place][unmasked])
        assert np.array_equal(batch["visual_pos"][place].numpy(), (row["boxes"] / row["size"]).clip(0, 1))
        for task in ("obj", "attr"):
            for batched, stored in zip(targets[task], row[task], strict=True):
                assert np.array_equal(batched[place].numpy(), stored)
    assert (batch["visual_attention_mask"] == 1).all()
    listed = json.loads((shared_data / "answers" / "all_ans.json").read_text(encoding="utf-8"))
    given = {listed[number]["ans"] for number in batch["ans"].tolist() if number >= 0}
    assert given <= {"tennis racket", "racket", "2", "no"}
    assert data.answer_scores(1) == {[entry["ans"] for entry in listed].index("2"): pytest.approx(0.9)}


@pytest.mark.slow
def test_full_size_model_loss_falls_after_one_step_on_published_features(
    shared_data: Path, tmp_path: Path, rows: dict[str, dict[str, Any]]
) -> None:
    import_tsv(shared_data / "features" / "train2014_obj36.tsv", tmp_path / "s", dtype="float16")
    regions = open_regions(FeatureStore(tmp_path / "s"), list(rows), in_memory_bytes=0)
    data = pretraining_dataset(regions, shared_data)
    batch = PretrainingCollator(data)([data[draw] for draw in range(12)])
    torch.manual_seed(0)
    model = LxmertForPreTraining(LxmertConfig()).eval()
    # No momentum, so that the step needs no memory beside the gradients.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = model(**batch)
    assert before.losses is not None
    assert set(before.losses) == {"masked_lm", "matched", "obj", "attr", "feat", "qa"}
    assert all(loss.isfinite() for loss in before.losses.values())
    before.loss.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert without == []
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        assert model(**batch).loss < before.loss
