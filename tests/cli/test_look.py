"""`lxmert look`: a table and a drawing for good input, one clear line and exit status 1 for bad input."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lxmert.inference.boxes_file import write_boxes
from lxmert.scenes import sample
from lxmert.vision import PooledPixels, RegularGrid
from tests.command_line import CommandLine
from tests.vision.faster_rcnn.random_detectors import random_detector
from tests.vision.small_detectors import QUERIES, save_detector

EMBEDDED = Path(str(files("lxmert") / "assets" / "scenes_detector"))


@pytest.fixture(autouse=True)
def _in_tmp_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A made-up picture in a folder of its own."""
    image, scene, _ = sample(5, 0, questions=1)
    folder = tmp_path / "pictures"
    folder.mkdir()
    image.save(folder / "scene.png")
    write_boxes(folder / "scene.boxes.json", scene.boxes_xyxy_px())
    return folder / "scene.png"


@pytest.fixture(scope="module")
def detr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(save_detector(tmp_path_factory.mktemp("detectors") / "detr", "yolos"))


@pytest.fixture(scope="module")
def faster_rcnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detectors") / "ours"
    detector = random_detector()
    config = detector.config
    config.object_names = [f"thing{index}" for index in range(config.num_object_labels)]
    config.attribute_names = [f"kind{index}" for index in range(config.num_attr_labels)]
    detector.save_pretrained(folder)
    return folder


