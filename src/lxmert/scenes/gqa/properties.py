"""Questions about a property of one object, or of the whole scene: query, verify, choose."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.gqa.facts import Fact, HasValue, LacksValue
from lxmert.scenes.gqa.meaning import YES_NO, Meaning, group_description, group_noun
from lxmert.scenes.gqa.references import (
    PLACE_PROPERTIES,
    PROPERTY_VALUES,
    SAME,
    SCENE,
    GqaScene,
    ObjectReference,
    ProgramBuilder,
)
from lxmert.scenes.gqa.semantics import DIRECTIONS
from lxmert.scenes.gqa.wording import AnnotatedText, TextPieces, Wording, fill_annotated
from lxmert.scenes.questions.family import attribute_fillers, predicate

_LOCATION_SENTENCES = {
    "hposition": "{the} is on the {value} of the picture.",
    "vposition": "{the} is at the {value} of the picture.",
}


def operation(verb: str, name: str) -> str:
    """The operation of a verb and a property: 'verify color'; GQA calls the shape "name"."""
    return f"{verb} {'name' if name == 'shape' else name}"


def _sentence(
    reference: ObjectReference, name: str, value: str, wording: Wording, start: str = ""
) -> AnnotatedText:
    if reference == SCENE:
        shown = f"the {value}" if name == "main shape" else value
        return fill_annotated(
            f"{start}the most common {name.removeprefix('main ')} is {{value}}.", {"value": shown}
        )
    template = start + _LOCATION_SENTENCES.get(name, "{the} is {value}.")
    shown = value if name in PLACE_PROPERTIES else predicate(name, value)
    return fill_annotated(template, {"the": wording.the(reference, relation=False), "value": shown})


class _SingleObjectMeaning(Meaning):
    """The common part of Query, Verify and Choose."""

    reference: ObjectReference
    name: str

    @property
    def references(self) -> tuple[ObjectReference, ...]:
        return (self.reference,)

    def common_fillers(self, wording: Wording) -> dict[str, TextPieces | str]:
        """The fillers that all of them use."""
        if self.reference == SCENE:
            return {**attribute_fillers(self.name.removeprefix("main "))}
        return {"the": wording.the(self.reference), **attribute_fillers(self.name)}

    def answer_object_id(self, answer: str, gqa_scene: GqaScene) -> str | None:
        is_name = self.name == "shape" and answer not in YES_NO
        return gqa_scene.object_id(gqa_scene.resolve(self.reference)) if is_name else None


class _ValueMeaning(_SingleObjectMeaning):
    """The common part of Query and Choose, whose answer is a value."""

    def group(self, form: str) -> str:
        """GQA's name of a group; `form` is "q" for an open question, "c" for a choice."""
        described, relation = self.reference.description, self.reference.relation
        if self.reference == SCENE:
            return f"02{form}-{self.name.removeprefix('main ')}"
        if self.name != "shape":
            return f"10{form}-{group_noun(described)}_{self.name}"
        if relation is None:
            return f"12{form}-{group_description(described)}"
        related = f"{relation},_" if relation.startswith(SAME) else f"{DIRECTIONS[relation]},s"
        return (
            f"{'14' if form == 'q' and not described else '15'}-{group_noun(self.reference.origin)}_{related}"
        )

    @property
    def global_group(self) -> str | None:
        return None if self.name in PLACE_PROPERTIES else self.name.removeprefix("main ")

    def implied_facts(self, answer: str) -> list[Fact]:
        return [HasValue(self.reference, self.name, answer)]

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        return _sentence(self.reference, self.name, answer, wording)


@dataclass(frozen=True)
class Query(_ValueMeaning):
    """'What color is the star?'"""

    reference: ObjectReference
    name: str

    @property
    def kinds(self) -> Sequence[str]:
        if self.reference == SCENE:
            return ("mainQuery",)
        if self.name == "hposition":
            return ("positionQuery",)
        if self.name in ("size", "fill"):
            return ("directOf", "directWhich", f"how.{self.name}")
        if self.name != "shape":
            return ("directOf", "directWhich")
        if self.reference.relation is None:
            return ("categoryThat",)
        if self.reference.relation.startswith(SAME):
            return ("sameRelate",)
        return ("categoryRelS",) if self.reference.description else ("relS",)

    @property
    def local_group(self) -> str:
        return self.group("q")

    def add_steps(self, program: ProgramBuilder) -> None:
        program.add(
            "query", "name" if self.name == "shape" else self.name, program.select_reference(self.reference)
        )

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        relation = self.reference.relation or ""
        origin = ObjectReference(self.reference.origin)
        match self.kinds[0]:
            case "relS":
                return {"side": wording.side(relation), "origin": wording.the(origin)}
            case "sameRelate":
                return {**attribute_fillers(relation.removeprefix(SAME)), "origin": wording.the(origin)}
            case _:
                return self.common_fillers(wording)

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        values = PROPERTY_VALUES[self.name]
        if self.name == "shape" and len(self.reference.origin) == 1:
            # The only star has no relation to another star.
            return values, [value for value in values if ("shape", value) not in self.reference.origin]
        return values, values


@dataclass(frozen=True)
class Verify(_SingleObjectMeaning):
    """'Is the star red?'"""

    reference: ObjectReference
    name: str
    value: str

    @property
    def kinds(self) -> Sequence[str]:
        if self.reference == SCENE:
            return ("mainVerify",)
        if self.name in PLACE_PROPERTIES:
            return (f"positionVerify.{self.name}",)
        if self.name == "shape":
            return ("categoryVerify",)
        return ("verifyAttr",) if self.reference.relation is None else ("verifyAttrK",)

    @property
    def local_group(self) -> str:
        if self.reference == SCENE:
            return f"01-{self.name.removeprefix('main ')}_{self.value}"
        return f"06-{group_noun(self.reference.description)}_{self.value}"

    def add_steps(self, program: ProgramBuilder) -> None:
        program.add(operation("verify", self.name), self.value, program.select_reference(self.reference))

    def implied_facts(self, answer: str) -> list[Fact]:
        return [(HasValue if answer == "yes" else LacksValue)(self.reference, self.name, self.value)]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        is_literal = self.name in PLACE_PROPERTIES or self.reference == SCENE
        value = self.value if is_literal else wording.value(self.name, self.value)
        return {**self.common_fillers(wording), "value": value}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        truth = gqa_scene.property_value(self.reference, self.name)
        return _sentence(self.reference, self.name, truth, wording, f"{answer}, ")


@dataclass(frozen=True)
class Choose(_ValueMeaning):
    """'Is the star red or blue?'"""

    reference: ObjectReference
    name: str
    value: str
    value2: str

    @property
    def kinds(self) -> Sequence[str]:
        if self.reference == SCENE:
            return ("mainChoose",)
        if self.name in PLACE_PROPERTIES:
            return (f"positionChoose.{self.name}",)
        if self.name == "shape":
            return ("categoryThatChoose",) if self.reference.relation is None else ("categoryRelSChoose",)
        return ("chooseAttr",)

    @property
    def local_group(self) -> str:
        return self.group("c")

    def add_steps(self, program: ProgramBuilder) -> None:
        found = program.select_reference(self.reference)
        program.add(operation("choose", self.name), f"{self.value}|{self.value2}", found)

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        def shown(value: str) -> str:
            return predicate(self.name, value)

        return {**self.common_fillers(wording), "value": shown(self.value), "value2": shown(self.value2)}

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        return (self.value, self.value2), (self.value, self.value2)

    def blind_guess(self, answer: str) -> str:
        return "first" if answer == self.value else "second"
