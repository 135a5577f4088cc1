"""Bulk extraction: complete, resumable, the same for any batch size, workers and ranks; lists of images."""

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, verify_store
from lxmert.data.feature_store.layout import fingerprint_of_file
from lxmert.data.feature_store.skipped import SkippedList
from lxmert.errors import ConfigurationError, DataError, LxmertError, RegionsError
from lxmert.inference.box_lookup import BoxLookup
from lxmert.inference.extraction import ExtractionOptions, build_manifest, extract_images
from lxmert.inference.image_list import NamedImage, NamingScheme, list_images
from lxmert.inference.ranks import Ranks
from lxmert.vision.build import build_extractor
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.images import load_image
from lxmert.vision.regions import Regions

GRID = {"kind": "regular_grid", "rows": 2, "columns": 3, "encoder": {"kind": "pooled_pixels", "size": 2}}
GIVEN = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 2}}
SIZES = ((9, 7), (16, 5), (9, 7), (3, 11), (16, 5), (9, 7), (1, 50))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven pictures of four sizes in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (width, height) in enumerate(SIZES):
        pixels = torch.randint(256, (height, width, 3), generator=torch.Generator().manual_seed(number))
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{number}.png")
    return folder


def _extract(photos: Path, store: Path, extractor: RegionExtractor, **options: Any):  # type: ignore[no-untyped-def]
    return extract_images(list_images(photos), store, extractor, ExtractionOptions(**options))


def _assert_store_matches(store: Path, photos: Path) -> None:
    """Every picture's regions as the extractor makes them of it alone."""
    found, extractor = FeatureStore(store), build_extractor(GRID)
    assert sorted(found.names) == sorted(path.name for path in photos.iterdir())
    for name in found:
        assert found[name].equals(extractor([load_image(photos / name)])[0])
    assert verify_store(store).faults == []


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_stored_regions_do_not_depend_on_batch_size(photos: Path, tmp_path: Path, batch_size: int) -> None:
    report = _extract(photos, tmp_path / "store", build_extractor(GRID), batch_size=batch_size)
    assert (report.added, report.already_stored, list(report.skipped)) == (7, 0, [])
    _assert_store_matches(tmp_path / "store", photos)
    assert FeatureStore(tmp_path / "store").manifest.description == GRID


def test_index_contains_fingerprint_of_each_file(photos: Path, tmp_path: Path) -> None:
    _extract(photos, tmp_path / "store", build_extractor(GRID), batch_size=3)
    index = (tmp_path / "store" / "rank-00000-part-00000.index").read_bytes()
    for position, name in enumerate(FeatureStore(tmp_path / "store").names):
        digest = blake2b((photos / name).read_bytes(), digest_size=4).digest()
        assert index[64 * position + 56 : 64 * position + 60] == digest


def test_batches_hold_images_of_one_size_up_to_batch_size(photos: Path, tmp_path: Path) -> None:
    sizes_by_batch: list[list[tuple[int, int]]] = []
    plain = build_extractor(GRID)

    class RecordingExtractor:
        def __getattr__(self, name: str) -> Any:
            return getattr(plain, name)

        def __call__(self, images: Sequence[Image.Image], boxes: Any = None) -> list[Regions]:
            sizes_by_batch.append([image.size for image in images])
            return plain(images, boxes)

    _extract(photos, tmp_path / "store", RecordingExtractor(), batch_size=2)  # type: ignore[arg-type]
    assert sorted(map(len, sizes_by_batch)) == [1, 1, 1, 2, 2]
    assert all(len(set(sizes)) == 1 for sizes in sizes_by_batch)


def test_worker_processes_write_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    (photos / "8.txt").write_text("no picture")
    for number in range(30):  # More than the processes take at once.
        (photos / f"copy {number}.png").hardlink_to(photos / f"{number % 7}.png")
    given = {path.name: [[0, 0, 1, 1], [0, 0, 1, 0.5]] for path in sorted(photos.iterdir())[1:]}
    unknown = dict.fromkeys(given, (0, 0))
    boxes = BoxLookup(_instances(tmp_path / "instances.json", given, unknown))
    extractor = build_extractor(GIVEN)
    here = _extract(photos, tmp_path / "here", extractor, boxes=boxes)
    there = _extract(photos, tmp_path / "there", extractor, boxes=boxes, workers=2)
    assert (there.added, there.skipped) == (here.added, here.skipped)
    assert [item.name for item in there.skipped] == ["0.png", "8.txt"]
    assert there.added == 36
    for path in (tmp_path / "here").iterdir():
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()


