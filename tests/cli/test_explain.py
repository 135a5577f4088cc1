"""`lxmert explain`: tables and a drawing for good input, one clear line for bad input."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from lxmert.explain import Explanation
from lxmert.scenes import sample
from tests.command_line import CommandLine
from tests.small_checkpoints import write_small_published_model


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    sample(5, 0, questions=1)[0].save("scene.png")


QUESTION = "How many triangles are not red?"


def test_explain_prints_words_and_objects_and_draws(lxmert: CommandLine) -> None:
    status, out, err = lxmert.run("explain", "scene.png", QUESTION)
    assert (status, err) == (0, "")
    answer, *rows, last = out.splitlines()
    _, asked, _ = lxmert.run("ask", "scene.png", QUESTION)
    assert answer == asked.strip()
    heading = next(row for row, text in enumerate(rows) if text.startswith("object"))
    words, objects = rows[1:heading], rows[heading + 1 :]
    assert [row.split()[0] for row in words] == ["how", "many", "triangles", "are", "not", "red", "?"]
    weights = [float(row.replace("█", "").split()[-1]) for row in objects]
    assert len(weights) == 6
    assert weights == sorted(weights, reverse=True)
    assert all(row.split()[0] in {"small", "large"} for row in objects)
    assert max(row.count("█") for row in objects) == max(row.count("█") for row in words) == 20
    assert last == "method: relevance; drawing: scene.explained.png"
    with Image.open("scene.explained.png") as drawn:
        assert drawn.mode == "RGB"
        assert min(drawn.size) > 400


def test_json_lists_word_and_object_weights_without_drawing(lxmert: CommandLine) -> None:
    status, out, _ = lxmert.run(
        "explain", "scene.png", QUESTION, "--method", "removal", "--answer", "1", "--json"
    )
    assert status == 0
    data = json.loads(out)
    assert (data["method"], data["answer"]["answer"], data["drawing"]) == ("removal", "1", None)
    assert [one["word"] for one in data["words"]][:2] == ["how", "many"]
    assert all({"box", "name", "weight"} <= one.keys() for one in data["objects"])
    assert not Path("scene.explained.png").exists()


def test_output_option_sets_path_and_format_of_drawing(lxmert: CommandLine) -> None:
    status, out, _ = lxmert.run("explain", "scene.png", QUESTION, "-o", "new/why.jpg", "--json")
    assert status == 0
    assert json.loads(out)["drawing"] == str(Path("new/why.jpg"))
    with Image.open("new/why.jpg") as drawn:
        assert drawn.format == "JPEG"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "scene.png"], "is the picture itself"),
        (["-o", "folder.png"], "folder.png cannot be written: it is a folder; choose another file with"),
        (["-o", "scene.png/why.png"], "scene.png is not a folder that you may write to"),
        (["-o", "why.txt"], "pictures cannot be saved with the extension '.txt'"),
        (["-o", "why.h5"], "pictures cannot be saved with the extension '.h5'"),
        (["--answer", "chartreuse"], "'chartreuse' is not one of the"),
    ],
)
def test_invalid_options_print_one_error_line(lxmert: CommandLine, options: list[str], message: str) -> None:
    Path("folder.png").mkdir()
    status, out, err = lxmert.run("explain", "scene.png", QUESTION, *options)
    assert (status, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_unnamed_objects_have_same_numbers_in_table_and_drawing(
    lxmert: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_published_model(tmp_path / "given_boxes", answers=2, features=48)
    extractor = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 4}}
    (tmp_path / "given_boxes" / "processor_config.json").write_text(json.dumps({"extractor": extractor}))
    (tmp_path / "given_boxes" / "answers.json").write_text('["no", "yes"]')
    (tmp_path / "boxes.json").write_text("[[1, 2, 30, 40], [20, 5, 60, 50], [9, 9, 19, 19]]")
    drawn: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        Explanation, "draw", lambda *given: drawn.append(given[2]) or Image.new("RGB", (9, 9))
    )
    status, out, err = lxmert.run(
        "explain", "scene.png", QUESTION, "--model", "given_boxes", "--boxes", "boxes.json"
    )
    assert status == 0, err
    assert drawn == [("object 1", "object 2", "object 3")]
    assert sorted(re.findall(r"^object \d", out, re.MULTILINE)) == list(drawn[0])


def test_unknown_method_exits_with_usage_error(lxmert: CommandLine) -> None:
    status, _, err = lxmert.run("explain", "scene.png", QUESTION, "--method", "magic")
    assert status == 2
    assert "relevance" in err


@pytest.mark.parametrize("verb", [["explain", "scene.png", QUESTION], ["look", "scene.png"]])
def test_failed_drawing_leaves_the_tables_and_the_old_file(
    verb: list[str], lxmert: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("old.jpg").write_bytes(b"precious")
    # Wider than a JPEG file may be.
    for drawn in ("explain.Explanation", "inference.object_detection.DetectionResult"):
        monkeypatch.setattr(f"lxmert.{drawn}.draw", lambda *given: Image.new("RGB", (70_000, 1)))
    status, out, err = lxmert.run(*verb, "-o", "old.jpg")
    assert status == 1
    assert "old.jpg: the drawing cannot be written" in err
    assert "large" in out
    assert "drawing:" not in out
    assert Path("old.jpg").read_bytes() == b"precious"
    assert {path.name for path in Path().iterdir()} == {"old.jpg", "scene.png"}
