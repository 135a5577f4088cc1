"""From the options of the tokenizer to the parts of a `tokenizers` pipeline, and back.

Text goes through: added tokens are cut out, normaliser (clean, lower-case, accents), pre-tokeniser (white
space, punctuation), WordPiece, post-processor ([CLS] A [SEP] B [SEP]). Source: BERT's reference tokenisation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

from lxmert.errors import ConfigurationError

# What Python's str.split() takes for white space, the four information separators among it.
_WHITESPACE = r"[\s\x1c-\x1f\x85]+"
# A neighbour of this kind means that a match is only a part of a longer word.
_WHOLE_WORD = r"(?<!\w)(?:{})(?!\w)"


@dataclass(frozen=True)
class TextOptions:
    """How text is cut into word pieces; each field as documented in `LxmertTokenizer`."""

    do_lower_case: bool = True
    do_basic_tokenize: bool = True
    never_split: tuple[str, ...] = ()
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    clean_text: bool = True
    wordpieces_prefix: str = "##"

    @property
    def known_to_transformers(self) -> bool:
        """Whether the tokenizer of the same name in transformers gives the same ids under these options."""
        names = ("do_basic_tokenize", "never_split", "clean_text", "wordpieces_prefix")
        return all(getattr(self, name) == getattr(TextOptions(), name) for name in names)


def never_split_words(words: Iterable[str] | None) -> tuple[str, ...]:
    """The words of `never_split`, in their order, each once.

    Raises:
        ConfigurationError: one string instead of a collection, or an entry that is not a word.
    """
    if words is None:
        return ()
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise ConfigurationError(
            f"never_split must be a collection of words, got {words!r}; write [{words!r}]"
        )
    found = tuple(dict.fromkeys(words))
    wrong = [word for word in found if not isinstance(word, str) or not word.strip()]
    if wrong:
        raise ConfigurationError(f"never_split must hold words, got {wrong[0]!r}; remove it")
    # A set has no order of its own: the saved files must not depend on the hash seed.
    return tuple(sorted(found)) if isinstance(words, set | frozenset) else found


def bert_normalizer(options: TextOptions) -> normalizers.BertNormalizer:
    """Cleaning, spaces around Chinese characters, accents and lower case, without the never-split words."""
    return normalizers.BertNormalizer(
        clean_text=options.clean_text,
        handle_chinese_chars=options.tokenize_chinese_chars,
        strip_accents=options.strip_accents,
        lowercase=options.do_lower_case,
    )


def build_normalizer(options: TextOptions, unknown_words: Iterable[str], unknown_length: int) -> Any:
    """The normaliser, which also turns never-split words outside the vocabulary into one unknown word each.

    Args:
        options: the options of the tokenizer.
        unknown_words: never-split words that have no id.
        unknown_length: characters above which WordPiece calls a word unknown.
    """
    if not options.do_basic_tokenize:
        return None
    bert = bert_normalizer(options)
    # WordPiece gives up on over-long words: the one way to be sure of [UNK] whatever the vocabulary holds.
    unknown = "x" * (unknown_length + 1)
    steps = [
        normalizers.Replace(Regex(_WHOLE_WORD.format(_escaped(word))), unknown) for word in unknown_words
    ]
    places = [bert.normalize_str(word) == word for word in unknown_words]
    before = [step for step, normal in zip(steps, places, strict=True) if not normal]
    after = [step for step, normal in zip(steps, places, strict=True) if normal]
    return normalizers.Sequence([*before, bert, *after]) if steps else bert


def build_pre_tokenizer(options: TextOptions) -> Any:
    """White space and punctuation; white space alone without basic tokenisation."""
    if options.do_basic_tokenize:
        return pre_tokenizers.BertPreTokenizer()
    return pre_tokenizers.Split(Regex(_WHITESPACE), behavior="removed")


def build_post_processor(cls: tuple[str, int] | None, sep: tuple[str, int] | None) -> Any:
    """`[CLS] A [SEP]` with type 0, `B [SEP]` with type 1; a special token that is not set is left out."""
    first = ["CLS:0", "$A:0", "SEP:0"]
    pair = [*first, "$B:1", "SEP:1"]
    # The pieces go by these two names, because a token itself may hold a space or a colon.
    given = {"CLS": cls, "SEP": sep}
    absent = tuple(f"{name}:" for name, token in given.items() if token is None)
    return processors.TemplateProcessing(
        single=[piece for piece in first if not piece.startswith(absent)],
        pair=[piece for piece in pair if not piece.startswith(absent)],
        special_tokens=[
            {"id": name, "ids": [token[1]], "tokens": [token[0]]} for name, token in given.items() if token
        ],
    )


def build_decoder(options: TextOptions) -> decoders.WordPiece:
    """Joins word pieces into words and closes the gap before punctuation."""
    return decoders.WordPiece(prefix=options.wordpieces_prefix)


def _escaped(word: str) -> str:
    """`word` as a pattern of the library's regular expressions, letter by letter."""
    return "".join(letter if letter.isalnum() else f"\\x{{{ord(letter):x}}}" for letter in word)
