"""Ten simulated annotators of each question, who sometimes disagree.

One question in ten has one to three dissenters, who give a neighbouring number, a similar colour, or another
word for the same thing. At least seven always give the true answer, which the official metric scores 1.0.
"""

import random
from typing import Any, Final

from lxmert.scenes.lexicon import NUMBER_WORDS

ANNOTATORS: Final = 10
DISPUTED_SHARE: Final = 0.1
DISSENTERS_MAX: Final = 3

_DISSENTING_ANSWERS: Final[dict[str, tuple[str, ...]]] = {
    "yes": ("no",),
    "no": ("yes",),
    "red": ("orange", "dark red"),
    "orange": ("red", "yellow"),
    "yellow": ("orange", "gold"),
    "green": ("dark green", "black"),
    "cyan": ("blue", "light blue", "turquoise"),
    "blue": ("dark blue", "purple"),
    "purple": ("violet", "blue"),
    "black": ("dark gray", "gray"),
    "circle": ("round", "ball"),
    "square": ("box", "rectangle"),
    "triangle": ("pyramid", "arrow"),
    "star": ("stars", "cross"),
    "heart": ("hearts", "love"),
    "cross": ("plus", "x"),
    "small": ("tiny", "little", "large"),
    "large": ("big", "small"),
    "solid": ("filled", "full"),
    "hollow": ("empty", "outline"),
    "striped": ("stripes", "lines"),
    "left": ("left side", "right"),
    "right": ("right side", "left"),
    "top": ("upper", "bottom"),
    "bottom": ("lower", "top"),
}


def annotate(answer: str, rng: random.Random) -> list[dict[str, Any]]:
    """Ten answers in the VQA format: answer_id 1..10, answer, answer_confidence yes, maybe or no."""
    dissenters: list[int] = []
    if rng.random() < DISPUTED_SHARE:
        dissenters = rng.sample(range(ANNOTATORS), rng.randint(1, DISSENTERS_MAX))
    return [
        {
            "answer_id": number + 1,
            "answer": _dissenting_answer(answer, rng) if number in dissenters else answer,
            "answer_confidence": rng.choice(("maybe", "no"))
            if number in dissenters
            else rng.choice(("yes",) * 9 + ("maybe",)),
        }
        for number in range(ANNOTATORS)
    ]


def _dissenting_answer(answer: str, rng: random.Random) -> str:
    """A dissenter's answer in place of the true one."""
    if answer.isdigit():
        number = int(answer)
        near = [str(number + step) for step in (-1, 1) if number + step >= 0]
        return rng.choice([*near, NUMBER_WORDS[number] if number else "none"])
    return rng.choice(_DISSENTING_ANSWERS[answer])
