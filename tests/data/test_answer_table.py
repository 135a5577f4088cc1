"""AnswerTable: spelling and label rewriting of the published pre-training answer table."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert.data.answer_table import AnswerTable, normalise_table_answer
from lxmert.data.answers import AnswerVocabulary
from lxmert.errors import DataError, VocabularyError

SMALL = AnswerTable(
    [("2", {"vqa", "visual7w"}), ("a dog", {"visual7w"}), ("man", {"vqa", "gqa"}), ("gray", {"gqa"})]
)


@pytest.fixture(scope="module")
def vectors(shared_specs: Path) -> dict[str, Any]:
    return json.loads((shared_specs / "metric_vectors.json").read_text())["lxmert_answer_table"]


@pytest.fixture(scope="module")
def published(shared_data: Path) -> AnswerTable:
    return AnswerTable.load(shared_data / "answers" / "all_ans.json")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", ""),
        (".", ""),
        ("Dog.", "dog"),
        ("dog..", "dog."),
        ("dog. ", "dog. "),
        (" a dog", " a dog"),
        ("a the dog", "dog"),
        ("the a dog", "a dog"),
        ("an apple .", "apple"),
        ("a", "a"),
        ("the  man", "man"),
        ("Ten", "10"),
        ("the two", "2"),
        ("grey", "gray"),
        ("grey cat", "grey cat"),
        ("zero", "zero"),
        ("none", "none"),
        ("a an the", "the"),
    ],
)
def test_normalise_table_answer_equals_expected_spelling(answer: str, expected: str) -> None:
    assert normalise_table_answer(answer) == expected


def test_spellings_equal_original_convert_ans(vectors: dict[str, Any], published: AnswerTable) -> None:
    for case in vectors["convert_ans"]:
        spelled = normalise_table_answer(case["input"])
        assert spelled == case["output"]
        assert (spelled in published.vocabulary) is case["in_table"]
        assert published.find(case["input"]) == case["id"]


def test_published_table_has_known_sizes_per_qa_set(published: AnswerTable, vectors: dict[str, Any]) -> None:
    assert len(published) == 9500
    assert all(normalise_table_answer(answer) == answer for answer in published.vocabulary)
    sizes = vectors["table_sizes"]
    assert sizes.pop("all") == len(published)
    for sets, size in sizes.items():
        kept = [answer for answer, known in published.qa_sets.items() if known & set(sets.split("+"))]
        assert len(kept) == size
    only = sum(sets == {"visual7w"} for sets in published.qa_sets.values())
    every = sum(len(sets) == 3 for sets in published.qa_sets.values())
    assert (only, every) == (5765, 1123)


def test_rewritten_labels_equal_original_code(vectors: dict[str, Any], published: AnswerTable) -> None:
    for source, labels in vectors["label_rewriting"]["before"].items():
        expected = vectors["label_rewriting"]["after"][source]
        assert [published.rewrite_label(label, overwrite=True) for label in labels] == expected


def test_rewritten_labels_for_qa_set_subset_equal_original_code(
    vectors: dict[str, Any], shared_data: Path
) -> None:
    table = AnswerTable.load(shared_data / "answers" / "all_ans.json", qa_sets=["gqa"])
    assert len(table) == 1735
    for source, labels in vectors["label_rewriting"]["before"].items():
        expected = vectors["label_rewriting_qa_sets_gqa"][source]
        assert [table.rewrite_label(label, overwrite=True) for label in labels] == expected


@pytest.mark.parametrize("name", ["vqa", "gqa"])
def test_fine_tuning_answers_found_in_table_equal_original_counts(
    name: str, vectors: dict[str, Any], published: AnswerTable, shared_data: Path
) -> None:
    counts = vectors["finetune_mapping_counts"][name]
    labels = AnswerVocabulary.load(shared_data / "answers" / f"{name}_trainval_label2ans.json")
    unknown = [answer for answer in labels if published.find(answer) is None]
    assert len(labels) - len(unknown) == counts["mapped"]
    assert len(unknown) == counts["zeroed"]
    assert sorted(unknown) == sorted(counts.get("zeroed_answers", unknown))


def test_scores_of_equal_spellings_are_summed_and_clipped_to_one() -> None:
    assert SMALL.rewrite_label({"two": 0.3, "2": 0.6}) == {"2": pytest.approx(0.9)}
    assert SMALL.rewrite_label({"two": 0.9, "Two.": 0.9, "the man": 0.3}) == {"2": 1.0, "man": 0.3}
    assert SMALL.rewrite_label({"two": 0.3, "2": 0.6}, overwrite=True) == {"2": 0.3}
    assert SMALL.rewrite_label({"2": 0.6, "two": 0.3, "Two": 0.9}, overwrite=True) == {"2": 0.9}


def test_pretraining_accuracy_equals_original_evaluator(
    vectors: dict[str, Any], published: AnswerTable
) -> None:
    """Its evaluator gives a prediction the score that the rewritten label holds, and takes the mean."""
    expected = vectors["pretrain_qa_evaluator"]
    scores = {
        source: [
            published.rewrite_label(label, overwrite=True).get(expected["all_predictions"], 0.0)
            for label in labels
        ]
        for source, labels in vectors["label_rewriting"]["before"].items()
    }
    every = [score for source_scores in scores.values() for score in source_scores]
    assert len(every) == len(expected["uids"])
    assert sum(every) / len(every) == pytest.approx(expected["overall"], abs=1e-12)
    for source, source_scores in scores.items():
        assert sum(source_scores) / len(source_scores) == pytest.approx(
            expected["per_set"][source], abs=1e-12
        )


def test_rewrite_label_drops_unknown_answers() -> None:
    assert SMALL.rewrite_label({"Grey": 0.6, "bird": 1.0}) == {"gray": 0.6}
    assert SMALL.rewrite_label({"bird": 1.0}) == {}
    # The table's own "a dog" is out of reach: its article is dropped before the search.
    assert SMALL.find("a dog") is None


@given(st.text(alphabet="aAnNtThHeE .dogtwo", max_size=14))
def test_normalise_table_answer_of_any_text_is_lower_case_and_no_longer(answer: str) -> None:
    spelled = normalise_table_answer(answer)
    assert spelled == spelled.lower()
    assert len(spelled) <= max(len(answer), 2)


@given(
    st.dictionaries(st.sampled_from(["2", "two", "Two.", "the man", "man", "bird", "grey"]), st.floats(0, 1))
)
def test_rewritten_score_is_clipped_sum_of_equal_spellings(label: dict[str, float]) -> None:
    rewritten = SMALL.rewrite_label(label)
    assert set(rewritten) <= set(SMALL.vocabulary)
    for answer, score in rewritten.items():
        colliding = [value for key, value in label.items() if normalise_table_answer(key) == answer]
        assert max(colliding) <= score <= 1
        assert score == pytest.approx(min(1.0, sum(colliding)))


def test_unknown_qa_sets_are_rejected() -> None:
    with pytest.raises(VocabularyError, match="belongs to okvqa; the table has gqa, visual7w, vqa"):
        AnswerTable([("man", {"vqa"}), ("2", {"gqa", "visual7w"})], qa_sets=["vqa", "okvqa"])


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({}, DataError, "expected a list of answers, got dict"),
        (["dog"], DataError, r"\[0\] is str 'dog', expected a JSON object"),
        ([{"ans": "dog"}], DataError, r"\[0\].dsets is missing"),
        ([{"ans": "dog", "dsets": [1]}], DataError, r"\[0\].dsets\[0\] is int 1"),
        ([{"ans": "dog", "dsets": ["vqa"]}] * 2, VocabularyError, "'dog' is listed twice"),
        ([], VocabularyError, "empty"),
    ],
)
def test_malformed_table_error_names_file(
    tmp_path: Path, table: Any, error: type[Exception], message: str
) -> None:
    (tmp_path / "table.json").write_text(json.dumps(table))
    with pytest.raises(error, match=r"table\.json: .*" + message):
        AnswerTable.load(tmp_path / "table.json")
