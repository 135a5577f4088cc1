"""The answer normalisation of the official VQA evaluator, written once for metric and vocabulary.

Source: GT-Vision-Lab/VQA `vqaEval.py` as of March 2021 under Python 2.7, whose behaviour is reproduced
exactly, including its bugs: answers in published tables and scores went through these very rules.

The evaluator calls its two halves processPunctuation and processDigitArticle.
"""

import re
from functools import lru_cache

# Not among them: . : ' & % $ # * which are kept (the period has a rule of its own).
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'

# The answers of VQA v2, millions, have fewer spellings than this.
_RAW_ANSWER_CACHE_SIZE = 2**18

# ASCII digits only: Python 2's \d without its Unicode flag.
_COMMA_BETWEEN_DIGITS = re.compile(r"[0-9],[0-9]")

# The evaluator also meant to keep a period that follows a digit, but its look-behind is mistyped as a
# look-ahead that is always true; so only a following digit protects a period.
_PERIOD_NOT_BEFORE_DIGIT = re.compile(r"\.(?![0-9])")

# The evaluator passes `re.UNICODE` (= 32) as the count of `re.sub`: at most 32 periods are removed.
_MAX_PERIODS_REMOVED = 32

_NUMBER_WORDS = {
    word: str(number)
    for number, words in enumerate(
        ("none zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
    for word in words.split()
}

_ARTICLES = frozenset({"a", "an", "the"})

# A word of this list replaces each spelling that lacks exactly one of its apostrophes (couldnt've,
# couldn'tve). It is the evaluator's list: "she'd", "we'd", "he'll" and others are missing there, hence here.
# Its keys with capitals (Im, Ive, Id've, I'dve) never match lower-cased text, and two entries map a word to
# itself.
_WORDS_WITH_APOSTROPHES = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't
he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't
must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've
somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've
something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas
wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've
who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've
you'd you'd've you'll you're you've
"""


def _spellings_lacking_one_apostrophe(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at, letter in enumerate(word) if letter == "'"]


_CONTRACTIONS = {
    spelling: word
    for word in _WORDS_WITH_APOSTROPHES.split()
    for spelling in _spellings_lacking_one_apostrophe(word)
} | {
    "somebody'd": "somebodyd",  # reversed in the evaluator, and so here
}


def _lower(text: str) -> str:
    """Lower-case letter by letter, as Python 2 does: no final sigma, and the length never changes."""
    return text.lower() if text.isascii() else "".join(letter.lower()[0] for letter in text)


def clean_white_space(text: str) -> str:
    r"""Turn every \n and \t into a space, then strip: what the evaluator does to every answer first."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def process_punctuation(text: str) -> str:
    """The evaluator's processPunctuation.

    A punctuation mark disappears if it stands next to a space anywhere in the text, or if the text has a
    comma between two digits anywhere; otherwise it becomes a space. Then periods not followed by a digit are
    removed.
    """
    all_disappear = _COMMA_BETWEEN_DIGITS.search(text) is not None
    result = text
    for mark in _PUNCTUATION:
        if mark in text:
            disappears = all_disappear or f"{mark} " in text or f" {mark}" in text
            result = result.replace(mark, "" if disappears else " ")
    return _PERIOD_NOT_BEFORE_DIGIT.sub("", result, count=_MAX_PERIODS_REMOVED)


def process_digits_and_articles(text: str) -> str:
    """The evaluator's processDigitArticle.

    Lower-cases, turns number words into digits, removes articles, restores apostrophes, and joins the words
    with single spaces.
    """
    words = (_NUMBER_WORDS.get(word, word) for word in _lower(text).split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


@lru_cache(maxsize=65_536)
def normalise_answer(text: str) -> str:
    """Apply both steps in the evaluator's order: punctuation, then digits and articles.

    Args:
        text: An answer. The evaluator applies `clean_white_space` before; this function does not.

    Returns:
        The normalised answer; may be empty ("the" becomes "").
    """
    return process_digits_and_articles(process_punctuation(text))


@lru_cache(_RAW_ANSWER_CACHE_SIZE)
def normalise_raw_answer(text: str) -> str:
    """Normalise an answer as an annotator wrote it: `clean_white_space`, then `normalise_answer`."""
    return normalise_answer(clean_white_space(text))
