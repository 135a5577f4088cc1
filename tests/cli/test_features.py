"""`lxmert features`: what each verb prints, and its exit status."""

import json
import re
from pathlib import Path

import pytest

from tests.command_line import CommandLine, exit_status
from tests.data.stores import random_regions, write_store

IMAGES = {f"{number}.jpg": random_regions(number, number + 1) for number in range(3)}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run_features(*words: object) -> tuple[int, str, str]:
        return CommandLine(capsys).run("features", *words)

    return run_features


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", IMAGES)


def _lines(text: str) -> dict[str, str]:
    """Of a table of two columns."""
    pairs = (line.split("  ", 1) for line in text.splitlines() if "  " in line.strip())
    return {key.strip(): value.strip() for key, value in pairs}


def test_info_prints_store_summary(run, store: Path) -> None:  # type: ignore[no-untyped-def]
    status, out, _ = run("info", store)
    assert status == 0
    assert (_lines(out)["images"], _lines(out)["objects"], _lines(out)["objects per image"]) == (
        "3",
        "6",
        "1 to 3",
    )
    assert _lines(out)["extractor"] == "test/7"
    found = json.loads(run("info", store, "--json")[1])
    assert (found["images"], found["objects_per_image"], found["feature_dtype"]) == (3, [1, 3], "float32")
    status, out, err = run("info", store / "absent")
    assert (status, out) == (1, "")
    assert err.startswith("lxmert: error: ")
    assert err.count("\n") == 1


def test_verify_exits_with_status_1_for_faults(run, store: Path) -> None:  # type: ignore[no-untyped-def]
    status, out, err = run("verify", store)
    assert (status, err) == (0, "")
    assert out.endswith(f"{store}: no faults found\n")
    assert json.loads(run("verify", store, "--json")[1])["objects"] == 6
    data = next(store.glob("*.data"))
    content = data.read_bytes()
    data.write_bytes(content[:8] + bytes([content[8] ^ 1]) + content[9:])
    status, out, err = run("verify", store)
    assert status == 1
    assert out.endswith(f"{store}: faults found: 1\n")
    assert (
        err == "fault: rank-00000-part-00000.index, image 0, '0.jpg': the checksum of its numbers is wrong\n"
    )
    assert len(json.loads(run("verify", store, "--json")[1])["faults"]) == 1


def test_verify_reports_store_that_cannot_be_opened(run, store: Path) -> None:  # type: ignore[no-untyped-def]
    data = next(store.glob("*.data"))
    data.write_bytes(data.read_bytes()[:-1])
    status, _, err = run("verify", store)
    assert status == 1
    assert "the copy is incomplete" in err
    assert run("verify", store / "absent")[0] == 1


def test_exported_store_can_be_imported_again(run, store: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "out.tsv"
    assert run("export", store, file)[:2] == (0, f"{file}: images written: 3\n")
    status, _, err = run("export", store, file)
    assert status == 1
    assert "--overwrite" in err
    assert run("export", store, file, "--overwrite")[0] == 0
    again = tmp_path / "again"
    words = ("import", file, "-o", again, "--extractor-name", "test/7")
    assert run(*words)[:2] == (0, f"{again}: images: 3 added, 0 already stored; corrupt rows skipped: 0\n")
    assert run(*words)[1] == f"{again}: images: 0 added, 3 already stored; corrupt rows skipped: 0\n"
    for kind in ("data", "names", "index"):
        name = f"rank-00000-part-00000.{kind}"
        assert (again / name).read_bytes() == (store / name).read_bytes()
    bare = write_store(tmp_path / "bare", {"a": random_regions(1, labels=False)})
    assert "images that lack labels: 1" in run("export", bare, tmp_path / "bare.tsv")[1]
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "out.tsv", again):
        status, _, err = run("export", store, place, "--overwrite")
        assert status == 1
        assert err.startswith(f"lxmert: error: {place}: cannot be written (")
    assert not list(tmp_path.glob("*.partial"))


def test_corrupt_rows_stop_an_import_unless_they_may_be_skipped(run, store: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "out.tsv"
    run("export", store, file)
    rows = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(rows[0] + b"torn\t1\n" + rows[1] + rows[1])
    status, out, err = run("import", file, "-o", tmp_path / "new")
    assert (status, out) == (1, "")
    assert f"{file}: line 2: 2 fields" in err
    status, out, err = run("import", file, "-o", tmp_path / "new", "--skip-corrupt")
    assert status == 3
    assert out.endswith(
        "images: 1 added, 1 already stored; corrupt rows skipped: 1; rows that repeat an image: 1\n"
    )
    assert err.startswith(f"skipped: {file}: line 2: 2 fields")
    assert run("import", tmp_path / "absent.tsv", "-o", tmp_path / "x")[0] == 1
    status, _, err = run("import", store, "-o", tmp_path / "x")
    assert status == 1
    assert f"{store} is a feature store already; expected an original feature file, *_obj36.tsv" in err
    assert not (tmp_path / "x").exists()


def test_compare_prints_a_table_or_json(run, store: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    other = write_store(
        tmp_path / "other", {"1": IMAGES["1.jpg"], "2": IMAGES["2.jpg"], "9": IMAGES["0.jpg"]}, "float16"
    )
    status, out, _ = run("compare", store, other)
    assert status == 0
    found = _lines(out)
    assert (found["images in both"], found["boxes"]) == ("2", "5 and 5")
    assert found["pairs with IoU ≥ 0.5"] == "5 (100.0% of the first's boxes)"
    assert found["same object id"] == "100.0%"
    assert "only in the first (1): 0.jpg\n" in out
    assert "only in the second (1): 9\n" in out
    as_json = json.loads(run("compare", store, other, "--json", "--iou", "0.9")[1])
    assert (as_json["images"], as_json["matched"], as_json["mean_iou"]) == (2, 5, 1.0)
    assert [one["name"] for one in as_json["per_image"]] == ["1.jpg", "2.jpg"]
    status, _, err = run("compare", store, tmp_path / "absent")
    assert status == 1
    assert "no such feature store" in err
    assert run("compare", store, other, "--iou", "2")[0] == 2


DOCUMENT = (Path(__file__).parents[2] / "docs" / "features.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", re.findall(r"^ {4}(lxmert .+?)(?: {2,}#.*)?$", DOCUMENT, re.MULTILINE))
def test_documented_commands_and_options_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = command.split()[1:]
    verb = words[:2] if words[0] == "features" else words[:1]
    assert exit_status(*verb, "--help") == 0
    help_text = capsys.readouterr().out
    assert all(option in help_text for option in words if option.startswith("-"))


def test_documented_snippet_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    write_store(tmp_path / "photos.features", {"COCO_val2014_000000000042.jpg": IMAGES["2.jpg"]})
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(snippet, names)  # noqa: S102
    assert names["regions"].equals(IMAGES["2.jpg"])  # type: ignore[attr-defined]
