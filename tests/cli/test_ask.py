"""`lxmert ask` and `lxmert demo`: answers for good input, one clear line and exit status 1 for bad input."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import safetensors.torch
from PIL import Image

from lxmert.cli.demo import quote_command
from lxmert.cli.main import main
from lxmert.inference import models as model_names
from lxmert.inference.boxes_file import write_boxes
from lxmert.inference.models import embedded_model_folder
from lxmert.inference.predictor import LxmertPredictor
from lxmert.scenes import sample
from tests.command_line import CommandLine
from tests.local_server import LocalServer, serving
from tests.small_checkpoints import write_small_model_with_detector, write_small_published_model
from tests.synthetic_images import png_header_only


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
    data = json.loads(out)
    assert data["question"] == QUESTION
    assert len(data["answers"]) == 2
    assert data["answers"][0]["probability"] >= data["answers"][1]["probability"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small model folders: one that needs given boxes, one that detects objects, one that detects none."""
    folder = tmp_path_factory.mktemp("models")
    write_small_published_model(folder / "given_boxes", answers=36, features=48)
    (folder / "given_boxes" / "answers.json").write_bytes(
        (embedded_model_folder() / "answers.json").read_bytes()
    )
    extractor = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 4}}
    (folder / "given_boxes" / "processor_config.json").write_text(json.dumps({"extractor": extractor}))
    write_small_model_with_detector(folder / "detecting")
    write_small_model_with_detector(folder / "no_objects", min_objects=0, score_threshold=1.0)
    return {name: folder / name for name in ("given_boxes", "detecting", "no_objects")}


def test_missing_boxes_raise_error_when_model_needs_them(
    lxmert: CommandLine, picture: tuple[Path, Path], models: dict[str, Path]
) -> None:
    assert "--boxes" in lxmert.error("ask", picture[0], QUESTION, "--model", models["given_boxes"])
    assert (
        lxmert.run("ask", picture[0], QUESTION, "--model", models["given_boxes"], "--boxes", picture[1])[0]
        == 0
    )


def test_model_with_detector_needs_no_boxes(
    lxmert: CommandLine, picture: tuple[Path, Path], models: dict[str, Path]
) -> None:
    status, out, err = lxmert.run("ask", picture[0], QUESTION, "--model", models["detecting"])
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 1
    assert out.endswith("%)\n")


def test_json_lists_detected_objects(
    lxmert: CommandLine, picture: tuple[Path, Path], models: dict[str, Path]
) -> None:
    status, out, _ = lxmert.run("ask", picture[0], QUESTION, "--model", models["detecting"], "--json")
    assert status == 0
    data = json.loads(out)
    assert data["extractor"].startswith("faster-rcnn-")
    assert len(data["objects"]) == 10
    regions = LxmertPredictor.from_pretrained(models["detecting"], device="cpu").regions(picture[0])
    shapes = ["circle", "square", "triangle", "star", "heart", "cross", "ring"]
    for row, one in enumerate(data["objects"]):
        assert set(one) == {"box", "name", "score", "attribute", "attribute_score"}
        assert one["box"] == pytest.approx(regions.boxes_xyxy_px[row].tolist(), abs=0.01)
        assert one["name"] == shapes[int(regions.object_ids[row])]
        assert one["score"] == pytest.approx(float(regions.object_scores[row]), abs=1e-4)


def test_given_boxes_are_kept_and_described(
    lxmert: CommandLine, picture: tuple[Path, Path], models: dict[str, Path]
) -> None:
    words = ["ask", picture[0], QUESTION, "--boxes", picture[1], "--json", "--model"]
    boxes = json.loads(picture[1].read_text())["boxes"]
    for model in ("detecting", "given_boxes"):
        objects = json.loads(lxmert.run(*words, models[model])[1])["objects"]
        assert [one["box"] for one in objects] == [pytest.approx(box, abs=0.01) for box in boxes]
        assert all((one["name"] is None) == (model == "given_boxes") for one in objects)


