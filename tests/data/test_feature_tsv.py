"""TSV feature files: import and export of the ten published rows, of generated rows, and of corrupt rows."""

import base64
import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.feature_exchange import export_tsv, import_tsv
from lxmert.data.feature_store import FeatureStore, verify_store
from lxmert.data.feature_store.skipped import SkippedList
from lxmert.data.feature_tsv import FIELDS, parse_row
from lxmert.errors import DataError, RegionsError
from tests.data.stores import DIM, random_regions, write_store

DTYPES = {
    "objects_id": np.int64,
    "objects_conf": np.float32,
    "attrs_id": np.int64,
    "attrs_conf": np.float32,
    "boxes": np.float32,
    "features": np.float32,
}


def _row(number: int, objects: int = 3, **changes: object) -> bytes:
    """A sound row, made without the code under test; changes replace whole fields."""
    regions = random_regions(number, objects)
    fields: dict[str, object] = {
        "img_id": f"COCO_{number}",
        "img_h": regions.size_hw[0],
        "img_w": regions.size_hw[1],
        "objects_id": regions.object_ids,
        "objects_conf": regions.object_scores,
        "attrs_id": regions.attribute_ids,
        "attrs_conf": regions.attribute_scores,
        "num_boxes": objects,
        "boxes": regions.boxes_xyxy_px,
        "features": regions.features,
    } | changes
    texts = [
        base64.b64encode(value.numpy().tobytes()).decode() if isinstance(value, torch.Tensor) else str(value)
        for value in fields.values()
    ]
    return "\t".join(texts).encode()


def _rows_by_original_loader(path: Path) -> dict[str, dict[str, object]]:
    """Rows decoded as the original loader does: csv and base64."""
    csv.field_size_limit(2**31 - 1)
    rows: dict[str, dict[str, object]] = {}
    with path.open(newline="") as file:
        for item in csv.DictReader(file, FIELDS, delimiter="\t"):
            row: dict[str, object] = {key: int(item[key]) for key in ("img_h", "img_w", "num_boxes")}
            row |= {key: np.frombuffer(base64.b64decode(item[key]), kind) for key, kind in DTYPES.items()}
            rows[item["img_id"]] = row
    return rows


@pytest.fixture(scope="module")
def published_tsv(shared_data: Path) -> Path:
    return shared_data / "features" / "train2014_obj36.tsv"


def test_published_rows_are_imported_and_exported_bit_for_bit(published_tsv: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    report = import_tsv(published_tsv, tmp_path / "store", advance=steps.append)
    assert (report.added, report.found, report.repeated, report.corrupt) == (10, 0, 0, [])
    assert published_tsv.stat().st_size - 10 <= sum(steps) <= published_tsv.stat().st_size
    store = FeatureStore(tmp_path / "store")
    originals = _rows_by_original_loader(published_tsv)
    assert store.names == tuple(originals)
    for name, row in originals.items():
        regions = store[name]
        assert regions.size_hw == (row["img_h"], row["img_w"])
        assert len(regions) == row["num_boxes"] == 36
        for key, tensor in (
            ("objects_id", regions.object_ids),
            ("objects_conf", regions.object_scores),
            ("attrs_id", regions.attribute_ids),
            ("attrs_conf", regions.attribute_scores),
            ("boxes", regions.boxes_xyxy_px),
            ("features", regions.features),
        ):
            assert tensor is not None
            assert tensor.numpy().tobytes() == row[key].tobytes()  # type: ignore[attr-defined]
    assert export_tsv(store, tmp_path / "back.tsv") == 0
    assert (tmp_path / "back.tsv").read_bytes() == published_tsv.read_bytes()


def test_float16_import_rounds_published_features_only(published_tsv: Path, tmp_path: Path) -> None:
    import_tsv(published_tsv, tmp_path / "store", dtype="float16")
    store = FeatureStore(tmp_path / "store")
    for name, row in _rows_by_original_loader(published_tsv).items():
        features = np.asarray(row["features"]).reshape(36, 2048)
        found = store[name].features.numpy()
        # Half precision: ten bits after the leading one, and steps of 2^-24 below 2^-14.
        assert (np.abs(found - features) <= np.maximum(np.abs(features) * 2**-11, 2**-25)).all()
        assert store[name].boxes_xyxy_px.numpy().tobytes() == row["boxes"].tobytes()  # type: ignore[attr-defined]
    assert verify_store(tmp_path / "store").faults == []


@settings(max_examples=20, deadline=None)
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=5), end=st.sampled_from([b"\n", b"\r\n"]))
def test_imported_rows_are_exported_unchanged(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], end: bytes
) -> None:
    folder = tmp_path_factory.mktemp("tsv")
    if not any(counts):
        counts[0] = 1
    rows = [_row(number, count) for number, count in enumerate(counts)]
    (folder / "in.tsv").write_bytes(end.join(rows))
    assert import_tsv(folder / "in.tsv", folder / "store").added == len(counts)
    export_tsv(FeatureStore(folder / "store"), folder / "out.tsv")
    assert (folder / "out.tsv").read_bytes() == b"".join(row + b"\r\n" for row in rows)


