"""Reproducible fuzz texts for tokenizers: scripts, accents, controls, emoji, special tokens."""

import random
import unicodedata

_SPACED = r"""
what is the man holding unaffable Running HELLO tokenization 1234567 3.14 don't e-mail U.S.A.
[MASK] [CLS] [SEP] [PAD] [UNK] [mask] [ MASK ] <s> ##ing ## # [unused1]
café CAFÉ naïve Ångström ÀÉÎÕÜ ŁÓDŹ ß ẞ İstanbul ıslak ΟΔΟΣ Ὀδυσσεύς Привет Ёлка
生活的真谛 日本語テキスト カタカナ ｶﾀｶﾅ 한국어 𠀀𠀁 豈 㐀 ปีด हिन्दी عربى עברית
😊 👩‍👩‍👧 🇩🇪 ☃️ ½ ² ﬁne Ａ ① ™ … — “quoted” ‘x’ «y» 、 。 ！ a,b;c:d/e\f|g
"""
WORDS = [*_SPACED.split(), "x" * 99, "y" * 100, "z" * 101]
RANGES = [
    *((0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x590, 0x6FF)),
    *((0x900, 0xE7F), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x2BFF), (0x3000, 0x30FF)),
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7A3), (0xE000, 0xE0FF)),
    *((0xF900, 0xFFFD), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE01EF)),
]
BLANKS = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u3000\u200b\ufeff\x00\x07\x7f\ufffd\u00ad"


def fuzzed_texts(number: int, seed: int) -> list[str]:
    """`number` texts of up to about twenty parts; the same seed gives the same texts."""
    rng = random.Random(seed)
    return [_text(rng) for _ in range(number)]


def _text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randrange(0, 12)):
        kind = rng.random()
        if kind < 0.45:
            part = rng.choice(WORDS)
        elif kind < 0.8:
            low, high = rng.choice(RANGES)
            part = "".join(chr(rng.randint(low, high)) for _ in range(rng.randrange(1, 6)))
        else:
            part = "".join(rng.choice(BLANKS) for _ in range(rng.randrange(1, 3)))
        parts.append(part)
        parts.append(rng.choice(["", " ", " ", "  ", rng.choice(BLANKS)]))
    text = "".join(parts)
    return unicodedata.normalize(rng.choice(["NFC", "NFD"]), text) if rng.random() < 0.3 else text
