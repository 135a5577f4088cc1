"""Questions about the existence of something: alone, in relation to something, of one of two, of both."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.gqa.facts import (
    AllHaveValue,
    AnyOf,
    Exists,
    ExistsAt,
    ExistsWithOtherValue,
    Fact,
    NotExists,
    NotExistsAt,
    RelativeLocation,
)
from lxmert.scenes.gqa.meaning import Meaning, group_description, group_noun
from lxmert.scenes.gqa.references import GqaScene, ObjectReference, ProgramBuilder
from lxmert.scenes.gqa.semantics import DIRECTIONS
from lxmert.scenes.gqa.wording import AnnotatedText, TextPieces, Wording, fill_annotated
from lxmert.scenes.object_descriptions import Description
from lxmert.scenes.questions.family import predicate
from lxmert.scenes.world import SceneObject


@dataclass(frozen=True)
class Exist(Meaning):
    """'Is there a red star?'"""

    description: Description

    @property
    def kinds(self) -> Sequence[str]:
        return ("exist",) if [name for name, _ in self.description] == ["shape"] else ("existAttr",)

    @property
    def local_group(self) -> str:
        return f"{'03' if self.kinds == ('exist',) else '04'}-{group_description(self.description)}"

    def add_steps(self, program: ProgramBuilder) -> None:
        program.add("exist", "?", program.select(self.description))

    def implied_facts(self, answer: str) -> list[Fact]:
        return [(Exists if answer == "yes" else NotExists)(frozenset(self.description))]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {"a": wording.a(self.description), "many": wording.many(self.description)}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        if answer == "yes":
            return fill_annotated("yes, there is {a}.", {"a": wording.a(self.description)})
        return fill_annotated("no, there is no {one}.", {"one": wording.one(self.description, ())})


@dataclass(frozen=True)
class ExistThat(Exist):
    """'Is there a star that is red?', with the first attribute in a clause of its own."""

    @property
    def kinds(self) -> Sequence[str]:
        return ("existThat",)

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        (name, value), *rest = self.description
        # If none is red, the words stand for another star.
        meant = wording.gqa_scene.matching(self.description) or None
        return {
            "a": wording.a(tuple(rest), meant),
            "many": wording.many(tuple(rest), meant),
            "value": wording.value(name, value),
        }


@dataclass(frozen=True)
class ExistNot(Meaning):
    """'Is there a star that is not red?'"""

    description: Description
    name: str
    value: str

    @property
    def kinds(self) -> Sequence[str]:
        return ("existAttrNot",)

    @property
    def local_group(self) -> str:
        return f"04-{group_description(self.description)}_n#{self.value}"

    def add_steps(self, program: ProgramBuilder) -> None:
        last = program.add(f"filter {self.name}", f"not({self.value})", program.select(self.description))
        program.add("exist", "?", last)

    def implied_facts(self, answer: str) -> list[Fact]:
        kind = ExistsWithOtherValue if answer == "yes" else AllHaveValue
        return [kind(frozenset(self.description), self.name, self.value)]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        meant = self._meant(wording.gqa_scene)
        return {
            "a": wording.a(self.description, meant),
            "many": wording.many(self.description, meant),
            "value": wording.value(self.name, self.value),
            "values": wording.value(self.name, self.value, plural=True),
        }

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        start = "yes, there is {a}" if answer == "yes" else "no, there is no {one}"
        meant = self._meant(gqa_scene)
        words = {"a": wording.a(self.description, meant), "one": wording.one(self.description, meant)}
        value = predicate(self.name, self.value)
        return fill_annotated(f"{start} that is not {{value}}.", {**words, "value": value})

    def _meant(self, gqa_scene: GqaScene) -> list[SceneObject]:
        """The objects that the words stand for: those of another value or, if there are none, of this one."""
        objects = gqa_scene.matching(self.description)
        return [obj for obj in objects if obj.attribute(self.name) != self.value] or objects


@dataclass(frozen=True)
class ExistRelated(Meaning):
    """'Is there a red star to the left of the heart?'"""

    description: Description
    relation: str
    origin: Description

    @property
    def kinds(self) -> Sequence[str]:
        return ("existRelS",)

    @property
    def local_group(self) -> str:
        return f"13-{group_noun(self.origin)}_{group_noun(self.description)}"

    @property
    def references(self) -> tuple[ObjectReference, ...]:
        return (ObjectReference(self.origin),)

    def add_steps(self, program: ProgramBuilder) -> None:
        program.add("exist", "?", program.select_related(self.description, self.relation, self.origin))

    def implied_facts(self, answer: str) -> list[Fact]:
        values, location = (
            frozenset(self.description),
            RelativeLocation(self.relation, ObjectReference(self.origin)),
        )
        return (
            [ExistsAt(values, location), Exists(values)]
            if answer == "yes"
            else [NotExistsAt(values, location)]
        )

    def sufficient_facts(self, answer: str) -> list[Fact]:
        return self.implied_facts(answer)[:1]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        related = wording.gqa_scene.related(self.description, self.relation, self.origin)
        return {
            "a": wording.a(self.description, related),
            "one": wording.one(self.description, related),
            "many": wording.many(self.description, related),
            "side": wording.side(self.relation),
            "origin": wording.the(ObjectReference(self.origin)),
        }

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        start = "yes, there is {a}" if answer == "yes" else "no, there is no {one}"
        words = {**self.fillers(wording), "side": DIRECTIONS[self.relation]}
        return fill_annotated(f"{start} {{side}} {{origin}}.", words)


@dataclass(frozen=True)
class ExistTwo(Meaning):
    """'Are there both stars and hearts?' or 'Is there either a star or a heart?'"""

    operation: str
    first: Description
    second: Description

    @property
    def kinds(self) -> Sequence[str]:
        return ("existAnd",) if self.operation == "and" else ("existOr",)

    @property
    def local_group(self) -> str:
        return f"09{self.kinds[0]}-{'_'.join(sorted(map(group_noun, (self.first, self.second))))}"

    def add_steps(self, program: ProgramBuilder) -> None:
        parts = [
            program.add("exist", "?", program.select(description))
            for description in (self.first, self.second)
        ]
        program.add(self.operation, "", *parts)

    def implied_facts(self, answer: str) -> list[Fact]:
        kind = Exists if answer == "yes" else NotExists
        of_each: list[Fact] = [kind(frozenset(one)) for one in (self.first, self.second)]
        tells_of_both = answer == ("yes" if self.operation == "and" else "no")
        return of_each if tells_of_both else [AnyOf(frozenset(of_each))]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {
            "a": wording.a(self.first),
            "a2": wording.a(self.second),
            "many": wording.many(self.first),
            "many2": wording.many(self.second),
        }

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        present = [
            description for description in (self.first, self.second) if gqa_scene.view.count(description)
        ]
        missing = [description for description in (self.first, self.second) if description not in present]
        if not missing:
            return fill_annotated(
                f"{answer}, there is {{a}} and {{a2}}.",
                {"a": wording.a(self.first), "a2": wording.a(self.second)},
            )
        if not present:
            words = {"one": wording.one(self.first, ()), "one2": wording.one(self.second, ())}
            return fill_annotated(f"{answer}, there is no {{one}} and no {{one2}}.", words)
        words = {"a": wording.a(present[0]), "one": wording.one(missing[0], ())}
        return fill_annotated(f"{answer}, there is {{a}} but no {{one}}.", words)