def test_second_run_extracts_only_missing_images(photos: Path, tmp_path: Path) -> None:
    images = list_images(photos)
    steps: list[int] = []
    extractor = build_extractor(GRID)
    extract_images(images[:3], tmp_path / "store", extractor)
    progress: list[tuple[int, int]] = []

    def start(total: int, done: int):  # type: ignore[no-untyped-def]
        progress.append((total, done))
        return steps.append

    report = extract_images(images, tmp_path / "store", extractor, progress=start)
    assert (report.added, report.already_stored) == (4, 3)
    assert progress == [(7, 3)]
    assert sum(steps) == 4
    _assert_store_matches(tmp_path / "store", photos)


def test_different_image_with_stored_name_is_skipped(photos: Path, tmp_path: Path) -> None:
    extractor = build_extractor(GRID)
    _extract(photos, tmp_path / "store", extractor, batch_size=2)
    shutil.copytree(photos, tmp_path / "second", copy_function=shutil.copyfile)
    (tmp_path / "second" / "new.png").write_bytes((photos / "1.png").read_bytes())
    Image.new("RGB", SIZES[0], "red").save(tmp_path / "second" / "0.png")
    before = FeatureStore(tmp_path / "store")["0.png"]
    progress: list[tuple[int, int]] = []
    steps: list[int] = []

    def start(total: int, done: int):  # type: ignore[no-untyped-def]
        progress.append((total, done))
        return steps.append

    report = extract_images(list_images(tmp_path / "second"), tmp_path / "store", extractor, progress=start)
    assert (report.added, report.already_stored) == (1, 6)
    picture = tmp_path / "second" / "0.png"
    assert [str(item) for item in report.skipped] == [
        f"{picture}: another picture of this name, or an older version of this picture, is in the store; "
        "rename it or create a new store"
    ]
    assert (progress, sum(steps)) == ([(8, 7)], 1)
    assert FeatureStore(tmp_path / "store")["0.png"].equals(before)
    # An edit is seen too; what cannot be read any more stays as it was done.
    pixels = bytearray((photos / "1.png").read_bytes())
    pixels[-20] ^= 1
    (photos / "1.png").write_bytes(pixels)
    (photos / "2.png").unlink()
    os.mkfifo(photos / "2.png")
    again = _extract(photos, tmp_path / "store", extractor, workers=2)
    assert (again.added, again.already_stored, [item.name for item in again.skipped]) == (0, 6, ["1.png"])
    assert verify_store(tmp_path / "store").faults == []


def test_stored_picture_keeps_its_name_when_another_of_this_name_is_added(
    photos: Path, tmp_path: Path
) -> None:
    extractor, folder, store = build_extractor(GRID), tmp_path / "days", tmp_path / "store"
    for day in ("day1", "day2", "day3"):
        (folder / day).mkdir(parents=True)
    shutil.copyfile(photos / "0.png", folder / "day2" / "a.png")
    _extract(folder, store, extractor)
    stored = FeatureStore(store)["a.png"]
    shutil.copyfile(photos / "1.png", folder / "day1" / "a.png")
    shutil.copyfile(photos / "0.png", folder / "day3" / "a.png")  # A copy needs a name of its own.
    for added in (2, 0):
        report = _extract(folder, store, extractor)
        assert (report.added, report.already_stored, report.skipped) == (added, 3 - added, [])
        assert sorted(FeatureStore(store).names) == ["a.png", "day1/a.png", "day3/a.png"]
    assert FeatureStore(store)["a.png"].equals(stored)
    assert FeatureStore(store)["day3/a.png"].equals(stored)
    # An edited picture is another one.
    Image.new("RGB", SIZES[0], "red").save(folder / "day2" / "a.png")
    assert _extract(folder, store, extractor).added == 1
    assert "day2/a.png" in FeatureStore(store)


