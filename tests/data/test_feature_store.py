"""Feature store: what is written is read back by name, by position, from any process, as documented."""

import json
import multiprocessing
import os
import pickle
import struct
import warnings
import zlib
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from lxmert.data.feature_store import (
    FeatureStore,
    FeatureStoreWriter,
    StoreManifest,
    encode_image,
    verify_store,
)
from lxmert.data.feature_store.layout import ENTRY_BYTES, Entry
from lxmert.data.feature_store.parts import map_file
from lxmert.data.feature_store.summary import summarise
from lxmert.errors import DataError, RegionsError
from lxmert.vision.regions import Regions
from tests.data.stores import DIM, EXTRACTOR, manifest, random_regions, write_store

THREE_IMAGES = {
    "a.jpg": random_regions(1, 5),
    "b/ü.jpg": random_regions(2, 0),
    "c": random_regions(3, 2, labels=False),
}


@pytest.fixture
def store_of_three(tmp_path: Path) -> FeatureStore:
    return FeatureStore(write_store(tmp_path / "store", THREE_IMAGES))


def test_float32_regions_are_read_back_bit_for_bit(store_of_three: FeatureStore) -> None:
    assert len(store_of_three) == 3
    assert store_of_three.names == tuple(store_of_three) == tuple(THREE_IMAGES)
    for position, (name, regions) in enumerate(THREE_IMAGES.items()):
        assert name in store_of_three
        assert store_of_three.position(name) == position
        assert store_of_three[name].equals(regions)
        assert store_of_three.regions_at(position).equals(regions)
        assert store_of_three[name].features.dtype == torch.float32
    assert store_of_three["c"].object_ids is None
    assert (store_of_three.extractor, store_of_three.feature_dim) == (EXTRACTOR, DIM)


def test_float16_rounds_features_only(tmp_path: Path) -> None:
    store = FeatureStore(write_store(tmp_path / "store", THREE_IMAGES, "float16"))
    for name, regions in THREE_IMAGES.items():
        found = store[name]
        expected = torch.from_numpy(regions.features.numpy().astype(np.float16).astype(np.float32))
        assert torch.equal(found.features, expected)
        assert torch.equal(found.boxes_xyxy_px, regions.boxes_xyxy_px)
        assert (found.object_scores is None) == (regions.object_scores is None)
    full = write_store(tmp_path / "full", THREE_IMAGES)
    sizes = [sum(file.stat().st_size for file in folder.glob("*.data")) for folder in (store.path, full)]
    assert sizes[0] < sizes[1]


def test_float16_conversion_covers_features_beyond_one_chunk(tmp_path: Path) -> None:
    # More numbers than are converted at once, and not a multiple of that.
    regions = random_regions(0, 36, dim=2051)
    with FeatureStoreWriter(tmp_path / "store", StoreManifest(2051, "float16", EXTRACTOR)) as writer:
        writer.add("a", regions)
    found = FeatureStore(tmp_path / "store")["a"].features
    assert np.array_equal(found.numpy(), regions.features.numpy().astype(np.float16).astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(
    names=st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=1, max_size=6),
    counts=st.lists(st.integers(0, 9), min_size=6, max_size=6),
    labels=st.lists(st.booleans(), min_size=6, max_size=6),
    dtype=st.sampled_from(["float32", "float16"]),
)
def test_any_names_counts_and_labels_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    counts: list[int],
    labels: list[bool],
    dtype: str,
) -> None:
    folder = tmp_path_factory.mktemp("any") / "store"
    try:
        for name in names:
            name.encode()
    except UnicodeEncodeError:  # Lone surrogates are no text; another test is about file names.
        return
    images = {
        name: random_regions(seed, counts[seed], labels=labels[seed]) for seed, name in enumerate(names)
    }
    store = FeatureStore(write_store(folder, images, dtype))
    assert store.names == tuple(names)
    for name, regions in images.items():
        assert store[name].equals(regions, tolerance=0.0 if dtype == "float32" else 4e-3)


