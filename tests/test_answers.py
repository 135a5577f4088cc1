"""The file of answers: what is no list of them is one clear line."""

from pathlib import Path

import pytest

from lxmert.answers import read_answers, write_answers
from lxmert.errors import VocabularyError


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_answers(tmp_path / "answers.json", ["yes", "no", "café", "2"])
    assert read_answers(tmp_path / "answers.json") == ["yes", "no", "café", "2"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" * 100_000, "recursion"),
        ("[1, 2", "delimiter"),
        ('{"yes": 0}', "a dict; expected a list"),
        ('["yes", 7]', "answer 1 is a int"),
        ('["yes", "yes"]', "listed twice"),
        ("[]", "empty"),
    ],
)
def test_what_is_no_list_of_answers_is_refused(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text(content)
    with pytest.raises(VocabularyError, match=f"answers.json: not a list of answers .*{words}") as caught:
        read_answers(tmp_path / "answers.json")
    assert "\n" not in str(caught.value)