def test_files_that_did_not_change_are_not_read_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files_read_by_next_run() -> list[str]:
        """What a further run reads."""
        read: list[str] = []

        def recording_fingerprint(path: Path) -> int:
            read.append(path.name)
            return fingerprint_of_file(path)

        monkeypatch.setattr(
            "lxmert.data.feature_store.fingerprint_cache.fingerprint_of_file", recording_fingerprint
        )
        report = _extract(photos, tmp_path / "store", extractor)
        assert report.added + report.already_stored + len(report.skipped) == len(list(photos.iterdir()))
        return sorted(read)

    extractor = build_extractor(GRID)
    for rank in range(2):  # Whoever wrote it.
        _extract(photos, tmp_path / "store", extractor, ranks=Ranks(rank, 2))
    assert files_read_by_next_run() == []
    # Written to, exchanged for a copy of its time and size, and new.
    times = (photos / "0.png").stat()
    (photos / "0.png").write_bytes((photos / "0.png").read_bytes())
    shutil.copy2(photos / "1.png", tmp_path / "1.png")
    (tmp_path / "1.png").replace(photos / "1.png")
    shutil.copy(photos / "2.png", photos / "7.png")
    os.utime(photos / "0.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert files_read_by_next_run() == ["0.png", "1.png", "7.png"]
    assert files_read_by_next_run() == []
    # A list that is cut off or not there costs no more than reading.
    seen_list = tmp_path / "store" / "rank-00000.seen"
    seen_list.write_bytes(seen_list.read_bytes()[:-3])
    assert files_read_by_next_run() == ["7.png"]
    assert files_read_by_next_run() == []
    for path in (tmp_path / "store").glob("*.seen"):
        path.unlink()
    assert len(files_read_by_next_run()) == 8
    assert files_read_by_next_run() == []
    _assert_store_matches(tmp_path / "store", photos)


def test_store_without_fingerprints_is_resumed_by_image_name(photos: Path, tmp_path: Path) -> None:
    images, extractor = list_images(photos), build_extractor(GRID)
    manifest = build_manifest(extractor, "float32")
    with FeatureStoreWriter(tmp_path / "store", manifest) as writer:
        for image in images[:3]:
            writer.add(image.name, extractor([load_image(image.path)])[0])
    Image.new("RGB", SIZES[0], "red").save(photos / "0.png")
    report = _extract(photos, tmp_path / "store", extractor)
    assert (report.added, report.already_stored, list(report.skipped)) == (4, 3, [])
    Image.new("RGB", SIZES[0], "blue").save(photos / "5.png")
    again = _extract(photos, tmp_path / "store", extractor)
    assert (again.already_stored, [item.name for item in again.skipped]) == (6, ["5.png"])


def test_ranks_split_images_and_each_is_extracted_once(photos: Path, tmp_path: Path) -> None:
    extractor = build_extractor(GRID)
    reports = [_extract(photos, tmp_path / "store", extractor, ranks=Ranks(rank, 3)) for rank in (2, 0, 1)]
    assert sorted(report.added for report in reports) == [2, 2, 3]
    assert len(list((tmp_path / "store").glob("*.data"))) == 3
    _assert_store_matches(tmp_path / "store", photos)
    # Another number of processes finds everything done.
    again = _extract(photos, tmp_path / "store", extractor)
    assert (again.added, again.already_stored) == (0, 7)


def test_unreadable_images_are_listed_as_skipped_and_others_stored(photos: Path, tmp_path: Path) -> None:
    valid_names = sorted(path.name for path in photos.iterdir())
    (photos / "empty.jpg").touch()
    (photos / "notes.txt").write_text("buy milk")
    os.mkfifo(photos / "pipe")
    (photos / "broken").symlink_to(photos / "nowhere")
    report = _extract(photos, tmp_path / "store", build_extractor(GRID), batch_size=3)
    assert {item.name: item.reason.split(": ", 1)[1][:20] for item in report.skipped} == {
        "broken": "no such image file",
        "empty.jpg": "the file is empty (0",
        "notes.txt": "not an image, or not",
        "pipe": "neither a file nor a",
    }
    assert sorted(FeatureStore(tmp_path / "store").names) == valid_names
    listed = SkippedList.read(tmp_path / "store")
    assert [item["name"] for item in listed] == [item.name for item in report.skipped]
    # Mended, it is done by the next run, and the list tells of that run alone.
    (photos / "empty.jpg").write_bytes((photos / "0.png").read_bytes())
    again = _extract(photos, tmp_path / "store", build_extractor(GRID))
    assert (again.added, len(again.skipped)) == (1, 3)
    assert len(SkippedList.read(tmp_path / "store")) == 3


class FailingExtractor:
    """An extractor that fails for pictures of one width."""

    def __init__(self, width: int, error: BaseException) -> None:
        self._plain = build_extractor(GRID)
        self._width = width
        self._error = error
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def __call__(self, images: Sequence[Image.Image], boxes: Any = None) -> list[Regions]:
        self.calls += 1
        if any(self._width in (0, image.width) for image in images):
            raise self._error
        return self._plain(images, boxes)


@pytest.mark.parametrize("error", [RegionsError("too thin"), RuntimeError("kernel size")])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_image_that_fails_in_extractor_is_skipped_with_reason(
    photos: Path, tmp_path: Path, error: Exception, batch_size: int
) -> None:
    report = _extract(photos, tmp_path / "store", FailingExtractor(16, error), batch_size=batch_size)  # type: ignore[arg-type]
    assert [item.name for item in report.skipped] == ["1.png", "4.png"]
    assert all(str(error) in item.reason for item in report.skipped)
    assert all(str(item) == f"{photos / item.name}: {item.reason}" for item in report.skipped)
    assert report.added == 5


def test_extractor_failing_for_every_image_raises_early(photos: Path, tmp_path: Path) -> None:
    extractor = FailingExtractor(0, RuntimeError("no kernel"))
    with pytest.raises(LxmertError, match=r"no image could be processed.*RuntimeError: no kernel"):
        _extract(photos, tmp_path / "store", extractor)  # type: ignore[arg-type]
    # It stops early: not thousands of images are tried in vain.
    assert extractor.calls == 3
    with pytest.raises(MemoryError):
        _extract(photos, tmp_path / "other", FailingExtractor(16, MemoryError()))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [None, RuntimeError("no kernel"), KeyboardInterrupt()])