def test_look_prints_a_table_and_draws(lxmert: CommandLine, picture: Path, detr: Path) -> None:
    status, out, _ = lxmert.run("look", picture, "--detector", detr, "--top", 4)
    assert status == 0
    heading, *rows, last = out.splitlines()
    assert heading.split() == ["object", "score", "x1", "y1", "x2", "y2"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"]
    assert all(row.split()[1] in {"cat", "dog", "cup", "sky", "car"} for row in rows)
    scores = [int(row.split()[2].removesuffix("%")) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert last.startswith("4 objects found by detr-detr-36-")
    assert last.endswith("drawing: scene.objects.png")
    with Image.open("scene.objects.png") as drawn:
        assert drawn.mode == "RGB"
        assert min(drawn.size) > 100


def test_json_lists_objects_and_draws_only_with_output_option(
    lxmert: CommandLine, picture: Path, detr: Path
) -> None:
    status, out, _ = lxmert.run("look", picture, "--detector", detr, "--json")
    assert status == 0
    data = json.loads(out)
    assert (data["image"], data["detector"], data["drawing"]) == (str(picture), str(detr), None)
    assert len(data["objects"]) == QUERIES
    with Image.open(picture) as image:
        assert data["size"] == {"width": image.width, "height": image.height}
        for seen in data["objects"]:
            x1, y1, x2, y2 = seen["box"]
            assert 0 <= x1 < x2 <= image.width
            assert 0 <= y1 < y2 <= image.height
    assert not Path("scene.objects.png").exists()
    min_score = data["objects"][4]["score"]
    _, out, _ = lxmert.run(
        "look",
        picture,
        "--detector",
        detr,
        "--json",
        "--min-score",
        min_score - 1e-4,
        "-o",
        "new/folder/seen.jpg",
    )
    assert json.loads(out)["objects"] == data["objects"][:5]
    assert json.loads(out)["drawing"] == "new/folder/seen.jpg"
    with Image.open("new/folder/seen.jpg") as drawn:
        assert drawn.format == "JPEG"


def test_faster_rcnn_json_has_attributes(lxmert: CommandLine, picture: Path, faster_rcnn: Path) -> None:
    _, out, _ = lxmert.run("look", picture, "--detector", faster_rcnn, "--json", "--top", 3)
    found = json.loads(out)["objects"]
    assert len(found) == 3
    assert all(seen["name"].startswith("thing") and seen["attribute"].startswith("kind") for seen in found)
    assert all(0 <= seen["attribute_score"] <= 1 for seen in found)


def test_given_boxes_are_described_in_their_order(
    lxmert: CommandLine, picture: Path, faster_rcnn: Path
) -> None:
    boxes = picture.with_suffix(".boxes.json")
    _, out, _ = lxmert.run("look", picture, "--model", faster_rcnn, "--json", "--boxes", boxes)
    wanted = json.loads(boxes.read_text())["boxes"]
    assert np.allclose([seen["box"] for seen in json.loads(out)["objects"]], wanted, atol=0.02)


def test_grid_table_has_only_box_columns(lxmert: CommandLine, picture: Path) -> None:
    Path("grid.json").write_text(json.dumps(RegularGrid(2, 2, PooledPixels(2)).to_dict()))
    status, out, _ = lxmert.run("look", picture, "--detector", "grid.json", "-o", "grid.png")
    assert status == 0
    assert out.splitlines()[0].split() == ["x1", "y1", "x2", "y2"]
    assert "4 objects found by regular-grid-2x2" in out


def test_missing_image_is_reported_before_loading_models(
    lxmert: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lxmert.vision.build.build_extractor", lambda spec: pytest.fail("built one"))
    monkeypatch.setattr(
        "lxmert.inference.predictor.LxmertPredictor.from_pretrained", lambda name: pytest.fail("loaded one")
    )
    assert "misspelt.png: no such image" in lxmert.error("look", "misspelt.png")
    assert "misspelt.png: no such image" in lxmert.error("ask", "misspelt.png", "what is red?")


def test_look_says_when_no_objects_are_found(lxmert: CommandLine, picture: Path, detr: Path) -> None:
    status, out, _ = lxmert.run("look", picture, "--detector", detr, "--min-score", 1.0)
    assert status == 0
    assert out.startswith("No objects found by detr-detr-36-")


def test_output_equal_to_input_image_is_rejected(lxmert: CommandLine, picture: Path, detr: Path) -> None:
    before = picture.read_bytes()
    assert "is the picture itself" in lxmert.error("look", picture, "--detector", detr, "-o", picture)
    assert picture.read_bytes() == before


def test_output_equal_to_input_image_with_tilde_is_rejected(
    lxmert: CommandLine, picture: Path, detr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(picture.parent))
    words = ("look", "~/scene.png", "--detector", detr, "-o", picture)
    assert "is the picture itself" in lxmert.error(*words)


def test_unsupported_output_extensions_are_rejected_before_detection(
    lxmert: CommandLine, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lxmert.vision.build.build_extractor", lambda spec: pytest.fail("built one"))
    for ending in (".psd", ".PSD", ".cur", ".fli"):
        message = lxmert.error("look", picture, "-o", f"drawing{ending}")
        assert f"pictures cannot be saved with the extension {ending!r}; use .png or .jpg" in message


def test_invalid_input_prints_one_error_line(lxmert: CommandLine, picture: Path, detr: Path) -> None:
    Path("broken.png").write_bytes(picture.read_bytes()[:300])
    Path("empty.json").write_text("[]")
    for words, expected in (
        (("missing.png",), "missing.png"),
        (("broken.png", "--detector", detr), "truncated"),
        ((picture, "-o", "drawing.docx"), ".docx"),
        ((picture, "-o", "drawing"), "use .png"),
        ((picture, "--boxes", "empty.json"), "empty.json"),
        ((picture, "--detector", detr, "--boxes", picture.with_suffix(".boxes.json")), "finds its own boxes"),
        ((picture, "--detector", "no/such/folder"), "no/such/folder"),
        ((picture, "--detector", picture.parent), "neither a detector nor a model"),
        ((picture, "--detector", "empty.json"), "empty.json: expected a mapping such as"),
        ((picture, "--boxes", "absent.json"), "absent.json: the boxes cannot be read"),
        ((picture, "--detector", detr, "-o", "empty.json/a.png"), "a.png cannot be written: "),
    ):
        assert expected in lxmert.error("look", *words)
    assert not list(Path().glob("*.objects.png"))


@pytest.mark.skipif(not EMBEDDED.is_dir(), reason="the embedded detector is not there")
def test_embedded_detector_is_default(lxmert: CommandLine, picture: Path) -> None:
    _, out, _ = lxmert.run("look", picture, "--json")
    data = json.loads(out)
    assert data["detector"] == "scenes"
    assert all(seen["name"] for seen in data["objects"])