def test_file_name_that_is_not_utf8_is_a_valid_image_name(tmp_path: Path) -> None:
    name = b"b\xe9b\xe9.jpg".decode("utf-8", "surrogateescape")
    store = FeatureStore(write_store(tmp_path / "store", {name: random_regions(1)}))
    assert store.names == (name,)
    assert name in store
    with pytest.raises(DataError, match="UTF-8"):
        write_store(tmp_path / "store", {"\ud800": random_regions(1)})
    assert "\ud800" not in store


def test_files_are_mapped_read_only_and_read_without_warning(tmp_path: Path) -> None:
    """The system reserves memory for the whole of a mapping that could be written to, in each process."""
    images = {"a": random_regions(1, 5), "b": random_regions(2, 0)}
    store = FeatureStore(write_store(tmp_path / "store", images, "float16"))
    ((files, extent),) = store.parts()
    assert all(map_file(files.path(kind), size).readonly for kind, size in extent.sizes.items())
    always_warns = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # Else torch warns once in a process, perhaps in an earlier test.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(store["a"].features, images["a"].features.half().float())
            assert len(store["b"]) == 0
            features = torch.zeros(2, 5, DIM)
            store.read_batch(np.array([1, 0]), features, np.zeros((2, 5, 4), np.float32))
            assert torch.equal(features[1], images["a"].features.half().float())
    finally:
        torch.set_warn_always(always_warns)


def test_arrays_are_read_only_views_and_regions_are_copies(store_of_three: FeatureStore) -> None:
    arrays = store_of_three.arrays_at(0)
    assert np.array_equal(arrays.features, THREE_IMAGES["a.jpg"].features.numpy())
    assert arrays.size_hw == THREE_IMAGES["a.jpg"].size_hw
    with pytest.raises(ValueError, match="read-only"):
        arrays.features[0, 0] = 1.0
    changed = store_of_three["a.jpg"]
    for tensor in (changed.features, changed.boxes_xyxy_px, changed.object_ids):
        tensor.zero_()  # type: ignore[union-attr]
    assert store_of_three["a.jpg"].equals(THREE_IMAGES["a.jpg"])


