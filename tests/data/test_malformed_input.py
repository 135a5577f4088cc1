"""Malformed input: for any file content, each reader returns or raises a single-line DataError, quickly."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxmert.data.box_annotations import read_coco_boxes
from lxmert.data.captions import read_captions
from lxmert.data.gqa import read_gqa
from lxmert.data.gqa_scene_graphs import read_gqa_choices, read_scene_graphs
from lxmert.data.jsonl import read_jsonl
from lxmert.data.lxmert_json import (
    read_lxmert_gqa,
    read_lxmert_nlvr2,
    read_lxmert_pretraining,
    read_lxmert_vqa,
)
from lxmert.data.nlvr2 import read_nlvr2
from lxmert.data.visual_genome import read_visual_genome_boxes
from lxmert.data.visual_genome_texts import read_coco_ids, read_question_answers, read_region_phrases
from lxmert.data.vqa import read_vqa, read_vqa_annotations
from lxmert.errors import DataError
from tests.data import test_captions, test_gqa, test_nlvr2, test_readers, test_visual_genome

# One valid value per format; a list of records stands for JSON lines where the reader expects them.
FORMATS: dict[str, tuple[Callable[[Path], Any], Any]] = {
    "gqa": (read_gqa, {"1": test_gqa.gqa_record()}),
    "choices": (read_gqa_choices, {"1": {"valid": ["a"], "plausible": ["a"]}}),
    "scene graphs": (read_scene_graphs, {"1": test_gqa.scene_graph()}),
    "nlvr2": (read_nlvr2, [test_nlvr2.nlvr2_record()]),
    "captions": (read_captions, test_captions.captions()),
    "regions": (read_region_phrases, [{"id": 1, "regions": [{"phrase": "a"}]}]),
    "region questions": (read_question_answers, [{"id": 1, "qas": [{"question": "a", "answer": "b"}]}]),
    "coco ids": (read_coco_ids, [{"image_id": 1, "coco_id": 2}]),
    "pre-training": (
        read_lxmert_pretraining,
        [{"img_id": "1", "sentf": {"vqa": ["a"]}, "labelf": {"vqa": [{"b": 1.0}]}}],
    ),
    "vqa fine-tuning": (
        read_lxmert_vqa,
        [{"question_id": 1, "img_id": "a", "sent": "b", "label": {"c": 1}, "answer_type": "d"}],
    ),
    "gqa fine-tuning": (
        read_lxmert_gqa,
        [{"question_id": "1", "img_id": "a", "sent": "b", "label": {"c": 1.0}}],
    ),
    "nlvr2 fine-tuning": (
        read_lxmert_nlvr2,
        [{"identifier": "a-1-2-3", "img0": "b", "img1": "c", "sent": "d", "label": 1}],
    ),
    "own": (read_jsonl, [{"image": ["a", "b"], "sentence": "c", "answers": ["d"], "label": True, "id": 1}]),
    "instances": (
        read_coco_boxes,
        test_readers.instances() | {"categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]},
    ),
    "visual genome": (
        lambda path: read_visual_genome_boxes(path, path, path),
        [test_visual_genome.OBJECTS[0] | test_visual_genome.ATTRIBUTES[0] | test_visual_genome.SIZES[1]],
    ),
    "vqa questions": (read_vqa, {"questions": [test_readers.question(1)], "data_type": "mscoco"}),
    "vqa annotations": (read_vqa_annotations, {"annotations": [test_readers.annotation(1)]}),
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def serialised(name: str, value: Any) -> str:
    is_lines = name in ("nlvr2", "own") and isinstance(value, list)
    return "\n".join(map(json.dumps, value)) if is_lines else json.dumps(value)


def json_paths(value: Any, json_path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The key paths of a JSON value and of everything inside it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [json_path, *(deeper for key in keys for deeper in json_paths(value[key], (*json_path, key)))]


def with_replacement(value: Any, json_path: tuple[Any, ...], replacement: Any) -> Any:
    if not json_path:
        return replacement
    changed = copy.deepcopy(value)
    inner = changed
    for key in json_path[:-1]:
        inner = inner[key]
    inner[json_path[-1]] = replacement
    return changed


def read_error(name: str, path: Path) -> str | None:
    """The reader's error message, or None where it reads the file; other errors than DataError propagate."""
    try:
        FORMATS[name][0](path)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_valid_value_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "right.json"
    path.write_text(serialised(name, FORMATS[name][1]))
    assert read_error(name, path) is None


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_replaced_value_is_read_or_raises_single_line_data_error(
    name: str, tmp_path: Path, data: st.DataObject
) -> None:
    valid = FORMATS[name][1]
    json_path = data.draw(st.sampled_from(json_paths(valid)))
    path = tmp_path / "junk.json"
    path.write_text(serialised(name, with_replacement(valid, json_path, data.draw(JSON_VALUES))))
    message = read_error(name, path)
    assert message is None or (message.startswith(f"{path}: ") and "\n" not in message)


@pytest.mark.parametrize("name", FORMATS)
def test_integer_beyond_float_range_is_read_or_raises_data_error(name: str, tmp_path: Path) -> None:
    valid = FORMATS[name][1]
    path = tmp_path / "huge.json"
    for json_path in json_paths(valid):
        path.write_text(serialised(name, with_replacement(valid, json_path, 10**400)))
        message = read_error(name, path)
        assert message is None or message.startswith(f"{path}: ")


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_read_or_raise_single_line_data_error(
    name: str, tmp_path: Path, data: st.DataObject
) -> None:
    content = serialised(name, FORMATS[name][1]).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    path = tmp_path / "damaged.json"
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=4)) + content[end:])
    message = read_error(name, path)
    assert message is None or (message.startswith(f"{path}: ") and "\n" not in message)
