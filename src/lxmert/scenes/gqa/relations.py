"""Questions that relate or compare two things, or all things of a kind."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.describing import Description
from lxmert.scenes.gqa import facts
from lxmert.scenes.gqa.conjunctions import two_values
from lxmert.scenes.gqa.facts import OPPOSITE, Fact
from lxmert.scenes.gqa.meaning import Meaning, local_name
from lxmert.scenes.gqa.semantics import DIRECTIONS
from lxmert.scenes.gqa.things import Picture, Steps, Thing
from lxmert.scenes.gqa.wording import Worded, Wording, Words, worded


class _OfTwo(Meaning):
    """The common part of questions about two things."""

    first: Thing
    second: Thing

    @property
    def things(self) -> tuple[Thing, ...]:
        return self.first, self.second

    @property
    def pair(self) -> str:
        """The two things in the name of a group."""
        return "_".join(sorted((local_name(self.first), local_name(self.second))))

    def words(self, wording: Wording) -> dict[str, Words | str]:
        """The fillers for the two things."""
        return {"the": wording.the(self.first), "the2": wording.the(self.second)}


class _OfSides(_OfTwo):
    """What questions on which side one thing lies have in common."""

    @abstractmethod
    def side(self, answer: str) -> str:
        """Where the first thing lies as seen from the second."""

    @property
    def local_group(self) -> str:
        return f"13-{self.pair}"

    def tells(self, answer: str) -> list[Fact]:
        return [facts.Beside(self.first.values, self.side(answer), self.second.values)]


@dataclass(frozen=True)
class Beside(_OfSides):
    """'Is the star to the left of the red heart?' The first thing is named by its shape alone, as in GQA."""

    first: Thing
    relation: str
    second: Thing

    @property
    def kinds(self) -> Sequence[str]:
        return ("relVerify",)

    def write(self, steps: Steps) -> None:
        origin = steps.thing(self.second)
        steps.add("verify rel", steps.named(self.first.description, DIRECTIONS[self.relation]), origin)

    def side(self, answer: str) -> str:
        return self.relation if answer == "yes" else OPPOSITE[self.relation]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        return {**self.words(wording), "side": wording.side(self.relation)}

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        words = {**self.words(wording), "side": DIRECTIONS[self.side(answer)]}
        return worded(f"{answer}, {{the}} is {{side}} {{the2}}.", words)


@dataclass(frozen=True)
class ChooseSide(_OfSides):
    """'Is the star to the left or to the right of the red heart?'"""

    first: Thing
    second: Thing
    options: tuple[str, str]

    @property
    def kinds(self) -> Sequence[str]:
        return ("relChooser",)

    def write(self, steps: Steps) -> None:
        origin = steps.thing(self.second)
        relations = "|".join(DIRECTIONS[option] for option in self.options)
        steps.add("choose rel", steps.named(self.first.description, relations), origin)

    def side(self, answer: str) -> str:
        return answer

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        return {**self.words(wording), "value": self.options[0], "value2": self.options[1]}

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        return worded("{the} is {side} {the2}.", {**self.words(wording), "side": DIRECTIONS[answer]})

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        return self.options, self.options

    def guess(self, answer: str) -> str:
        return "first" if answer == self.options[0] else "second"


@dataclass(frozen=True)
class Same(_OfTwo):
    """'Do the star and the heart have the same color?', or different ones."""

    first: Thing
    second: Thing
    name: str
    different: bool = False

    @property
    def kinds(self) -> Sequence[str]:
        return ("twoDifferent",) if self.different else ("twoSame",)

    @property
    def local_group(self) -> str:
        return f"09{'diff' if self.different else 'same'}-{self.pair}"

    def write(self, steps: Steps) -> None:
        operands = [steps.thing(thing) for thing in self.things]
        steps.add(f"{'different' if self.different else 'same'} {self.name}", "", *operands)

    def tells(self, answer: str) -> list[Fact]:
        same = (answer == "yes") != self.different
        return [facts.Alike(frozenset(self.things), self.name, same)]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        return {**self.words(wording), "attribute": self.name, "attributes": f"{self.name}s"}

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        return two_values(answer, self.things, self.name, picture, wording)


@dataclass(frozen=True)
class AllSame(Meaning):
    """'Are all the stars the same color?', or do they differ."""

    description: Description
    name: str
    different: bool = False

    @property
    def kinds(self) -> Sequence[str]:
        return ("differentAll",) if self.different else ("sameAll",)

    @property
    def local_group(self) -> str:
        return f"07{'different' if self.different else 'same'}-all{self._kind}"

    @property
    def _kind(self) -> str:
        return dict(self.description).get("shape", "object")

    def write(self, steps: Steps) -> None:
        steps.add("different" if self.different else "same", self.name, steps.select(self.description))

    def tells(self, answer: str) -> list[Fact]:
        same = (answer == "yes") != self.different
        return [facts.AllAlike(frozenset(self.description), self.name, same)]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        words: dict[str, Words | str] = {"many": wording.many(self.description)}
        return {**words, "attribute": self.name, "attributes": f"{self.name}s"}

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        same = (answer == "yes") != self.different
        predicate = "the same {attribute}" if same else "different {attributes}"
        return worded(f"{answer}, the {{many}} have {predicate}.", dict(self.fillers(wording)))


@dataclass(frozen=True)
class Larger(_OfTwo):
    """'Which is larger, the star or the heart?'"""

    first: Thing
    second: Thing

    @property
    def kinds(self) -> Sequence[str]:
        return ("comparativeChoose",)

    @property
    def local_group(self) -> str:
        return f"09compare-{self.pair}"

    @property
    def global_group(self) -> str | None:
        return "shape"

    def write(self, steps: Steps) -> None:
        steps.add("choose larger", "", *(steps.thing(thing) for thing in self.things))

    def tells(self, answer: str) -> list[Fact]:
        return [facts.Larger(*self._in_order(answer))]

    def _in_order(self, answer: str) -> tuple[Thing, Thing]:
        """The larger and the smaller thing, which differ in shape."""
        first_is_larger = ("shape", answer) in self.first.description
        return (self.first, self.second) if first_is_larger else (self.second, self.first)

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        return self.words(wording)

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        large, small = self._in_order(answer)
        words = {"the": wording.the(large), "the2": wording.the(small)}
        return worded("{the} is larger than {the2}.", words)

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        names = [local_name(thing) for thing in self.things]
        return names, names

    def guess(self, answer: str) -> str:
        return "first" if ("shape", answer) in self.first.description else "second"

    def named(self, answer: str, picture: Picture) -> str | None:
        return picture.id(picture.find(self._in_order(answer)[0]))
