import csv
import json
import logging
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from lxmert.errors import WeightsError
from lxmert.vision.faster_rcnn import FasterRcnn, FasterRcnnConfig

ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
COUNTER = "num_batches_tracked"


@pytest.fixture
def golden_folder(shared_specs) -> Path:
    return shared_specs / "faster_rcnn" / "small"


@pytest.fixture
def published(golden_folder, tmp_path) -> Path:
    """The small golden model in the published layout."""
    values = json.loads((golden_folder / "config.json").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    torch.save(load_file(golden_folder / "state_dict.safetensors"), tmp_path / "pytorch_model.bin")
    return tmp_path


def change_weights(folder: Path, **changes) -> None:
    path = folder / "pytorch_model.bin"
    tensors = torch.load(path, weights_only=True)
    for name, value in changes.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    torch.save(tensors, path)


def test_full_configuration_has_exactly_the_published_tensors(shared_specs) -> None:
    with open(shared_specs / "faster_rcnn" / "state_dict_keys.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    expected = {row["key"]: "x".join(row["shape"].split("x")) for row in rows}
    with torch.device("meta"):
        state = FasterRcnn(FasterRcnnConfig()).state_dict()
    found = {name: "x".join(map(str, tensor.shape)) or "scalar" for name, tensor in state.items()}
    assert len(found) == 640
    assert found == expected


def test_published_layout_loads(published, golden_folder) -> None:
    model = FasterRcnn.from_pretrained(published)
    assert not model.training
    state = model.state_dict()
    for name, tensor in load_file(golden_folder / "state_dict.safetensors").items():
        assert name.endswith(COUNTER) or torch.equal(state[name], tensor), name


@pytest.mark.parametrize("stray", ["{}", '{"model_type": "lxmert_faster_rcnn"}', "no json"])
def test_config_json_in_published_layout_is_ignored(published, stray) -> None:
    expected = FasterRcnn.from_pretrained(published)
    (published / "config.json").write_text(stray)
    found = FasterRcnn.from_pretrained(published)
    assert found.config.to_dict() == expected.config.to_dict()
    assert torch.equal(found.state_dict()[ANCHORS], expected.state_dict()[ANCHORS])


def test_config_yaml_in_own_layout_is_ignored(published, tmp_path) -> None:
    model = FasterRcnn.from_pretrained(published)
    model.save_pretrained(tmp_path / "own")
    (tmp_path / "own" / "config.yaml").write_text("model: {no: sense}")
    assert FasterRcnn.from_pretrained(tmp_path / "own").config.stage_blocks == model.config.stage_blocks


def test_published_layout_with_safetensors_weights_loads(published, golden_folder) -> None:
    expected = FasterRcnn.from_pretrained(published)
    (published / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsError, match="no detector here"):
        FasterRcnn.from_pretrained(published)
    (published / "model.safetensors").write_bytes((golden_folder / "state_dict.safetensors").read_bytes())
    found = FasterRcnn.from_pretrained(published)
    assert found.config.to_dict() == expected.config.to_dict()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def test_own_layout_round_trips_config_and_weights(published, tmp_path) -> None:
    model = FasterRcnn.from_pretrained(published)
    model.save_pretrained(tmp_path / "own")
    again = FasterRcnn.from_pretrained(tmp_path / "own")
    for name in ("stage_blocks", "anchor_sizes_px", "max_proposals", "num_attr_labels", "min_size_px"):
        assert getattr(again.config, name) == getattr(model.config, name) != getattr(FasterRcnnConfig(), name)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


@pytest.mark.parametrize("shape", [None, (1,)])
def test_batch_norm_counters_may_be_missing_or_one_dimensional(published, shape) -> None:
    state = torch.load(published / "pytorch_model.bin", weights_only=True)
    counters = [name for name in state if name.endswith(COUNTER)]
    assert counters
    change_weights(
        published, **{n: None if shape is None else torch.zeros(shape, dtype=torch.int64) for n in counters}
    )
    model = FasterRcnn.from_pretrained(published)
    assert all(model.state_dict()[name].shape == () for name in counters)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (ANCHORS, None, "1 missing .*cell_anchors"),
        ("roi_heads.box_predictor.cls_score.bias", None, "1 missing .*cls_score.bias"),
        ("backbone.stem.extra", torch.zeros(2), "1 unused .*stem.extra"),
        ("roi_heads.box_predictor.attr_score.bias", torch.zeros(7), "checkpoint 7, model 13"),
    ],
)
def test_published_layout_rejects_missing_unused_or_misshapen_weights(
    published, name, value, message
) -> None:
    change_weights(published, **{name: value})
    with pytest.raises(WeightsError, match=message):
        FasterRcnn.from_pretrained(published)


def test_stored_anchors_win_over_the_configuration_with_a_warning(published, caplog) -> None:
    anchors = torch.load(published / "pytorch_model.bin", weights_only=True)[ANCHORS] + 0.5
    change_weights(published, **{ANCHORS: anchors})
    logger = logging.getLogger("lxmert.vision.faster_rcnn.loading")
    logger.addHandler(caplog.handler)
    try:
        model = FasterRcnn.from_pretrained(published)
    finally:
        logger.removeHandler(caplog.handler)
    assert "stored anchors" in caplog.text
    assert torch.equal(model.state_dict()[ANCHORS], anchors)


@pytest.mark.parametrize("fault", ["missing", "extra", "reshaped"])
def test_own_layout_rejects_missing_unused_or_misshapen_weights(published, tmp_path, fault) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "own"
    FasterRcnn.from_pretrained(published).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    bias = "roi_heads.box_predictor.cls_score.bias"
    if fault == "missing":
        del tensors[bias]
    elif fault == "extra":
        tensors["backbone.extra"] = torch.zeros(1)
    else:
        tensors[bias] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"missing|left over|another shape"):
        FasterRcnn.from_pretrained(folder)


def test_folder_without_detector_is_rejected(tmp_path) -> None:
    with pytest.raises(WeightsError, match="no detector here"):
        FasterRcnn.from_pretrained(tmp_path)


def test_folder_of_other_model_type_is_rejected_naming_the_type(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "lxmert"}')
    with pytest.raises(WeightsError, match="a model of type 'lxmert', not a Faster R-CNN"):
        FasterRcnn.from_pretrained(tmp_path)


def test_pickled_objects_are_rejected(published) -> None:
    torch.save({"weights": Path("x")}, published / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="Python objects"):
        FasterRcnn.from_pretrained(published)