def test_import_continues_after_rows_already_stored(tmp_path: Path) -> None:
    rows = [_row(number) for number in range(5)]
    (tmp_path / "half.tsv").write_bytes(b"\n".join(rows[:3]))
    (tmp_path / "all.tsv").write_bytes(b"\n".join([*rows, rows[1]]) + b"\n\n")
    import_tsv(tmp_path / "half.tsv", tmp_path / "store")
    report = import_tsv(tmp_path / "all.tsv", tmp_path / "store")
    assert (report.added, report.found, report.repeated) == (2, 3, 1)
    assert FeatureStore(tmp_path / "store").names == tuple(f"COCO_{number}" for number in range(5))


def test_import_keeps_dtype_and_extractor_of_existing_store(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(_row(0))
    (tmp_path / "b.tsv").write_bytes(_row(1))
    import_tsv(tmp_path / "a.tsv", tmp_path / "store", dtype="float16")
    import_tsv(tmp_path / "b.tsv", tmp_path / "store")
    assert FeatureStore(tmp_path / "store").manifest.feature_dtype == "float16"
    with pytest.raises(DataError, match="feature_dtype"):
        import_tsv(tmp_path / "b.tsv", tmp_path / "store", dtype="float32")
    with pytest.raises(DataError, match="extractor"):
        import_tsv(tmp_path / "b.tsv", tmp_path / "store", extractor="other")


_BOXES = random_regions(1, 3).boxes_xyxy_px
CORRUPT = {
    "two fields": (b"COCO_1\t3", "2 fields, expected 10"),
    "truncated row": (_row(1)[: len(_row(1)) // 3], "fields, expected 10"),
    "truncated last field": (_row(1)[:-3], "features"),
    "two rows on one line": (_row(1) + _row(2), "19 fields, expected 10"),
    "height not a number": (_row(1, img_h="tall"), "img_h is 'tall', expected a whole number"),
    "negative count": (_row(1, num_boxes=-3), "num_boxes is '-3'"),
    "zero height": (_row(1, img_h=0), "at least one pixel"),
    "number of 5000 digits": (_row(1, img_h="1" * 5000), "img_h is '1{40}', expected a whole number"),
    "features without boxes": (
        _row(1, 0, features=torch.ones(5)),
        "features has 20 bytes, .* each of 0 boxes",
    ),
    "extra character in base64": (_row(1).replace(b"\t3\t", b"\t3\t*"), "boxes is not base64"),
    "invalid base64": (_row(1, boxes="A*=="), "boxes is not base64"),
    "count one too high": (
        _row(1, num_boxes=4),
        "objects_id has 24 bytes, expected 1 × 8 for each of 4 boxes",
    ),
    "features of other dimension": (
        _row(1, features=torch.ones(3, DIM + 1)),
        "8 features per object, but the store has 7",
    ),
    "features not divisible by boxes": (_row(1, features=torch.ones(10)), "features has 40 bytes"),
    "NaN feature": (_row(1, features=torch.full((3, DIM), torch.nan)), "features of box 0 contain nan"),
    "box outside image": (_row(1, boxes=_BOXES + 60), "beyond the (bottom|right) edge"),
    "swapped corners": (_row(1, boxes=_BOXES.flip(1)), "not greater than"),
    "score above one": (_row(1, objects_conf=torch.tensor([0.1, 2.0, 0.3])), "object_scores of box 1 is 2"),
    "empty name": (_row(1, img_id=""), "name is ''"),
}


@pytest.mark.parametrize("case", CORRUPT)
def test_corrupt_row_raises_error_with_line_or_is_skipped_on_request(tmp_path: Path, case: str) -> None:
    content, message = CORRUPT[case]
    file = tmp_path / "f.tsv"
    file.write_bytes(b"\n".join([_row(0), b"", content, _row(5)]))
    with pytest.raises(DataError, match=rf"f\.tsv: line 3: .*{message}.*--skip-corrupt"):
        import_tsv(file, tmp_path / "store")
    assert FeatureStore(tmp_path / "store").names == ("COCO_0",)
    report = import_tsv(file, tmp_path / "store", skip_corrupt=True)
    assert (report.added, report.found) == (1, 1)
    (skipped,) = report.corrupt
    assert skipped.source == f"{file}: line 3"
    assert FeatureStore(tmp_path / "store").names == ("COCO_0", "COCO_5")
    (listed,) = SkippedList.read(tmp_path / "store")
    assert (listed["source"], listed["reason"]) == (skipped.source, skipped.reason)


def test_corrupt_first_row_creates_no_store_or_is_skipped_on_request(tmp_path: Path) -> None:
    (tmp_path / "f.tsv").write_bytes(b"rubbish\n" + _row(1))
    with pytest.raises(DataError, match="line 1: 1 fields"):
        import_tsv(tmp_path / "f.tsv", tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert len(import_tsv(tmp_path / "f.tsv", tmp_path / "store", skip_corrupt=True).corrupt) == 1


@pytest.mark.parametrize(("content", "message"), [(b"", "no valid row"), (b"\n\n", "no valid row")])
def test_file_without_rows_raises_data_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f.tsv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        import_tsv(tmp_path / "f.tsv", tmp_path / "store", skip_corrupt=True)
    with pytest.raises(DataError, match="no such file"):
        import_tsv(tmp_path / "absent.tsv", tmp_path / "store")


def test_box_slightly_outside_image_is_stored_unchanged_and_clamped_when_read(tmp_path: Path) -> None:
    boxes = torch.tensor([[-0.25, 3.0, 20.0, 62.5]])
    (tmp_path / "f.tsv").write_bytes(_row(1, 1, boxes=boxes, img_h=62))
    import_tsv(tmp_path / "f.tsv", tmp_path / "store")
    store = FeatureStore(tmp_path / "store")
    assert store["COCO_1"].boxes_xyxy_px.tolist() == [[0, 3, 20, 62]]
    export_tsv(store, tmp_path / "out.tsv")
    assert (tmp_path / "out.tsv").read_bytes() == _row(1, 1, boxes=boxes, img_h=62) + b"\r\n"
    assert verify_store(store.path).boxes_leaving == 1


def test_fields_written_as_python_bytes_literals_are_read() -> None:
    plain = _row(1).decode().split("\t")
    wrapped = [f"b'{text}'" if key in DTYPES else text for key, text in zip(FIELDS, plain, strict=True)]
    found = parse_row("\t".join(wrapped).encode()).regions
    assert found.equals(parse_row(_row(1)).regions)


def test_image_without_labels_is_exported_with_zeros(tmp_path: Path) -> None:
    bare = random_regions(4, 3, labels=False)
    store = FeatureStore(write_store(tmp_path / "store", {"a": bare, "b": random_regions(5)}))
    assert export_tsv(store, tmp_path / "out.tsv") == 1
    row = _rows_by_original_loader(tmp_path / "out.tsv")["a"]
    assert [list(np.asarray(row[key])) for key in ("objects_id", "attrs_conf")] == [[0] * 3] * 2
    assert np.asarray(row["features"]).tobytes() == bare.features.numpy().tobytes()


def test_export_rejects_name_with_tab_and_leaves_no_file(tmp_path: Path) -> None:
    store = FeatureStore(write_store(tmp_path / "store", {"a\tb": random_regions(4)}))
    with pytest.raises(DataError, match="tab or line end"):
        export_tsv(store, tmp_path / "out.tsv")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_parse_row_returns_name_and_regions_and_rejects_nan() -> None:
    row = parse_row(_row(7, 4), "somebody")
    expected = random_regions(7, 4, extractor="somebody")
    assert row.name == "COCO_7"
    assert row.regions.equals(expected)
    with pytest.raises(RegionsError, match="nan"):
        parse_row(_row(7, 4, features=torch.full((4, 2), torch.nan)))