def test_note_is_printed_when_no_objects_are_found(
    lxmert: CommandLine, picture: tuple[Path, Path], models: dict[str, Path]
) -> None:
    status, out, err = lxmert.run("ask", picture[0], QUESTION, "--model", models["no_objects"], "--json")
    assert status == 0
    assert json.loads(out)["objects"] == []
    assert err == f"no objects found in {picture[0]}: the answer is based on the question alone\n"


def test_detector_and_answers_options_replace_those_of_model(
    lxmert: CommandLine,
    picture: tuple[Path, Path],
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_small_published_model(tmp_path / "bare", answers=2)
    (tmp_path / "two.json").write_text('["", "no"]')
    words = ["ask", picture[0], QUESTION, "--top-k", 2, "--model", tmp_path / "bare"]
    words += ["--detector", models["detecting"] / "detector"]
    status, out, err = lxmert.run(*words, "--answers", tmp_path / "two.json")
    assert (status, err) == (0, "")
    assert sorted(line.partition("  (")[0] for line in out.splitlines()) == ["''", "no"]
    assert "--answers FILE" in lxmert.error(*words)
    # Noticed before the picture is searched for objects, which takes longest.
    monkeypatch.setattr(LxmertPredictor, "regions", lambda *given: pytest.fail("looked at the picture"))
    assert "--answers FILE" in lxmert.error(*words)
    assert "two.jsn" in lxmert.error(*words, "--answers", tmp_path / "two.jsn")


def test_detector_that_the_model_was_not_trained_with_is_noted(
    lxmert: CommandLine, picture: tuple[Path, Path], models: dict[str, Path], tmp_path: Path
) -> None:
    words = ["ask", picture[0], QUESTION, "--model", models["detecting"], "--detector"]
    status, out, err = lxmert.run(*words, models["detecting"] / "detector")
    assert (status, err) == (0, "")
    other = {"kind": "faster_rcnn", "detector": str(models["detecting"] / "detector"), "max_objects": 3}
    (tmp_path / "other.json").write_text(json.dumps(other))
    status, out, err = lxmert.run(*words, tmp_path / "other.json")
    assert (status, out.count("\n")) == (0, 1)
    assert err.startswith("note: the model was trained on objects of faster-rcnn-")
    assert err.count("\n") == 1


def test_model_is_looked_up_once_also_with_another_detector(
    lxmert: CommandLine,
    picture: tuple[Path, Path],
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each time the hub may be asked."""
    check, found = model_names.check_config, []
    monkeypatch.setattr(model_names, "check_config", lambda folder: found.append(folder) or check(folder))
    words = ["ask", picture[0], QUESTION, "--model", models["detecting"], "--detector"]
    assert lxmert.run(*words, models["detecting"] / "detector")[0] == 0
    assert found == [models["detecting"]]


def test_image_can_be_url(lxmert: CommandLine, picture: tuple[Path, Path], models: dict[str, Path]) -> None:
    with serving(LocalServer(raw_files={"scene.png": picture[0].read_bytes()})) as server:
        address = f"{server.url}/raw/scene.png"
        status, out, _ = lxmert.run("ask", address, QUESTION, "--model", models["detecting"])
    assert status == 0
    assert out == lxmert.run("ask", picture[0], QUESTION, "--model", models["detecting"])[1]
    assert address in lxmert.error("ask", address, QUESTION, "--model", models["detecting"])


@pytest.mark.parametrize("kind", ["text", "truncated", "bomb", "empty", "missing", "folder"])
def test_invalid_image_prints_one_error_line(
    lxmert: CommandLine, picture: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    image = tmp_path / "bad.png"
    if kind == "text":
        image.write_text("not an image")
    elif kind == "truncated":
        image.write_bytes(picture[0].read_bytes()[:400])
    elif kind == "bomb":
        image.write_bytes(png_header_only(60_000, 60_000))
    elif kind == "empty":
        image.write_bytes(b"")
    elif kind == "folder":
        image.mkdir()
    assert "bad.png" in lxmert.error("ask", image, QUESTION, "--boxes", picture[1])


@pytest.mark.parametrize("question", ["", "   ", "😀🎉"])
def test_question_without_words_prints_one_error_line(
    lxmert: CommandLine, picture: tuple[Path, Path], question: str
) -> None:
    lxmert.error("ask", picture[0], question, "--boxes", picture[1])


@pytest.mark.parametrize(
    "row", [[-50, 0, 20, 20], [0, 0, 20_000, 20], [30, 10, 20, 40], [0, 0, float("nan"), 9]]
)
def test_invalid_boxes_print_one_error_line(
    lxmert: CommandLine, picture: tuple[Path, Path], tmp_path: Path, row: list[float]
) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps([[1, 1, 30, 30], row]))
    assert "box 1 is (" in lxmert.error("ask", picture[0], QUESTION, "--boxes", tmp_path / "boxes.json")


def test_unknown_model_folder_prints_one_error_line(lxmert: CommandLine, picture: tuple[Path, Path]) -> None:
    message = lxmert.error("ask", picture[0], QUESTION, "--boxes", picture[1], "--model", "./no/such/folder")
    assert "no/such/folder" in message


def test_partial_weights_are_rejected(
    lxmert: CommandLine, picture: tuple[Path, Path], tmp_path: Path
) -> None:
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


def test_help_shows_format_of_boxes(lxmert: CommandLine) -> None:
    assert "[x1, y1, x2, y2]" in " ".join(lxmert.run("ask", "--help")[1].split())


def test_unexpected_exception_prints_one_error_line(
    lxmert: CommandLine, picture: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr("lxmert.inference.boxes_file.read_boxes", broken)
    message = lxmert.error("ask", picture[0], QUESTION, "--boxes", picture[1])
    assert "KeyError" in message
    assert "--debug" in message


def test_debug_raises_the_error_with_its_traceback(picture: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="question"):
        main(["ask", str(picture[0]), "", "--boxes", str(picture[1]), "--debug"])


def set_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Standard input that is no terminal."""
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(content), encoding="utf-8"))


