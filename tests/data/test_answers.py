"""AnswerVocabulary: soft labels, building, coverage, loading and saving."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.gqa import read_gqa
from lxmert.data.vqa import VqaExample
from lxmert.errors import DataError, VocabularyError


def example(question_id: int, top: str, *answers: str) -> VqaExample:
    return VqaExample(question_id, 1, "?", answers=answers, multiple_choice_answer=top)


def test_soft_labels_follow_the_number_of_annotators() -> None:
    vocabulary = AnswerVocabulary(["cat", "dog", "bird", "cow", "fish"])
    answers = ["dog"] * 4 + ["cat"] * 3 + ["bird"] * 2 + ["fish"]
    assert vocabulary.soft_scores(answers) == {0: 0.9, 1: 1.0, 2: 0.6, 4: 0.3}


def test_soft_scores_merge_spellings_only_when_normalising() -> None:
    vocabulary = AnswerVocabulary(["2", "dog"])
    answers = ["2", "2", "two", "Two.", "a dog"]
    assert vocabulary.soft_scores(answers) == {0: 0.6}
    assert vocabulary.soft_scores(answers, normalise=True) == {0: 1.0, 1: 0.3}


def test_merge_scores_sums_equal_spellings_and_clips_to_one() -> None:
    vocabulary = AnswerVocabulary(["2", "gray"])
    assert vocabulary.merge_scores({"two": 0.3, "2": 0.6}, normalise=True) == {0: pytest.approx(0.9)}
    assert vocabulary.merge_scores({"two": 0.9, "2": 0.9, "green": 1.0}, normalise=True) == {0: 1.0}
    assert vocabulary.merge_scores({"two": 0.9}) == {}


def test_merge_scores_of_numpy_numbers_are_python_floats() -> None:
    merged = AnswerVocabulary(["2", "green"]).merge_scores({"2": np.float32(0.25), "green": np.float32(1)})
    assert json.dumps(merged) == '{"0": 0.25, "1": 1.0}'


@given(st.lists(st.sampled_from(["2", "two", "Two.", "a dog", "dog", "cat", ""]), max_size=10))
def test_soft_labels_lie_between_0_and_1(answers: list[str]) -> None:
    scores = AnswerVocabulary(["2", "dog", ""]).soft_scores(answers, normalise=True)
    assert all(0 <= score <= 1 for score in scores.values())


def test_build_keeps_frequent_top_answers_in_order_of_frequency() -> None:
    tops = ["A dog", "dog", "Two", "2", "2.", "1,000", "cat", "bird", "bird"]
    examples = [example(number, top) for number, top in enumerate(tops)]
    assert list(AnswerVocabulary.build(examples, min_count=2)) == ["2", "bird", "dog"]
    assert list(AnswerVocabulary.build(examples, min_count=3)) == ["2"]
    with pytest.raises(VocabularyError, match="4 or more"):
        AnswerVocabulary.build(examples, min_count=4)
    with pytest.raises(VocabularyError, match="no question has a multiple_choice_answer"):
        AnswerVocabulary.build(
            [replace(question, multiple_choice_answer=None) for question in examples], min_count=1
        )
    with pytest.raises(VocabularyError, match="no question has an answer"):
        AnswerVocabulary.build([], min_count=1)


def test_coverage_counts_answerable_questions() -> None:
    examples = [
        example(1, "dog", *["dog"] * 10),
        example(2, "cat", *["cat"] * 8, "dog", "dog"),
        example(3, "cow", *["cow"] * 10),
    ]
    coverage = AnswerVocabulary(["dog"]).coverage(examples)
    assert (coverage.questions, coverage.answerable, coverage.top_answer_known) == (3, 2, 1)
    assert coverage.best_score == pytest.approx((1.0 + 0.6 + 0.0) / 3)
    assert "2 of 3 questions (66.7 %)" in coverage.summary()


def test_coverage_of_labels_counts_best_answers_and_lists_unknown_ones() -> None:
    labels = [
        {"dog": 0.9, "cat": 0.3},
        {"cat": 1.0},
        {"Two": 0.6, "cow": 0.3},
        {"cat": 1.0},
        {"cow": 1.0},
        {},
    ]
    vocabulary = AnswerVocabulary(["dog", "2"])
    coverage = vocabulary.coverage_of(labels, normalise=True)
    assert (coverage.questions, coverage.answerable, coverage.top_answer_known) == (6, 2, 2)
    assert coverage.best_score == pytest.approx((0.9 + 0.6) / 6)
    assert coverage.unknown == (("cat", 2), ("cow", 1))
    assert vocabulary.coverage_of(labels).best_score == pytest.approx(0.9 / 6)


def test_build_default_min_count_is_nine() -> None:
    examples = [
        example(number, answer, *[answer] * 10) for number, answer in enumerate(["cat"] * 8 + ["dog"] * 9)
    ]
    assert list(AnswerVocabulary.build(examples)) == ["dog"]


def test_from_answers_keeps_raw_spellings() -> None:
    answers = ["Left", "left", "yes", "yes", "no", "no", "a lot"]
    assert list(AnswerVocabulary.from_answers(answers)) == ["no", "yes", "Left", "a lot", "left"]
    assert list(AnswerVocabulary.from_answers(answers, min_count=2)) == ["no", "yes"]
    with pytest.raises(VocabularyError, match=r"3 or more .*data\.answers\.min_count"):
        AnswerVocabulary.from_answers(answers, min_count=3)


def test_published_gqa_answers_cover_all_but_two_questions(shared_data: Path) -> None:
    questions = read_gqa(shared_data / "gqa" / "testdev_balanced_questions.json", details=False)
    labels = [{question.answer or "": 1.0} for question in questions]
    published = AnswerVocabulary.load(shared_data / "answers" / "gqa_trainval_label2ans.json")
    coverage = published.coverage_of(labels)
    assert (coverage.questions, coverage.answerable) == (12_578, 12_576)
    assert coverage.unknown == (("bottle cap", 2),)
    built = AnswerVocabulary.from_answers(question.answer for question in questions if question.answer)
    assert built.coverage_of(labels).best_score == 1
    assert set(built) == {question.answer for question in questions}


def test_find_tries_raw_then_normalised_spelling() -> None:
    vocabulary = AnswerVocabulary(["dog", "Two", "2"])
    assert vocabulary.find("Two") == 1
    assert vocabulary.find("a Dog") == 0
    assert vocabulary.find("two") == 2
    assert vocabulary.find("cow") is None


def test_saved_vocabulary_loads_equal(tmp_path: Path) -> None:
    vocabulary = AnswerVocabulary(["", "café", "red box"])
    vocabulary.save(tmp_path / "answers.json")
    assert AnswerVocabulary.load(tmp_path / "answers.json") == vocabulary
    assert json.loads((tmp_path / "answers.json").read_text(encoding="utf-8")) == ["", "café", "red box"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "empty"),
        (["a", "a"], "'a' is listed twice"),
        (["a", 3], "answer 1 is a int"),
        ([{"answer": "a"}], "answer 0 is a NoneType"),
        ({"a": 0, "b": 2}, "class ids"),
        ({"a": 0, "b": "1"}, "value of 'b' is str '1'; .* class ids, which are whole numbers"),
        ({"a": False, "b": True}, "value of 'a' is bool False; .* class ids"),
        ({"info": {}, "annotations": []}, "value of 'info' is dict .* looks like an annotation file"),
        ({"annotations": [{"question_id": 1}]}, "value of 'annotations' is list .* an annotation file"),
        ({"a": [0], "b": [1]}, r"value of 'a' is list \[0\]; .* class ids, which are whole numbers"),
        ("a", "a str"),
    ],
)
def test_malformed_table_error_names_file(tmp_path: Path, table: object, message: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table))
    with pytest.raises(VocabularyError, match=message) as caught:
        AnswerVocabulary.load(path)
    assert "table.json" in str(caught.value)


@pytest.mark.parametrize(
    "lines", ['{"question_id": 1}\n{"question_id": 2}\n', '"yes"\n\n"no"\n', '["a"]\n["b"]']
)
def test_lines_of_json_in_place_of_a_table_are_named(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(lines)
    message = r"own\.jsonl: several lines of JSON, line [23] begins another value; expected one value"
    with pytest.raises(DataError, match=message):
        AnswerVocabulary.load(path)


@pytest.mark.parametrize(("text", "place"), [("[\n1]\n]", "line 3 column 1"), ("{} {}", "line 1 column 4")])
def test_rest_that_is_no_line_of_json_is_named(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "own.json").write_text(text)
    with pytest.raises(DataError, match=rf"own\.json: not JSON: .* at {place}"):
        AnswerVocabulary.load(tmp_path / "own.json")


def test_missing_table_raises_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        AnswerVocabulary.load(tmp_path / "none.json")


def test_dict_table_is_ordered_by_class_id(tmp_path: Path) -> None:
    (tmp_path / "ans2label.json").write_text(json.dumps({"b": 1, "a": 2, "": 0}))
    assert list(AnswerVocabulary.load(tmp_path / "ans2label.json")) == ["", "b", "a"]


@pytest.mark.parametrize(
    ("name", "size", "first"),
    [
        ("vqa_trainval_label2ans.json", 3129, ""),
        ("gqa_trainval_label2ans.json", 1842, None),
        ("all_ans.json", 9500, None),
    ],
)
def test_published_tables_load(shared_data: Path, name: str, size: int, first: str | None) -> None:
    vocabulary = AnswerVocabulary.load(shared_data / "answers" / name)
    assert len(vocabulary) == size
    assert first is None or vocabulary[0] == first
    assert all(vocabulary.label(answer) == label for label, answer in enumerate(vocabulary))


def test_equal_vocabularies_share_hash_and_unwritable_path_raises_data_error(tmp_path: Path) -> None:
    assert len({AnswerVocabulary(["yes", "no"]), AnswerVocabulary(["yes", "no"])}) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="the answer vocabulary cannot be written"):
        AnswerVocabulary(["yes"]).save(tmp_path / "file" / "answers.json")
