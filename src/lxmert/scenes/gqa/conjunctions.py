"""Questions about two facts at once: two properties of one thing, or one property of two."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.gqa.facts import Fact, Is, IsNot
from lxmert.scenes.gqa.meaning import Meaning, local_name
from lxmert.scenes.gqa.properties import operation
from lxmert.scenes.gqa.things import Picture, Steps, Thing
from lxmert.scenes.gqa.wording import Worded, Wording, Words, worded
from lxmert.scenes.questions.family import predicate


@dataclass(frozen=True)
class VerifyBoth(Meaning):
    """'Is the star red and large?'"""

    thing: Thing
    first: tuple[str, str]
    second: tuple[str, str]

    @property
    def kinds(self) -> Sequence[str]:
        return ("verifyAttrs",)

    @property
    def local_group(self) -> str:
        return f"05-{'_'.join(sorted((self.first[1], self.second[1])))}"

    @property
    def things(self) -> tuple[Thing, ...]:
        return (self.thing,)

    def write(self, steps: Steps) -> None:
        found = steps.thing(self.thing)
        parts = [
            steps.add(operation("verify", name), value, found) for name, value in (self.first, self.second)
        ]
        steps.add("and", "", *parts)

    def tells(self, answer: str) -> list[Fact]:
        return [Is(self.thing, *pair) for pair in (self.first, self.second)] if answer == "yes" else []

    def needs(self, answer: str) -> list[list[Fact]]:
        if answer == "yes":
            return [self.tells(answer)]
        return [[IsNot(self.thing, *pair)] for pair in (self.first, self.second)]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        return {
            "the": wording.the(self.thing),
            "value": wording.value(*self.first),
            "value2": wording.value(*self.second),
        }

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        scene_object = picture.find(self.thing)
        first, second = (scene_object.attribute(name) for name, _ in (self.first, self.second))
        words: dict[str, Words | str] = {"the": wording.the(self.thing, relation=False)}
        words |= {"value": first, "value2": second}
        return worded(f"{answer}, {{the}} is {{value}} and {{value2}}.", words)


@dataclass(frozen=True)
class VerifyTwo(Meaning):
    """'Are both the star and the heart red?'"""

    first: Thing
    second: Thing
    name: str
    value: str

    @property
    def kinds(self) -> Sequence[str]:
        return ("verifyAttrAnd",)

    @property
    def local_group(self) -> str:
        return f"09verifyAttrAnd-{'_'.join(sorted(local_name(thing) for thing in self.things))}"

    @property
    def things(self) -> tuple[Thing, ...]:
        return self.first, self.second

    def write(self, steps: Steps) -> None:
        parts = [
            steps.add(operation("verify", self.name), self.value, steps.thing(thing)) for thing in self.things
        ]
        steps.add("and", "", *parts)

    def tells(self, answer: str) -> list[Fact]:
        return [Is(thing, self.name, self.value) for thing in self.things] if answer == "yes" else []

    def needs(self, answer: str) -> list[list[Fact]]:
        if answer == "yes":
            return [self.tells(answer)]
        return [[IsNot(thing, self.name, self.value)] for thing in self.things]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        words: dict[str, Words | str] = {"the": wording.the(self.first), "the2": wording.the(self.second)}
        return {**words, "value": wording.value(self.name, self.value)}

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        return two_values(answer, self.things, self.name, picture, wording)


def two_values(answer: str, things: Sequence[Thing], name: str, picture: Picture, wording: Wording) -> Worded:
    """'Yes, both the star and the heart are red.' or 'No, the star is red and the heart is blue.'"""
    first, second = (picture.find(thing).attribute(name) for thing in things)
    words: dict[str, Words | str] = {
        "the": wording.the(things[0], relation=False),
        "the2": wording.the(things[1], relation=False),
        "value": predicate(name, first, plural=first == second),
        "value2": predicate(name, second),
    }
    if first == second:
        return worded(f"{answer}, both {{the}} and {{the2}} are {{value}}.", words)
    return worded(f"{answer}, {{the}} is {{value}} and {{the2}} is {{value2}}.", words)
