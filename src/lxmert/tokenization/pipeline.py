"""From the options of the tokenizer to the parts of a `tokenizers` pipeline.

Text passes through: extraction of added tokens, normaliser (clean, lower-case, accents), pre-tokeniser (white
space, punctuation), WordPiece, post-processor ([CLS] A [SEP] B [SEP]). Source: BERT's reference tokenisation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

from lxmert.errors import ConfigurationError

# White space as Python's str.split() defines it, with the four information separators.
_WHITESPACE = r"[\s\x1c-\x1f\x85]+"
# Matches a word that is not part of a longer one.
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
    def is_supported_by_transformers(self) -> bool:
        """Whether transformers' tokenizer of the same name yields the same ids under these options."""
        names = ("do_basic_tokenize", "never_split", "clean_text", "wordpieces_prefix")
        return all(getattr(self, name) == getattr(TextOptions(), name) for name in names)


def validate_never_split(words: Iterable[str] | None) -> tuple[str, ...]:
    """Return the distinct words of `never_split`, in their order.

    Raises:
        ConfigurationError: one string instead of a collection, or an entry that is not a word.
    """
    if words is None:
        return ()
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise ConfigurationError(
            f"never_split must be a collection of words, got {words!r}; write [{words!r}]"
        )
    distinct = tuple(dict.fromkeys(words))
    wrong = [word for word in distinct if not isinstance(word, str) or not word.strip()]
    if wrong:
        raise ConfigurationError(f"never_split must contain words, got {wrong[0]!r}; remove it")
    # A set has no order: sorted, so that saved files do not depend on the hash seed.
    return tuple(sorted(distinct)) if isinstance(words, set | frozenset) else distinct


def bert_normalizer(options: TextOptions) -> normalizers.BertNormalizer:
    """Make BERT's normaliser: cleaning, spaces around Chinese characters, accents and lower case."""
    return normalizers.BertNormalizer(
        clean_text=options.clean_text,
        handle_chinese_chars=options.tokenize_chinese_chars,
        strip_accents=options.strip_accents,
        lowercase=options.do_lower_case,
    )


def build_normalizer(options: TextOptions, unknown_words: Iterable[str], unknown_length: int) -> Any:
    """Make the normaliser, which also makes never-split words outside the vocabulary unknown words.

    Args:
        options: the options of the tokenizer.
        unknown_words: never-split words that have no id.
        unknown_length: number of characters above which a word is unknown to WordPiece.
    """
    if not options.do_basic_tokenize:
        return None
    bert = bert_normalizer(options)
    # WordPiece rejects over-long words: the one sure way to [UNK] whatever the vocabulary holds.
    unknown = "x" * (unknown_length + 1)
    steps = [
        normalizers.Replace(Regex(_WHOLE_WORD.format(_escape_regex(word))), unknown) for word in unknown_words
    ]
    is_normal = [bert.normalize_str(word) == word for word in unknown_words]
    before = [step for step, normal in zip(steps, is_normal, strict=True) if not normal]
    after = [step for step, normal in zip(steps, is_normal, strict=True) if normal]
    return normalizers.Sequence([*before, bert, *after]) if steps else bert


def build_pre_tokenizer(options: TextOptions) -> Any:
    """Make the splitter at white space and punctuation; at white space alone without basic tokenisation."""
    if options.do_basic_tokenize:
        return pre_tokenizers.BertPreTokenizer()
    return pre_tokenizers.Split(Regex(_WHITESPACE), behavior="removed")


def build_post_processor(cls: tuple[str, int] | None, sep: tuple[str, int] | None) -> Any:
    """Make the template `[CLS] A [SEP]` of type 0, `B [SEP]` of type 1, without special tokens not set."""
    first = ["CLS:0", "$A:0", "SEP:0"]
    pair = [*first, "$B:1", "SEP:1"]
    # The template refers to tokens by these names, because a token itself may hold a space or a colon.
    special = {"CLS": cls, "SEP": sep}
    absent = tuple(f"{name}:" for name, token in special.items() if token is None)
    return processors.TemplateProcessing(
        single=[piece for piece in first if not piece.startswith(absent)],
        pair=[piece for piece in pair if not piece.startswith(absent)],
        special_tokens=[
            {"id": name, "ids": [token[1]], "tokens": [token[0]]} for name, token in special.items() if token
        ],
    )


def build_decoder(options: TextOptions) -> decoders.WordPiece:
    """Make the decoder, which joins word pieces into words and closes the gap before punctuation."""
    return decoders.WordPiece(prefix=options.wordpieces_prefix)


def _escape_regex(word: str) -> str:
    """Escape `word` for the library's regular expressions."""
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in word)
