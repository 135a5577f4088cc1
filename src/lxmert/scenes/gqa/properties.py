"""Questions about a property of one thing, or of the whole scene: query, verify, choose."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.gqa.facts import Fact, Is, IsNot
from lxmert.scenes.gqa.meaning import YES_NO, Meaning, local_name
from lxmert.scenes.gqa.things import PLACE_PROPERTIES, PROPERTY_VALUES, SAME, SCENE, Picture, Steps, Thing
from lxmert.scenes.gqa.wording import Worded, Wording, Words, worded
from lxmert.scenes.questions.family import predicate

_STATED = {
    "hposition": "{the} is on the {value} of the picture.",
    "vposition": "{the} is at the {value} of the picture.",
}


def operation(verb: str, name: str) -> str:
    """The operation of a verb and a property: 'verify color'; GQA calls the shape "name"."""
    return f"{verb} {'name' if name == 'shape' else name}"


def _sentence(thing: Thing, name: str, value: str, wording: Wording, start: str = "") -> Worded:
    if thing == SCENE:
        return worded(f"{start}the most common {name.removeprefix('main ')} is {{value}}.", {"value": value})
    template = start + _STATED.get(name, "{the} is {value}.")
    shown = value if name in PLACE_PROPERTIES else predicate(name, value)
    return worded(template, {"the": wording.the(thing, relation=False), "value": shown})


class _OfOneThing(Meaning):
    """The common part of Query, Verify and Choose."""

    thing: Thing
    name: str

    @property
    def things(self) -> tuple[Thing, ...]:
        return (self.thing,)

    def words(self, wording: Wording) -> dict[str, Words | str]:
        """The fillers that all of them use."""
        if self.thing == SCENE:
            return {"attribute": self.name.removeprefix("main ")}
        return {"the": wording.the(self.thing), "attribute": self.name}

    def named(self, answer: str, picture: Picture) -> str | None:
        is_name = self.name == "shape" and answer not in YES_NO
        return picture.id(picture.find(self.thing)) if is_name else None


class _OfOneValue(_OfOneThing):
    """The common part of Query and Choose, whose answer is a value."""

    def group(self, start: str, of_scene: str) -> str:
        """GQA's name of a group: a number for the kind of question, the thing, the property."""
        if self.thing == SCENE:
            return f"{of_scene}-{self.name.removeprefix('main ')}"
        return f"{start}-{local_name(self.thing)}_{self.name}"

    @property
    def global_group(self) -> str | None:
        return None if self.name in PLACE_PROPERTIES else self.name.removeprefix("main ")

    def tells(self, answer: str) -> list[Fact]:
        return [Is(self.thing, self.name, answer)]

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        return _sentence(self.thing, self.name, answer, wording)


@dataclass(frozen=True)
class Query(_OfOneValue):
    """'What color is the star?'"""

    thing: Thing
    name: str

    @property
    def kinds(self) -> Sequence[str]:
        if self.thing == SCENE:
            return ("mainQuery",)
        if self.name == "hposition":
            return ("positionQuery",)
        if self.name in ("size", "fill"):
            return ("directOf", "directWhich", f"how.{self.name}")
        if self.name != "shape":
            return ("directOf", "directWhich")
        if self.thing.relation is None:
            return ("categoryThat",)
        if self.thing.relation.startswith(SAME):
            return ("sameRelate",)
        return ("categoryRelS",) if self.thing.description else ("relS",)

    @property
    def local_group(self) -> str:
        if self.thing.relation is not None and self.name == "shape":
            origin = dict(self.thing.origin).get("shape", "object")
            return f"14-{origin}_{self.thing.relation},s"
        return self.group("10q", "02q")

    def write(self, steps: Steps) -> None:
        steps.add("query", "name" if self.name == "shape" else self.name, steps.thing(self.thing))

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        fillers = self.words(wording)
        if self.kinds[0] in ("relS", "sameRelate"):
            relation = self.thing.relation or ""
            fillers["origin"] = wording.the(Thing(self.thing.origin))
            fillers["side"] = wording.side(relation)
            fillers["attribute"] = relation.removeprefix(SAME)
        return fillers

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        values = PROPERTY_VALUES[self.name]
        if self.name == "shape" and len(self.thing.origin) == 1:
            # The only star has no relation to another star.
            return values, [value for value in values if ("shape", value) not in self.thing.origin]
        return values, values


@dataclass(frozen=True)
class Verify(_OfOneThing):
    """'Is the star red?'"""

    thing: Thing
    name: str
    value: str

    @property
    def kinds(self) -> Sequence[str]:
        if self.thing == SCENE:
            return ("mainVerify",)
        if self.name in PLACE_PROPERTIES:
            return (f"positionVerify.{self.name}",)
        if self.name == "shape":
            return ("categoryVerify",)
        return ("verifyAttr",) if self.thing.relation is None else ("verifyAttrK",)

    @property
    def local_group(self) -> str:
        if self.thing == SCENE:
            return f"01-{self.name.removeprefix('main ')}_{self.value}"
        return f"06-{local_name(self.thing)}_{self.value}"

    def write(self, steps: Steps) -> None:
        steps.add(operation("verify", self.name), self.value, steps.thing(self.thing))

    def tells(self, answer: str) -> list[Fact]:
        return [(Is if answer == "yes" else IsNot)(self.thing, self.name, self.value)]

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        own = self.name in PLACE_PROPERTIES or self.thing == SCENE
        value = self.value if own else wording.value(self.name, self.value)
        return {**self.words(wording), "value": value}

    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        truth = picture.value(self.thing, self.name)
        return _sentence(self.thing, self.name, truth, wording, f"{answer}, ")


@dataclass(frozen=True)
class Choose(_OfOneValue):
    """'Is the star red or blue?'"""

    thing: Thing
    name: str
    value: str
    value2: str

    @property
    def kinds(self) -> Sequence[str]:
        if self.thing == SCENE:
            return ("mainChoose",)
        if self.name in PLACE_PROPERTIES:
            return (f"positionChoose.{self.name}",)
        if self.name == "shape":
            return ("categoryThatChoose",) if self.thing.relation is None else ("categoryRelSChoose",)
        return ("chooseAttr",)

    @property
    def local_group(self) -> str:
        return self.group("10c", "02c")

    def write(self, steps: Steps) -> None:
        found = steps.thing(self.thing)
        steps.add(operation("choose", self.name), f"{self.value}|{self.value2}", found)

    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        def shown(value: str) -> str:
            return predicate(self.name, value)

        return {**self.words(wording), "value": shown(self.value), "value2": shown(self.value2)}

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        return (self.value, self.value2), (self.value, self.value2)

    def guess(self, answer: str) -> str:
        return "first" if answer == self.value else "second"
