"""Questions about the existence of something: alone, in relation to something, of one of two, of both."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.describing import Description
from lxmert.scenes.gqa.facts import Fact, NoOther, Nothing, NothingAt, Other, Place, Some, SomeAt
from lxmert.scenes.gqa.meaning import Meaning
from lxmert.scenes.gqa.semantics import DIRECTIONS
from lxmert.scenes.gqa.things import Picture, Steps, Thing
from lxmert.scenes.gqa.wording import Worded, Wording, Words, worded


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

    def write(self, steps: Steps) -> None:
        steps.add("exist", "?", steps.select(self.description))

    def tells(self, answer: str) -> list[Fact]:
        return [(Some if answer == "yes" else Nothing)(frozenset(self.description))]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        return {"a": wording.a(self.description), "many": wording.many(self.description)}

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        if answer == "yes":
            return worded("yes, there is {a}.", {"a": wording.a(self.description)})
        return worded("no, there is no {one}.", {"one": wording.one(self.description)})


@dataclass(frozen=True)
class ExistThat(Exist):
    """'Is there a star that is red?', with the first attribute in a clause of its own."""

    @property
    def kinds(self) -> Sequence[str]:
        return ("existThat",)

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
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

    def write(self, steps: Steps) -> None:
        last = steps.add(f"filter {self.name}", f"not({self.value})", steps.select(self.description))
        steps.add("exist", "?", last)

    def tells(self, answer: str) -> list[Fact]:
        kind = Other if answer == "yes" else NoOther
        return [kind(frozenset(self.description), self.name, self.value)]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        words: dict[str, Words | str] = {
            "a": wording.a(self.description),
            "many": wording.many(self.description),
        }
        return {**words, "value": wording.value(self.name, self.value)}

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        start = "yes, there is {a}" if answer == "yes" else "no, there is no {one}"
        words = {"a": wording.a(self.description), "one": wording.one(self.description)}
        return worded(f"{start} that is not {{value}}.", {**words, "value": self.value})


@dataclass(frozen=True)
class ExistBeside(Meaning):
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
    def things(self) -> tuple[Thing, ...]:
        return (Thing(self.origin),)

    def write(self, steps: Steps) -> None:
        steps.add("exist", "?", steps.related(self.description, self.relation, self.origin))

    def tells(self, answer: str) -> list[Fact]:
        values, place = frozenset(self.description), Place(self.relation, Thing(self.origin))
        return [SomeAt(values, place), Some(values)] if answer == "yes" else [NothingAt(values, place)]

    def needs(self, answer: str) -> list[list[Fact]]:
        return [self.tells(answer)[:1]]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        return {
            "a": wording.a(self.description),
            "one": wording.one(self.description),
            "many": wording.many(self.description),
            "side": wording.side(self.relation),
            "origin": wording.the(Thing(self.origin)),
        }

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        start = "yes, there is {a}" if answer == "yes" else "no, there is no {one}"
        words = {**self.fillers(wording), "side": DIRECTIONS[self.relation]}
        return worded(f"{start} {{side}} {{origin}}.", words)


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

    def write(self, steps: Steps) -> None:
        parts = [
            steps.add("exist", "?", steps.select(description)) for description in (self.first, self.second)
        ]
        steps.add(self.operation, "", *parts)

    def tells(self, answer: str) -> list[Fact]:
        return self._of_each(answer) if self._tells_of_both(answer) else []

    def needs(self, answer: str) -> list[list[Fact]]:
        of_each = self._of_each(answer)
        return [of_each] if self._tells_of_both(answer) else [[fact] for fact in of_each]

    def _tells_of_both(self, answer: str) -> bool:
        return answer == ("yes" if self.operation == "and" else "no")

    def _of_each(self, answer: str) -> list[Fact]:
        kind = Some if answer == "yes" else Nothing
        return [kind(frozenset(one)) for one in (self.first, self.second)]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        return {
            "a": wording.a(self.first),
            "a2": wording.a(self.second),
            "many": wording.many(self.first),
            "many2": wording.many(self.second),
        }

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        present = [
            description for description in (self.first, self.second) if picture.view.count(description)
        ]
        missing = [description for description in (self.first, self.second) if description not in present]
        if not missing:
            return worded(
                f"{answer}, there is {{a}} and {{a2}}.",
                {"a": wording.a(self.first), "a2": wording.a(self.second)},
            )
        if not present:
            words = {"one": wording.one(self.first), "one2": wording.one(self.second)}
            return worded(f"{answer}, there is no {{one}} and no {{one2}}.", words)
        words = {"a": wording.a(present[0]), "one": wording.one(missing[0])}
        return worded(f"{answer}, there is {{a}} but no {{one}}.", words)
