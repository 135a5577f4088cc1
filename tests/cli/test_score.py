"""`lxmert score`, `lxmert validate-submission` and `lxmert answers`: what they print, and exit statuses."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import CommandLine

Run = Callable[..., tuple[int, str, str]]

ANNOTATORS = {
    1: ("is the", "yes/no", ["yes"] * 10),
    2: ("what is", "other", ["a dog"] * 2 + ["cat"] * 8),
    3: ("what is", "other", ["café"] * 10),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def run_line(line: str) -> tuple[int, str, str]:
        return CommandLine(capsys).run(*line.split())

    return run_line


def write(name: str, content: Any) -> None:
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def write_vqa(**predicted: str) -> None:
    annotations = [
        {
            "question_id": one,
            "image_id": 1,
            "question_type": kind,
            "answer_type": answer_type,
            "multiple_choice_answer": answers[-1],
            "answers": [
                {"answer_id": n, "answer": answer, "answer_confidence": "yes"}
                for n, answer in enumerate(answers)
            ],
        }
        for one, (kind, answer_type, answers) in ANNOTATORS.items()
    ]
    write("annotations.json", {"info": {}, "data_type": "mscoco", "annotations": annotations})
    asked = [{"question_id": one, "image_id": 1, "question": "?"} for one in ANNOTATORS]
    write("questions.json", {"questions": asked})
    write("minival.json", {"questions": asked[:2]})
    write(
        "predictions.json",
        [{"question_id": int(one[1:]), "answer": answer} for one, answer in predicted.items()],
    )


def gqa_question(answer: str, **changes: Any) -> dict[str, Any]:
    types = {"structural": "query", "semantic": "attr", "detailed": "x"}
    return {
        "question": "Which colour?", "answer": answer, "imageId": "1", "isBalanced": True, "types": types,
        "groups": {"global": "colour", "local": "x"}, "entailed": [], "equivalent": [], "fullAnswer": "",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}}, "semanticStr": "",
        "semantic": [{"operation": "select", "dependencies": [], "argument": "dog (a)"}],
    } | changes  # fmt: skip


class TestVqa:
    SCORE = "score vqa -p predictions.json -a annotations.json"

    def test_table_and_json_have_official_vqa_scores(self, run: Run) -> None:
        write_vqa(q1="yes", q2="Dog", q3="café")
        status, out, err = run(self.SCORE)
        assert (status, err) == (0, "")
        assert "86.67 %" in out
        found = json.loads(run(f"{self.SCORE} --json")[1])
        # "Dog" agrees with two of ten once articles are gone.
        assert found["overall"] == 86.67
        assert found["perAnswerType"] == {"yes/no": 100.0, "other": 80.0}
        assert found["perQuestionType"] == {"is the": 100.0, "what is": 80.0}
        assert found["questionsPerAnswerType"] == {"yes/no": 1, "other": 2}
        assert (found["rows"], found["faults"], found["evaluator"]) == (3, [], "present")

    def test_older_evaluator_does_not_remove_articles_from_annotations(self, run: Run) -> None:
        write_vqa(q1="yes", q2="Dog", q3="café")
        found = json.loads(run(f"{self.SCORE} --evaluator before-2021-03 --json")[1])
        assert (found["overall"], found["evaluator"]) == (66.67, "before-2021-03")

    def test_control_characters_in_question_types_are_escaped(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(ANNOTATORS, 4, ("how\x1b[2J", "oth\x1b]0;er\x07", ["many"] * 10))
        write_vqa(q1="yes", q2="Dog", q3="café", q4="many")
        status, out, _ = run(self.SCORE)
        assert status == 0
        assert "\x1b" not in out
        assert r"how\x1b[2J" in out
        assert r"oth\x1b]0;er\x07" in out

    def test_per_question_option_writes_scores_to_file(self, run: Run) -> None:
        write_vqa(q1="yes", q2="Dog", q3="cafe")
        assert run(f"{self.SCORE} --per-question each.json")[0] == 0
        assert json.loads(Path("each.json").read_text()) == {"1": 100.0, "2": 60.0, "3": 0.0}

    def test_missing_predictions_fail_unless_allow_missing(self, run: Run) -> None:
        write_vqa(q1="yes")
        status, out, err = run(self.SCORE)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert (
            "questions without a prediction: 2 (2, 3); predict all 3 questions, or use --allow-missing" in err
        )
        status, out, err = run(f"{self.SCORE} --allow-missing")
        assert "33.33 %" in out
        assert err == "note: questions without a prediction: 2 (2, 3); counted as wrong\n"

    def test_unknown_predictions_fail_unless_ignore_unknown(self, run: Run) -> None:
        write_vqa(q1="yes", q2="cat", q3="café", q9="x")
        status, _, err = run(self.SCORE)
        assert (status, err.count("\n")) == (1, 1)
        assert "predictions for unknown questions: 1 (9); the official evaluator rejects them" in err
        found = json.loads(run(f"{self.SCORE} --ignore-unknown --json")[1])
        assert found["overall"] == 100.0
        assert found["faults"] == [{"kind": "unknown", "count": 1, "examples": ["9"]}]

    def test_questions_option_limits_scored_questions(self, run: Run) -> None:
        write_vqa(q1="yes", q2="cat", q3="wrong")
        found = json.loads(run(f"{self.SCORE} -q minival.json --json")[1])
        assert (found["overall"], found["questions"], found["faults"]) == (100.0, 2, [])
        write("minival.json", {"questions": [{"question_id": 77, "image_id": 1, "question": "?"}]})
        status, _, err = run(f"{self.SCORE} -q minival.json")
        assert status == 1
        assert "minival.json: 1 of 1 questions are not in annotations.json, starting with 77" in err

    def test_repeated_predictions_are_reported_and_last_one_counts(self, run: Run) -> None:
        write_vqa(q1="no", q2="cat", q3="café")
        rows = json.loads(Path("predictions.json").read_text())
        write("predictions.json", [*rows, {"question_id": 1, "answer": "yes"}])
        status, out, err = run(self.SCORE)
        assert (status, err.count("\n")) == (0, 1)
        assert "100.00 %" in out
        assert "rows with a repeated id: 1 (1); the last row counts" in err

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (
                [{"question_id": "1", "answer": "yes"}],
                "ids of the wrong type: 1 ([0] '1' instead of an integer)",
            ),
            ([{"question_id": 1, "answer": 3}], "answers of the wrong type: 1 (1 3 instead of a string)"),
            ([["1", "yes"]], "malformed rows: 1 ([0] is ['1', 'yes'])"),
            ({"1": "yes"}, "contains one JSON object, expected a list"),
            ("[{", "not JSON"),
        ],
    )
    def test_invalid_rows_print_one_error_line(self, rows: Any, message: str, run: Run) -> None:
        write_vqa()
        write("predictions.json", rows)
        status, out, err = run(self.SCORE)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("lxmert: error: predictions.json: ")
        assert message in err

    @pytest.mark.parametrize("annotations", ["absent.json", "questions.json", "predictions.json"])
    def test_invalid_annotations_print_one_error_line(self, annotations: str, run: Run) -> None:
        write_vqa(q1="yes")
        status, _, err = run(f"score vqa -p predictions.json -a {annotations}")
        assert (status, err.count("\n")) == (1, 1)
        assert annotations in err


class TestGqa:
    def test_optional_files_give_all_gqa_metrics(self, run: Run) -> None:
        grounding_annotations = {"answer": {}, "question": {"1": "a"}, "fullAnswer": {}}
        questions = {
            "01": gqa_question("red", entailed=["02"], annotations=grounding_annotations),
            "02": gqa_question("no", isBalanced=False),
            "03": gqa_question("blue"),
        }
        write("questions.json", questions)
        write("choices.json", {one: {"valid": ["red", "green"], "plausible": ["red"]} for one in questions})
        write(
            "scenes.json",
            {"1": {"width": 10, "height": 10, "objects": {"a": {"x": 0, "y": 0, "w": 5, "h": 5}}}},
        )
        write("attentions.json", [{"questionId": one, "attention": [[1, 0], [0, 0]]} for one in questions])
        predicted = {"01": "red", "02": "no", "03": "green", "99": "red"}
        write(
            "predictions.json",
            [{"questionId": one, "prediction": answer} for one, answer in predicted.items()],
        )
        files = "--choices choices.json --scene-graphs scenes.json --attentions attentions.json"
        status, out, err = run(f"score gqa -p predictions.json -a questions.json {files}")
        assert (status, err) == (0, "note: predictions for unknown questions: 1 (99); ignored\n")
        table = {
            line.split("│")[1].strip(): line.split("│")[3].strip() for line in out.splitlines() if "│" in line
        }
        assert (table["accuracy"], table["consistency"], table["validity"]) == (
            "50.00 %",
            "100.00 %",
            "100.00 %",
        )
        assert (table["plausibility"], table["grounding"]) == ("50.00 %", "50.00 %")
        # red 1 and 1, blue 1 and 0 (green is no true answer): 1, of 2 questions; over 100.
        assert table["distribution"] == "0.01 (lower is better)"
        found = json.loads(run("score gqa -p predictions.json -q questions.json --json")[1])
        assert (found["accuracy"], found["consistency"], found["validity"]) == (50, 100, None)
        assert found["accuracyPerStructuralType"] == {"query": [50, 2]}

    def test_questions_option_and_attention_over_objects_are_applied(self, run: Run) -> None:
        grounding_annotations = {"answer": {}, "question": {"1": "a"}, "fullAnswer": {}}
        write(
            "all.json",
            {"01": gqa_question("red", annotations=grounding_annotations), "02": gqa_question("blue")},
        )
        write("one.json", {"01": gqa_question("red")})
        write("predictions.json", [{"questionId": one, "prediction": "red"} for one in ("01", "02")])
        write(
            "scenes.json",
            {"1": {"width": 4, "height": 4, "objects": {"a": {"x": 0, "y": 0, "w": 2, "h": 4}}}},
        )
        write("attentions.json", [{"questionId": "01", "attention": [[0, 0, 1, 1, 0.5]]}])
        line = (
            "score gqa -p predictions.json -a all.json -q one.json --json"
            " --attentions attentions.json --scene-graphs scenes.json --attention-kind objects"
        )
        found = json.loads(run(line)[1])
        assert (found["accuracy"], found["questions"], found["grounding"], found["faults"]) == (
            100,
            1,
            25,
            [],
        )

    def test_missing_entailed_questions_omit_consistency_with_note(self, run: Run) -> None:
        write("questions.json", {"01": gqa_question("red", entailed=["88"])})
        write("predictions.json", [{"questionId": "01", "prediction": "red"}])
        status, _, err = run("score gqa -p predictions.json -a questions.json")
        assert status == 0
        assert err.startswith(
            "note: no consistency: 1 entailed questions are not in the file, starting with 88"
        )
        assert run("score gqa -p predictions.json -a questions.json --consistency require")[0] == 1
        assert run("score gqa -p predictions.json -a questions.json --consistency off")[2] == ""

    def test_missing_annotations_option_exits_with_status_2(self, run: Run) -> None:
        write("predictions.json", [])
        status, _, err = run("score gqa -p predictions.json")
        assert status == 2
        assert "the questions file with answers is required" in err


class TestNlvr2:
    def test_missing_nlvr2_predictions_fail_unless_allow_missing(self, run: Run) -> None:
        names = ("dev-1-0-0", "dev-1-1-0", "dev-2-0-0")
        write("dev.json", "".join(json.dumps({"identifier": one, "label": "True"}) + "\n" for one in names))
        write("predictions.csv", "dev-1-0-0,True\ndev-1-1-0, True\n")
        status, out, err = run("score nlvr2 -p predictions.csv -a dev.json")
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert "questions without a prediction: 1 (dev-2-0-0)" in err
        status, out, _ = run("score nlvr2 -p predictions.csv -a dev.json --allow-missing --json")
        assert status == 0
        found = json.loads(out)
        assert (found["accuracy"], found["consistency"], found["missing"], found["unclear"]) == (
            1 / 3,
            0,
            1,
            1,
        )
        assert [fault["kind"] for fault in found["faults"]] == ["neither-true-nor-false", "missing"]
        write("some.json", json.dumps({"identifier": "dev-1-0-0"}))
        found = json.loads(run("score nlvr2 -p predictions.csv -a dev.json -q some.json --json")[1])
        assert (found["accuracy"], found["examples"]) == (1, 1)


class TestValidateSubmission:
    def test_valid_file_exits_with_status_0(self, run: Run) -> None:
        write_vqa(q1="yes", q2="cat", q3="x")
        status, out, err = run("validate-submission vqa predictions.json -q questions.json")
        assert (status, err) == (0, "")
        assert out == (
            "predictions.json: valid; predictions: 3, expected: 3 (one for each question of questions.json)\n"
        )

    def test_faults_exit_with_status_1_and_one_line_each(self, run: Run) -> None:
        write_vqa(q1="yes", q2="", q9="x")
        status, out, err = run("validate-submission vqa predictions.json -q questions.json")
        assert status == 1
        assert err.splitlines() == [
            "fault: empty answers: 1 (2)",
            "fault: questions without a prediction: 1 (3)",
            "fault: predictions for unknown questions: 1 (9)",
        ]
        assert out.startswith("predictions.json: not valid; predictions: 3, expected: 3")
        status, out, err = run("validate-submission vqa predictions.json -q questions.json --json")
        found = json.loads(out)
        assert (status, found["valid"], found["rows"], found["expected"]) == (1, False, 3, 3)
        assert [fault["kind"] for fault in found["faults"]] == ["empty-answer", "missing", "unknown"]

    def test_unreadable_predictions_are_fault_and_unreadable_questions_error(self, run: Run) -> None:
        write_vqa()
        status, _, err = run("validate-submission gqa absent.json -q absent.json")
        assert (status, err.count("\n")) == (1, 1)
        assert err.startswith("lxmert: error: absent.json: no such file")
        status, _, err = run("validate-submission vqa absent.json -q questions.json")
        assert (status, err.count("\n")) == (1, 1)
        assert err.startswith("fault: file that cannot be read: 1 (absent.json: no such file")


def write_own_files(**predicted: str) -> None:
    """Questions of one's own, and predictions for them."""
    lines = [
        {"image": "x", "sentence": "?", "answer": "Red", "id": "a"},
        {"image": "x", "sentence": "?", "answers": ["red"] * 4 + ["pink"], "id": "b"},
    ]
    write("own.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write("own.json", [{"question_id": one, "answer": answer} for one, answer in predicted.items()])


class TestOwnFiles:
    def test_own_questions_are_scored_by_their_soft_labels(self, run: Run) -> None:
        write_own_files(a="red", b="pink")
        status, out, err = run("score vqa -p own.json -a own.jsonl --per-question each.json")
        assert (status, err) == (0, "")
        assert "30.00 %" in out  # 0, for it is spelled otherwise, and 0.6 for one of five people
        assert json.loads(Path("each.json").read_text()) == {"a": 0.0, "b": pytest.approx(60)}
        scores = json.loads(run("score vqa -p own.json -a own.jsonl --json")[1])
        assert (scores["task"], scores["overall"], scores["questions"]) == ("vqa", pytest.approx(30), 2)
        assert "per_question" not in scores

    def test_own_questions_without_prediction_are_reported(self, run: Run) -> None:
        write_own_files(b="red")
        status, _, err = run("score vqa -p own.json -a own.jsonl")
        assert (status, "questions without a prediction: 1 (a)" in err) == (1, True)
        assert "50.00 %" in run("score vqa -p own.json -a own.jsonl --allow-missing")[1]
        status, _, err = run("validate-submission vqa own.json -q own.jsonl")
        assert (status, "fault: questions without a prediction: 1 (a)" in err) == (1, True)
        write_own_files(a="red", b="red")
        assert run("validate-submission vqa own.json -q own.jsonl")[0] == 0

    def test_evaluator_option_is_rejected_for_own_files(self, run: Run) -> None:
        write_own_files(a="red", b="red")
        status, _, err = run("score vqa -p own.json -a own.jsonl --evaluator before-2021-03")
        assert (status, "--evaluator can only be used with the official files" in err) == (2, True)

    def test_own_answers_are_built_and_covered_without_normalising(self, run: Run) -> None:
        write_own_files()
        assert run("answers build vqa own.jsonl -o answers.json --min-count 1")[0] == 0
        assert json.loads(Path("answers.json").read_text()) == ["Red", "red"]
        write("answers.json", ["pink"])
        found = json.loads(run("answers cover vqa answers.json own.jsonl --json")[1])
        assert (found["answerable"], found["bestScore"]) == (1, pytest.approx(0.3))

    def test_own_files_are_rejected_for_task_gqa(self, run: Run) -> None:
        write_own_files(a="red", b="red")
        write("answers.json", ["pink"])
        for words in (
            "score gqa -p own.json -a own.jsonl",
            "score gqa -p own.json -q own.jsonl",
            "validate-submission gqa own.json -q own.jsonl",
            "answers build gqa own.jsonl -o new.json",
            "answers cover gqa answers.json own.jsonl",
        ):
            status, _, err = run(words)
            assert (status, "own.jsonl: " in err, "use vqa instead of gqa" in err) == (1, True, True), err

    def test_own_file_without_questions_is_rejected(self, run: Run) -> None:
        write_own_files()
        write("own.jsonl", "\n")
        status, _, err = run("score vqa -p own.json -a own.jsonl")
        assert (status, "no question" in err) == (1, True), err

    def test_own_and_official_files_cannot_be_combined(self, run: Run) -> None:
        write_own_files(a="red", b="red")
        write_vqa()
        write("answers.json", ["pink"])
        for verb in ("build vqa -o new.json", "cover vqa answers.json"):
            status, _, err = run(f"answers {verb} own.jsonl annotations.json")
            assert (status, "own.jsonl contains your own questions" in err) == (1, True), err
        for one, other in (("own.jsonl", "questions.json"), ("annotations.json", "own.jsonl")):
            status, _, err = run(f"score vqa -p own.json -a {one} -q {other}")
            assert (status, "the two files do not belong together" in err) == (1, True), err


class TestAnswers:
    def test_build_normalises_and_counts_vqa_answers(self, run: Run) -> None:
        write_vqa()
        status, out, _ = run(
            "answers build vqa annotations.json annotations.json -o answers.json --min-count 2"
        )
        assert status == 0
        assert json.loads(Path("answers.json").read_text()) == ["café", "cat", "yes"]
        assert out.startswith("answers.json: 3 answers; 6 of 6 questions")
        again = run("answers build vqa annotations.json -o answers.json --min-count 1")
        assert (again[0], "answers.json already exists" in again[2]) == (1, True)
        status, _, err = run("answers build vqa annotations.json -o answers.json --overwrite")
        assert (status, err.count("\n")) == (1, 1)  # no answer is that of nine questions
        assert json.loads(Path("answers.json").read_text()) == ["café", "cat", "yes"]

    def test_vqa_coverage_normalises_answers_unless_raw(self, run: Run) -> None:
        write_vqa()
        write("answers.json", ["dog", "yes"])
        found = json.loads(run("answers cover vqa answers.json annotations.json --json")[1])
        assert (found["answerable"], found["bestScore"]) == (2, pytest.approx(1.6 / 3))  # "a dog" of two
        found = json.loads(run("answers cover vqa answers.json annotations.json --raw --json")[1])
        assert (found["answerable"], found["bestScore"]) == (1, pytest.approx(1 / 3))

    def test_coverage_lists_unknown_answers(self, run: Run) -> None:
        write(
            "questions.json",
            {f"0{n}": gqa_question(answer) for n, answer in enumerate(["red", "red", "Red"])},
        )
        write("answers.json", ["red", "blue"])
        found = json.loads(run("answers cover gqa answers.json questions.json --json")[1])
        assert (found["answers"], found["questions"], found["answerable"]) == (2, 3, 2)
        assert found["unknown"] == [{"answer": "Red", "questions": 1}]
        assert "'Red' (1)" in run("answers cover gqa answers.json questions.json")[1]
        assert run("answers build gqa questions.json -o made.json")[0] == 0
        assert json.loads(Path("made.json").read_text()) == ["red", "Red"]


PROBE = """
import sys
from lxmert.cli.main import main

for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit as ended:
        print("PROBE", ended.code or 0, *sorted({"torch", "transformers"} & sys.modules.keys()))
"""


def test_score_and_validate_do_not_import_torch_or_transformers(run: Run) -> None:
    write("questions.json", {"01": gqa_question("red")})
    write("gqa.json", [{"questionId": "01", "prediction": "red"}])
    write("dev.json", json.dumps({"identifier": "dev-1-0-0", "label": "True"}))
    write("nlvr2.csv", "dev-1-0-0,True\n")
    write_own_files(a="red", b="red")
    lines = (
        "score gqa -p gqa.json -a questions.json",
        "score nlvr2 -p nlvr2.csv -a dev.json",
        "validate-submission nlvr2 nlvr2.csv -q dev.json",
        "score vqa -p own.json -a own.jsonl",
        "validate-submission vqa own.json -q own.jsonl",
    )
    done = subprocess.run([sys.executable, "-c", PROBE, *lines], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("PROBE")] == ["PROBE 0"] * len(lines)
