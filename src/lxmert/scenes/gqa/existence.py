"""Questions about the existence of something: alone, in relation to something, of one of two, of both."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.gqa.facts import (
    AllHaveValue,
    Exists,
    ExistsAt,
    ExistsWithOtherValue,
    Fact,
    NotExists,
    NotExistsAt,
    RelativeLocation,
)
from lxmert.scenes.gqa.meaning import Meaning
from lxmert.scenes.gqa.references import GqaScene, ObjectReference, ProgramBuilder
from lxmert.scenes.gqa.semantics import DIRECTIONS
from lxmert.scenes.gqa.wording import AnnotatedText, TextPieces, Wording, fill_annotated
from lxmert.scenes.object_descriptions import Description


def _group(description: Description) -> str:
    values = dict(description)
    return "_".join([values.pop("shape", "object"), *values.values()])


@dataclass(frozen=True)
class Exist(Meaning):
    """'Is there a red star?'"""

    description: Description

    @property
    def kinds(self) -> Sequence[str]:
        return ("exist",) if [name for name, _ in self.description] == ["shape"] else ("existAttr",)

    @property
    def local_group(self) -> str:
        return f"{'03' if len(self.description) == 1 else '04'}-{_group(self.description)}"

    def add_steps(self, program: ProgramBuilder) -> None:
        program.add("exist", "?", program.select(self.description))

    def implied_facts(self, answer: str) -> list[Fact]:
        return [(Exists if answer == "yes" else NotExists)(frozenset(self.description))]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {"a": wording.a(self.description), "many": wording.many(self.description)}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        if answer == "yes":
            return fill_annotated("yes, there is {a}.", {"a": wording.a(self.description)})
        return fill_annotated("no, there is no {one}.", {"one": wording.one(self.description)})


@dataclass(frozen=True)
class ExistThat(Exist):
    """'Is there a star that is red?', with the first attribute in a clause of its own."""

    @property
    def kinds(self) -> Sequence[str]:
        return ("existThat",)

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        (name, value), *rest = self.description
        return {**Exist(tuple(rest)).fillers(wording), "value": wording.value(name, value)}


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
        return f"04-{_group(self.description)}_n#{self.value}"

    def add_steps(self, program: ProgramBuilder) -> None:
        last = program.add(f"filter {self.name}", f"not({self.value})", program.select(self.description))
        program.add("exist", "?", last)

    def implied_facts(self, answer: str) -> list[Fact]:
        kind = ExistsWithOtherValue if answer == "yes" else AllHaveValue
        return [kind(frozenset(self.description), self.name, self.value)]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        words: dict[str, TextPieces | str] = {
            "a": wording.a(self.description),
            "many": wording.many(self.description),
        }
        return {**words, "value": wording.value(self.name, self.value)}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        start = "yes, there is {a}" if answer == "yes" else "no, there is no {one}"
        words = {"a": wording.a(self.description), "one": wording.one(self.description)}
        return fill_annotated(f"{start} that is not {{value}}.", {**words, "value": self.value})


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
        return f"13-{'_'.join(sorted((_group(self.description[-1:]), _group(self.origin[-1:]))))}"

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

    def sufficient_facts(self, answer: str) -> list[list[Fact]]:
        return [self.implied_facts(answer)[:1]]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {
            "a": wording.a(self.description),
            "one": wording.one(self.description),
            "many": wording.many(self.description),
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
        return f"09{self.kinds[0]}-{'_'.join(sorted((_group(self.first), _group(self.second))))}"

    def add_steps(self, program: ProgramBuilder) -> None:
        parts = [
            program.add("exist", "?", program.select(description))
            for description in (self.first, self.second)
        ]
        program.add(self.operation, "", *parts)

    def implied_facts(self, answer: str) -> list[Fact]:
        return self._facts_of_each(answer) if self._implies_both(answer) else []

    def sufficient_facts(self, answer: str) -> list[list[Fact]]:
        facts = self._facts_of_each(answer)
        return [facts] if self._implies_both(answer) else [[fact] for fact in facts]

    def _implies_both(self, answer: str) -> bool:
        return answer == ("yes" if self.operation == "and" else "no")

    def _facts_of_each(self, answer: str) -> list[Fact]:
        kind = Exists if answer == "yes" else NotExists
        return [kind(frozenset(one)) for one in (self.first, self.second)]

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
            words = {"one": wording.one(self.first), "one2": wording.one(self.second)}
            return fill_annotated(f"{answer}, there is no {{one}} and no {{one2}}.", words)
        words = {"a": wording.a(present[0]), "one": wording.one(missing[0])}
        return fill_annotated(f"{answer}, there is {{a}} but no {{one}}.", words)
