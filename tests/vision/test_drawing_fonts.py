"""Fonts of drawings: text beyond ASCII is written in a font of the system that has its characters."""

import logging
from collections.abc import Callable, Iterator

import pytest
import torch
from PIL import Image, ImageFont

from lxmert.vision.drawing import draw_regions, draw_weighted, fonts

BOXES = torch.tensor([[100.0, 120.0, 300.0, 260.0]])
PICTURE = Image.new("RGB", (640, 400), (120, 120, 120))

# Each writes a text at another place.
PLACES: dict[str, Callable[[str], Image.Image]] = {
    "tag": lambda text: draw_regions(PICTURE, BOXES, [text]),
    "legend": lambda text: draw_regions(PICTURE, BOXES, [text], legend=True),
    "title": lambda text: draw_regions(PICTURE, BOXES, title=text),
    "caption": lambda text: draw_weighted(PICTURE, BOXES, [0.0], caption=text),
    "word": lambda text: draw_weighted(PICTURE, BOXES, [0.0], words=[(text, 0.5)]),
}


@pytest.fixture(autouse=True)
def clear_caches() -> Iterator[None]:
    """What one test finds or warns of is not known to the next."""
    caches = (fonts._has, fonts._system_fonts, fonts._warn_of)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def cyrillic_font() -> str:
    """The path of a font with Cyrillic characters."""
    for path in fonts._system_fonts():
        if fonts._has(path, "ж"):
            return path
    pytest.skip("no font of this system has Cyrillic characters")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("cyrillic_font")
def test_names_of_equal_length_beyond_ascii_are_drawn_differently(place: str) -> None:
    draw = PLACES[place]
    assert draw("собака").tobytes() != draw("кошкая").tobytes()


def test_text_is_measured_in_the_font_that_draws_it(cyrillic_font: str) -> None:
    line = "ж" * 300
    drawn = draw_regions(PICTURE, BOXES, title=line)
    bar = drawn.crop((634, 400, *drawn.size))
    assert len(bar.getcolors()) == 1, "text runs to the edge"
    wide = fonts.load_font(20, "жжжж")
    assert wide.path == cyrillic_font
    assert wide.getlength("жжжж") != fonts.load_font(20).getlength("жжжж")


@pytest.mark.parametrize("place", PLACES)
def test_ascii_is_drawn_in_pillows_font_without_looking_for_others(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: pytest.fail("looked for fonts"))
    PLACES[place]("a cat, cut off: " + "~" * 300)
    found, expected = (
        font.getmask("cat…") for font in (fonts.load_font(20, "cat…"), ImageFont.load_default(20))
    )
    assert bytes(found) == bytes(expected)


def test_missing_characters_are_boxes_with_one_warning_for_each_script(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_SYSTEM_FONTS", ("no such font.ttf",))
    with caplog.at_level(logging.WARNING, logger=fonts.__name__):
        draws = [draw_regions(PICTURE, BOXES, [name]).tobytes() for name in ("собака", "кошкая")]
        assert draws[0] == draws[1]
        fonts.load_font(20, "猫")
    assert [record.args for record in caplog.records] == [
        ("all CYRILLIC characters",),
        ("all CJK characters",),
    ]
    assert "drawing, which shows boxes instead; install one" in caplog.records[0].getMessage()


def test_missing_characters_that_are_no_letters_are_named_one_by_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vowel signs belong to their script, whose letters are missing too."""
    monkeypatch.setattr(fonts, "_SYSTEM_FONTS", ())
    with caplog.at_level(logging.WARNING, logger=fonts.__name__):
        fonts.load_font(20, "🐶✗ 🐶")
        fonts.load_font(20, "🐶 \U000e0fff हिन्दी")
    assert [record.args for record in caplog.records] == [
        ("the character U+2717 (BALLOT X)",),
        ("the character U+1F436 (DOG FACE)",),
        ("all DEVANAGARI characters",),
        ("the character U+E0FFF (no name)",),
    ]


def test_font_that_lacks_fewest_characters_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    characters = {None: "", "latin": "éß", "cyrillic": "жé", "all but Chinese": "éßж"}
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ("latin", "cyrillic", "all but Chinese"))
    monkeypatch.setattr(fonts, "_has", lambda path, character: character in characters[path])
    monkeypatch.setattr(fonts, "_open", lambda path, size: (path, size))
    monkeypatch.setattr(fonts, "_warn_of", lambda script: None)
    for text, path in (
        ("cat", None),
        ("é", "latin"),
        ("café ж", "cyrillic"),
        ("ß ж", "all but Chinese"),
        ("ж狗", "cyrillic"),
        ("狗", None),
    ):
        assert fonts.load_font(9, text) == (path, 9)


def test_spaces_and_unpaired_surrogates_are_drawn() -> None:
    """Pillow's font has no glyph for either, and no font one for the second."""
    assert fonts._has(None, "\u00a0")
    draw_regions(PICTURE, BOXES, ["a\u00a0b \ud800"])
