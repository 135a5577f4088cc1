"""Answer files: what write_answers writes is read back; malformed files raise a single-line error."""

from pathlib import Path

import pytest

from lxmert.answers import read_answers, write_answers
from lxmert.errors import VocabularyError


def test_written_answers_are_read_back_unchanged(tmp_path: Path) -> None:
    write_answers(tmp_path / "answers.json", ["yes", "no", "café", "2"])
    assert read_answers(tmp_path / "answers.json") == ["yes", "no", "café", "2"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "recursion"),
        ("[1, 2", "delimiter"),
        ('{"yes": 0}', "a dict; expected a list"),
        ('["yes", 7]', "answer 1 is a int"),
        ('["yes", "yes"]', "listed twice"),
        ("[]", "empty"),
    ],
)
def test_malformed_answer_file_raises_vocabulary_error(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text(content)
    with pytest.raises(VocabularyError, match=f"answers.json: not a list of answers .*{reason}") as caught:
        read_answers(tmp_path / "answers.json")
    assert "\n" not in str(caught.value)
