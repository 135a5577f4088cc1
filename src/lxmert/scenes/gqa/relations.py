"""Questions that relate or compare two objects, or all objects of a kind."""

# ruff: noqa: D102  (the methods are documented in `Meaning`)

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxmert.scenes.gqa import facts
from lxmert.scenes.gqa.conjunctions import two_values_sentence
from lxmert.scenes.gqa.facts import OPPOSITE, Fact
from lxmert.scenes.gqa.meaning import Meaning, group_noun
from lxmert.scenes.gqa.references import GqaScene, ObjectReference, ProgramBuilder
from lxmert.scenes.gqa.semantics import DIRECTIONS
from lxmert.scenes.gqa.wording import AnnotatedText, TextPieces, Wording, fill_annotated
from lxmert.scenes.object_descriptions import Description
from lxmert.scenes.questions.family import attribute_fillers


class _TwoObjectMeaning(Meaning):
    """The common part of questions about two objects."""

    first: ObjectReference
    second: ObjectReference

    @property
    def references(self) -> tuple[ObjectReference, ...]:
        return self.first, self.second

    @property
    def pair(self) -> str:
        """The two objects in the name of a group."""
        return "_".join(sorted(group_noun(reference.description) for reference in self.references))

    def common_fillers(self, wording: Wording) -> dict[str, TextPieces | str]:
        """The fillers for the two objects."""
        return {"the": wording.the(self.first), "the2": wording.the(self.second)}


class _RelationMeaning(_TwoObjectMeaning):
    """The common part of questions on which side one object lies."""

    @abstractmethod
    def relation_for(self, answer: str) -> str:
        """Where the first object lies as seen from the second."""

    @property
    def local_group(self) -> str:
        return f"13-{group_noun(self.second.description)}_{group_noun(self.first.description)}"

    def implied_facts(self, answer: str) -> list[Fact]:
        return [facts.Related(self.first.values, self.relation_for(answer), self.second.values)]


@dataclass(frozen=True)
class VerifyRelation(_RelationMeaning):
    """'Is the star to the left of the red heart?' The first object is named by its shape alone, as in GQA."""

    first: ObjectReference
    relation: str
    second: ObjectReference

    @property
    def kinds(self) -> Sequence[str]:
        return ("relVerify",)

    def add_steps(self, program: ProgramBuilder) -> None:
        origin = program.select_reference(self.second)
        program.add(
            "verify rel", program.relation_argument(self.first.description, DIRECTIONS[self.relation]), origin
        )

    def relation_for(self, answer: str) -> str:
        return self.relation if answer == "yes" else OPPOSITE[self.relation]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {**self.common_fillers(wording), "side": wording.side(self.relation)}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        words = {**self.common_fillers(wording), "side": DIRECTIONS[self.relation_for(answer)]}
        return fill_annotated(f"{answer}, {{the}} is {{side}} {{the2}}.", words)


@dataclass(frozen=True)
class ChooseRelation(_RelationMeaning):
    """'Is the star to the left or to the right of the red heart?'"""

    first: ObjectReference
    second: ObjectReference
    options: tuple[str, str]

    @property
    def kinds(self) -> Sequence[str]:
        return ("relChooser",)

    def add_steps(self, program: ProgramBuilder) -> None:
        origin = program.select_reference(self.second)
        relations = "|".join(DIRECTIONS[option] for option in self.options)
        program.add("choose rel", program.relation_argument(self.first.description, relations), origin)

    def relation_for(self, answer: str) -> str:
        return answer

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {**self.common_fillers(wording), "value": self.options[0], "value2": self.options[1]}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        return fill_annotated(
            "{the} is {side} {the2}.", {**self.common_fillers(wording), "side": DIRECTIONS[answer]}
        )

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        return self.options, self.options

    def blind_guess(self, answer: str) -> str:
        return "first" if answer == self.options[0] else "second"


@dataclass(frozen=True)
class Same(_TwoObjectMeaning):
    """'Do the star and the heart have the same color?', or different ones."""

    first: ObjectReference
    second: ObjectReference
    name: str
    different: bool = False

    @property
    def kinds(self) -> Sequence[str]:
        return ("twoDifferent",) if self.different else ("twoSame",)

    @property
    def local_group(self) -> str:
        return f"09{'diff' if self.different else 'same'}-{self.pair}"

    def add_steps(self, program: ProgramBuilder) -> None:
        operands = [program.select_reference(reference) for reference in self.references]
        program.add(f"{'different' if self.different else 'same'} {self.name}", "", *operands)

    def implied_facts(self, answer: str) -> list[Fact]:
        same = (answer == "yes") != self.different
        return [facts.SameValue(frozenset(self.references), self.name, same)]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {**self.common_fillers(wording), **attribute_fillers(self.name)}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        return two_values_sentence(answer, self.references, self.name, gqa_scene, wording)


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
        return f"07{'different' if self.different else 'same'}-all{group_noun(self.description)}"

    def add_steps(self, program: ProgramBuilder) -> None:
        program.add("different" if self.different else "same", self.name, program.select(self.description))

    def implied_facts(self, answer: str) -> list[Fact]:
        same = (answer == "yes") != self.different
        return [facts.AllSameValue(frozenset(self.description), self.name, same)]

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return {"many": wording.many(self.description), **attribute_fillers(self.name)}

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        same = (answer == "yes") != self.different
        predicate = "the same {attribute}" if same else "different {attributes}"
        return fill_annotated(f"{answer}, the {{many}} have {predicate}.", dict(self.fillers(wording)))


@dataclass(frozen=True)
class Larger(_TwoObjectMeaning):
    """'Which is larger, the star or the heart?'"""

    first: ObjectReference
    second: ObjectReference

    @property
    def kinds(self) -> Sequence[str]:
        return ("comparativeChoose",)

    @property
    def local_group(self) -> str:
        return f"09compare-{self.pair}"

    @property
    def global_group(self) -> str | None:
        return "shape"

    def add_steps(self, program: ProgramBuilder) -> None:
        program.add(
            "choose larger", "", *(program.select_reference(reference) for reference in self.references)
        )

    def implied_facts(self, answer: str) -> list[Fact]:
        return [facts.Larger(*self._in_order(answer))]

    def _in_order(self, answer: str) -> tuple[ObjectReference, ObjectReference]:
        """The larger and the smaller object, which differ in shape."""
        first_is_larger = ("shape", answer) in self.first.description
        return (self.first, self.second) if first_is_larger else (self.second, self.first)

    def fillers(self, wording: Wording) -> Mapping[str, TextPieces | str]:
        return self.common_fillers(wording)

    def full_answer(self, answer: str, gqa_scene: GqaScene, wording: Wording) -> AnnotatedText:
        large, small = self._in_order(answer)
        words = {"the": wording.the(large), "the2": wording.the(small)}
        return fill_annotated("{the} is larger than {the2}.", words)

    def choices(self, answer: str) -> tuple[Sequence[str], Sequence[str]]:
        names = [group_noun(reference.description) for reference in self.references]
        return names, names

    def blind_guess(self, answer: str) -> str:
        return "first" if ("shape", answer) in self.first.description else "second"

    def answer_object_id(self, answer: str, gqa_scene: GqaScene) -> str | None:
        return gqa_scene.object_id(gqa_scene.resolve(self._in_order(answer)[0]))
