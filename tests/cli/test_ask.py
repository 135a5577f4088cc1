"""`lxmert ask` and `lxmert demo`: answers for good input, one clear line and exit status 1 for bad input."""

import json
import struct
import zlib
from pathlib import Path

import pytest
import safetensors.torch
from PIL import Image

from lxmert.cli.main import main
from lxmert.inference.boxes_file import write_boxes
from lxmert.inference.models import embedded_model_folder
from lxmert.scenes import sample


class CommandLine:
    """Runs `lxmert` in this process and keeps what it printed."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.capture = capture

    def run(self, *words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = self.capture.readouterr()
        return int(ended.value.code or 0), out, err

    def error(self, *words: object) -> str:
        """The one line a failing command prints."""
        status, out, err = self.run(*words)
        assert status == 1, err
        assert out == ""
        assert err.startswith("lxmert: error: ")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        return err


@pytest.fixture
def lxmert(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def picture(tmp_path: Path) -> tuple[Path, Path]:
    """A made-up picture and the file of its objects' boxes."""
    image, scene, _ = sample(5, 0, questions=1)
    image.save(tmp_path / "scene.png")
    write_boxes(tmp_path / "scene.boxes.json", scene.boxes_xyxy_px())
    return tmp_path / "scene.png", tmp_path / "scene.boxes.json"


QUESTION = "how many objects are there?"


def test_ask_prints_the_answers_with_probabilities(lxmert: CommandLine, picture: tuple[Path, Path]) -> None:
    image, boxes = picture
    status, out, _ = lxmert.run("ask", image, QUESTION, "--boxes", boxes, "--top-k", "3")
    assert status == 0
    assert len(out.splitlines()) == 3
    assert all(line.endswith("%)") for line in out.splitlines())


def test_ask_prints_json(lxmert: CommandLine, picture: tuple[Path, Path]) -> None:
    image, boxes = picture
    status, out, _ = lxmert.run("ask", image, QUESTION, "--boxes", boxes, "--top-k", "2", "--json")
    assert status == 0
    told = json.loads(out)
    assert told["question"] == QUESTION
    assert len(told["answers"]) == 2
    assert told["answers"][0]["probability"] >= told["answers"][1]["probability"]


def test_boxes_are_asked_for_when_the_model_needs_them(
    lxmert: CommandLine, picture: tuple[Path, Path]
) -> None:
    assert "boxes" in lxmert.error("ask", picture[0], QUESTION)


def _write_bomb(path: Path) -> None:
    """A PNG whose header announces 60,000 × 60,000 pixels in 100 bytes of data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 50)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("kind", ["text", "truncated", "bomb", "empty", "missing", "folder"])
def test_what_is_not_an_image_is_one_line(
    lxmert: CommandLine, picture: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    image = tmp_path / "bad.png"
    if kind == "text":
        image.write_text("not an image")
    elif kind == "truncated":
        image.write_bytes(picture[0].read_bytes()[:400])
    elif kind == "bomb":
        _write_bomb(image)
    elif kind == "empty":
        image.write_bytes(b"")
    elif kind == "folder":
        image.mkdir()
    assert "bad.png" in lxmert.error("ask", image, QUESTION, "--boxes", picture[1])


@pytest.mark.parametrize("question", ["", "   ", "😀🎉"])
def test_a_question_without_words_is_one_line(
    lxmert: CommandLine, picture: tuple[Path, Path], question: str
) -> None:
    lxmert.error("ask", picture[0], question, "--boxes", picture[1])


@pytest.mark.parametrize(
    "row", [[-50, 0, 20, 20], [0, 0, 20_000, 20], [30, 10, 20, 40], [0, 0, float("nan"), 9]]
)
def test_boxes_that_do_not_fit_are_one_line(
    lxmert: CommandLine, picture: tuple[Path, Path], tmp_path: Path, row: list[float]
) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps([[1, 1, 30, 30], row]))
    assert "1" in lxmert.error("ask", picture[0], QUESTION, "--boxes", tmp_path / "boxes.json")


def test_an_unknown_model_folder_is_one_line(lxmert: CommandLine, picture: tuple[Path, Path]) -> None:
    message = lxmert.error("ask", picture[0], QUESTION, "--boxes", picture[1], "--model", "./no/such/folder")
    assert "no/such/folder" in message


def test_partial_weights_are_refused(lxmert: CommandLine, picture: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in embedded_model_folder().iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "x_layers.0" not in name}
    assert len(kept) < len(weights)
    safetensors.torch.save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    message = lxmert.error("ask", picture[0], QUESTION, "--boxes", picture[1], "--model", folder)
    assert "x_layers.0" in message


def test_an_address_is_told_from_a_file(lxmert: CommandLine, picture: tuple[Path, Path]) -> None:
    assert "http://" in lxmert.error("ask", "http://example.org/x.png", QUESTION, "--boxes", picture[1])


def test_the_help_shows_the_form_of_boxes(lxmert: CommandLine) -> None:
    assert "[x1, y1, x2, y2]" in " ".join(lxmert.run("ask", "--help")[1].split())


def test_what_was_not_foreseen_is_one_line_too(
    lxmert: CommandLine, picture: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr("lxmert.inference.boxes_file.read_boxes", broken)
    message = lxmert.error("ask", picture[0], QUESTION, "--boxes", picture[1])
    assert "KeyError" in message
    assert "--debug" in message


def test_debug_shows_the_traceback(picture: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="question"):
        main(["ask", str(picture[0]), "", "--boxes", str(picture[1]), "--debug"])


def test_demo_prints_a_summary_and_writes_the_pictures(lxmert: CommandLine, tmp_path: Path) -> None:
    status, out, _ = lxmert.run(
        "demo", "--scenes", 2, "--questions", 3, "--seed", 3, "--output", tmp_path / "d"
    )
    assert status == 0
    assert "of 6 right. Seed 3" in " ".join(out.split())
    names = {path.name for path in (tmp_path / "d").iterdir()}
    assert names == {
        f"scene-3-{index}{end}" for index in (0, 1) for end in (".png", ".boxes.json", ".answered.png")
    }
    with Image.open(tmp_path / "d" / "scene-3-0.answered.png") as drawn:
        drawn.load()


def test_the_command_demo_suggests_works(lxmert: CommandLine, tmp_path: Path) -> None:
    lxmert.run("demo", "--scenes", 1, "--questions", 1, "--seed", 4, "--output", tmp_path)
    image, boxes = tmp_path / "scene-4-0.png", tmp_path / "scene-4-0.boxes.json"
    assert lxmert.run("ask", image, QUESTION, "--boxes", boxes)[0] == 0


@pytest.mark.parametrize(
    "verb", [[], ["demo"], ["ask"], ["eval"], ["finetune"], ["convert"], ["scenes", "make"]]
)
def test_every_verb_has_help(lxmert: CommandLine, verb: list[str]) -> None:
    status, out, _ = lxmert.run(*verb, "--help")
    assert status == 0
    assert "Usage: lxmert" in out
