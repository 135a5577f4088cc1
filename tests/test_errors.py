"""one_line: foreign text inside our error messages."""

import pytest

from lxmert.errors import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\x1b[2J", r"a\nb\x1b[2J"),
        ("left\u202eto right", r"left\u202eto right"),
        ("\udcff", r"\udcff"),
        ("Où\u202f? 写真\u3000一", "Où\u202f? 写真\u3000一"),
        ("نمی\u200cخواهم 👩\u200d🚀 5\u00a0%", "نمی\u200cخواهم 👩\u200d🚀 5\u00a0%"),
    ],
)
def test_one_line_escapes_control_characters_and_keeps_unicode_text(text: str, line: str) -> None:
    assert one_line(text) == line