def test_store_is_not_created_without_any_stored_image(
    photos: Path, tmp_path: Path, error: BaseException | None
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("buy milk")
    folder, store = (photos if error else tmp_path / "other"), tmp_path / "store"
    with pytest.raises(type(error)) if isinstance(error, KeyboardInterrupt) else suppress(LxmertError):
        _extract(folder, store, FailingExtractor(0, error or RuntimeError()))  # type: ignore[arg-type]
    assert not store.exists()
    # Nothing binds the next run, and what is in the store then stays, whatever comes.
    _extract(photos, store, build_extractor(GRID | {"rows": 3}), dtype="float16")
    report = _extract(tmp_path / "other", store, build_extractor(GRID | {"rows": 3}))
    assert (report.added, len(report.skipped), len(FeatureStore(store))) == (0, 1, 7)


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="cannot list open files")
def test_files_of_a_discarded_store_are_closed_before_they_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows deletes no file that is open."""
    unlink = Path.unlink

    def unlink_closed(path: Path, missing_ok: bool = False) -> None:
        opened = set()
        for number in os.listdir("/dev/fd"):
            with suppress(OSError):
                opened.add(os.fstat(int(number)).st_ino)
        assert path.stat().st_ino not in opened, path
        unlink(path, missing_ok)

    writer = FeatureStoreWriter(tmp_path / "store", build_manifest(build_extractor(GRID), "float32"))
    monkeypatch.setattr(Path, "unlink", unlink_closed)
    writer.discard_if_empty()
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("deleted", range(6))
def test_store_can_be_continued_after_interruption_of_its_deletion(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: int
) -> None:
    unlink, paths = Path.unlink, []

    def interrupted_unlink(path: Path) -> None:
        if len(paths) == deleted:
            raise KeyboardInterrupt
        paths.append(path)
        unlink(path)

    writer = FeatureStoreWriter(tmp_path / "store", build_manifest(build_extractor(GRID), "float32"))
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Path, "unlink", interrupted_unlink)
        writer.discard_if_empty()
    assert len(paths) == deleted
    assert _extract(photos, tmp_path / "store", build_extractor(GRID)).added == 7


def test_existing_empty_store_is_kept_after_failed_run(photos: Path, tmp_path: Path) -> None:
    with FeatureStoreWriter(tmp_path / "store", build_manifest(build_extractor(GRID), "float32")):
        pass
    with pytest.raises(LxmertError):
        _extract(photos, tmp_path / "store", FailingExtractor(0, RuntimeError()))  # type: ignore[arg-type]
    assert len(FeatureStore(tmp_path / "store")) == 0
    assert len(SkippedList.read(tmp_path / "store")) == 3


def _instances(
    path: Path, boxes: dict[str, list[list[float]]], sizes: dict[str, tuple[int, int]] | None = None
) -> Path:
    """An instances file of boxes x, y, width, height; images are 9 wide and 7 high where `sizes` has none."""
    known = {name: (sizes or {}).get(name, (9, 7)) for name in boxes}
    content = {
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, (name, (width, height)) in enumerate(known.items())
        ],
        "annotations": [
            {"id": 1, "image_id": number, "category_id": 1, "bbox": box}
            for number, name in enumerate(boxes)
            for box in boxes[name]
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    path.write_text(json.dumps(content))
    return path


def test_boxes_come_from_an_instances_file(photos: Path, tmp_path: Path) -> None:
    given = {
        "0.png": [[1, 2, 3, 4], [0, 0, 9, 7]],
        "x/2.png": [],
        "5.png": [[0, 0, 2, 2]],
        "3.png": [[2, 2, 9, 9]],
    }
    boxes = BoxLookup(_instances(tmp_path / "instances.json", given, {"3.png": (3, 11)}))
    with pytest.raises(ConfigurationError, match="--boxes"):
        _extract(photos, tmp_path / "store", build_extractor(GIVEN))
    assert not (tmp_path / "store").exists()
    report = _extract(photos, tmp_path / "store", build_extractor(GIVEN), boxes=boxes)
    store = FeatureStore(tmp_path / "store")
    assert sorted(store.names) == ["0.png", "2.png", "5.png"]
    assert store["0.png"].boxes_xyxy_px.tolist() == [[1, 2, 4, 6], [0, 0, 9, 7]]
    assert len(store["2.png"]) == 0
    reasons = {item.name: item.reason for item in report.skipped}
    assert reasons["1.png"].endswith("instances.json has no such image, and so no boxes")
    assert "beyond the right edge" in reasons["3.png"]
    assert sorted(reasons) == ["1.png", "3.png", "4.png", "6.png"]


def test_box_lookup_distinguishes_equal_file_names_by_folder(tmp_path: Path) -> None:
    given = {"a/1.png": [[0, 0, 1, 1]], "b/1.png": [[0, 0, 2, 2]], "b/2.png": [[0, 0, 3, 3]]}
    boxes = BoxLookup(_instances(tmp_path / "instances.json", given))

    def find(path: str) -> list[list[float]] | None:
        found = boxes.find(NamedImage("n", Path(path)))
        return None if found is None else found.boxes_xyxy_px.tolist()

    assert find("/data/photos/b/1.png") == [[0, 0, 2, 2]]
    assert find("a/1.png") == [[0, 0, 1, 1]]
    assert find("/data/1.png") is None
    assert find("/data/2.png") == [[0, 0, 3, 3]]


def test_box_lookup_prefers_longest_matching_path_suffix(tmp_path: Path) -> None:
    given = {"1.png": [[0, 0, 1, 1]], "b/1.png": [[0, 0, 2, 2]], "a/b/1.png": [[0, 0, 3, 3]]}
    boxes = BoxLookup(_instances(tmp_path / "instances.json", given))
    for path, side in (("/data/1.png", 1), ("/data/b/1.png", 2), ("b/1.png", 2), ("x/a/b/1.png", 3)):
        found = boxes.find(NamedImage("1.png", Path(path)))
        assert found is not None
        assert found.boxes_xyxy_px.tolist() == [[0, 0, side, side]]


@pytest.mark.parametrize("workers", [1, 2])
def test_images_whose_size_differs_from_annotations_are_skipped(
    photos: Path, tmp_path: Path, workers: int
) -> None:
    # All these boxes lie inside the pictures: nothing but the size tells that they are for others.
    given = {name: [[0, 0, 3, 2]] for name in ("0.png", "1.png", "2.png", "3.png")}
    sizes = {"0.png": (4, 3), "1.png": (5, 16), "2.png": (9, 7), "3.png": (0, 0)}
    boxes = BoxLookup(_instances(tmp_path / "instances.json", given, sizes))
    report = _extract(photos, tmp_path / "store", build_extractor(GIVEN), boxes=boxes, workers=workers)
    assert sorted(FeatureStore(tmp_path / "store").names) == ["2.png", "3.png"]
    reasons = {item.name: item.reason for item in report.skipped}
    assert "9×7 pixels (width×height), but its annotations are for 4×3; scale the boxes" in reasons["0.png"]
    assert "annotations are for 5×16; turn the boxes" in reasons["1.png"]


def test_coco_boxes_without_area_are_left_out(photos: Path, tmp_path: Path) -> None:
    given = {"0.png": [[1, 2, 3, 4], [1, 2, 3, 0], [1, 2, 0, 4]]}
    boxes = BoxLookup(_instances(tmp_path / "instances.json", given))
    _extract(photos, tmp_path / "store", build_extractor(GIVEN), boxes=boxes)
    assert FeatureStore(tmp_path / "store")["0.png"].boxes_xyxy_px.tolist() == [[1, 2, 4, 6]]


def test_store_rejects_mixing_detected_and_given_boxes(photos: Path, tmp_path: Path) -> None:
    detector = build_extractor({"kind": "faster_rcnn", "detector": "scenes"})
    images, store = list_images(photos)[:3], tmp_path / "store"
    given = BoxLookup(_instances(tmp_path / "a.json", {f"{n}.png": [[0, 0, 3, 2]] for n in range(7)}))
    options = ExtractionOptions(boxes=given)
    extract_images(images[:1], store, detector)
    with pytest.raises(DataError, match="boxes 'found', not 'given'"):
        extract_images(images, store, detector, options)
    extract_images(images[:1], tmp_path / "given", detector, options)
    with pytest.raises(DataError, match="boxes 'given', not 'found'"):
        extract_images(images, tmp_path / "given", detector)
    # A store of an older version does not tell, and is continued as it was then.
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest.pop("boxes") == "found"
    (store / "manifest.json").write_text(json.dumps(manifest))
    report = extract_images(images[:1], store, detector, options)
    assert (report.already_stored, list(report.skipped)) == (1, [])


@pytest.mark.parametrize("spec", [GIVEN, {"kind": "faster_rcnn", "detector": "scenes"}])
def test_stored_image_with_other_boxes_is_skipped(photos: Path, tmp_path: Path, spec: dict[str, Any]) -> None:
    extractor, store = build_extractor(spec), tmp_path / "store"
    first = {"0.png": [[0, 0, 3, 2], [1, 1, 8.4, 2]], "2.png": [[0, 0, 2.3, 2.7]], "5.png": []}
    report = _extract(photos, store, extractor, boxes=BoxLookup(_instances(tmp_path / "a.json", first)))
    assert report.added == 3
    # The same boxes and more pictures continue it; other boxes, or another number of them, do not.
    names = [image.name for image in list_images(photos)]
    more = BoxLookup(_instances(tmp_path / "b.json", first | {"6.png": [[0, 0, 1, 9]]}, {"6.png": (1, 50)}))
    report = _extract(photos, store, extractor, boxes=more)
    assert (report.added, report.already_stored, len(report.skipped)) == (1, 3, len(names) - 4)
    others = first | {"2.png": [[0, 0, 2.5, 2.7]], "5.png": [[0, 0, 1, 1]]}
    report = _extract(photos, store, extractor, boxes=BoxLookup(_instances(tmp_path / "c.json", others)))
    messages = [str(item) for item in report.skipped if "with other boxes" in item.reason]
    assert messages == [
        f"{photos / name}: this picture is in the store with other boxes than {tmp_path / 'c.json'} has; "
        "create a new store for them"
        for name in ("2.png", "5.png")
    ]
    assert (report.added, report.already_stored) == (0, 2)


def test_store_keeps_dtype_and_rejects_other_extractor(photos: Path, tmp_path: Path) -> None:
    images = list_images(photos)
    options = ExtractionOptions(dtype="float16")
    extract_images(images[:2], tmp_path / "store", build_extractor(GRID), options)
    extract_images(images, tmp_path / "store", build_extractor(GRID))
    assert FeatureStore(tmp_path / "store").manifest.feature_dtype == "float16"
    with pytest.raises(DataError, match=r"regular-grid-2x3.*regular-grid-3x3"):
        extract_images(images, tmp_path / "store", build_extractor(GRID | {"rows": 3}))


def test_in_memory_extractor_is_rejected_with_several_workers(photos: Path, tmp_path: Path) -> None:
    class InMemory(FailingExtractor):
        def to_dict(self) -> dict[str, Any]:
            raise ConfigurationError("created in memory")

    extractor = InMemory(99, RuntimeError())
    with pytest.raises(ConfigurationError, match="only be used with one worker"):
        _extract(photos, tmp_path / "store", extractor, workers=2)  # type: ignore[arg-type]
    assert _extract(photos, tmp_path / "store", extractor).added == 7  # type: ignore[arg-type]
    assert FeatureStore(tmp_path / "store").manifest.description is None


# Which images, and their names


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _names(folder: Path, naming: NamingScheme, exclude: Sequence[Path] = ()) -> list[str]:
    return [image.name for image in list_images(folder, naming, exclude)]


def test_naming_schemes_use_short_names_where_unique(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg", "2.png", "3.jpg", ".hidden/4.jpg", ".5.jpg")
    assert _names(tmp_path, NamingScheme.FILE) == ["2.png", "3.jpg", "a/1.jpg", "b/1.jpg", "2.jpg"]
    assert _names(tmp_path, NamingScheme.STEM) == ["2.png", "3", "a/1.jpg", "b/1.jpg", "b/2.jpg"]
    assert _names(tmp_path, NamingScheme.PATH) == ["2.png", "3.jpg", "a/1.jpg", "b/1.jpg", "b/2.jpg"]


def test_naming_by_stem_never_gives_equal_names(tmp_path: Path) -> None:
    # The stem of the first is the path of the second, which keeps it because of the third.
    _touch(tmp_path, "1.jpg.png", "1.jpg", "x/1.jpg")
    assert _names(tmp_path, NamingScheme.STEM) == ["1.jpg", "1.jpg.png", "x/1.jpg"]


def test_image_list_excludes_store_and_symlink_cycles(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.jpg", "store/rank-00000-part-00000.data", "store/deeper/2.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert _names(tmp_path, NamingScheme.PATH, [tmp_path / "a" / ".." / "store"]) == ["a/1.jpg"]


def test_only_first_by_name_of_links_to_one_folder_is_listed(tmp_path: Path) -> None:
    _touch(tmp_path, "pictures/1.jpg")
    for name in "hdbgcfae":
        (tmp_path / name).symlink_to(tmp_path / "pictures")
    assert _names(tmp_path, NamingScheme.PATH) == ["a/1.jpg"]


def test_list_file_paths_resolve_against_list_folder_or_cwd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "lists/near/1.jpg", "2.jpg", "sub/2.jpg")
    (tmp_path / "lists" / "all.txt").write_text("near/1.jpg\n\n2.jpg\nsub/2.jpg \n2.jpg\nabsent.jpg\n")
    monkeypatch.chdir(tmp_path)
    found = list_images(Path("lists/all.txt"))
    assert [image.name for image in found] == ["1.jpg", "2.jpg", "sub/2.jpg", "absent.jpg"]
    assert [str(image.path) for image in found] == ["lists/near/1.jpg", "2.jpg", "sub/2.jpg", "absent.jpg"]


def test_tilde_in_names_of_folder_entries_is_not_expanded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "1.png").rename(photos / "~b.png")
    (photos / "~").mkdir()
    (photos / "2.png").rename(photos / "~" / "c.png")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "c.png").write_text("another one")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(photos)  # so that the names begin the paths
    report = _extract(Path(), tmp_path / "store", build_extractor(GRID))
    assert (report.added, list(report.skipped)) == (7, [])
    found, extractor = FeatureStore(tmp_path / "store"), build_extractor(GRID)
    for name, path in (("~b.png", "~b.png"), ("c.png", "~/c.png")):
        assert found[name].equals(extractor([Image.open(photos / path)])[0])


def test_list_file_expands_home_unless_literal_path_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "home/1.jpg", "lists/~2.jpg", "lists/~/3.jpg")
    (tmp_path / "lists" / "all.txt").write_text("~/1.jpg\n~2.jpg\n~/3.jpg\n~nobody-of-this-name/4.jpg\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert [str(image.path) for image in list_images(Path("lists/all.txt"))] == [
        str(tmp_path / "home" / "1.jpg"),
        "lists/~2.jpg",
        "lists/~/3.jpg",
        "~nobody-of-this-name/4.jpg",
    ]


def test_path_of_one_image_gives_that_image(photos: Path) -> None:
    assert list_images(photos / "0.png") == [NamedImage("0.png", photos / "0.png")]


def test_image_source_without_images_raises_data_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n \n")
    for source, message in (
        ("empty", "contains no file"),
        ("list.txt", "contains no image"),
        ("x", "x: no such file or folder; expected a folder of pictures, one picture, or a text file with"),
    ):
        with pytest.raises(DataError, match=message):
            list_images(tmp_path / source)


def test_unreadable_folder_raises_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.png").write_bytes(b"a")
    scan = os.scandir

    def scandir(path: str | Path) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"locked: the folder cannot be read \(Permission denied\)"):
        list_images(tmp_path)


def test_list_file_may_start_with_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\ufeffa.png\nb.png\n", encoding="utf-8")
    assert [image.name for image in list_images(tmp_path / "list.txt")] == ["a.png", "b.png"]


def test_boxes_for_extractor_with_own_boxes_are_rejected_early(photos: Path, tmp_path: Path) -> None:
    instances = {"images": [], "annotations": [], "categories": []}
    (tmp_path / "boxes.json").write_text(json.dumps(instances))
    boxes = BoxLookup(tmp_path / "boxes.json")
    with pytest.raises(ConfigurationError, match=r"regular-grid-2x3/pooled-pixels-2 places its own boxes"):
        _extract(photos, tmp_path / "store", build_extractor(GRID), boxes=boxes)
    assert not (tmp_path / "store").exists()


def test_urls_as_image_sources_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png\n\nhttps://example.org/b.png\n")
    with pytest.raises(DataError, match=r"list.txt: line 3 is a URL, https://example.org/b.png"):
        list_images(tmp_path / "list.txt")
    with pytest.raises(DataError, match=r"example.org/b.png is a URL"):
        list_images(Path("https://example.org/b.png"))


def test_absolute_path_with_a_drive_is_not_taken_for_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this system it is a folder in a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C:" / "pictures").mkdir(parents=True)
    (tmp_path / "C:" / "pictures" / "a.png").touch()
    assert [image.name for image in list_images(Path("C:/pictures"))] == ["a.png"]


@pytest.mark.parametrize("content", ["", "<html>\n<b>Not found</b>\n</html>\n"])
def test_file_with_image_extension_is_not_read_as_list(tmp_path: Path, content: str) -> None:
    photo = tmp_path / "photo.JPG"
    photo.write_text(content)
    assert list_images(photo) == [NamedImage("photo.JPG", photo)]


@pytest.mark.parametrize("content", [b"P3\n1 1\n255\n255 0 0\n", b"P6\n1 1\n255\n\xff\xfe\xfd"])
def test_ppm_without_zero_bytes_is_not_read_as_list(tmp_path: Path, content: bytes) -> None:
    picture = tmp_path / "red.ppm"
    picture.write_bytes(content)
    assert list_images(picture) == [NamedImage("red.ppm", picture)]


def test_list_line_that_is_not_a_path_raises_data_error(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a" * 5000 + "\n")
    with pytest.raises(DataError, match=r"list.txt: line 1 is not a path \(File name too long\)"):
        list_images(tmp_path / "list.txt")
