"""`explain`, and its methods by name."""

from collections.abc import Callable
from typing import Final

from lxmert.errors import InputError
from lxmert.explain.attention import attention
from lxmert.explain.case import Case, Weights
from lxmert.explain.explanation import Explanation
from lxmert.explain.gradient import gradient
from lxmert.explain.relevance import relevance
from lxmert.explain.removal import removal
from lxmert.inference.predictor import LxmertPredictor
from lxmert.vision.regions import Regions

Method = Callable[[Case], Weights]

METHODS: Final[dict[str, Method]] = {
    "relevance": relevance,
    "removal": removal,
    "gradient": gradient,
    "attention": attention,
}
"""By name. Each documents what its weights measure; those of different methods cannot be compared."""


def explain(
    predictor: LxmertPredictor,
    regions: Regions,
    question: str,
    *,
    answer: str | None = None,
    method: str = "relevance",
) -> Explanation:
    """Explain which words and which objects an answer rests on.

    Args:
        predictor: the model, with its processor; its weights do not change.
        regions: the result of `predictor.regions` for an image, or features of your own.
        question: one question.
        answer: the answer to explain instead of the model's own, for example the right one.
        method: one of `METHODS`.

    Raises:
        InputError: not a predictor, no such method, or an answer that the model does not know.
        ConfigurationError: the model is in 8 bits, or lacks the layers that the method uses.
        TextError: a question that is empty, or has no word that the model knows.
        VocabularyError: the processor has no answers.
        TensorError: regions of another feature width than the model's, or infinite or NaN scores.
    """
    if not isinstance(predictor, LxmertPredictor):
        raise InputError(
            f"predictor is a {type(predictor).__name__}, expected LxmertPredictor(model, processor)"
        )
    if method not in METHODS:
        raise InputError(f"method is {method!r}, expected {', '.join(METHODS)}")
    case = Case(predictor, regions, question, answer)
    weights = METHODS[method](case)
    return Explanation(
        question=question,
        answer=case.answer,
        method=method,
        words=tuple(word.text for word in case.words),
        word_weights=tuple(weights.words.tolist()),
        object_weights=tuple(weights.objects.tolist()),
        regions=regions,
        full_weight=weights.full_weight,
    )