@pytest.mark.parametrize("as_json", [False, True])
def test_questions_are_read_from_stdin_without_question_argument(
    lxmert: CommandLine, picture: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    image, boxes = picture
    other = "is there a circle?"
    options = ["--boxes", boxes] + ["--json"] * as_json
    alone = [lxmert.run("ask", image, question, *options)[1] for question in (QUESTION, other)]
    set_stdin(monkeypatch, f"\ufeff{QUESTION}\r\n\n  {other}".encode())
    status, out, err = lxmert.run("ask", image, *options)
    assert (status, err) == (0, "")
    assert out == ("".join(alone) if as_json else f"{QUESTION}\n{alone[0]}{other}\n{alone[1]}")


@pytest.mark.parametrize(
    ("last", "wrong"),
    [("😀🎉".encode(), "no word that the model knows"), (b"wh\xe9re?", "not valid Unicode")],
)
def test_invalid_stdin_line_is_named_after_earlier_answers(
    lxmert: CommandLine,
    picture: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    last: bytes,
    wrong: str,
) -> None:
    set_stdin(monkeypatch, QUESTION.encode() + b"\n\n" + last + b"\nis there a circle?\n")
    status, out, err = lxmert.run("ask", picture[0], "--boxes", picture[1])
    assert (status, len(out.splitlines())) == (1, 2)
    assert err.startswith("lxmert: error: line 3 of standard input: the text ")
    assert wrong in err


def test_empty_stdin_without_question_prints_one_error_line(
    lxmert: CommandLine, picture: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_stdin(monkeypatch, b"\n  \n")
    assert "no question was given" in lxmert.error("ask", picture[0], "--boxes", picture[1])


def test_closed_stdin_without_question_is_reported_before_any_work(
    lxmert: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "no question was given" in lxmert.error("ask", "missing.png")


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_terminal_prompts_for_questions_until_end_of_input(picture: tuple[Path, Path]) -> None:
    import pty

    image, boxes = picture
    terminal, child_terminal = pty.openpty()
    command = [sys.executable, "-m", "lxmert", "ask", str(image), "--boxes", str(boxes)]
    with subprocess.Popen(
        command, stdin=child_terminal, stdout=child_terminal, stderr=child_terminal
    ) as asking:
        os.close(child_terminal)
        shown = ""
        for typed in (f"{QUESTION}\n", "\n", "😀\n", f"{QUESTION}\n", "\x04"):
            shown += read_until_prompt(terminal)
            os.write(terminal, typed.encode())
        assert asking.wait(60) == 0
    os.close(terminal)
    assert "objects found; enter one question per line" in shown
    assert shown.count("%)") == 2
    assert "no word that the model knows" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_terminal_prompt_is_not_written_to_redirected_stdout(
    picture: tuple[Path, Path], tmp_path: Path
) -> None:
    import pty

    image, boxes = picture
    terminal, child_terminal = pty.openpty()
    command = [sys.executable, "-m", "lxmert", "ask", str(image), "--boxes", str(boxes), "--json"]
    with (tmp_path / "answers.jsonl").open("wb") as file:
        asking = subprocess.Popen(command, stdin=child_terminal, stdout=file, stderr=child_terminal)
    os.close(child_terminal)
    for typed in (f"{QUESTION}\n", "\x04"):
        read_until_prompt(terminal)
        os.write(terminal, typed.encode())
    assert asking.wait(60) == 0
    os.close(terminal)
    assert json.loads((tmp_path / "answers.jsonl").read_bytes())["question"] == QUESTION


def read_until_prompt(terminal: int) -> str:
    """What a terminal shows up to the next prompt."""
    shown = b""
    while not shown.endswith(b"? "):
        shown += os.read(terminal, 4096)
    return shown.decode()


def test_demo_prints_summary_and_writes_images(lxmert: CommandLine, tmp_path: Path) -> None:
    status, out, _ = lxmert.run(
        "demo", "--scenes", 2, "--questions", 3, "--seed", 3, "--output", tmp_path / "d"
    )
    assert status == 0
    assert "of 6 correct. Seed 3" in " ".join(out.split())
    names = {path.name for path in (tmp_path / "d").iterdir()}
    assert names == {
        f"scene-3-{index}{end}" for index in (0, 1) for end in (".png", ".boxes.json", ".answered.png")
    }
    with Image.open(tmp_path / "d" / "scene-3-0.answered.png") as drawn:
        drawn.load()


@pytest.mark.parametrize("model", ["given_boxes", "detecting", "no_objects"])
def test_command_suggested_by_demo_runs(
    lxmert: CommandLine, tmp_path: Path, models: dict[str, Path], model: str
) -> None:
    folder = tmp_path / "with space"
    words = ["--scenes", 1, "--questions", 1, "--seed", 4, "--output", folder, "--model", models[model]]
    status, out, _ = lxmert.run("demo", *words)
    assert status == 0
    suggested = shlex.split(out[out.index("  lxmert ask ") :])
    assert ("--boxes" in suggested) == (model == "given_boxes")
    assert lxmert.run(*suggested[1:])[0] == 0


def test_demo_suggests_bare_lxmert_only_if_on_path(
    lxmert: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def suggested() -> str:
        _, out, _ = lxmert.run("demo", "--scenes", 1, "--questions", 1, "--seed", 4, "--output", tmp_path)
        return out.splitlines()[-1].partition(" ask ")[0].strip()

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [".venv/bin/lxmert", "demo"])
    assert suggested() == ".venv/bin/lxmert"
    (tmp_path / "lxmert").write_text("#!/bin/sh\n")
    (tmp_path / "lxmert").chmod(0o755)
    assert suggested() == "lxmert"


@pytest.mark.parametrize(
    ("system", "expected"), [("nt", 'ask "what is it?"'), ("posix", "ask 'what is it?'")]
)
def test_suggested_command_is_quoted_for_the_shell_of_the_system(
    monkeypatch: pytest.MonkeyPatch, system: str, expected: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", system)
        quoted = quote_command(["ask", "what is it?"])
    assert quoted == expected


@pytest.mark.parametrize("name", ["run [red]", "[/run]", "a" * 100])
def test_demo_prints_folder_name_literally(lxmert: CommandLine, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    status, out, _ = lxmert.run("demo", "--scenes", 1, "--questions", 1, "--seed", 4, "--output", folder)
    assert status == 0
    assert f"pictures and boxes in {folder}/\n" in out


def test_demo_names_what_the_detector_found(
    lxmert: CommandLine, tmp_path: Path, models: dict[str, Path]
) -> None:
    words = ["demo", "--scenes", 1, "--questions", 2, "--seed", 6, "--output", tmp_path, "--model"]
    out = " ".join(lxmert.run(*words, models["detecting"])[1].split())
    _, scene, _ = sample(6, 0, questions=2)
    found = LxmertPredictor.from_pretrained(models["detecting"], device="cpu")
    regions = found.regions(tmp_path / "scene-6-0.png")
    described = ", ".join(found.names().describe(regions) or ())
    assert f"10 objects found, {len(scene.objects)} drawn: {described}" in out
    written = json.loads((tmp_path / "scene-6-0.boxes.json").read_text())["boxes"]
    assert written == [pytest.approx(box, abs=0.01) for box in regions.boxes_xyxy_px.tolist()]
    assert f"0 objects found, {len(scene.objects)} drawn" in lxmert.run(*words, models["no_objects"])[1]
    assert "objects found" not in lxmert.run(*words, models["given_boxes"])[1]


@pytest.mark.parametrize(
    "verb", [[], ["demo"], ["ask"], ["eval"], ["finetune"], ["convert"], ["scenes", "make"]]
)
def test_every_command_has_help(lxmert: CommandLine, verb: list[str]) -> None:
    status, out, _ = lxmert.run(*verb, "--help")
    assert status == 0
    assert "Usage: lxmert" in out


def test_words_outside_vocabulary_are_reported(lxmert: CommandLine, picture: tuple[Path, Path]) -> None:
    """The embedded model spells them letter by letter, and answers all the same."""
    status, out, err = lxmert.run("ask", picture[0], "What is the man holding?")
    assert (status, out.count("\n")) == (0, 1)
    assert err.startswith("note: not in the model's vocabulary: 'man', 'holding'; the answer is a guess; ")
    assert "for photographs: --model unc-nlp/lxmert-vqa-uncased" in err

    data = json.loads(lxmert.run("ask", picture[0], "Is the Man red?", "--json")[1])
    assert data["unknown_words"] == ["Man"]

    assert lxmert.run("ask", picture[0], QUESTION)[2] == ""


def test_question_longer_than_the_model_reads_is_reported(
    lxmert: CommandLine, picture: tuple[Path, Path]
) -> None:
    long = "Is the thing that is left of the star that is right of the square that is a man red?"
    status, out, err = lxmert.run("ask", picture[0], long)
    assert (status, out.count("\n")) == (0, 1)
    assert err == (
        "note: the question is longer than the 20 tokens that the model reads; only the first words are "
        "read, up to 'that is a'\n"
    )
    data = json.loads(lxmert.run("ask", picture[0], long, "--json")[1])
    assert (data["truncated"], data["unknown_words"]) == (True, [])
    data = json.loads(lxmert.run("ask", picture[0], QUESTION, "--json")[1])
    assert data["truncated"] is False


def test_control_characters_in_answers_and_paths_are_escaped(lxmert: CommandLine, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(embedded_model_folder(), model)
    evil = "\x1b]0;title\x07\x1b[31m\nlxmert: wrote"
    answers = [answer + evil for answer in json.loads((model / "answers.json").read_text())]
    (model / "answers.json").write_text(json.dumps(answers))
    image = tmp_path / "picture.png"
    Image.new("RGB", (64, 64), "red").save(image)
    status, out, _ = lxmert.run("ask", image, "What is there?", "--model", model)
    assert (status, len(out.splitlines())) == (0, 1)
    assert r"\x1b]0;title\x07\x1b[31m\nlxmert: wrote  (" in out
    assert out.rstrip("\n").isprintable()
    status, _, err = lxmert.run("ask", tmp_path / "no\x1b[2Jpicture\udcff.png", "What is there?")
    assert (status, err.rstrip("\n").isprintable()) == (1, True)
    assert r"no\x1b[2Jpicture\udcff.png: no such image file" in err
