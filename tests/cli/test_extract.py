"""`lxmert extract`: invalid files, interrupted and killed runs, several processes, invalid options."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, verify_store
from lxmert.data.feature_store.encoding import EncodedImage
from lxmert.scenes import make_scenes
from lxmert.vision.build import build_extractor
from lxmert.vision.images import load_image
from tests.command_line import CommandLine
from tests.synthetic_images import png_header_only
from tests.vision.small_detectors import save_detector

GRID = {"kind": "regular_grid", "rows": 2, "columns": 3, "encoder": {"kind": "pooled_pixels", "size": 2}}
COMMAND = [sys.executable, "-m", "lxmert.cli.main"]


def _photo(path: Path, seed: int, width: int = 12, height: int = 9) -> None:
    pixels = torch.randint(256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.to(torch.uint8).numpy()).save(path)


def _assert_store_matches(store: Path, photos: dict[str, Path]) -> None:
    found, extractor = FeatureStore(store), build_extractor(GRID)
    assert sorted(found.names) == sorted(photos)
    assert all(found[name].equals(extractor([load_image(path)])[0]) for name, path in photos.items())
    assert verify_store(store).faults == []


@pytest.mark.parametrize("kept", [0, 2])
def test_interrupted_run_says_how_to_continue_if_images_are_stored(
    lxmert: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    photos = {f"{number}.png": tmp_path / "photos" / f"{number}.png" for number in range(4)}
    for number, path in enumerate(photos.values()):
        _photo(path, number)
    store = tmp_path / "store"
    words = ("extract", tmp_path / "photos", "-o", store, "--extractor", json.dumps(GRID), "-q")
    append = FeatureStoreWriter.append

    def interrupted(writer: FeatureStoreWriter, image: EncodedImage) -> None:
        if len(writer) == kept:
            raise KeyboardInterrupt
        append(writer, image)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureStoreWriter, "append", interrupted)
        status, _, err = lxmert.run(*words)
    assert status == 130
    kept_note = f"lxmert: interrupted; the images extracted so far are kept in {store}"
    full_message = f"{kept_note}: run the same command again to continue\n"
    assert err == (full_message if kept else "")
    status, out, _ = lxmert.run(*words)
    assert (status, out) == (0, f"{store}: images: {4 - kept} added, {kept} already stored, 0 skipped\n")
    _assert_store_matches(store, photos)


def test_invalid_files_among_images_are_skipped_with_status_3(lxmert: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    _photo(folder / "good.png", 1)
    _photo(folder / "strip.png", 2, width=5000, height=1)
    _photo(folder / "sub" / "deep" / "good.png", 3)
    _photo(folder / "sub" / "grün und blau.png", 4)
    _photo(folder / "whole.jpg", 5, 200, 100)
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:600])
    (folder / "notes.txt").write_text("buy milk")
    (folder / "zero.jpg").touch()
    (folder / "bomb.png").write_bytes(png_header_only(40_000, 40_000))
    store = folder / "store"  # Inside the folder: not looked into.
    status, out, err = lxmert.run("extract", folder, "-o", store, "--extractor", json.dumps(GRID))
    assert status == 3
    assert out == f"{store}: images: 5 added, 0 already stored, 4 skipped\n"
    lines = err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["skipped", str(folder / name)] for name in ("bomb.png", "notes.txt", "truncated.jpg", "zero.jpg")
    ]
    assert "too large to decode safely" in lines[0]
    good = {
        "good.png": folder / "good.png",
        "sub/deep/good.png": folder / "sub" / "deep" / "good.png",
        "strip.png": folder / "strip.png",
        "grün und blau.png": folder / "sub" / "grün und blau.png",
        "whole.jpg": folder / "whole.jpg",
    }
    _assert_store_matches(store, good)
    listed = [json.loads(line) for line in (store / "skipped.jsonl").read_text().splitlines()]
    assert [item["name"] for item in listed] == ["bomb.png", "notes.txt", "truncated.jpg", "zero.jpg"]
    # The same again: nothing is extracted twice, invalid files are reported again.
    assert lxmert.run("extract", folder, "-o", store, "--extractor", json.dumps(GRID))[:2] == (
        3,
        f"{store}: images: 0 added, 5 already stored, 4 skipped\n",
    )


def test_folder_without_images_creates_no_store(lxmert: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "notes.txt").write_text("buy milk")
    store = tmp_path / "store"
    status, out, err = lxmert.run(
        "extract", tmp_path / "papers", "-o", store, "--extractor", json.dumps(GRID)
    )
    assert (status, err.count("\n")) == (3, 1)
    assert out == (
        f"{store}: images: 0 added, 0 already stored, 1 skipped\n"
        f"{store}: not created, because there is no image to store\n"
    )
    assert not store.exists()


@pytest.mark.parametrize("room", [100, 7_000])  # For less than the manifest, and for some images.
def test_full_disk_error_names_store_and_run_can_be_continued(
    lxmert: CommandLine, tmp_path: Path, room: int
) -> None:
    resource = pytest.importorskip("resource")
    for number in range(40):
        _photo(tmp_path / "photos" / f"{number}.png", number)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    words = ("extract", tmp_path / "photos", "-o", tmp_path / "store", "--extractor", json.dumps(GRID))
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        status, _, err = lxmert.run(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (status, err) == (1, f"lxmert: error: {tmp_path / 'store'}: File too large\n")
    status, out, _ = lxmert.run(*words)
    assert (status, out.endswith(" already stored, 0 skipped\n")) == (0, True)
    assert len(FeatureStore(tmp_path / "store")) == 40
    assert verify_store(tmp_path / "store").faults == []


def test_same_file_name_in_second_folder_is_skipped(lxmert: CommandLine, tmp_path: Path) -> None:
    store = tmp_path / "days"
    for day in (1, 2):
        _photo(tmp_path / f"day{day}" / "IMG_1.png", day)
    words = ["-o", store, "--extractor", json.dumps(GRID)]
    assert lxmert.run("extract", tmp_path / "day1", *words)[0] == 0
    status, out, err = lxmert.run("extract", tmp_path / "day2", *words)
    assert (status, out) == (3, f"{store}: images: 0 added, 0 already stored, 1 skipped\n")
    picture = tmp_path / "day2" / "IMG_1.png"
    assert err.startswith(
        f"skipped: {picture}: another picture of this name, or an older version of this picture, is in "
        "the store"
    )
    assert json.loads((store / "skipped.jsonl").read_text())["source"] == str(picture)
    assert lxmert.run("extract", tmp_path / "day1", *words)[:2] == (
        0,
        f"{store}: images: 0 added, 1 already stored, 0 skipped\n",
    )


def test_killed_run_is_resumed_without_loss_or_repetition(lxmert: CommandLine, tmp_path: Path) -> None:
    photos = {f"{number}.png": tmp_path / "photos" / f"{number}.png" for number in range(1500)}
    for number, path in enumerate(photos.values()):
        if number < 10:
            _photo(path, number, width=40, height=30)
        else:
            path.hardlink_to(tmp_path / "photos" / f"{number % 10}.png")
    store = tmp_path / "store"
    words = ["extract", tmp_path / "photos", "-o", store, "--extractor", json.dumps(GRID)]
    run = subprocess.Popen([*COMMAND, *map(str, words), "--workers", "2"], stdout=subprocess.DEVNULL)
    index = store / "rank-00000-part-00000.index"
    deadline = time.monotonic() + 120
    while (index.stat().st_size if index.exists() else 0) < 64 * 50:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    processes = (path for path in Path("/proc").iterdir() if path.name.isdigit())
    workers = [int(path.name) for path in processes if _parent_of(path) == run.pid]
    run.send_signal(signal.SIGKILL)
    run.wait()
    done = len(FeatureStore(store))
    assert 50 <= done < 1500, "the run was over before it was killed"
    assert len(workers) >= 2
    while any(_is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "the workers outlive the process that started them"
        time.sleep(0.05)
    status, out, err = lxmert.run(*words)
    assert status == 0, err
    assert out == f"{store}: images: {1500 - done:,} added, {done:,} already stored, 0 skipped\n"
    _assert_store_matches(store, photos)


def _parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _is_running(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _extract_with_two_processes(tmp_path: Path) -> tuple[list[int | None], list[tuple[str, str]]]:
    """Exit statuses of two connected processes that extract photos into a store, and what they printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "extract",
        str(tmp_path / "photos"),
        "-o",
        str(tmp_path / "store"),
        "--extractor",
        json.dumps(GRID),
    ]
    environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    runs = [
        subprocess.Popen(
            [*COMMAND, *words],
            env=environment | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [run.communicate(timeout=120) for run in runs]
    return [run.returncode for run in runs], outputs


def test_two_ranks_split_images_and_exit_with_same_status(tmp_path: Path) -> None:
    photos = {f"{number}.png": tmp_path / "photos" / f"{number}.png" for number in range(9)}
    for number, path in enumerate(photos.values()):
        _photo(path, number)
    (tmp_path / "photos" / "0.txt").write_text("")  # The second in order: that of rank 1.
    statuses, outputs = _extract_with_two_processes(tmp_path)
    # Both end with the status of the whole: a launcher kills the others when one ends with an error.
    assert statuses == [3, 3], outputs
    assert outputs[0][0] == f"{tmp_path / 'store'}: images: 9 added, 0 already stored, 1 skipped\n"
    assert outputs[1][0] == ""
    assert "0.txt: the file is empty" in outputs[1][1]
    assert len(list((tmp_path / "store").glob("rank-*.data"))) == 2
    assert (tmp_path / "store" / "skipped-rank-00001.jsonl").exists()
    _assert_store_matches(tmp_path / "store", photos)


def test_two_ranks_without_images_leave_no_store(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.png").write_text("no picture")
    statuses, outputs = _extract_with_two_processes(tmp_path)
    assert statuses == [3, 3], outputs
    store = tmp_path / "store"
    summary = f"{store}: images: 0 added, 0 already stored, 3 skipped\n"
    assert outputs[0][0] == f"{summary}{store}: not created, because there is no image to store\n"
    assert outputs[1][0] == ""
    assert not store.exists()


@pytest.mark.parametrize("name", ["extractor.json", "extractor.yaml"])
def test_extractor_option_reads_json_or_yaml_file(lxmert: CommandLine, tmp_path: Path, name: str) -> None:
    _photo(tmp_path / "photos" / "a.png", 1)
    text = "kind: regular_grid\nrows: 2\ncolumns: 3\nencoder: {kind: pooled_pixels, size: 2}\n"
    (tmp_path / name).write_text(json.dumps(GRID) if name.endswith("json") else text)
    words = ["--dtype", "float16", "--names", "stem"]
    status, _, err = lxmert.run(
        "extract", tmp_path / "photos", "-o", tmp_path / "s", "--extractor", tmp_path / name, *words
    )
    assert status == 0, err
    store = FeatureStore(tmp_path / "s")
    assert (store.names, store.manifest.feature_dtype) == (("a",), "float16")
    assert store.manifest.description == GRID


def test_model_option_uses_extractor_of_model_folder(lxmert: CommandLine, tmp_path: Path) -> None:
    _photo(tmp_path / "photos" / "a.png", 1)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "processor_config.json").write_text(json.dumps({"extractor": GRID}))
    status, _, err = lxmert.run(
        "extract", tmp_path / "photos", "-o", tmp_path / "s", "--model", tmp_path / "model"
    )
    assert status == 0, err
    assert FeatureStore(tmp_path / "s").extractor == build_extractor(GRID).identity


def test_boxes_option_reads_coco_file(lxmert: CommandLine, tmp_path: Path) -> None:
    make_scenes(tmp_path / "data", 10, 1, questions_per_image=1, progress=False)
    given = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 2}}
    instances = tmp_path / "data" / "annotations" / "instances_val.json"
    words = [
        "extract",
        tmp_path / "data" / "images" / "val",
        "-o",
        tmp_path / "s",
        "--extractor",
        json.dumps(given),
    ]
    status, out, err = lxmert.run(*words)
    assert (status, out) == (1, "")
    assert "provide their boxes (--boxes instances.json)" in err
    assert lxmert.run(*words, "--boxes", instances)[0] == 0
    (image,) = json.loads(instances.read_text())["images"]
    boxes = [item["bbox"] for item in json.loads(instances.read_text())["annotations"]]
    expected = [[x, y, x + width, y + height] for x, y, width, height in boxes]
    assert FeatureStore(tmp_path / "s")[image["file_name"]].boxes_xyxy_px.tolist() == expected


