"""Readers of the JSON files published with the original LXMERT."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.image_text import ImageText
from lxmert.data.lxmert_json import (
    LabelledQuestion,
    read_lxmert_gqa,
    read_lxmert_nlvr2,
    read_lxmert_pretraining,
    read_lxmert_vqa,
)
from lxmert.data.nlvr2 import Nlvr2Example
from lxmert.errors import DataError
from tests.data.file_writers import write_file

WORDS = st.text(max_size=6)
LABELS = st.dictionaries(WORDS, st.floats(0, 1), max_size=3)


def test_each_sentence_of_each_source_becomes_one_text(tmp_path: Path) -> None:
    value = [
        {
            "img_id": "COCO_val2014_000000000042",
            "sentf": {"mscoco": ["A dog.", "A cat."], "vqa": ["How many?", "What?"], "vg": []},
            "labelf": {"vqa": [{"2": 1.0, "two": 0.3}, {}]},
        },
        {
            "img_id": "2375429",
            "sentf": {"gqa": ["Is it?"], "visual7w": ["Who?"]},
            "labelf": {"gqa": [{"yes": 1}]},
        },
        {"img_id": "7", "sentf": {}},
    ]
    assert read_lxmert_pretraining(write_file(tmp_path / "p.json", value)) == [
        ImageText("COCO_val2014_000000000042", "A dog.", "mscoco"),
        ImageText("COCO_val2014_000000000042", "A cat.", "mscoco"),
        ImageText("COCO_val2014_000000000042", "How many?", "vqa", {"2": 1.0, "two": 0.3}),
        ImageText("COCO_val2014_000000000042", "What?", "vqa", {}),
        ImageText("2375429", "Is it?", "gqa", {"yes": 1}),
        ImageText("2375429", "Who?", "visual7w"),
    ]


def test_equal_labels_and_names_share_one_object(tmp_path: Path) -> None:
    entries = [
        {"img_id": str(n), "sentf": {"gqa": ["Is it?", "Is it so?"]}, "labelf": {"gqa": [{"yes": 1.0}] * 2}}
        for n in range(3)
    ]
    texts = read_lxmert_pretraining(write_file(tmp_path / "p.json", entries))
    assert len({id(text.answers) for text in texts}) == 1
    assert len({id(text.source) for text in texts}) == 1
    assert texts[0].image is texts[1].image
    assert pickle.loads(pickle.dumps(texts)) == texts  # noqa: S301 - our own bytes


@settings(max_examples=40)
@given(
    entries=st.lists(
        st.dictionaries(
            st.sampled_from(["mscoco", "vqa", "gqa", "own"]),
            st.lists(st.tuples(WORDS, st.none() | LABELS), max_size=3),
        ),
        max_size=4,
    )
)
def test_written_texts_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, list[tuple[str, Any]]]]
) -> None:
    value, expected = [], []
    for number, sources in enumerate(entries):
        labelled = {
            source for source, pairs in sources.items() if all(label is not None for _, label in pairs)
        }
        value.append(
            {
                "img_id": f"image{number}",
                "sentf": {source: [sentence for sentence, _ in pairs] for source, pairs in sources.items()},
                "labelf": {source: [label for _, label in sources[source]] for source in labelled},
            }
        )
        expected += [
            ImageText(f"image{number}", sentence, source, label if source in labelled else None)
            for source, pairs in sources.items()
            for sentence, label in pairs
        ]
    path = write_file(tmp_path_factory.getbasetemp() / "texts.json", value)
    assert read_lxmert_pretraining(path) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"img_id": "1"}, "the file is an object, expected a list"),
        ([{"img_id": 1, "sentf": {}}], r"\[0\].img_id is int 1, expected str"),
        ([{"img_id": "1"}], r"\[0\].sentf is missing"),
        ([{"img_id": "1", "sentf": {"vqa": ["a", 3]}}], r"\[0\].sentf.vqa\[1\] is int 3, expected str"),
        ([{"img_id": "1", "sentf": {}}, {"img_id": "1", "sentf": {}}], r"\[1\].img_id '1' occurs twice"),
        (
            [{"img_id": "1", "sentf": {"vqa": ["a"]}, "labelf": {"vqa": []}}],
            r"\[0\].labelf.vqa has 0 labels for 1 sentences",
        ),
        ([{"img_id": "1", "sentf": {}, "labelf": {"vqa": []}}], r"\[0\].labelf.vqa has no sentences"),
        (
            [{"img_id": "1", "sentf": {"vqa": ["a"]}, "labelf": {"vqa": [{"x": "1"}]}}],
            r"\[0\].labelf.vqa\[0\].x is str '1', expected a finite number",
        ),
        (
            [{"img_id": "1", "sentf": {"vqa": ["a"]}, "labelf": {"vqa": [{"x": -0.3}]}}],
            r"\[0\].labelf.vqa\[0\] has a score below 0",
        ),
        (
            [{"img_id": "1", "sentf": {"vqa": ["a"]}, "labelf": {"vqa": [{"x": 1.2}]}}],
            r"\[0\].labelf.vqa\[0\] has a score above 1",
        ),
        ([{"img_id": "1", "sentf": {"vqa": ["a", "\ud83d"]}}], r"\[0\].sentf.vqa\[1\] is .* character 0 is"),
    ],
)
def test_malformed_text_error_names_location(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=r"p\.json: .*" + message):
        read_lxmert_pretraining(write_file(tmp_path / "p.json", value))


def test_score_above_1_and_lone_surrogate_raise_data_error(tmp_path: Path) -> None:
    question = {"question_id": 1, "img_id": "i", "sent": "Who?", "label": {"red": 3}}
    with pytest.raises(DataError, match=r"v\.json: \[0\].label has a score above 1, expected 0 to 1"):
        read_lxmert_vqa(write_file(tmp_path / "v.json", [question]))
    with pytest.raises(DataError, match=r"v\.json: \[0\].sent is .* character 1 is half of a surrogate pair"):
        read_lxmert_vqa(write_file(tmp_path / "v.json", [question | {"sent": "W\udc00"}]))


def test_vqa_questions_are_read_with_and_without_labels(tmp_path: Path) -> None:
    labelled = {
        "answer_type": "other",
        "img_id": "COCO_train2014_000000458752",
        "label": {"net": 1, "mesh": 0.3},
        "question_id": 458752000,
        "question_type": "what is this",
        "sent": "What is this?",
    }
    bare = {"img_id": "COCO_test2015_000000000001", "question_id": 1, "sent": "Who?"}
    assert read_lxmert_vqa(write_file(tmp_path / "v.json", [labelled, bare])) == [
        LabelledQuestion(
            458752000,
            "COCO_train2014_000000458752",
            "What is this?",
            {"net": 1, "mesh": 0.3},
            "what is this",
            "other",
        ),
        LabelledQuestion(1, "COCO_test2015_000000000001", "Who?"),
    ]


def test_gqa_question_ids_keep_leading_zeros(tmp_path: Path) -> None:
    value = [{"question_id": "07333408", "img_id": "2375429", "sent": "Is it?", "label": {"yes": 1.0}}]
    (question,) = read_lxmert_gqa(write_file(tmp_path / "g.json", value))
    assert question == LabelledQuestion("07333408", "2375429", "Is it?", {"yes": 1.0})


def test_nlvr2_pairs_are_read_with_and_without_label(tmp_path: Path) -> None:
    pair = {
        "identifier": "dev-850-0-1",
        "img0": "dev-850-0-img0",
        "img1": "dev-850-0-img1",
        "label": 0,
        "sent": "Two.",
        "uid": "nlvr2_valid_0",
    }
    unknown = {key: value for key, value in pair.items() if key != "label"} | {"identifier": "dev-850-1-1"}
    known, unlabelled = read_lxmert_nlvr2(write_file(tmp_path / "n.json", [pair, unknown]))
    assert known == Nlvr2Example(
        "dev-850-0-1", "Two.", False, "dev-850-0-img0", "dev-850-0-img1", "dev-850--1"
    )
    assert unlabelled.label is None


@pytest.mark.parametrize(
    ("reader", "changes", "message"),
    [
        (read_lxmert_vqa, {"question_id": "1"}, "question_id is str '1', expected int"),
        (read_lxmert_gqa, {"question_id": 1}, "question_id is int 1, expected str"),
        (read_lxmert_vqa, {"question_id": 1, "sent": None}, "sent is NoneType"),
        (read_lxmert_vqa, {"question_id": 1, "label": ["yes"]}, r"label is list \['yes'\], expected dict"),
        (read_lxmert_nlvr2, {"identifier": "dev-1"}, "identifier is 'dev-1', expected <split>"),
        (read_lxmert_nlvr2, {"identifier": "dev-1-1-1", "label": 2}, "label is int 2, expected 0 or 1"),
        (
            read_lxmert_nlvr2,
            {"identifier": "dev-1-1-1", "label": "True"},
            "label is str 'True', expected 0 or 1",
        ),
    ],
)
def test_malformed_question_error_names_location(
    tmp_path: Path, reader: Any, changes: dict[str, Any], message: str
) -> None:
    record = {"img_id": "a", "sent": "b", "img0": "c", "img1": "d"} | changes
    with pytest.raises(DataError, match=r"q\.json: \[0\]\." + message):
        reader(write_file(tmp_path / "q.json", [record]))


def test_duplicate_question_id_is_rejected(tmp_path: Path) -> None:
    record = {"question_id": 5, "img_id": "a", "sent": "b"}
    with pytest.raises(DataError, match=r"\[1\].question_id 5 occurs twice"):
        read_lxmert_vqa(write_file(tmp_path / "q.json", [record, record]))
