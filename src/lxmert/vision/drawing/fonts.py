"""Fonts of drawings: Pillow's own where it has all characters of a text, else one of the system.

Pillow's own font, of which every installation has the same, has hardly more than the characters of ASCII.
"""

import contextlib
import functools
import logging
import unicodedata

from PIL import ImageFont

logger = logging.getLogger(__name__)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SYSTEM_FONTS = (
    # European alphabets, then all alphabets.
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "segoeui.ttf",
    "arial.ttf",
    "Arial.ttf",
    "Arial Unicode.ttf",
    "arialuni.ttf",
    # Chinese, Japanese and Korean.
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "msyh.ttc",
    "YuGothR.ttc",
    "malgun.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleGothic.ttf",
    # Alphabets of India and Thailand.
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "Nirmala.ttf",
    "LeelawUI.ttf",
)
"""File names of fonts that come with Linux, Windows or macOS; the first that has all characters is taken."""

_CHECKED_SIZE_PX = 20
_UNASSIGNED = "\U0010ffff"
"""A character that no font has."""


def load_font(size: int, text: str = "") -> Font:
    """Return a font of this size in pixels for a text.

    If none has all characters, that which lacks the fewest shows boxes for them, and a warning is logged.
    """
    lacked: dict[str | None, set[str]] = {None: _lacked(None, text)}
    if not lacked[None]:
        return _open(None, size)
    lacked |= {path: _lacked(path, text) for path in _system_fonts()}
    best = min(lacked, key=lambda path: len(lacked[path]))
    for characters in _describe(lacked[best]):
        _warn_of(characters)
    return _open(best, size)


def _describe(characters: set[str]) -> list[str]:
    """Name letters, with what goes with them, by their scripts, and other characters one by one."""
    names = {character: unicodedata.name(character, "no name") for character in sorted(characters)}
    first_words = {character: name.partition(" ")[0] for character, name in names.items()}
    scripts = {word for character, word in first_words.items() if character.isalpha()}
    described = [
        f"all {first_words[character]} characters"
        if first_words[character] in scripts
        else f"the character U+{ord(character):04X} ({name})"
        for character, name in names.items()
    ]
    return list(dict.fromkeys(described))


def _lacked(path: str | None, text: str) -> set[str]:
    """Return the characters of a text that a font lacks; None is Pillow's own."""
    return {character for character in set(text) if not character.isascii() and not _has(path, character)}


@functools.cache
def _has(path: str | None, character: str) -> bool:
    font = _open(path, _CHECKED_SIZE_PX)
    found, missing = font.getmask(character), font.getmask(_UNASSIGNED)
    return character.isspace() or (found.size, bytes(found)) != (missing.size, bytes(missing))


@functools.cache
def _system_fonts() -> tuple[str, ...]:
    """Return the paths of those of `_SYSTEM_FONTS` that are installed."""
    paths = []
    for name in _SYSTEM_FONTS:
        with contextlib.suppress(OSError):
            paths.append(str(ImageFont.truetype(name, _CHECKED_SIZE_PX).path))
    return tuple(paths)


def _open(path: str | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


@functools.cache
def _warn_of(characters: str) -> None:
    """Log a warning, once for the same characters, such as "all CYRILLIC characters"."""
    logger.warning(
        "no font of this system has %s of a drawing, which shows boxes instead; install one that does, such "
        "as one of the Noto family",
        characters,
    )
