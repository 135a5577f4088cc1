"""Submission files: writing, reading and checking predictions of each task."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.gqa_attentions import read_gqa_attentions
from lxmert.data.question_ids import question_ids
from lxmert.data.submission_faults import Fault, FaultKind, format_id
from lxmert.data.submissions import (
    SubmissionTask,
    check_submission,
    compare_ids,
    read_submission,
    write_gqa_submission,
    write_jsonl_submission,
    write_nlvr2_submission,
    write_vqa_submission,
)
from lxmert.errors import DataError

sixty_examples = settings(max_examples=60, deadline=None)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["question_id", "answer", "questionId", "prediction", "x"]), inner, max_size=3
    ),
    max_leaves=8,
)  # fmt: skip


def counts_by_kind(faults: Any) -> dict[FaultKind, int]:
    return {fault.kind: fault.count for fault in faults}


def check(task: SubmissionTask, path: Path, content: Any, questions: Any) -> dict[FaultKind, tuple[str, ...]]:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    found = check_submission(task, path, questions)
    assert found.expected == len(questions)
    assert all(fault.count >= len(fault.examples) > 0 for fault in found.faults)
    return {fault.kind: fault.examples for fault in found.faults}


class TestWriting:
    @sixty_examples
    @given(answers=st.dictionaries(st.integers(), st.text()))
    def test_vqa_submission_bytes_equal_original_code(
        self, answers: dict[int, str], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("vqa") / "answers.json"
        write_vqa_submission(path, answers)
        rows = [{"question_id": question_id, "answer": answer} for question_id, answer in answers.items()]
        assert path.read_text(encoding="ascii") == json.dumps(rows, indent=4, sort_keys=True)
        assert read_submission("vqa", path).predictions == answers

    @sixty_examples
    @given(answers=st.dictionaries(st.text(), st.text()))
    def test_gqa_submission_bytes_equal_original_code(
        self, answers: dict[str, str], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("gqa") / "answers.json"
        write_gqa_submission(path, answers)
        rows = [{"questionId": question_id, "prediction": answer} for question_id, answer in answers.items()]
        assert path.read_text(encoding="ascii") == json.dumps(rows, indent=4, sort_keys=True)
        assert read_submission("gqa", path).predictions == answers

    def test_own_submission_keeps_integer_and_string_ids(self, tmp_path: Path) -> None:
        path = tmp_path / "answers.json"
        write_jsonl_submission(path, {7: "red", "q/1 é": "été"})
        assert json.loads(path.read_text()) == [
            {"question_id": 7, "answer": "red"},
            {"question_id": "q/1 é", "answer": "été"},
        ]
        assert check_submission("own", path, [7, "q/1 é"]).faults == ()
        found = check(
            "own", path, [{"question_id": 7.5, "answer": "red"}, {"question_id": "7", "answer": " "}], [7]
        )
        assert found[FaultKind.ID_TYPE] == ("[0] 7.5 instead of an integer or a string",)
        assert (found[FaultKind.MISSING], found[FaultKind.UNKNOWN]) == (("7",), ("7",))

    def test_nlvr2_submission_has_one_line_per_example_and_no_header(self, tmp_path: Path) -> None:
        path = tmp_path / "predictions.csv"
        write_nlvr2_submission(path, {"dev-1-0-0": True, "dev-1-1-0": False})
        assert path.read_bytes() == b"dev-1-0-0,True\ndev-1-1-0,False\n"
        assert read_submission("nlvr2", path).predictions == {"dev-1-0-0": "True", "dev-1-1-0": "False"}

    @pytest.mark.parametrize(
        ("write", "predictions", "message"),
        [
            (write_vqa_submission, {"1": "yes"}, "the id '1' is not of type int"),
            (write_vqa_submission, {True: "yes"}, "the id True is not of type int"),
            (write_vqa_submission, {1: 2}, "the answer to 1 is 2, expected a string"),
            (write_jsonl_submission, {1.5: "yes"}, "the id 1.5 is not of type int or str"),
            (write_gqa_submission, {7333408: "yes"}, "the id 7333408 is not of type str"),
            (write_gqa_submission, {"07333408": None}, "the answer to 07333408 is None"),
            (write_nlvr2_submission, {"dev-1-0-0": "True"}, "is 'True', expected a bool"),
            (write_nlvr2_submission, {"a,b": True}, "without commas and white space"),
            (write_nlvr2_submission, {"a\n": True}, "without commas and white space"),
            (write_nlvr2_submission, {"": True}, "without commas and white space"),
        ],
    )
    def test_invalid_predictions_are_rejected_and_file_is_kept(
        self, write: Any, predictions: Any, message: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "old"
        path.write_text("old")
        with pytest.raises(DataError, match=message):
            write(path, predictions)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_writing_below_a_file_raises_data_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match="the predictions cannot be written"):
            write_gqa_submission(tmp_path / "file" / "answers.json", {})


class TestChecking:
    def test_complete_file_in_any_order_has_no_faults(self, tmp_path: Path) -> None:
        rows = [{"question_id": question_id, "answer": "yes", "more": None} for question_id in (3, 1, 2)]
        assert check("vqa", tmp_path / "a.json", rows, [1, 2, 3]) == {}
        lines = "dev-2-0-0,false\r\ndev-1-0-0,TRUE"
        assert check("nlvr2", tmp_path / "a.csv", lines, ["dev-1-0-0", "dev-2-0-0"]) == {}
        assert check("gqa", tmp_path / "b.json", [], []) == {}

    def test_vqa_faults_are_listed_by_kind(self, tmp_path: Path) -> None:
        rows = [
            {"question_id": 1, "answer": "yes"},
            {"question_id": 1, "answer": "no"},
            {"question_id": "2", "answer": "yes"},
            {"question_id": 3.0, "answer": "yes"},
            {"question_id": True, "answer": "yes"},
            {"question_id": 4, "answer": 2},
            {"question_id": 5, "answer": None},
            {"question_id": 6},
            {},
            "yes",
            None,
            {"question_id": 7, "answer": " \n"},
            {"question_id": 99, "answer": " yes "},
        ]
        assert check("vqa", tmp_path / "a.json", rows, range(1, 9)) == {
            FaultKind.MALFORMED: (
                "[7] lacks answer",
                "[8] lacks question_id and answer",
                "[9] is 'yes'",
                "[10] is None",
            ),
            FaultKind.ID_TYPE: (
                "[2] '2' instead of an integer",
                "[3] 3.0 instead of an integer",
                "[4] True instead of an integer",
            ),
            FaultKind.ANSWER_TYPE: ("4 2 instead of a string", "5 None instead of a string"),
            FaultKind.DUPLICATE: ("1",),
            FaultKind.EMPTY_ANSWER: ("7",),
            FaultKind.MISSING: ("2", "3", "4", "5", "6"),
            FaultKind.UNKNOWN: ("99",),
        }
        found = read_submission("vqa", tmp_path / "a.json")
        assert (found.rows, found.predictions[1]) == (13, "no")  # the last one counts

    def test_gqa_faults_respect_leading_zeros_and_padding(self, tmp_path: Path) -> None:
        rows = [
            {"questionId": "07", "prediction": "yes "},
            {"questionId": "7", "prediction": ""},
            {"questionId": 8, "prediction": "no"},
        ]
        assert check("gqa", tmp_path / "a.json", rows, ["07", "08"]) == {
            FaultKind.ID_TYPE: ("[2] 8 instead of a string",),
            FaultKind.EMPTY_ANSWER: ("7",),
            FaultKind.PADDED_ANSWER: ("07 'yes '",),
            FaultKind.MISSING: ("08",),
            FaultKind.UNKNOWN: ("7",),
        }

    def test_nlvr2_faults_are_listed_by_kind(self, tmp_path: Path) -> None:
        lines = "identifier,prediction\na,True\nb, True\n\nc\nd,False,0.9\na,False\n\ufeffe,True\n  \n"
        assert check("nlvr2", tmp_path / "a.csv", lines, list("abcde")) == {
            FaultKind.MALFORMED: ("line 5 'c' has no comma",),
            FaultKind.DUPLICATE: ("a",),
            FaultKind.NEITHER_TRUE_NOR_FALSE: ("identifier 'prediction'", "b ' True'"),
            FaultKind.BLANK_LINE: ("line 4", "line 9"),
            FaultKind.SURPLUS_FIELD: ("line 6 'd,False,0.9'",),
            FaultKind.MISSING: ("c", "e"),
            FaultKind.UNKNOWN: ("identifier", r"'\ufeffe'"),
        }
        found = read_submission("nlvr2", tmp_path / "a.csv")
        assert found.predictions["d"] == "False"
        assert found.rows == 7

    def test_byte_order_mark_is_a_fault_and_not_part_of_first_row(self, tmp_path: Path) -> None:
        rows = {
            "vqa": ('[{"question_id": 1, "answer": "a"}]', 1),
            "gqa": ('[{"questionId": "1", "prediction": "a"}]', "1"),
            "nlvr2": ("e-1-0-0,True\n", "e-1-0-0"),
        }
        for task, (content, identifier) in rows.items():
            path = tmp_path / task
            path.write_text(content, encoding="utf-8-sig")
            found = check_submission(task, path, [identifier])  # type: ignore[arg-type]
            assert counts_by_kind(found.faults) == {FaultKind.BYTE_ORDER_MARK: 1}
            assert list(read_submission(task, path).predictions) == [identifier]  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"1": "yes"}', "contains one JSON object, expected a list"),
            ("", "contains no JSON list or object"),
            ("3", "contains no JSON list or object"),
            ('[{"question_id": 1, "answer": "yes"}', "not JSON"),
            ('[{"question_id": 1, "answer": "yes"}] x', "not JSON"),
            ("\x00", "JSON"),
        ],
    )
    def test_invalid_json_is_one_unreadable_fault(self, content: str, message: str, tmp_path: Path) -> None:
        found = check("vqa", tmp_path / "a.json", content, [1])
        assert list(found) == [FaultKind.UNREADABLE]
        assert message in found[FaultKind.UNREADABLE][0]

    @pytest.mark.parametrize("task", ["vqa", "gqa", "nlvr2"])
    def test_missing_file_folder_and_binary_file_are_unreadable(
        self, task: SubmissionTask, tmp_path: Path
    ) -> None:
        noise = tmp_path / "noise"
        noise.write_bytes(b"[\xff\xfe,True\n")
        for path in (tmp_path / "absent", tmp_path, noise):
            (fault,) = check_submission(task, path, []).faults
            assert (fault.kind, fault.count) == (FaultKind.UNREADABLE, 1)
            assert str(path) in fault.examples[0]

    @sixty_examples
    @given(value=JSON_VALUES, task=st.sampled_from(["vqa", "gqa"]))
    def test_any_json_value_is_reported_as_faults(
        self, value: Any, task: SubmissionTask, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("any") / "a.json"
        path.write_text(json.dumps(value))
        found = check_submission(task, path, [1, 2] if task == "vqa" else ["1", "2"])
        assert found.faults  # no such value is a complete file
        json.dumps(found.to_dict())

    @sixty_examples
    @given(text=st.text())
    def test_any_text_is_reported_as_missing_predictions(
        self, text: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("any") / "a.csv"
        path.write_text(text, encoding="utf-8", newline="")
        found = check_submission("nlvr2", path, ["dev-1-0-0", "dev-1-1-0"])
        assert FaultKind.MISSING in counts_by_kind(found.faults)

    @given(predicted=st.sets(st.integers(0, 30)), wanted=st.lists(st.integers(0, 30), unique=True))
    def test_compare_ids_counts_missing_and_unknown_ids(self, predicted: set[int], wanted: list[int]) -> None:
        found = counts_by_kind(compare_ids(dict.fromkeys(predicted, ""), wanted))
        assert found.get(FaultKind.MISSING, 0) == len(set(wanted) - predicted)
        assert found.get(FaultKind.UNKNOWN, 0) == len(predicted - set(wanted))

    def test_compare_ids_accepts_known_ids_beyond_questions(self) -> None:
        found = compare_ids({1: "", 2: "", 3: ""}, [1], known=[1, 2])
        assert [str(fault) for fault in found] == ["predictions for unknown questions: 1 (3)"]

    def test_fault_keeps_only_first_five_examples(self, tmp_path: Path) -> None:
        found = check("vqa", tmp_path / "a.json", [], range(1_000_000, 1_002_000))
        assert found == {FaultKind.MISSING: tuple(map(str, range(1_000_000, 1_000_005)))}
        (fault,) = check_submission("vqa", tmp_path / "a.json", range(2000)).faults
        assert str(fault) == "questions without a prediction: 2,000 (0, 1, 2, 3, 4, ...)"
        assert fault.to_dict() == {"kind": "missing", "count": 2000, "examples": ["0", "1", "2", "3", "4"]}


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        (12, "12"),
        ("dev-1-0-0", "dev-1-0-0"),
        ("", "''"),
        (" a", "' a'"),
        ("a\n", r"'a\n'"),
        ("\ud800", r"'\ud800'"),
        ("é", "'é'"),
        ("x" * 99, "'" + "x" * 36 + "..."),
    ],
)
def test_format_id_escapes_and_shortens_ids(identifier: object, shown: str) -> None:
    assert format_id(identifier) == shown


def test_fault_is_formatted_as_one_line() -> None:
    assert str(Fault(FaultKind.DUPLICATE, 1, ("7",))) == "rows with a repeated id: 1 (7)"


def test_question_ids_are_read_for_each_task(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    questions = [{"question_id": number, "image_id": 1, "question": "?"} for number in (5, 3)]
    path.write_text(json.dumps({"questions": questions}))
    assert question_ids("vqa", path) == [5, 3]
    path.write_text(json.dumps({key: {"imageId": "1", "question": "?"} for key in ("05", "5")}))
    assert question_ids("gqa", path) == ["05", "5"]
    path.write_text('{"image": "a", "sentence": "?", "id": "5"}\n{"image": "a", "sentence": "?"}\n')
    assert question_ids("own", path) == ["5", "questions-2"]
    path.write_text('{"identifier": "test1-1-0-0"}\n{"identifier": "test1-1-1-0"}\n')
    assert question_ids("nlvr2", path) == ["test1-1-0-0", "test1-1-1-0"]


def test_gqa_attentions_are_read_and_malformed_ones_rejected(tmp_path: Path) -> None:
    path = tmp_path / "attentions.json"
    rows = [{"questionId": "01", "attention": [[1, 0.5], [0, 2]]}, {"questionId": "02", "attention": []}]
    path.write_text(json.dumps(rows))
    assert read_gqa_attentions(path) == {"01": ((1.0, 0.5), (0.0, 2.0)), "02": ()}
    for wrong in ([1.0], [[1, "2"]], [[True]], [[None]], [[math.nan]], [[0.5, math.inf]], [[10**400]]):
        path.write_text(json.dumps([{"questionId": "01", "attention": wrong}]))
        with pytest.raises(
            DataError, match=r"\[0\]\.attention contains .*, expected lists of finite numbers"
        ):
            read_gqa_attentions(path)
    path.write_text(json.dumps([{"questionId": 1, "attention": []}]))
    with pytest.raises(DataError, match=r"\[0\]\.questionId is int 1, expected str"):
        read_gqa_attentions(path)
