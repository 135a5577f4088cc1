"""The meaning of a GQA-style question, independent of its words."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from lxmert.scenes.gqa.facts import Fact
from lxmert.scenes.gqa.things import Picture, Steps, Thing
from lxmert.scenes.gqa.wording import Worded, Wording, Words

YES_NO = ("yes", "no")


class Meaning(ABC):
    """One question about a picture; subclasses are frozen dataclasses."""

    @property
    @abstractmethod
    def kinds(self) -> Sequence[str]:
        """Keys of `templates.KINDS` that can express it."""

    @property
    @abstractmethod
    def local_group(self) -> str:
        """GQA's `groups.local`: questions of a group ask for the same property of the same kind of thing."""

    @property
    def global_group(self) -> str | None:
        """GQA's `groups.global`: the kind of answer."""
        return None

    @property
    def things(self) -> tuple[Thing, ...]:
        """The things that must each exist exactly once for the question to have an answer."""
        return ()

    @abstractmethod
    def write(self, steps: Steps) -> None:
        """Write the program."""

    @abstractmethod
    def tells(self, answer: str) -> list[Fact]:
        """The facts that the answer implies, besides the existence of the `things`."""

    def needs(self, answer: str) -> list[list[Fact]]:
        """Sets of facts, each sufficient to conclude the answer if the `things` exist."""
        return [self.tells(answer)]

    @abstractmethod
    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        """The fillers of its templates."""

    @abstractmethod
    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        """The answer as a sentence."""

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        """The valid answers, and the plausible ones among them."""
        return YES_NO, YES_NO

    def guess(self, answer: str) -> str:
        """The correct blind guess: the answer, or which of the options."""
        return answer

    def named(self, answer: str, picture: Picture) -> str | None:
        """The id of the object that the answer names, if any."""
        return None


def local_name(thing: Thing) -> str:
    """The name of a thing in a group's name: its shape, or "object"."""
    return dict(thing.description).get("shape", "object")
