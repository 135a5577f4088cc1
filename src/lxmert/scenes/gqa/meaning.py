"""The meaning of a GQA-style question, independent of its words."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from lxmert.scenes.gqa.facts import Fact
from lxmert.scenes.gqa.references import GqaScene, ObjectReference, ProgramBuilder
from lxmert.scenes.gqa.wording import AnnotatedText, TextPieces, Wording
from lxmert.scenes.object_descriptions import Description

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
        """GQA's `groups.local`: questions of a group ask for the same property of the same kind of object."""

    @property
    def global_group(self) -> str | None:
        """GQA's `groups.global`: the kind of answer."""
        return None

    @property
    def references(self) -> tuple[ObjectReference, ...]:
        """The objects that must each exist exactly once for the question to have an answer."""
        return ()

    @abstractmethod
    def add_steps(self, program: ProgramBuilder) -> None:
        """Write the program."""

    @abstractmethod
    def implied_facts(self, answer: str) -> list[Fact]:
        """The facts that the answer implies, besides the existence of the `references`."""

    def sufficient_facts(self, answer: str) -> list[Fact]:
        """The facts that suffice to conclude the answer if the `references` exist."""
        return self.implied_facts(answer)

    @abstractmethod
    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        """The fillers of its templates."""

    @abstractmethod
    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        """The answer as a sentence."""

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        """The valid answers, and the plausible ones among them."""
        return YES_NO, YES_NO

    def blind_guess(self, answer: str) -> str:
        """The correct blind guess: the answer, or which of the options."""
        return answer

    def answer_object_id(self, answer: str, gqa_scene: GqaScene) -> str | None:
        """The id of the object that the answer names, if any."""
        return None


def group_noun(description: Description) -> str:
    """The name of an object in a group's name: its shape, or "object"."""
    return dict(description).get("shape", "object")


def group_description(description: Description) -> str:
    """The name of described objects in a group's name: "star", "object_red"; in GQA of one value at most."""
    return "_".join([group_noun(description), *(value for name, value in description if name != "shape")])
