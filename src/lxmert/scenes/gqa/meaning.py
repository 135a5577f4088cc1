"""What a GQA-style question means, apart from its words."""

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
        """The keys of `templates.KINDS` that can word it."""

    @property
    @abstractmethod
    def local_group(self) -> str:
        """GQA's `groups.local`: questions of one group ask the same of the same kind of thing."""

    @property
    def global_group(self) -> str | None:
        """GQA's `groups.global`: what kind of answer is asked for."""
        return None

    @property
    def things(self) -> tuple[Thing, ...]:
        """Things that must exist, once each, for the question to have an answer."""
        return ()

    @abstractmethod
    def write(self, steps: Steps) -> None:
        """Write the program."""

    @abstractmethod
    def tells(self, answer: str) -> list[Fact]:
        """What the answer tells, beside that there are the `things`."""

    def needs(self, answer: str) -> list[list[Fact]]:
        """Sets of facts, each of which is enough to conclude the answer, where there are the `things`."""
        return [self.tells(answer)]

    @abstractmethod
    def fillers(self, wording: Wording) -> Mapping[str, Words | str]:
        """Fillers of its templates."""

    @abstractmethod
    def full_answer(self, answer: str, picture: Picture, wording: Wording) -> Worded:
        """The answer as a sentence."""

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        """Valid answers, and those of them that are plausible."""
        return YES_NO, YES_NO

    def guess(self, answer: str) -> str:
        """What somebody who does not see the picture would have to guess: the answer, or which option."""
        return answer

    def named(self, answer: str, picture: Picture) -> str | None:
        """The id of the object that the answer names."""
        return None


def local_name(thing: Thing) -> str:
    """A thing in the name of a group: its shape, or "object"."""
    return dict(thing.description).get("shape", "object")
