"""Families of questions: their forms, and filling of a form for a scene."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lxmert.scenes.lexicon import PLURALS, with_article
from lxmert.scenes.object_descriptions import Description, SceneView, phrase
from lxmert.scenes.programs import Program, Step
from lxmert.scenes.questions.templates import TEMPLATES

AnswerType = Literal["yes/no", "number", "other"]


@dataclass(frozen=True)
class Question:
    """A question about one scene with its true answer.

    Attributes:
        text: The question, such as "What color is the large star?".
        answer: The answer that executing the program gives.
        family: The name of the question's family.
        answer_type: "yes/no", "number" or "other", as in VQA.
        program: The question as executable steps.
    """

    text: str
    answer: str
    family: str
    answer_type: AnswerType
    program: Program


@dataclass(frozen=True)
class Draft:
    """A question before its program is executed."""

    text: str
    program: Program


@dataclass(frozen=True)
class Form:
    """Everything about a question except its fillers; answers are balanced within a form.

    Attributes:
        template: One sentence pattern.
        variant: The key of the pattern in `TEMPLATES`, such as "left".
        names: The attributes used, in the order in which the family uses them.
        names2: The attributes of a second description.
    """

    template: str
    variant: str = ""
    names: tuple[str, ...] = ()
    names2: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """One family of questions.

    Attributes:
        name: The family's name, the `question_type` of the annotations.
        answer_type: "yes/no", "number" or "other".
        weight: Frequency, relative to the others.
        fill: Fills a form for a scene; returns None on failure.
        choices: The `names` that a form may have.
        choices2: The `names2` that a form may have.
    """

    name: str
    answer_type: AnswerType
    weight: float
    fill: Callable[[SceneView, Form, random.Random], Draft | None]
    choices: Sequence[tuple[str, ...]] = ((),)
    choices2: Sequence[tuple[str, ...]] = ((),)

    def form(self, rng: random.Random) -> Form:
        """A random form."""
        variants = TEMPLATES[self.name]
        variant = rng.choice(list(variants))
        names, names2 = rng.choice(self.choices), rng.choice(self.choices2)
        # The attribute in question is the first.
        templates = usable_templates(variants[variant], has_quality=names[:1] != ("fill",))
        return Form(rng.choice(templates), variant, names, names2)


def attribute_fillers(name: str) -> dict[str, str]:
    """The words for an attribute in a template: no "quality" for the fill, which a thing has, but is not."""
    words = {"attribute": name, "attributes": f"{name}s"}
    return words if name == "fill" else {**words, "quality": name}


def usable_templates(templates: Sequence[str], *, has_quality: bool) -> list[str]:
    """The templates that can be filled with, or without, a "quality"."""
    return [template for template in templates if has_quality or "{quality}" not in template]


def fill_template(template: str, rng: random.Random, **fillers: Description | str) -> str:
    """Fill the placeholders of a template.

    The placeholder's name determines the form of a description: {a} has an article, {the} has "the", {many}
    is plural. A string is used unchanged. The first letter is capitalised.
    """
    words: dict[str, str] = {}
    for name, filler in fillers.items():
        # A filler that the template does not use must not consume random numbers either.
        if isinstance(filler, str) or f"{{{name}}}" not in template:
            words[name] = str(filler)
            continue
        kind = name.rstrip("2")
        text = phrase(filler, rng, plural=kind == "many")
        words[name] = {"a": with_article(text), "the": f"the {text}"}.get(kind, text)
    text = template.format(**words)
    return text[0].upper() + text[1:]


def predicate(name: str, value: str, *, plural: bool = False) -> str:
    """A value after "is" or "are": "red", "a star", "stars"."""
    if name != "shape":
        return value
    return PLURALS[value] if plural else with_article(value)


def select_step(description: Description) -> Step:
    """The step that selects the objects that a description fits."""
    return Step("select", (), dict(description))


def build_program(*steps: tuple[Any, ...] | Step) -> Program:
    """Make steps from (operation, inputs, argument), of which the last two are optional."""
    return tuple(step if isinstance(step, Step) else Step(*step) for step in steps)
