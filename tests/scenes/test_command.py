"""`lxmert scenes make`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lxmert.cli.main import app
from lxmert.errors import InputError


def test_scenes_make_writes_dataset_and_prints_its_counts(tmp_path: Path):
    folder = tmp_path / "data [/of] brackets"
    command = ["scenes", "make", str(folder), "--images", "10", "--seed", "4", "--questions-per-image", "6"]
    result = CliRunner().invoke(app, [*command, "--workers", "1"])
    assert result.exit_code == 0
    stored = json.loads((folder / "scenes.json").read_text())
    assert (stored["images"], stored["seed"], stored["questions_per_image"]) == (10, 4, 6)
    assert result.stdout.endswith(f"Wrote the scenes of seed 4 to {folder}/\n")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["val", "1", str(stored["splits"]["val"]["objects"]), "5", "6"] in lines
    assert ["val", "10", "18", "0", str(stored["splits"]["val"]["vg_regions"]), "6"] in lines
    assert [
        "GQA",
        "balanced,",
        "knowing",
        "the",
        "kind",
        f"{100 * stored['gqa_blind_accuracy']:.1f}%",
    ] in lines
    assert ["NLVR2,", "knowing", "the", "sentence", "50.0%"] in lines
    assert ["all", "60", f"{100 * stored['blind_accuracy']:.1f}%"] in lines


def test_other_scenes_are_replaced_with_overwrite_alone(tmp_path: Path):
    command = [
        "scenes",
        "make",
        str(tmp_path),
        "--images",
        "3",
        "--questions-per-image",
        "1",
        "--workers",
        "1",
    ]
    runner = CliRunner()
    assert runner.invoke(app, command).exit_code == 0
    assert isinstance(runner.invoke(app, [*command, "--seed", "1"]).exception, InputError)
    assert json.loads((tmp_path / "scenes.json").read_text())["seed"] == 0
    assert runner.invoke(app, [*command, "--seed", "1", "--overwrite"]).exit_code == 0
    assert json.loads((tmp_path / "scenes.json").read_text())["seed"] == 1


def test_foreign_directory_raises_input_error(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("dear")
    result = CliRunner().invoke(app, ["scenes", "make", str(tmp_path)])
    assert isinstance(result.exception, InputError)


@pytest.mark.parametrize("wrong", [["--images", "0"], ["--seed", "-1"], ["--questions-per-image", "200"], []])
def test_wrong_usage_ends_with_status_two(tmp_path: Path, wrong: list[str]):
    command = ["scenes", "make", str(tmp_path / "data"), *wrong] if wrong else ["make"]
    assert CliRunner().invoke(app, command).exit_code == 2