def test_files_match_documented_format(tmp_path: Path) -> None:
    """Read with nothing but struct and numpy, by docs/features.md."""
    folder = write_store(tmp_path / "store", THREE_IMAGES)
    stem = "rank-00000-part-00000"
    data, names, index = ((folder / f"{stem}.{kind}").read_bytes() for kind in ("data", "names", "index"))
    described = json.loads((folder / "manifest.json").read_text())
    assert described["format"] == "lxmert-feature-store"
    assert (described["version"], described["feature_dim"], described["feature_dtype"]) == (1, DIM, "float32")
    assert described["extractor"] == EXTRACTOR
    assert (folder / f"{stem}.synced").read_text() == "3\n"
    assert names.decode() == "a.jpg\nb/ü.jpg\nc\n"
    assert len(index) == 3 * 64
    for row, (name, regions) in enumerate(THREE_IMAGES.items()):
        entry = index[64 * row : 64 * (row + 1)]
        start, size, name_start, name_hash, name_size, objects, height, width, flags, crc, zero, own = (
            struct.unpack("<QQQQIIIIIIII", entry)
        )
        assert own == zlib.crc32(entry[:60])
        assert zero == 0
        assert start % 64 == 0
        assert names[name_start : name_start + name_size].decode() == name
        assert name_hash == struct.unpack("<Q", blake2b(name.encode(), digest_size=8).digest())[0]
        assert (objects, (height, width)) == (len(regions), regions.size_hw)
        assert flags == (0 if name == "c" else 15)
        assert crc == zlib.crc32(data[start : start + size])
        offset = start
        tensors = [regions.features, regions.boxes_xyxy_px, regions.object_ids, regions.object_scores]
        for tensor in (*tensors, regions.attribute_ids, regions.attribute_scores):
            if tensor is None:
                continue
            offset = start + -(-(offset - start) // 16) * 16
            stored = np.frombuffer(data, tensor.numpy().dtype.newbyteorder("<"), tensor.numel(), offset)
            assert np.array_equal(stored, tensor.numpy().ravel())
            offset += stored.nbytes
        assert size == offset - start


def test_open_store_does_not_change_while_writer_appends(store_of_three: FeatureStore) -> None:
    with FeatureStoreWriter(store_of_three.path, manifest()) as writer:
        assert len(writer) == 3
        assert "a.jpg" in writer
        assert "d" not in writer
        writer.add("d", random_regions(4))
        assert "d" in writer
        assert len(writer) == 4
        assert "d" not in store_of_three
        # Visible to whoever opens it now, before the writer is closed.
        assert FeatureStore(store_of_three.path)["d"].equals(random_regions(4))
    assert len(store_of_three) == 3
    assert len(pickle.loads(pickle.dumps(store_of_three))) == 3  # noqa: S301
    assert FeatureStore(store_of_three.path)["a.jpg"].equals(THREE_IMAGES["a.jpg"])


def test_store_is_split_into_parts_of_limited_size(tmp_path: Path) -> None:
    images = {f"{number}.jpg": random_regions(number, number % 4) for number in range(11)}
    with FeatureStoreWriter(tmp_path / "store", manifest(), part_bytes=700) as writer:
        for name, regions in list(images.items())[:6]:
            writer.add(name, regions)
    with FeatureStoreWriter(tmp_path / "store", manifest(), part_bytes=700) as writer:
        for name, regions in list(images.items())[6:]:
            writer.add(name, regions)
    store = FeatureStore(tmp_path / "store")
    assert len(store.parts()) > 2
    assert all(file.stat().st_size <= 700 for file in store.path.glob("*.data"))
    assert store.names == tuple(images)
    assert all(store[name].equals(regions) for name, regions in images.items())
    assert store.object_counts().tolist() == [number % 4 for number in range(11)]


class _FeatureSums(Dataset[float]):
    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, position: int) -> float:
        return float(self.store[self.store.name_at(position)].features.sum())


def test_store_opened_by_relative_path_is_readable_after_chdir(
    store_of_three: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store_of_three.path.parent)
    store = FeatureStore(store_of_three.path.name)
    monkeypatch.chdir("/")
    assert store.names == store_of_three.names
    assert store[store_of_three.names[1]].equals(store_of_three.regions_at(1))


def test_loader_workers_read_the_same_features(store_of_three: FeatureStore) -> None:
    store_of_three["a.jpg"]  # Mapped here before the workers start.
    context = multiprocessing.get_context("fork")
    loader = DataLoader(
        _FeatureSums(store_of_three), batch_size=1, num_workers=2, multiprocessing_context=context
    )
    expected = [float(regions.features.sum()) for regions in THREE_IMAGES.values()]
    assert [float(value) for value in loader] == pytest.approx(expected)


def test_pickled_store_is_small_and_reads_the_same_regions(store_of_three: FeatureStore) -> None:
    store_of_three["a.jpg"]
    passed = pickle.dumps(store_of_three)
    assert len(passed) < 2_000
    there = pickle.loads(passed)  # noqa: S301
    assert all(there[name].equals(regions) for name, regions in THREE_IMAGES.items())


def test_reading_all_images_allocates_no_private_memory(tmp_path: Path) -> None:
    with FeatureStoreWriter(tmp_path / "store", StoreManifest(2048, "float32", EXTRACTOR)) as writer:
        for number in range(150):
            writer.add(str(number), random_regions(number % 5, 36, dim=2048))
    assert next(tmp_path.glob("store/*.data")).stat().st_size > 40 * 2**20
    store = FeatureStore(tmp_path / "store")
    store.regions_at(0)
    before = _private_bytes()
    for position in range(len(store)):
        store.regions_at(position)
    assert _private_bytes() - before < 8 * 2**20


