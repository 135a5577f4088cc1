"""Streaming JSON and JSON Lines readers: equal to the standard library, in bounded memory."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data import json_stream
from lxmert.data.json_stream import stream_json, stream_jsonl, stream_lists, stream_records
from lxmert.errors import DataError
from tests.data.file_writers import write_file

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
LAYOUTS = st.sampled_from([{}, {"indent": 1}, {"indent": 3}, {"separators": (",", ":")}])


@pytest.fixture(params=[1, 7, 1 << 22])
def chunk_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Characters read at a time: chunk boundaries fall at every position."""
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", request.param)
    return request.param


@settings(max_examples=40)
@given(value=st.lists(VALUES, max_size=5), layout=LAYOUTS, size=st.integers(1, 9), ascii_only=st.booleans())
def test_stream_json_yields_list_elements(
    tmp_path_factory: pytest.TempPathFactory,
    value: list[Any],
    layout: dict[str, Any],
    size: int,
    ascii_only: bool,
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, **layout)
    path = write_file(tmp_path_factory.getbasetemp() / "list.json", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK_CHARACTERS", size)
        assert list(stream_json(path)) == [(f"[{number}]", item) for number, item in enumerate(value)]


@settings(max_examples=40)
@given(value=st.dictionaries(st.text(max_size=4), VALUES, max_size=5), layout=LAYOUTS, size=st.integers(1, 9))
def test_stream_json_yields_object_fields(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any], layout: dict[str, Any], size: int
) -> None:
    path = write_file(tmp_path_factory.getbasetemp() / "object.json", json.dumps(value, **layout))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK_CHARACTERS", size)
        assert list(stream_json(path)) == list(value.items())


@settings(max_examples=100)
@given(text=st.text(alphabet='[]{}",:0123.-eEtrufalsn \n\\\u00e9', max_size=30), size=st.integers(1, 5))
def test_stream_json_rejects_exactly_what_json_loads_rejects(
    tmp_path_factory: pytest.TempPathFactory, text: str, size: int
) -> None:
    path = write_file(tmp_path_factory.getbasetemp() / "any.json", text)
    try:
        # Pairs, so that keys which occur twice count.
        expected = json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs))
    except json.JSONDecodeError:
        expected = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK_CHARACTERS", size)
        if isinstance(expected, list | tuple):
            found = len(expected) if isinstance(expected, list) else len(expected[1])
            assert len(list(stream_json(path))) == found
        else:
            with pytest.raises(DataError, match=r"any\.json"):
                list(stream_json(path))


def test_number_split_across_chunks_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[0.5, 1e+2, 123456, -1.25E-3, 7]"
    path = write_file(tmp_path / "n.json", text)
    for chunk_size in range(1, len(text)):
        monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk_size)
        assert [value for _, value in stream_json(path)] == [0.5, 100.0, 123456, -0.00125, 7]


def test_duplicate_key_is_yielded_twice(tmp_path: Path) -> None:
    assert list(stream_json(write_file(tmp_path / "t.json", '{"a": 1, "a": 2}'))) == [("a", 1), ("a", 2)]


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert list(stream_json(path)) == [("[0]", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"contains no JSON list or object at line 1 column 1"),
        ("17", r"contains no JSON list or object"),
        ("[1, 2", r"expected ',' at line 1 column 6"),
        ("[1,\n 2 3]", r"expected ',' at line 2 column 4"),
        ("[1,\n\n  tru]", r"Expecting value at line 3 column 3"),
        ('{"a" 1}', r"expected ':' at line 1 column 6"),
        ("{a: 1}", r"expected a key in double quotes at line 1 column 2"),
        ("[1] 2", r"unexpected content after the end at line 1 column 5"),
        ("[" + "9" * 5000 + "]", r"too many digits"),
        ('[{"a": "open}]', r"Unterminated string starting at at line 1 column 8"),
        ("[" * 200_000, r"nested too deeply"),
    ],
)
def test_invalid_json_error_names_line_and_column(
    tmp_path: Path, text: str, message: str, chunk_size: int
) -> None:
    with pytest.raises(DataError, match=r"x\.json: .*" + message):
        list(stream_json(write_file(tmp_path / "x.json", text)))


def test_early_syntax_error_is_raised_before_reading_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 20_000)
    path = write_file(tmp_path / "long.json", "[1, ?" + " 2," * 1_000_000 + " 3]")
    read = []
    with pytest.raises(DataError, match="line 1 column 5"):
        list(stream_json(path, progress=lambda name, total: read.append))
    assert sum(read) == 0  # not one megabyte of three


