"""GQA's metrics computed from their definitions in exact fractions, and random data for tests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from lxmert.data.gqa import GqaExample
from lxmert.data.gqa_scene_graphs import GqaChoices

ANSWERS = ("yes", "no", "red", "dog")
STEPS = (
    "select: dog (a)",
    "query: color",
    "exist: ?",
    "query: name",
    "choose name: dog|cat",
    "verify: nonexistent",
)


def mean(values: Sequence[Fraction | bool]) -> Fraction:
    return Fraction(sum(map(Fraction, values)), len(values)) if values else Fraction(0)


def gqa_metrics(
    predictions: Mapping[str, str], questions: Sequence[GqaExample], choices: Mapping[str, GqaChoices]
) -> dict[str, Fraction | None]:
    """Every metric as a share 0..1, and the distribution."""
    by_id = {question.question_id: question for question in questions}
    balanced = [question for question in questions if question.is_balanced]

    def is_correct(question: GqaExample) -> bool:
        return predictions[question.question_id] == question.answer

    def is_allowed(question: GqaExample, kind: str) -> bool:
        common = "Common" in (question.detailed or "")
        words = (
            {"color", "material", "shape"} if common else set(getattr(choices[question.question_id], kind))
        )
        return predictions[question.question_id] in words

    shares = []
    for question in balanced:
        others = [by_id[entailed] for entailed in question.entailed if entailed != question.question_id]
        if is_correct(question) and others:
            shares.append(mean([is_correct(entailed) for entailed in others]))
    groups: dict[str, list[GqaExample]] = {}
    for question in balanced:
        if question.groups_global is not None:
            groups.setdefault(question.groups_global, []).append(question)
    surprise = Fraction(0)
    for members in groups.values():
        expected = Counter(question.answer for question in members)
        observed = Counter(predictions[question.question_id] for question in members)
        chi = sum(Fraction((observed[answer] - n) ** 2, n) for answer, n in expected.items())
        surprise += chi * len(members)
    grouped = sum(map(len, groups.values()))
    return {
        "accuracy": mean([is_correct(question) for question in balanced]),
        "binary": mean([is_correct(question) for question in balanced if question.structural != "query"]),
        "open": mean([is_correct(question) for question in balanced if question.structural == "query"]),
        "validity": mean([is_allowed(question, "valid") for question in balanced]),
        "plausibility": mean([is_allowed(question, "plausible") for question in balanced]),
        "consistency": mean(shares),
        "distribution": surprise / grouped / 100 if grouped else None,
    }


def steps_by_definition(question: GqaExample) -> int:
    return len([step for step in question.semantic_steps if "exist" not in step and "name" not in step])


@st.composite
def question_files(draw: Any) -> tuple[list[GqaExample], dict[str, GqaChoices]]:
    """Questions that entail one another at random, at least one of them balanced, and their choices."""
    ids = [f"0{number}" for number in range(draw(st.integers(1, 6)))]
    answers = st.lists(st.sampled_from(ANSWERS), max_size=3).map(tuple)
    questions = [
        GqaExample(
            question_id,
            image_id="1",
            question=" ".join("w" * draw(st.integers(0, 3))),
            answer=draw(st.sampled_from(ANSWERS)),
            is_balanced=number == 0 or draw(st.booleans()),
            groups_global=draw(st.sampled_from([None, "color", "animal"])),
            entailed=tuple(draw(st.lists(st.sampled_from(ids), max_size=4))),
            structural=draw(st.sampled_from(["query", "verify", "choose"])),
            semantic=draw(st.sampled_from(["attr", "rel"])),
            detailed=draw(st.sampled_from(["existC", "twoCommon"])),
            semantic_steps=tuple(draw(st.lists(st.sampled_from(STEPS), max_size=4))),
        )
        for number, question_id in enumerate(ids)
    ]
    return questions, {question_id: GqaChoices(draw(answers), draw(answers)) for question_id in ids}
