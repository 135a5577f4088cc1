"""Rows of an answer head, carried over to another answer list by the answers' names."""

from pathlib import Path

import pytest
import torch

from lxmert import LxmertForQuestionAnswering
from lxmert.answers import ANSWERS_FILE
from lxmert.data.answers import AnswerVocabulary
from lxmert.downloads import PublishedFile
from lxmert.errors import VocabularyError
from lxmert.training.answer_head import load_model_answers, match_answers, set_answers
from tests.model.small import small_config


@pytest.mark.parametrize(
    ("name", "size", "carried", "lost"),
    [
        ("vqa", 3129, 3124, {"", "1 4", "1 world", "5 star", "visilab"}),
        ("gqa", 1842, 1736, None),
    ],
)
def test_published_answer_lists_are_matched_as_in_authors_code(
    shared_data: Path, name: str, size: int, carried: int, lost: set[str] | None
) -> None:
    pretrained = AnswerVocabulary.load(shared_data / "answers" / "all_ans.json")
    answers = AnswerVocabulary.load(shared_data / "answers" / f"{name}_trainval_label2ans.json")
    assert (len(pretrained), len(answers)) == (9500, size)
    rows = match_answers(pretrained, answers)
    assert sum(row is not None for row in rows) == carried
    if lost is not None:
        assert {answer for answer, row in zip(answers, rows, strict=True) if row is None} == lost


def test_answer_spellings_that_normalise_alike_share_a_row() -> None:
    old = AnswerVocabulary(["2", "gray", "dog", "cat", "yes"])
    new = ["two", "dog", "grey", "a dog", "The cat.", "cow", "", "Yes."]
    assert match_answers(old, new) == [0, 2, 1, 2, 3, None, None, 4]
    assert match_answers(None, new) == [None] * 8


def test_answers_of_published_model_are_loaded_by_model_name(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PublishedFile, "fetch", lambda file: shared_data / "answers" / file.name)
    answers = load_model_answers("unc-nlp/lxmert-base-uncased")
    assert answers is not None
    assert len(answers) == 9500
    assert load_model_answers("somebody/else") is None
    (tmp_path / "unc-nlp/lxmert-base-uncased").mkdir(parents=True)
    assert load_model_answers("unc-nlp/lxmert-base-uncased") is None


def test_answers_of_model_folder_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / ANSWERS_FILE).write_text('["yes", "no", "cat"]')
    answers = load_model_answers(str(tmp_path))
    assert answers is not None
    assert list(answers) == ["yes", "no", "cat"]


def small_model(answers: int) -> LxmertForQuestionAnswering:
    config = small_config(num_qa_labels=answers)
    model = LxmertForQuestionAnswering(config)
    torch.nn.init.normal_(model.answer_head.logit_fc[3].bias)
    return model


def test_set_answers_copies_known_rows_zeroes_others_and_keeps_lower_layers() -> None:
    model = small_model(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    carried = set_answers(model, AnswerVocabulary(["red", "2", "yes"]), ["two", "blue", "yes", "red"])
    assert carried == 3
    assert model.config.num_qa_labels == 4
    after = model.state_dict()
    for part in ("weight", "bias"):
        old, new = before[f"answer_head.logit_fc.3.{part}"], after[f"answer_head.logit_fc.3.{part}"]
        assert torch.equal(new, torch.stack([old[1], old[0] * 0, old[2], old[0]]))
    for name, value in before.items():
        if "logit_fc.3" not in name:
            assert torch.equal(after[name], value), name


def test_answer_list_of_another_length_than_head_is_rejected() -> None:
    with pytest.raises(VocabularyError, match="scores 3 answers, but its answer list has 2"):
        set_answers(small_model(3), AnswerVocabulary(["red", "2"]), ["red"])
