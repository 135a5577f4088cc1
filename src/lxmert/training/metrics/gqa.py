"""The official GQA figures: accuracy and its parts, validity, consistency, grounding, distribution.

Source: the GQA evaluator `eval.py` (gqadataset.org), whose numbers are reproduced bit for bit. Every figure
is over the balanced questions of the file, in percent, except `distribution` (a chi-square over 100; lower
is better). Answers are compared exactly: no normalisation, case-sensitive.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from lxmert.data.gqa import GqaExample
from lxmert.data.gqa_scene_graphs import GqaChoices, GqaSceneGraph
from lxmert.data.progress import StartProgress, iterate_with_progress, no_progress
from lxmert.errors import DataError
from lxmert.training.metrics import gqa_consistency
from lxmert.training.metrics.gqa_consistency import ConsistencyRule
from lxmert.training.metrics.grounding import AttentionKind, grounding_score
from lxmert.training.metrics.sums import mean_percent, plain_sum

_Key = TypeVar("_Key")

# The answers to "what do they have in common?", which override the choices file.
_COMMON_TYPE = "Common"
_COMMON_ANSWERS = ("color", "material", "shape")

# Steps that do not count for a question's length: its last one, in three forms.
_UNCOUNTED_STEPS = ("exist", "query: name", "choose name")

# Stands for types that the file lacks.
_UNKNOWN = "unknown"

# The structure of open questions; all others are binary to the evaluator, even "choose" with its two options.
_OPEN_STRUCTURE = "query"


class GroupAccuracy(NamedTuple):
    """Accuracy of a group of questions in percent, and their number."""

    percent: float
    questions: int


@dataclass(frozen=True)
class GqaScores:
    """The official figures, unrounded; percentages unless said otherwise.

    Attributes:
        accuracy: Predictions equal to the answer.
        binary: The same over all questions whose structure is not "query"; 0 without such questions.
        open: The same over questions whose structure is "query"; 0 without such questions.
        validity: Predictions among the valid choices; None without choices.
        plausibility: Predictions among the plausible choices; None without choices.
        consistency: Mean accuracy over the questions entailed by each correctly answered one; 0 if there are
            none, None if it is undetermined or was not requested.
        grounding: Attention on the objects that a question is about; None without attentions.
        distribution: How far the distribution of predicted answers is from the true one: chi-square over 100,
            lower is better, not a percentage; None if no question belongs to a global group.
        per_structural: Accuracy per structural type.
        per_semantic: Accuracy per semantic type.
        per_steps: Accuracy per number of reasoning steps.
        per_words: Accuracy per number of words.
        questions: Number of balanced questions scored.
        missing: Number of these without a prediction, counted as wrong. 0 unless they were allowed.
        no_consistency: Why there is no consistency; None if there is.
    """

    accuracy: float
    binary: float
    open: float
    validity: float | None
    plausibility: float | None
    consistency: float | None
    grounding: float | None
    distribution: float | None
    per_structural: dict[str, GroupAccuracy] = field(repr=False)
    per_semantic: dict[str, GroupAccuracy] = field(repr=False)
    per_steps: dict[int, GroupAccuracy] = field(repr=False)
    per_words: dict[int, GroupAccuracy] = field(repr=False)
    questions: int
    missing: int = 0
    no_consistency: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON, under the official names; groups as [percent, questions]."""
        return {
            "accuracy": self.accuracy,
            "binary": self.binary,
            "open": self.open,
            "validity": self.validity,
            "plausibility": self.plausibility,
            "consistency": self.consistency,
            "grounding": self.grounding,
            "distribution": self.distribution,
            "accuracyPerStructuralType": _to_lists(self.per_structural),
            "accuracyPerSemanticType": _to_lists(self.per_semantic),
            "accuracyPerSteps": _to_lists(self.per_steps),
            "accuracyPerLength": _to_lists(self.per_words),
            "questions": self.questions,
            "missing": self.missing,
            "noConsistency": self.no_consistency,
        }


def gqa_scores(
    predictions: Mapping[str, str],
    questions: Iterable[GqaExample],
    choices: Mapping[str, GqaChoices] | None = None,
    scene_graphs: Mapping[str, GqaSceneGraph] | None = None,
    attentions: Mapping[str, Sequence[Sequence[float]]] | None = None,
    *,
    attention_kind: AttentionKind = "map",
    consistency: ConsistencyRule = "auto",
    only: Container[str] | None = None,
    allow_missing: bool = False,
    progress: StartProgress = no_progress,
) -> GqaScores:
    """Score predictions against annotated questions.

    Args:
        predictions: Answers by question id; those to other questions than `questions` are ignored.
        questions: Annotated questions. Unbalanced ones count for consistency only.
        choices: Valid and plausible answers by question id.
        scene_graphs: Objects by image id, for grounding.
        attentions: Attention by question id, for grounding, as in `grounding_score`.
        attention_kind: What the attentions are over: cells of a "map", or boxes of "objects".
        consistency: What to do if entailed questions are unknown.
        only: Ids of the questions to score; None for all. The others count for consistency only.
        allow_missing: True counts questions without a prediction as wrong instead of refusing.
        progress: Shows the progress of figures that take long.

    Raises:
        DataError: There is no balanced question, one has no answer, prediction, choices, attention or scene
            graph, or consistency is required and undetermined.
    """
    by_id = {question.question_id: question for question in questions}
    scored = [
        question
        for question in by_id.values()
        if question.is_balanced and (only is None or question.question_id in only)
    ]
    missing = _count_missing(predictions, scored, allow_missing)
    correct = [predictions.get(question.question_id) == question.answer for question in scored]
    consistent, reason = gqa_consistency.consistency(
        predictions, scored, by_id, consistency, allow_missing=allow_missing, progress=progress
    )
    return GqaScores(
        accuracy=mean_percent(correct),
        binary=mean_percent(
            [is_correct for q, is_correct in zip(scored, correct, strict=True) if not _is_open(q)]
        ),
        open=mean_percent([is_correct for q, is_correct in zip(scored, correct, strict=True) if _is_open(q)]),
        validity=_share_of_choices(predictions, scored, choices, "valid"),
        plausibility=_share_of_choices(predictions, scored, choices, "plausible"),
        consistency=consistent,
        no_consistency=reason,
        grounding=_grounding(scored, scene_graphs, attentions, attention_kind, progress),
        distribution=_distribution(predictions, scored),
        per_structural=_per_group([question.structural or _UNKNOWN for question in scored], correct),
        per_semantic=_per_group([question.semantic or _UNKNOWN for question in scored], correct),
        per_steps=_per_group([reasoning_steps(question) for question in scored], correct),
        per_words=_per_group([len(question.question.split()) for question in scored], correct),
        questions=len(scored),
        missing=missing,
    )


