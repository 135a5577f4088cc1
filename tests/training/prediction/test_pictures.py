"""`lxmert predict` from pictures that are missing, damaged, or changed while a run is interrupted."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lxmert.inference import bulk_examples
from lxmert.inference.bulk_packing import WindowLimits
from lxmert.training.task_registry import get_task
from tests.command_line import CommandLine
from tests.training.prediction.predicting import Predict


@pytest.fixture
def data(scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data set, whose pictures are extracted one at a time."""
    monkeypatch.setattr(bulk_examples, "EXTRACTION_WINDOW", WindowLimits(images=1))
    return shutil.copytree(scenes_folder, tmp_path / "data")


@pytest.fixture
def pictures(data: Path) -> list[Path]:
    """The files of the test pictures, in the order in which they are used."""
    names = get_task("vqa").split(data, "test").read().image_names()
    return [data / "images" / "test" / f"{name}.png" for name in names]


@pytest.mark.parametrize("change", ["folder", "boxes"])
def test_journal_of_other_images_or_boxes_is_rejected(
    change: str,
    model_of: Callable[[str], Path],
    data: Path,
    tmp_path: Path,
    predict: Predict,
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    shutil.copytree(data / "images" / "test", data / "others" / "test")
    instances = data / "annotations" / "instances_test.json"
    content = json.loads(instances.read_text())
    content["annotations"][0]["bbox"][2] += 1
    (data / "annotations" / "others.json").write_text(json.dumps(content))
    words = [model_of("vqa"), data, "-q", "-o", tmp_path / "out.json", "--batch-size", 2]
    with interrupted_after(2):
        assert predict(*words)[0] == 130
    layout = "images=others/{split}" if change == "folder" else "instances=annotations/others.json"
    status, _, err = predict(*words, "--files", layout)
    assert status == 1
    assert "contains the answers of another run (images); finish that run first" in err


def test_run_continues_after_a_truncated_picture_is_repaired(
    model_of: Callable[[str], Path],
    data: Path,
    pictures: list[Path],
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
) -> None:
    words = [model_of("vqa"), data, "-q", "-o"]
    assert predict(*words, tmp_path / "whole.json")[0] == 0
    total = sum(answered_batch_sizes)
    content = pictures[2].read_bytes()
    pictures[2].write_bytes(content[: len(content) // 2])
    answered_batch_sizes.clear()
    status, _, err = predict(*words, tmp_path / "parts.json")
    assert (status, "get the file again" in err) == (1, True)
    assert 0 < sum(answered_batch_sizes) < total
    pictures[2].write_bytes(content)
    status, out, err = predict(*words, tmp_path / "parts.json")
    assert status == 0, err
    assert out.endswith(" of them from an earlier run\n")
    assert sum(answered_batch_sizes) == total
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_run_with_answers_about_a_changed_picture_is_refused(
    model_of: Callable[[str], Path],
    data: Path,
    pictures: list[Path],
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [model_of("vqa"), "data", "-q", "-o", "out.json", "--batch-size", 2]
    with interrupted_after(2):
        assert predict(*words)[0] == 130
    size = pictures[0].stat().st_size
    with pictures[0].open("ab") as file:
        file.write(b" ")
    answered_batch_sizes.clear()
    monkeypatch.chdir(data)
    words[1], words[4] = data, tmp_path / "out.json"
    status, _, err = predict(*words)
    assert (status, answered_batch_sizes) == (1, [])
    assert (
        f"{pictures[0]}, which had another size then ({size} bytes, now {size + 1}); restore that file, or "
        "start over with --overwrite\n"
    ) in err
    assert predict(*words, "--overwrite")[0] == 0


@pytest.mark.parametrize("command", ["predict", "eval"])
def test_missing_picture_is_reported_before_any_work(
    command: str,
    model_of: Callable[[str], Path],
    data: Path,
    pictures: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answered_batch_sizes: list[int],
) -> None:
    pictures[-1].unlink()
    options = ["-q", "-o", tmp_path / "out.json"] if command == "predict" else ["--json"]
    status, _, err = CommandLine(capsys).run(command, model_of("vqa"), data, *options)
    missing = (
        f"{pictures[-1]}: no such image file; 1 of the {len(pictures)} images of the split test are missing"
    )
    assert (status, missing in err) == (1, True), err
    assert answered_batch_sizes == []
    assert not (tmp_path / "out.json.journal").exists()