def _private_bytes() -> int:
    rollup = Path("/proc/self/smaps_rollup")
    if not rollup.exists():
        pytest.skip("this system does not tell a process's private memory")
    lines = rollup.read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty"))


def test_box_outside_image_by_rounding_is_clamped_when_read(tmp_path: Path) -> None:
    original_boxes = np.array([[0, 0, 83.4, 61]], np.float32)
    regions = Regions(torch.from_numpy(original_boxes), torch.ones(1, DIM), (61, 83), EXTRACTOR)
    with FeatureStoreWriter(tmp_path / "store", manifest()) as writer:
        writer.append(encode_image("a", regions, writer.manifest, original_boxes))
        writer.add("b", random_regions(1))
    store = FeatureStore(tmp_path / "store")
    assert verify_store(store.path).boxes_leaving == 1
    assert store["a"].boxes_xyxy_px.tolist() == [[0, 0, 83, 61]]
    assert np.array_equal(store.arrays_at(0).boxes_xyxy_px, original_boxes)


def test_adding_existing_image_is_rejected(store_of_three: FeatureStore) -> None:
    with (
        FeatureStoreWriter(store_of_three.path, manifest()) as writer,
        pytest.raises(DataError, match=r"'a\.jpg' is already in the store"),
    ):
        writer.add("a.jpg", random_regions(9))
    assert FeatureStore(store_of_three.path)["a.jpg"].equals(THREE_IMAGES["a.jpg"])


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (random_regions(1, extractor="other"), "'other'.*'test/7'.*one extractor per store"),
        (random_regions(1, dim=8), "8 features per object, but the store has 7"),
    ],
)
def test_regions_of_other_extractor_or_feature_dim_are_rejected(
    tmp_path: Path, regions: Regions, message: str
) -> None:
    with pytest.raises(RegionsError, match=message):
        write_store(tmp_path / "store", {"x": regions})


def test_feature_beyond_float16_range_is_rejected(tmp_path: Path) -> None:
    regions = random_regions(1)
    regions.features[2, 3] = -70_000.0
    with pytest.raises(RegionsError, match=r"x: features reach 70000.*float32"):
        write_store(tmp_path / "store", {"x": regions}, "float16")
    write_store(tmp_path / "other", {"x": regions})


@pytest.mark.parametrize("name", ["", None, 7, "n" * 70_000])
def test_invalid_image_name_is_rejected(tmp_path: Path, name: object) -> None:
    with pytest.raises(DataError, match="name"):
        write_store(tmp_path / "store", {name: random_regions(1)})  # type: ignore[dict-item]


def test_unknown_image_error_shows_example_name(store_of_three: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"no image 'a' among its 3 images; names look like 'a\.jpg'"):
        store_of_three["a"]
    for position in (3, -1):
        with pytest.raises(DataError, match=f"no image at position {position}"):
            store_of_three.regions_at(position)
    assert 7 not in store_of_three
    assert store_of_three.find("a") is None


