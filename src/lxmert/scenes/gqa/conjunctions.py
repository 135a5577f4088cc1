"""Questions about two facts at once: two properties of one object, or one property of two."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.gqa.facts import AnyOf, Fact, HasValue, LacksValue
from lxmert.scenes.gqa.meaning import Meaning, group_noun
from lxmert.scenes.gqa.properties import operation
from lxmert.scenes.gqa.references import GqaScene, ObjectReference, ProgramBuilder
from lxmert.scenes.gqa.wording import AnnotatedText, TextPieces, Wording, fill_annotated
from lxmert.scenes.questions.family import predicate


@dataclass(frozen=True)
class VerifyBoth(Meaning):
    """'Is the star red and large?'"""

    reference: ObjectReference
    first: tuple[str, str]
    second: tuple[str, str]

    @property
    def kinds(self) -> Sequence[str]:
        return ("verifyAttrs",)

    @property
    def local_group(self) -> str:
        return f"05-{'_'.join(sorted((self.first[1], self.second[1])))}"

    @property
    def references(self) -> tuple[ObjectReference, ...]:
        return (self.reference,)

    def add_steps(self, program: ProgramBuilder) -> None:
        found = program.select_reference(self.reference)
        parts = [
            program.add(operation("verify", name), value, found) for name, value in (self.first, self.second)
        ]
        program.add("and", "", *parts)

    def implied_facts(self, answer: str) -> list[Fact]:
        pairs = (self.first, self.second)
        if answer == "yes":
            return [HasValue(self.reference, *pair) for pair in pairs]
        return [AnyOf(frozenset(LacksValue(self.reference, *pair) for pair in pairs))]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {
            "the": wording.the(self.reference),
            "value": wording.value(*self.first),
            "value2": wording.value(*self.second),
        }

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        scene_object = gqa_scene.resolve(self.reference)
        first, second = (scene_object.attribute(name) for name, _ in (self.first, self.second))
        words: dict[str, TextPieces | str] = {"the": wording.the(self.reference, relation=False)}
        words |= {"value": first, "value2": second}
        return fill_annotated(f"{answer}, {{the}} is {{value}} and {{value2}}.", words)


@dataclass(frozen=True)
class VerifyTwo(Meaning):
    """'Are both the star and the heart red?'"""

    first: ObjectReference
    second: ObjectReference
    name: str
    value: str

    @property
    def kinds(self) -> Sequence[str]:
        return ("verifyAttrAnd",)

    @property
    def local_group(self) -> str:
        nouns = sorted(group_noun(reference.description) for reference in self.references)
        return f"09verifyAttrAnd-{'_'.join(nouns)}"

    @property
    def references(self) -> tuple[ObjectReference, ...]:
        return self.first, self.second

    def add_steps(self, program: ProgramBuilder) -> None:
        parts = [
            program.add(operation("verify", self.name), self.value, program.select_reference(reference))
            for reference in self.references
        ]
        program.add("and", "", *parts)

    def implied_facts(self, answer: str) -> list[Fact]:
        if answer == "yes":
            return [HasValue(reference, self.name, self.value) for reference in self.references]
        return [
            AnyOf(frozenset(LacksValue(reference, self.name, self.value) for reference in self.references))
        ]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        words: dict[str, TextPieces | str] = {
            "the": wording.the(self.first),
            "the2": wording.the(self.second),
        }
        return {**words, "value": wording.value(self.name, self.value)}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        return two_values_sentence(answer, self.references, self.name, gqa_scene, wording)


def two_values_sentence(
    answer: str, references: Sequence[ObjectReference], name: str, gqa_scene: GqaScene, wording: Wording
) -> AnnotatedText:
    """'Yes, both the star and the heart are red.' or 'No, the star is red and the heart is blue.'"""
    first, second = (gqa_scene.resolve(reference).attribute(name) for reference in references)
    words: dict[str, TextPieces | str] = {
        "the": wording.the(references[0], relation=False),
        "the2": wording.the(references[1], relation=False),
        "value": predicate(name, first, plural=first == second),
        "value2": predicate(name, second),
    }
    if first == second:
        return fill_annotated(f"{answer}, both {{the}} and {{the2}} are {{value}}.", words)
    return fill_annotated(f"{answer}, {{the}} is {{value}} and {{the2}} is {{value2}}.", words)
