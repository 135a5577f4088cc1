"""Whatever stands in a file, a reader returns or raises a DataError; nothing else, and never for long."""

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

# Of each format one right value; a list of records stands for JSON lines where the reader wants them.
FORMATS: dict[str, tuple[Callable[[Path], Any], Any]] = {
    "gqa": (read_gqa, {"1": test_gqa.gqa_record()}),
    "choices": (read_gqa_choices, {"1": {"valid": ["a"], "plausible": ["a"]}}),
    "scene graphs": (read_scene_graphs, {"1": test_gqa.scene_graph()}),
    "nlvr2": (read_nlvr2, [test_nlvr2.record()]),
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
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def written(name: str, value: Any) -> str:
    is_lines = name in ("nlvr2", "own") and isinstance(value, list)
    return "\n".join(map(json.dumps, value)) if is_lines else json.dumps(value)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything inside a JSON value, the value itself among them."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place, *(deeper for key in keys for deeper in places(value[key], (*place, key)))]


def replaced(value: Any, place: tuple[Any, ...], junk: Any) -> Any:
    if not place:
        return junk
    changed = copy.deepcopy(value)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = junk
    return changed


def refusal(name: str, path: Path) -> str | None:
    """What the reader says against a file, None where it reads it; any error but a DataError goes on."""
    try:
        FORMATS[name][0](path)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_right_values_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "right.json"
    path.write_text(written(name, FORMATS[name][1]))
    assert refusal(name, path) is None


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wrong_values_anywhere_are_told_in_one_line(name: str, tmp_path: Path, data: st.DataObject) -> None:
    right = FORMATS[name][1]
    place = data.draw(st.sampled_from(places(right)))
    path = tmp_path / "junk.json"
    path.write_text(written(name, replaced(right, place, data.draw(JUNK))))
    said = refusal(name, path)
    assert said is None or (said.startswith(f"{path}: ") and "\n" not in said)


@pytest.mark.parametrize("name", FORMATS)
def test_whole_numbers_beyond_any_float_are_told_in_one_line(name: str, tmp_path: Path) -> None:
    right = FORMATS[name][1]
    path = tmp_path / "huge.json"
    for place in places(right):
        path.write_text(written(name, replaced(right, place, 10**400)))
        said = refusal(name, path)
        assert said is None or said.startswith(f"{path}: ")


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_told_in_one_line(name: str, tmp_path: Path, data: st.DataObject) -> None:
    content = written(name, FORMATS[name][1]).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    path = tmp_path / "damaged.json"
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=4)) + content[end:])
    said = refusal(name, path)
    assert said is None or (said.startswith(f"{path}: ") and "\n" not in said)