def test_stream_json_memory_stays_below_file_size(tmp_path: Path) -> None:
    path = write_file(tmp_path / "big.json", json.dumps([{"text": "x" * 1000}] * 12_000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in stream_json(path)) == 12_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 12e6
    assert peak < 8e6


def test_progress_counts_megabytes(tmp_path: Path) -> None:
    path = write_file(tmp_path / "big.json", json.dumps(["x" * 999_996] * 5))
    bars: list[tuple[str, int]] = []
    done: list[int] = []

    def start(name: str, total: int) -> Callable[[int], None]:
        bars.append((name, total))
        return done.append

    assert len(list(stream_json(path, progress=start))) == 5
    assert bars == [("Reading big.json (MB)", 5)]
    assert sum(done) == 5


@pytest.mark.parametrize("text", ["x" * 10, "é" * 1_200_000], ids=["less than one MB", "two-byte characters"])
def test_progress_reaches_total_at_end_of_file(tmp_path: Path, text: str) -> None:
    totals: list[int] = []
    done: list[int] = []

    def start(name: str, total: int) -> Callable[[int], None]:
        totals.append(total)
        return done.append

    # UTF-8, "é" in two bytes: 2.4 MB are three begun, 1.2 million letters one whole.
    path = write_file(tmp_path / "own.jsonl", json.dumps({"text": text}, ensure_ascii=False) + "\n")
    assert len(list(stream_jsonl(path, progress=start))) == 1
    assert totals == [sum(done)]
    assert len(list(stream_json(path, progress=start))) == 1
    assert sum(totals) == sum(done)


def test_record_error_names_its_location(tmp_path: Path) -> None:
    path = write_file(tmp_path / "r.json", '[{"a": 1}, {"a": "x"}]')
    first, second = stream_records(path)
    assert first.get("a", int) == 1
    with pytest.raises(DataError, match=r"r\.json: \[1\]\.a is str 'x', expected int"):
        second.get("a", int)


def test_stream_records_requires_list_or_object_as_requested(tmp_path: Path) -> None:
    listed, keyed = write_file(tmp_path / "l.json", "[{}]"), write_file(tmp_path / "k.json", '{"[k": {}}')
    assert [record.location for record in stream_records(keyed, keyed=True)] == ["[k"]
    with pytest.raises(DataError, match="the file is a list, expected an object of records"):
        list(stream_records(listed, keyed=True))
    with pytest.raises(DataError, match="the file is an object, expected a list of records"):
        list(stream_records(keyed))
    with pytest.raises(DataError, match=r"\[0\] is int 3, expected a JSON object"):
        list(stream_records(write_file(tmp_path / "n.json", "[3]")))


def test_stream_lists_yields_elements_of_named_lists(tmp_path: Path, chunk_size: int) -> None:
    path = write_file(
        tmp_path / "f.json", '{"info": {"a": [1]}, "rows": [{"n": 1}, {"n": 2}], "end": 3, "none": []}'
    )
    found = list(stream_lists(path, ("rows", "none")))
    assert [(key, value) for key, value in found if key in ("info", "end")] == [
        ("info", {"a": [1]}),
        ("end", 3),
    ]
    rows = [value for key, value in found if key == "rows"]
    assert [(row.location, row.get("n", int)) for row in rows] == [("rows[0]", 1), ("rows[1]", 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the file is a list, expected an object with rows"),
        ("{}", "rows is missing"),
        ('{"rows": {}}', "rows is dict {}, expected list"),
        ('{"rows": [3]}', r"rows\[0\] is int 3, expected a JSON object"),
        ('{"rows": [], "rows": []}', "rows occurs twice"),
        ('{"rows": []} 1', r"unexpected content after the end \(.+ ends in \.jsonl\) at line 1 column 14"),
    ],
)
def test_missing_or_malformed_named_list_raises_data_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(stream_lists(write_file(tmp_path / "f.json", text), ("rows",)))


def test_stream_jsonl_yields_records_and_skips_empty_lines(tmp_path: Path) -> None:
    path = write_file(tmp_path / "l.jsonl", '{"a": 1}\n\n  \n{"a": 2}')
    assert [(record.location, record.get("a", int)) for record in stream_jsonl(path)] == [
        ("line 1", 1),
        ("line 4", 2),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a"}', r"line 2 is not JSON: .* at column 5$"),
        ("[\n{}]", r"line 1 is not JSON: .*one JSON object per line"),
        ("{}\n3", r"line 2 is int 3, expected a JSON object"),
        ("{}\n" + "9" * 5000, r"line 2 contains a number with too many digits"),
        ("[" * 200_000, r"line 1 contains .* nested too deeply"),
    ],
)
def test_malformed_line_error_names_line_number(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=r"l\.jsonl: " + message):
        list(stream_jsonl(write_file(tmp_path / "l.jsonl", text)))


@pytest.mark.parametrize("reader", [stream_json, stream_jsonl])
def test_unreadable_file_raises_data_error(tmp_path: Path, reader: Callable[[Path], Any]) -> None:
    (tmp_path / "latin.json").write_bytes(b'["\xff"]')
    for name, message in (("none.json", "no such file"), ("latin.json", "UTF-8"), (".", "cannot be read")):
        with pytest.raises(DataError, match=message):
            list(reader(tmp_path / name))