def test_empty_store_opens_without_images(tmp_path: Path) -> None:
    store = FeatureStore(write_store(tmp_path / "store", {}))
    assert (len(store), store.names, list(store.object_counts())) == (0, (), [])
    assert "a" not in store
    with pytest.raises(DataError, match="no image 'a' among its 0"):
        store["a"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (StoreManifest(DIM, "float16", EXTRACTOR), "feature_dtype 'float32', not 'float16'"),
        (StoreManifest(8, "float32", EXTRACTOR), "feature_dim 7, not 8"),
        (StoreManifest(DIM, "float32", "b"), "extractor 'test/7', not 'b'"),
    ],
)
def test_writer_rejects_store_with_other_manifest(
    store_of_three: FeatureStore, other: StoreManifest, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        FeatureStoreWriter(store_of_three.path, other)


@pytest.mark.parametrize("links", [True, False])
def test_manifest_is_written_once_with_and_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    narrow = StoreManifest(1, "float32", EXTRACTOR)
    assert narrow.write_if_absent(tmp_path)
    assert not StoreManifest(2, "float32", EXTRACTOR).write_if_absent(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert StoreManifest.read(tmp_path) == narrow


@pytest.mark.parametrize(
    "wrong",
    [
        {"feature_dim": 0},
        {"feature_dim": True},
        {"feature_dtype": "float64"},
        {"extractor": ""},
        {"version": 2},
        {"format": "zip"},
        {"object_names": [1]},
    ],
)
def test_malformed_manifest_error_names_file(store_of_three: FeatureStore, wrong: dict[str, object]) -> None:
    path = store_of_three.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(DataError, match=next(iter(wrong))) as caught:
        FeatureStore(store_of_three.path)
    assert str(path) in str(caught.value)


def test_only_stores_are_opened_and_only_empty_folders_become_stores(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such feature store"):
        FeatureStore(tmp_path / "absent")
    with pytest.raises(DataError, match="not a feature store"):
        FeatureStore(tmp_path)
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(DataError, match=r"contains 'thesis\.tex'"):
        FeatureStoreWriter(tmp_path, manifest())
    with pytest.raises(DataError, match="is a file"):
        FeatureStoreWriter(tmp_path / "thesis.tex", manifest())
    with pytest.raises(
        DataError, match=r"thesis\.tex: a file, .* `lxmert features import` makes one of a TSV"
    ):
        FeatureStore(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_second_manifest_does_not_replace_first(tmp_path: Path) -> None:
    assert manifest("float16").write_if_absent(tmp_path)
    assert not manifest("float32").write_if_absent(tmp_path)
    assert StoreManifest.read(tmp_path) == manifest("float16")
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_manifest_keeps_class_names_and_extractor_description(tmp_path: Path) -> None:
    known = StoreManifest(DIM, "float32", EXTRACTOR, {"kind": "x"}, ("cat", "dog"), ("red",))
    FeatureStoreWriter(tmp_path / "store", known).close()
    assert FeatureStore(tmp_path / "store").manifest == known


def test_summarise_counts_without_reading_features(store_of_three: FeatureStore) -> None:
    next(store_of_three.path.glob("*.data")).write_bytes(
        bytes(next(store_of_three.path.glob("*.data")).stat().st_size)
    )
    found = summarise(store_of_three)
    assert (found["images"], found["objects"], found["objects_per_image"]) == (3, 7, [0, 5])
    assert found["labels"] == dict.fromkeys(found["labels"], 2)
    assert len(found["labels"]) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_offset": 2**62},
        {"data_offset": 2**64 - 1},
        {"objects": 2**32 - 1},
        {"objects": 3},
        {"height": 0},
        {"width": 0},
    ],
    ids=str,
)
def test_index_entry_with_invalid_offset_or_size_raises_data_error(
    tmp_path: Path, wrong: dict[str, int]
) -> None:
    folder = write_store(tmp_path / "store", THREE_IMAGES)
    (path,) = folder.glob("*.index")
    last = path.read_bytes()[-ENTRY_BYTES:]
    images = memoryview(path.read_bytes())
    entry = Entry.unpack(images, 2)._replace(**wrong).pack()
    # In the midst, and with a right checksum, as one who means harm would write it.
    path.write_bytes(bytes(images[: 2 * ENTRY_BYTES]) + entry + last)
    next(folder.glob("*.synced")).write_text("4")
    store = FeatureStore(folder)
    for read in (
        lambda: store.regions_at(2),
        lambda: store["c"],
        store.object_counts,
        lambda: store.read_batch(np.arange(1), torch.zeros(1, 9, DIM), np.zeros((1, 9, 4), np.float32)),
    ):
        with pytest.raises(DataError, match=r"index: the entry of image 2 is damaged"):
            read()
