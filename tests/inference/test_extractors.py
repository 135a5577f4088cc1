import json

import pytest
import torch
from PIL import Image

from lxmert.errors import ConfigurationError, LxmertError, WeightsError
from lxmert.inference.extractors import extractor_spec, load_extractor
from lxmert.inference.models import embedded_model_folder
from lxmert.vision import (
    BackboneGrid,
    FasterRcnnExtractor,
    GivenBoxes,
    PooledPixels,
    RegularGrid,
    TransformersDetector,
    build_extractor,
)
from tests.local_server import LocalServer, serving
from tests.vision.faster_rcnn.random_detectors import random_detector
from tests.vision.small_backbones import small_vit
from tests.vision.small_detectors import save_detector


def test_folder_of_either_detector_kind_is_recognised(tmp_path):
    random_detector().save_pretrained(tmp_path / "ours")
    save_detector(tmp_path / "detr")
    assert isinstance(load_extractor(str(tmp_path / "ours")), FasterRcnnExtractor)
    assert isinstance(load_extractor(str(tmp_path / "detr")), TransformersDetector)


def test_model_folder_with_processor_gives_extractor_of_processor(tmp_path):
    extractor = GivenBoxes(PooledPixels(7))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lxmert"}))
    (tmp_path / "processor_config.json").write_text(json.dumps({"extractor": extractor.to_dict()}))
    assert load_extractor(str(tmp_path)).identity == extractor.identity
    for none in (None, "scenes"):  # A name alone is no description.
        (tmp_path / "processor_config.json").write_text(json.dumps({"extractor": none}))
        with pytest.raises(WeightsError, match="no extractor"):
            load_extractor(str(tmp_path))
    assert load_extractor(str(embedded_model_folder())).identity


def test_extractor_spec_is_read_from_json_or_yaml_file_or_text(tmp_path):
    extractor = RegularGrid(3, 2, PooledPixels(4))
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(extractor.to_dict()))
    assert load_extractor(str(path)).identity == extractor.identity
    assert load_extractor(path.read_text()).identity == extractor.identity
    path.write_text("kind: regular_grid\nrows: 3\ncolumns: 2\nencoder: {kind: pooled_pixels, size: 4}\n")
    assert load_extractor(str(path)).identity == extractor.identity


def test_embedded_and_published_detector_names_give_specs():
    assert extractor_spec("scenes") == {"kind": "faster_rcnn", "detector": "scenes"}
    for name in ("unc-nlp/lxmert-vqa-uncased", "unc-nlp/frcnn-vg-finetuned"):  # without asking the hub
        published = extractor_spec(name)
        assert (published["kind"], published["detector"]) == ("faster_rcnn", "unc-nlp/frcnn-vg-finetuned")
        assert published["max_objects"] == 36


@pytest.mark.parametrize("stray", [None, "{}", '{"model_type": "resnet"}', "no json"])
def test_published_layout_is_recognised_by_config_yaml_and_weights(tmp_path, stray):
    (tmp_path / "config.yaml").write_text("model: {}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    if stray is not None:
        (tmp_path / "config.json").write_text(stray)
    assert extractor_spec(str(tmp_path)) == {"kind": "faster_rcnn", "detector": str(tmp_path)}


def test_stray_config_yaml_beside_detr_is_ignored(tmp_path):
    save_detector(tmp_path)
    (tmp_path / "config.yaml").write_text("model: {}")
    assert extractor_spec(str(tmp_path)) == {"kind": "detr", "model": str(tmp_path)}


def test_hub_repository_of_published_layout_is_recognised_by_file_names(tmp_path, monkeypatch):
    files = tmp_path / "files"
    files.mkdir()
    for name in ("config.yaml", "pytorch_model.bin"):
        (files / name).write_bytes(b"model: {}")
    (files / "config.json").write_text("{}")
    with serving(LocalServer({"someone/detector": files})) as server:
        server.redirect_downloads(monkeypatch, tmp_path / "home")
        spec = extractor_spec("someone/detector")
    assert spec == {"kind": "faster_rcnn", "detector": "someone/detector"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "neither a detector nor a model with an extractor"),
        ({"config.json": "no json"}, "cannot read .*config.json'; expected a JSON object"),
        ({"config.json": "[]"}, "contains a list; expected a JSON object"),
        ({"config.json": '{"model_type": "lxmert"}'}, "no extractor"),
        ({"config.json": '{"model_type": "bert"}'}, "'bert', not an object detector"),
        ({"config.json": '{"model_type": "nothing"}'}, "no object detector can be loaded"),
        ({"processor_config.json": '{"extractor": {"kind": "magic"}}'}, "unknown kind of extractor"),
    ],
)
def test_folder_without_extractor_raises_one_line_error(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(LxmertError, match=message) as caught:
        load_extractor(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "no/such/folder", "./nothing", "word", "a b/c"])
def test_unknown_detector_name_raises_one_line_error(name):
    with pytest.raises(WeightsError, match="unknown detector") as caught:
        load_extractor(name)
    assert "\n" not in str(caught.value)


def test_invalid_extractor_file_is_named_in_error(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"broken\.json"):
        load_extractor(str(tmp_path / "broken.json"))


def test_load_extractor_puts_network_on_given_device(tmp_path):
    extractor = load_extractor(save_detector(tmp_path / "detr"), device="meta")
    assert next(extractor.model.parameters()).device == torch.device("meta")


def test_hub_detectors_and_backbones_load_offline_once_cached(tmp_path, monkeypatch):
    save_detector(tmp_path / "detector", "rt_detr")
    small_vit(width=8).save_pretrained(tmp_path / "backbone")
    repositories = {"someone/detector": tmp_path / "detector", "someone/backbone": tmp_path / "backbone"}
    picture = Image.new("RGB", (40, 30), (200, 40, 40))
    with serving(LocalServer(repositories)) as server:
        server.redirect_downloads(monkeypatch, tmp_path / "home")
        extractor = load_extractor("someone/detector", device="cpu")
        grid = BackboneGrid("someone/backbone")
        with pytest.raises(WeightsError, match="someone/else") as caught:
            load_extractor("someone/else")
        assert "\n" not in str(caught.value)
    assert extractor.to_dict()["model"] == "someone/detector"
    assert grid.to_dict()["model"] == "someone/backbone"
    # The server is gone: what was fetched is enough.
    for made in (extractor, grid):
        again = build_extractor(json.loads(json.dumps(made.to_dict())))
        assert again.identity == made.identity
        assert again([picture])[0].equals(made([picture])[0])
    with pytest.raises(WeightsError, match="someone/new") as caught:
        BackboneGrid("someone/new")
    assert "\n" not in str(caught.value)