def _count_missing(predictions: Mapping[str, str], scored: Sequence[GqaExample], allow_missing: bool) -> int:
    """Return the number of missing predictions; raise for what cannot be scored."""
    if not scored:
        raise DataError("there is no balanced question to score; GQA's metrics use only those")
    unanswered = next((question for question in scored if question.answer is None), None)
    if unanswered is not None:
        raise DataError(f"question {unanswered.question_id} has no answer, so it cannot be scored")
    missing = [question.question_id for question in scored if question.question_id not in predictions]
    if missing and not allow_missing:
        raise DataError(
            f"{len(missing):,} of {len(scored):,} balanced questions have no prediction, starting with "
            f"{missing[0]}; predict every question, or allow missing predictions, which count as wrong"
        )
    return len(missing)


def _is_open(question: GqaExample) -> bool:
    return question.structural == _OPEN_STRUCTURE


def reasoning_steps(question: GqaExample) -> int:
    """Number of steps of a question's program, counted as in the official evaluator."""
    return sum(not any(one in step for one in _UNCOUNTED_STEPS) for step in question.semantic_steps)


def _share_of_choices(
    predictions: Mapping[str, str],
    scored: Sequence[GqaExample],
    choices: Mapping[str, GqaChoices] | None,
    kind: Literal["valid", "plausible"],
) -> float | None:
    if choices is None:
        return None
    hits = []
    for question in scored:
        if question.question_id not in choices:
            raise DataError(
                f"question {question.question_id} is not in the choices file; use the choices of the same "
                "split, or none"
            )
        allowed: Sequence[str] = getattr(choices[question.question_id], kind)
        if _COMMON_TYPE in (question.detailed or ""):
            allowed = _COMMON_ANSWERS
        hits.append(predictions.get(question.question_id) in allowed)
    return mean_percent(hits)


def _grounding(
    scored: Sequence[GqaExample],
    scene_graphs: Mapping[str, GqaSceneGraph] | None,
    attentions: Mapping[str, Sequence[Sequence[float]]] | None,
    kind: AttentionKind,
    progress: StartProgress,
) -> float | None:
    if attentions is None:
        return None
    if scene_graphs is None:
        raise DataError("grounding needs the scene graphs of the split in addition to the attentions")
    scores = []
    for question in iterate_with_progress(scored, "Scoring grounding", progress):
        if question.question_id not in attentions:
            raise DataError(
                f"question {question.question_id} has no attention; expected one for every question"
            )
        if question.image_id not in scene_graphs:
            raise DataError(f"image {question.image_id} has no scene graph; use those of the same split")
        scores.append(
            grounding_score(question, scene_graphs[question.image_id], attentions[question.question_id], kind)
        )
    return mean_percent(scores)


def _distribution(predictions: Mapping[str, str], scored: Sequence[GqaExample]) -> float | None:
    """Chi-square per global group of questions, weighted by the groups' sizes, over 100."""
    truth: defaultdict[str, Counter[str]] = defaultdict(Counter)
    predicted: defaultdict[str, Counter[str | None]] = defaultdict(Counter)
    for question in scored:
        if question.groups_global is not None:
            truth[question.groups_global][str(question.answer)] += 1
            predicted[question.groups_global][predictions.get(question.question_id)] += 1
    if not truth:
        return None
    weighted = [
        plain_sum((predicted[group][answer] - count) ** 2 / count for answer, count in counts.items())
        * counts.total()
        for group, counts in truth.items()
    ]
    return plain_sum(weighted) / sum(counts.total() for counts in truth.values()) / 100


def _per_group(keys: Sequence[_Key], right: Sequence[bool]) -> dict[_Key, GroupAccuracy]:
    groups: dict[_Key, list[bool]] = {}
    for key, is_right in zip(keys, right, strict=True):
        groups.setdefault(key, []).append(is_right)
    return {key: GroupAccuracy(mean_percent(values), len(values)) for key, values in groups.items()}


def _to_lists(groups: Mapping[Any, GroupAccuracy]) -> dict[Any, list[float]]:
    return {key: list(group) for key, group in groups.items()}