@pytest.mark.parametrize("option", ["--min-objects", "--max-objects"])
def test_object_count_options_with_boxes_are_rejected(
    lxmert: CommandLine, tmp_path: Path, option: str
) -> None:
    words = ["extract", tmp_path, "-o", tmp_path / "s", "--boxes", tmp_path / "boxes.json", option, "4"]
    status, _, err = lxmert.run(*words)
    assert status == 2
    assert "--boxes defines the objects" in err


def test_embedded_detector_finds_objects_or_describes_given_boxes(
    lxmert: CommandLine, tmp_path: Path
) -> None:
    make_scenes(tmp_path / "data", 10, 2, questions_per_image=1, progress=False)
    words = ["extract", tmp_path / "data" / "images" / "val"]
    assert lxmert.run(*words, "-o", tmp_path / "found")[0] == 0
    instances = tmp_path / "data" / "annotations" / "instances_val.json"
    assert lxmert.run(*words, "-o", tmp_path / "given", "--boxes", instances)[0] == 0
    found, given = FeatureStore(tmp_path / "found"), FeatureStore(tmp_path / "given")
    assert found.manifest.description["detector"] == "scenes"  # type: ignore[index]
    names = found.manifest.object_names
    assert names is not None
    assert len(found) == 1
    boxes = [item["bbox"] for item in json.loads(instances.read_text())["annotations"]]
    expected = torch.tensor([[x, y, x + width, y + height] for x, y, width, height in boxes])
    assert torch.equal(given.regions_at(0).boxes_xyxy_px, expected)
    for store in (found, given):
        ids = store.regions_at(0).object_ids
        assert ids is not None
        assert len(ids) > 0
        assert int(ids.max()) < len(names)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--extractor", "{}", "--detector", "scenes"], 2, "not both"),
        (["--extractor", "absent.json"], 1, "absent.json: no such file"),
        (["--extractor", "{kind: [}"], 1, "cannot be read as JSON or YAML"),
        (["--extractor", "photos/a.png"], 1, "cannot be read as JSON or YAML"),
        (["--extractor", "list.txt"], 1, "expected a mapping"),
        (["--extractor", '{"kind": "magic"}'], 1, "unknown kind of extractor 'magic'"),
        (["--extractor", json.dumps(GRID), "--max-objects", "5"], 1, "unknown 'max_objects'"),
        (["--extractor", json.dumps(GRID), "--workers", "2", "--device", "cuda"], 1, "--workers 2"),
        (["--device", "cuda:99"], 1, "device 'cuda:99' cannot be used"),
        (["--device", "toaster"], 1, "device 'toaster' cannot be used"),
        (["--extractor", json.dumps(GRID), "--workers", "0"], 2, "workers"),
        (
            ["--extractor", json.dumps(GRID), "--workers", "2", "--batch-size", "8"],
            2,
            "--batch-size cannot be used with",
        ),
        (["--extractor", json.dumps(GRID), "--dtype", "int8"], 2, "dtype"),
        (["--extractor", json.dumps(GRID), "-o", "./photos"], 2, "--output is the folder of the pictures"),
    ],
)
def test_invalid_options_give_one_clear_error(
    lxmert: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _photo(tmp_path / "photos" / "a.png", 1)
    (tmp_path / "list.txt").write_text("a list\n")
    found, _, err = lxmert.run("extract", "photos", "-o", "store", *words)
    assert found == status
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert not (tmp_path / "store").exists()


def test_detector_options_reach_the_detector(
    lxmert: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def build(spec: dict[str, object]) -> object:
        asked.append(dict(spec))
        return build_extractor(GRID)

    monkeypatch.setattr("lxmert.vision.build.build_extractor", build)
    _photo(tmp_path / "photos" / "a.png", 1)
    name = "unc-nlp/frcnn-vg-finetuned"
    words = ["--detector", name, "--preset", "butd", "--max-objects", "30", "--min-objects", "20"]
    for number, options in enumerate(([], words)):
        assert lxmert.run("extract", tmp_path / "photos", "-o", tmp_path / f"{number}", *options)[0] == 0
    options = {"preset": "butd", "min_objects": 20, "max_objects": 30}
    assert asked == [
        {"kind": "faster_rcnn", "detector": "scenes"},
        {"kind": "faster_rcnn", "detector": name, **options},
    ]


def test_transformers_detector_can_be_used_for_extraction(lxmert: CommandLine, tmp_path: Path) -> None:
    _photo(tmp_path / "photos" / "a.png", 1)
    detector = save_detector(tmp_path / "detr", "rt_detr")
    status, _, err = lxmert.run(
        "extract", tmp_path / "photos", "-o", tmp_path / "store", "--detector", detector, "--max-objects", "5"
    )
    assert status == 0, err
    store = FeatureStore(tmp_path / "store")
    (name,) = store.names
    assert len(store[name]) == 5
    assert store[name].extractor.startswith("detr-")


def test_image_names_are_same_under_non_utf8_locale(tmp_path: Path) -> None:
    _photo(tmp_path / "photos" / "caf\u00e9.png", 1)
    (tmp_path / "grid.json").write_text(json.dumps(GRID))
    words = ["extract", "photos", "-o", "store", "--extractor", "grid.json", "--quiet"]
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for added in (1, 0):
        done = subprocess.run(
            [*COMMAND, *words], capture_output=True, cwd=tmp_path, env={**os.environ, **plain}, check=False
        )
        assert done.returncode == 0, done.stderr
        assert f"{added} added, {1 - added} already stored".encode() in done.stdout
    assert FeatureStore(tmp_path / "store").names == ("caf\u00e9.png",)
