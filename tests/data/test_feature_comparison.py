"""compare_features: expected values computed by hand or by plain loops."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.feature_comparison import compare_features, pair_boxes
from lxmert.data.feature_exchange import import_tsv
from lxmert.data.feature_sources import open_source
from lxmert.data.feature_store import FeatureStore
from lxmert.errors import DataError
from lxmert.vision.regions import Regions
from tests.data.stores import random_regions, write_store


def _regions(boxes: list[list[float]], features: list[list[float]], ids: list[int] | None = None) -> Regions:
    return Regions(
        boxes_xyxy_px=torch.tensor(boxes).reshape(-1, 4),
        features=torch.tensor(features, dtype=torch.float32).reshape(len(boxes), -1)
        if features
        else torch.zeros(0, 2),
        size_hw=(50, 100),
        extractor="x",
        object_ids=None if ids is None else torch.tensor(ids),
        attribute_ids=None if ids is None else torch.tensor(ids) + 1,
    )


class Source(dict[str, Regions]):
    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self)


FIRST = _regions([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [[1, 0], [3, 4], [0, 0]], [1, 2, 3])
# The second box first and a fifth narrower, the first as it was, the third elsewhere.
SECOND = _regions([[20, 0, 28, 10], [0, 0, 10, 10], [70, 0, 80, 10]], [[4, 3], [1, 1], [5, 5]], [2, 9, 3])


def test_boxes_are_paired_by_overlap_and_their_features_compared() -> None:
    found = compare_features(Source(a=FIRST), Source(a=SECOND))
    assert (found.images, found.boxes, found.matched) == (1, (3, 3), 2)
    assert found.mean_iou == pytest.approx((1.0 + 0.8) / 2)
    cosines = [1 / 2**0.5, 24 / 25]
    assert found.cosines is not None
    assert found.cosines["mean"] == pytest.approx(sum(cosines) / 2)
    assert found.cosines["least"] == pytest.approx(cosines[0])
    assert found.mean_difference == pytest.approx((1.0 + 2**0.5 / 5) / 2)
    assert (found.object_agreement, found.attribute_agreement) == (0.5, 0.5)
    assert found.other_sizes == ()
    assert compare_features(Source(a=FIRST), Source(a=SECOND), min_iou=0.9).matched == 1


def test_store_compared_with_itself_agrees_fully(tmp_path: Path) -> None:
    images = {f"{number}": random_regions(number, number) for number in range(4)}
    store = FeatureStore(write_store(tmp_path / "store", images))
    found = compare_features(store, store)
    assert (found.images, found.matched, found.boxes) == (4, 6, (6, 6))
    assert found.cosines is not None
    assert found.cosines["least"] == pytest.approx(1.0)
    assert (found.mean_iou, found.mean_difference, found.object_agreement) == (1.0, 0.0, 1.0)


def test_coincident_boxes_are_paired_by_class() -> None:
    box = [0.0, 0.0, 10.0, 10.0]
    first = _regions([box, box, box], [[1, 0]] * 3, [1, 2, 3])
    second = _regions([box, box, box], [[1, 0]] * 3, [3, 1, 2])
    assert compare_features(Source(a=first), Source(a=second)).object_agreement == 1.0


_CORNERS = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=100, deadline=None)
@given(st.lists(_CORNERS, max_size=6), st.lists(_CORNERS, max_size=6), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_matching_is_greedy_by_overlap(
    first: list[tuple[int, ...]], second: list[tuple[int, ...]], least: float
) -> None:
    def regions(corners: list[tuple[int, ...]]) -> Regions:
        boxes = [[x, y, x + w, y + h] for x, y, w, h in corners]
        return _regions(boxes, [[1.0]] * len(boxes)) if boxes else _regions([], [])

    def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
        width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
        height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        return shared / (a[2] * a[3] + b[2] * b[3] - shared)

    rows, columns, overlaps = pair_boxes(regions(first), regions(second), least)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(overlaps)
    pairs = {(i, j): overlap(a, b) for i, a in enumerate(first) for j, b in enumerate(second)}
    pairs = {pair: value for pair, value in pairs.items() if value >= max(least - 1e-7, 1e-9)}
    for i, j, value in zip(rows.tolist(), columns.tolist(), overlaps.tolist(), strict=True):
        assert value == pytest.approx(pairs[i, j])
        # Nothing better was left when this pair was chosen.
        assert value == pytest.approx(max(pairs.values()))
        pairs = {pair: left for pair, left in pairs.items() if pair[0] != i and pair[1] != j}
    assert not pairs


def test_image_names_match_without_folder_and_ending() -> None:
    first = Source({"photos/COCO_1.jpg": FIRST, "b.v2": FIRST, "only.png": FIRST, "twice": FIRST})
    second = Source({"COCO_1": FIRST, "b.v2.PNG": FIRST, "x/twice.jpg": FIRST, "y/twice.jpg": FIRST})
    found = compare_features(first, second)
    assert [comparison.name for comparison in found.per_image] == ["photos/COCO_1.jpg", "b.v2"]
    assert found.only_first == ("only.png", "twice")
    assert found.only_second == ("x/twice.jpg", "y/twice.jpg")


def test_names_of_different_folders_do_not_match_and_equal_names_match_first() -> None:
    first = Source({"b/x.jpg": FIRST, "x": FIRST, "cam1/1.jpg": FIRST, "c/y.heic": FIRST})
    second = Source({"x": FIRST, "cam2/1.jpg": FIRST, "d/y.jpg": FIRST, "all/c/y": FIRST})
    found = compare_features(first, second)
    assert [comparison.name for comparison in found.per_image] == ["x", "c/y.heic"]
    assert found.only_first == ("b/x.jpg", "cam1/1.jpg")
    assert found.only_second == ("cam2/1.jpg", "d/y.jpg")


def test_incomparable_figures_are_none() -> None:
    wide = _regions([[0, 0, 10, 10]], [[1, 0, 0]])
    found = compare_features(Source(a=FIRST), Source(a=replace(wide, size_hw=(50, 99))))
    assert (found.cosines, found.mean_difference, found.object_agreement) == (None, None, None)
    assert (found.matched, found.mean_iou, found.other_sizes) == (1, 1.0, ("a",))
    apart = compare_features(Source(a=FIRST), Source(a=_regions([], [])))
    assert (apart.matched, apart.mean_iou, apart.cosines) == (0, None, None)


def test_zero_features_have_cosine_one_with_zeros_and_zero_with_others() -> None:
    boxes = [[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]]
    first = _regions(boxes, [[0.0, 0.0], [0.0, 0.0]])
    second = _regions(boxes, [[0.0, 0.0], [1.0, 0.0]])
    found = compare_features(Source(a=first), Source(a=second))
    assert found.cosines is not None
    assert (found.cosines["mean"], found.cosines["least"]) == (0.5, 0.0)


def test_least_similar_lists_worst_images_first() -> None:
    flipped = replace(FIRST, features=FIRST.features.flip(1))
    found = compare_features(
        Source(a=FIRST, b=FIRST, c=FIRST), Source(a=FIRST, b=flipped, c=_regions([], []))
    )
    assert [comparison.name for comparison in found.least_similar(2)] == ["c", "b"]


def test_comparison_without_common_image_raises_error_with_examples() -> None:
    with pytest.raises(DataError, match="no image is in both; the first has names like 'a', the second 'b'"):
        compare_features(Source(a=FIRST), Source(b=FIRST))


def test_open_source_reads_store_and_tsv_and_rejects_other_files(tmp_path: Path, shared_data: Path) -> None:
    real = shared_data / "features" / "train2014_obj36.tsv"
    import_tsv(real, tmp_path / "store", dtype="float16")
    found = compare_features(open_source(real), open_source(tmp_path / "store"))
    assert (found.images, found.matched, found.object_agreement) == (10, 360, 1.0)
    assert found.cosines is not None
    assert found.cosines["least"] > 1 - 1e-6
    assert found.mean_difference is not None
    assert 0 < found.mean_difference < 2**-11
    with pytest.raises(DataError, match="no such feature store"):
        open_source(tmp_path / "absent")
    for content in ("\n", "a\nb\tc\n", "\t" * 8 + "\n", "\x89PNG\r\n", "\x89PNG" + "\t" * 9):
        (tmp_path / "none.tsv").write_text(content)
        with pytest.raises(DataError, match=r"none\.tsv: neither a feature store nor a feature file"):
            open_source(tmp_path / "none.tsv")
    (tmp_path / "bad.tsv").write_text("a\t3\t4\t\t\t\t\t0\t\t\nb\tc\n")
    with pytest.raises(DataError, match=r"bad\.tsv: line 2: 2 fields"):
        open_source(tmp_path / "bad.tsv")["b"]
