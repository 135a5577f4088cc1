"""Region sources: equal batches from memory and from disk, for every spelling of an image name."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest, encode_image
from lxmert.data.feature_store import parts as store_parts
from lxmert.data.joined_stores import JoinedStores, open_stores
from lxmert.data.region_source import ImageNameIndex, RegionSource, open_regions
from lxmert.data.region_table import RegionTable
from lxmert.data.stored_regions import StoredRegions
from lxmert.errors import DataError
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions
from tests.data.stores import DIM, EXTRACTOR, random_regions, write_store

COUNTS = (4, 0, 1, 6, 6, 3, 2)
IMAGES = {f"image{n}.jpg": random_regions(n, count) for n, count in enumerate(COUNTS)}
ORDER = ["image3", "image0", "image1", "image6", "image4"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return FeatureStore(write_store(tmp_path_factory.mktemp("store") / "s", IMAGES))


@pytest.fixture(params=["in memory", "from disk", "from disk, pickled"])
def source(request: pytest.FixtureRequest, store: FeatureStore) -> RegionSource:
    if request.param == "in memory":
        return open_regions(store, ORDER)
    source = open_regions(store, ORDER, in_memory_bytes=0)
    return pickle.loads(pickle.dumps(source)) if "pickled" in request.param else source  # noqa: S301


def rows_of(source: RegionSource, names: list[str]) -> torch.Tensor:
    return torch.tensor([source.rows[name] for name in names])


def test_regions_beyond_memory_limit_stay_on_disk(store: FeatureStore) -> None:
    # Five images of up to six objects, each of 7 features and 4 coordinates of 4 bytes.
    size = 5 * 6 * 11 * 4
    assert isinstance(open_regions(store, ORDER, in_memory_bytes=size), RegionTable)
    assert isinstance(open_regions(store, ORDER, in_memory_bytes=size - 1), StoredRegions)
    half = 5 * 6 * (7 * 2 + 4 * 4)
    kept = open_regions(store, ORDER, in_memory_bytes=half, feature_dtype=torch.float16)
    assert isinstance(kept, RegionTable)
    assert kept.batch(torch.tensor([0]))["visual_feats"].dtype == torch.float16


@pytest.mark.parametrize("names", [ORDER, ["image1", "image1"], ["image6", "image0"], ["image4"]])
def test_batch_equals_pad_regions(source: RegionSource, names: list[str]) -> None:
    batch = source.batch(rows_of(source, names))
    expected = pad_regions([IMAGES[f"{name}.jpg"] for name in names])
    assert batch.keys() == expected.keys()
    for key, values in expected.items():
        assert torch.equal(batch[key], values), key
        assert batch[key].dtype == values.dtype


def test_changing_a_batch_does_not_change_stored_regions(source: RegionSource) -> None:
    rows = rows_of(source, ["image3", "image0"])
    before = {key: values.clone() for key, values in source.batch(rows).items()}
    for values in source.batch(rows).values():
        values.fill_(3)
    for key, values in source.batch(rows).items():
        assert torch.equal(values, before[key])


def test_source_exposes_extractor_feature_dim_and_label_counts(source: RegionSource) -> None:
    assert (source.extractor, source.feature_dim, set(source.rows)) == (EXTRACTOR, DIM, set(ORDER))
    labels = source.object_labels
    assert labels is not None
    images = [IMAGES[f"{name}.jpg"] for name in ORDER]
    for count, ids in (
        (labels.object_count, [image.object_ids for image in images]),
        (labels.attribute_count, [image.attribute_ids for image in images]),
    ):
        assert (
            count
            == max(int(image_ids.max()) for image_ids in ids if image_ids is not None and len(image_ids)) + 1
        )


def test_object_labels_are_weighted_by_confidence_or_equally(source: RegionSource) -> None:
    names = ["image6", "image1", "image0"]
    labels = source.object_labels
    assert labels is not None
    weighted, unweighted = (
        labels.batch(rows_of(source, names), 4, confidences=value) for value in (True, False)
    )
    for place, name in enumerate(names):
        regions = IMAGES[f"{name}.jpg"]
        count = len(regions)
        for task, ids, scores in (
            ("obj", regions.object_ids, regions.object_scores),
            ("attr", regions.attribute_ids, regions.attribute_scores),
        ):
            assert ids is not None
            assert scores is not None
            for batch, weights in ((weighted, scores), (unweighted, torch.ones(count))):
                assert batch[task][0][place].tolist() == ids.tolist() + [-100] * (4 - count)
                assert batch[task][1][place].tolist() == weights.tolist() + [0.0] * (4 - count)


def test_gather_objects_selects_features_by_fraction(source: RegionSource) -> None:
    rows = rows_of(source, ["image3", "image3", "image6", "image1"])
    gathered = source.gather_objects(rows, torch.tensor([0.999, 0.4, 0.0, 0.7], dtype=torch.float64))
    three, six = IMAGES["image3.jpg"].features, IMAGES["image6.jpg"].features
    assert torch.equal(gathered, torch.stack([three[5], three[2], six[0], torch.zeros(DIM)]))


def test_boxes_of_one_image_are_fractions_of_its_sides(source: RegionSource) -> None:
    for name in ("image6", "image1"):
        regions = IMAGES[f"{name}.jpg"]
        height, width = regions.size_hw
        expected = [
            [x1 / width, y1 / height, x2 / width, y2 / height]
            for x1, y1, x2, y2 in regions.boxes_xyxy_px.tolist()
        ]
        boxes = source.boxes_xyxy_unit(source.rows[name])
        assert boxes.shape == (len(expected), 4)
        assert torch.allclose(boxes, torch.tensor(expected).reshape(-1, 4))


def test_boxes_outside_image_by_rounding_error_are_clamped(tmp_path: Path) -> None:
    regions = IMAGES["image0.jpg"]
    boxes = regions.boxes_xyxy_px.clone()
    boxes[1, 2] = regions.size_hw[1]
    clamped = Regions(boxes, regions.features, regions.size_hw, EXTRACTOR)
    original_boxes = boxes.numpy().copy()
    original_boxes[1, 2] += 0.5
    manifest = StoreManifest(DIM, "float32", EXTRACTOR)
    with FeatureStoreWriter(tmp_path, manifest) as writer:
        writer.append(encode_image("x", clamped, manifest, original_boxes))
    batch = open_regions(FeatureStore(tmp_path), ["x"], in_memory_bytes=0).batch(torch.tensor([0]))
    assert torch.equal(batch["visual_pos"], pad_regions([clamped])["visual_pos"])


def test_float16_store_features_are_returned_exactly(tmp_path: Path) -> None:
    store = FeatureStore(write_store(tmp_path / "s", IMAGES, "float16"))
    rounded = IMAGES["image3.jpg"].features.half()
    for dtype in (torch.float32, torch.float16):
        source = open_regions(store, ["image3"], in_memory_bytes=0, feature_dtype=dtype)
        features = source.batch(rows_of(source, ["image3"]))["visual_feats"][0]
        assert features.dtype == dtype
        assert torch.equal(features, rounded.to(dtype))


def test_batch_does_not_depend_on_thread_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 40 objects of 2,048 features: several pieces of what is copied at once.
    image = random_regions(1, 40, dim=2048)
    manifest = StoreManifest(2048, "float16", EXTRACTOR)
    with FeatureStoreWriter(tmp_path, manifest) as writer:
        writer.add("x", image)
    source = open_regions(FeatureStore(tmp_path), ["x"], in_memory_bytes=0)
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert torch.equal(source.batch(torch.tensor([0]))["visual_feats"][0], image.features.half().float())


def test_image_names_match_with_and_without_ending_and_folder(tmp_path: Path) -> None:
    names = ["train/a.jpg", "b", "c.PNG", "2.5", "c.png.jpg"]
    images = {name: random_regions(n) for n, name in enumerate(names)}
    store = FeatureStore(write_store(tmp_path / "s", images))
    find = ImageNameIndex(store).find
    assert [find(name) for name in ("a", "a.jpg", "other/train/a.png", "train/a.jpg")] == [0, 0, 0, 0]
    assert [find(name) for name in ("b", "b.jpeg", "c", "2.5", "c.png.png")] == [1, 1, 2, 3, 4]
    assert [find(name) for name in ("2", "d", "", "\ud800")] == [None] * 4
    assert ImageNameIndex(store).find_all(["d", "b.png", "e", "a"]) == {"b.png": 1, "a": 0}


def test_time_of_looking_up_names_does_not_grow_with_equal_file_names() -> None:
    """As of the frames of videos, each in a folder of its own: it took minutes to compare all with all."""

    class Names:
        path = "names"

        def __init__(self, names: list[str]) -> None:
            self.names = names
            self.looked_at = 0

        def __iter__(self) -> Iterator[str]:
            return iter(self.names)

        def find(self, name: str) -> int | None:
            return None

        def name_at(self, position: int) -> str:
            self.looked_at += 1
            return self.names[position]

    names = Names([f"video{number}/frame.jpg" for number in range(300)])
    found = ImageNameIndex(names).find_all(name.removesuffix(".jpg") for name in names)  # type: ignore[arg-type]
    assert list(found.values()) == list(range(300))
    assert names.looked_at <= 300


def test_ambiguous_image_name_is_rejected(tmp_path: Path) -> None:
    images = {name: random_regions(n) for n, name in enumerate(["train/1.jpg", "val/1.jpg"])}
    store = FeatureStore(write_store(tmp_path / "s", images))
    assert [ImageNameIndex(store).find(name) for name in ("val/1.jpg", "val/1", "all/train/1.png")] == [
        1,
        1,
        0,
    ]
    with pytest.raises(DataError, match="several images are called '1'"):
        open_regions(store, ["1"])


def test_ending_selects_image_where_store_has_no_folders(tmp_path: Path) -> None:
    """As of day1/1.gif and day2/1.png, which `lxmert extract` calls by their file names."""
    store = FeatureStore(
        write_store(tmp_path / "s", {"1.gif": random_regions(0), "1.png": random_regions(1)})
    )
    assert [ImageNameIndex(store).find(name) for name in ("day2/1.png", "day1/1.gif")] == [1, 0]
    with pytest.raises(DataError, match=r"called '1' .* such as '1\.gif' and '1\.png'; write 'day1/1' as"):
        open_regions(store, ["day1/1"])


def test_store_image_matching_names_of_two_folders_is_rejected(tmp_path: Path) -> None:
    store = FeatureStore(write_store(tmp_path / "s", {"train/1.jpg": random_regions(0)}))
    assert open_regions(store, ["1", "train/1.jpg", "all/train/1"]).rows.keys() == {
        "1", "train/1.jpg", "all/train/1",
    }  # fmt: skip
    with pytest.raises(DataError, match=r"has one image for both 'a/train/1\.jpg' and 'b/train/1'; add"):
        open_regions(store, ["1", "a/train/1.jpg", "b/train/1"])


def test_image_of_another_folder_does_not_match(tmp_path: Path) -> None:
    first = write_store(tmp_path / "a", {"cam1/1.jpg": random_regions(0)})
    second = write_store(tmp_path / "b", {"cam1/2.avif": random_regions(1)})
    for store in (FeatureStore(first), open_stores([first, second])):
        for name in ("cam2/1.jpg", "am1/1.jpg", "cam2/1"):
            with pytest.raises(
                DataError,
                match=rf"1 of 1 .*starting with {name} \(cam1/1\.jpg in the store is from another folder\);",
            ):
                open_regions(store, [name])
    assert ImageNameIndex(open_stores([first, second])).find("2") == 1


def test_missing_images_and_empty_request_are_rejected(store: FeatureStore) -> None:
    with pytest.raises(
        DataError, match=r"2 of 3 images are missing, starting with x; add them with `lxmert extract`"
    ):
        open_regions(store, ["x", "image1", "y"])
    with pytest.raises(DataError, match="no image was requested"):
        open_regions(store, [])


@pytest.mark.parametrize("memory", [0, 2**20])
def test_images_without_objects_have_one_padding_row(tmp_path: Path, memory: int) -> None:
    images = {name: random_regions(0, 0) for name in "abc"}
    source = open_regions(
        FeatureStore(write_store(tmp_path, images)), ["a", "b", "c"], in_memory_bytes=memory
    )
    batch = source.batch(torch.tensor([2, 0]))
    assert (batch["visual_feats"].shape, batch["visual_pos"].shape) == ((2, 1, DIM), (2, 1, 4))
    assert torch.equal(batch["visual_attention_mask"], torch.tensor([[0], [0]]))
    assert batch["visual_attention_mask"].dtype == torch.int64


def test_source_with_unlabelled_image_has_no_object_labels(tmp_path: Path) -> None:
    images = {"a": random_regions(0), "b": random_regions(1, labels=False)}
    store = FeatureStore(write_store(tmp_path / "s", images))
    assert open_regions(store, ["a", "b"], in_memory_bytes=0).object_labels is None
    assert open_regions(store, ["a", "b"]).object_labels is None
    assert open_regions(store, ["a"], in_memory_bytes=0).object_labels is not None


def test_class_counts_follow_names_in_manifest(tmp_path: Path) -> None:
    names = tuple(f"thing {n}" for n in range(1600))
    manifest = StoreManifest(DIM, "float32", EXTRACTOR, object_names=names, attribute_names=names[:400])
    with FeatureStoreWriter(tmp_path, manifest) as writer:
        writer.add("a", random_regions(0))
    for memory in (0, 2**20):
        labels = open_regions(FeatureStore(tmp_path), ["a"], in_memory_bytes=memory).object_labels
        assert labels is not None
        assert (labels.object_count, labels.attribute_count) == (1600, 400)


def test_open_regions_reads_no_feature_data(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped: list[str] = []
    real = store_parts.map_file

    def recording_map_file(path: Path, size: int) -> memoryview:
        mapped.append(path.suffix)
        return real(path, size)

    monkeypatch.setattr("lxmert.data.feature_store.reader.map_file", recording_map_file)
    fresh = FeatureStore(store.path)
    open_regions(fresh, ORDER, in_memory_bytes=0)
    assert mapped
    assert ".data" not in mapped


class TestJoinedStores:
    def joined(self, folder: Path) -> JoinedStores:
        items = list(IMAGES.items())
        first = write_store(folder / "first", dict(items[:3]))
        second = write_store(folder / "second", dict(items[2:]))
        store = open_stores([first, second])
        assert isinstance(store, JoinedStores)
        return store

    def test_joined_stores_read_as_one_store(self, tmp_path: Path) -> None:
        store = self.joined(tmp_path)
        assert (len(store), store.extractor, store.feature_dim) == (8, EXTRACTOR, DIM)
        assert list(store)[2:4] == ["image2.jpg", "image2.jpg"]
        checksums = store.checksums().tolist()
        assert checksums[2] == checksums[3]
        assert len(set(checksums)) == len(IMAGES)
        assert [store.find(name) for name in ("image2.jpg", "image3.jpg", "image3")] == [2, 4, None]
        for memory in (0, 2**20):
            names = ["image2", "image5.jpg", "image2.jpg", *ORDER]
            source = open_regions(store, names, in_memory_bytes=memory)
            batch = source.batch(rows_of(source, names))
            images = [IMAGES[f"{name.removesuffix('.jpg')}.jpg"] for name in names]
            for key, values in pad_regions(images).items():
                assert torch.equal(batch[key], values), key
            assert source.object_labels is not None

    def test_joined_stores_reject_other_extractors_duplicates_and_empty_list(self, tmp_path: Path) -> None:
        first = write_store(tmp_path / "first", {"a": random_regions(0)})
        manifest = StoreManifest(DIM, "float32", "another/7")
        with FeatureStoreWriter(tmp_path / "second", manifest) as writer:
            writer.add("b", random_regions(1, extractor="another/7"))
        with pytest.raises(DataError, match=r"has features of 'another/7' .* expected one extractor"):
            open_stores([first, tmp_path / "second"])
        with pytest.raises(DataError, match="no feature store"):
            open_stores([])
        with pytest.raises(DataError, match="one of them was given twice"):
            open_stores([first, tmp_path / "second", first / ".." / "first"])

    def test_joined_stores_reject_position_out_of_range(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no image at position 8"):
            self.joined(tmp_path).arrays_at(8)
