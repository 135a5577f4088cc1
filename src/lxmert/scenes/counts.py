"""Counts of the contents of a made data set."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from lxmert.scenes.image_ids import SPLITS
from lxmert.scenes.records import ImageRecords

NLVR2_KNOWN: Final = ("sentence", "left", "right")
"""What is known to the guesser of a label: the sentence alone, or also one picture."""


@dataclass
class SplitCounts:
    """The counts of one split.

    Attributes:
        images: Pictures.
        objects: Objects in them.
        captions: COCO captions.
        questions: VQA questions.
        gqa_questions: GQA questions, balanced or not.
        gqa_balanced: Balanced GQA questions.
        nlvr2_examples: Sentences about pairs.
        vg_regions: Phrases of Visual Genome's form.
        vg_questions: Questions of Visual Genome's form.
    """

    images: int = 0
    objects: int = 0
    captions: int = 0
    questions: int = 0
    gqa_questions: int = 0
    gqa_balanced: int = 0
    nlvr2_examples: int = 0
    vg_regions: int = 0
    vg_questions: int = 0

    def add(self, records: ImageRecords) -> None:
        """Count one more image."""
        self.images += 1
        self.objects += len(records.lines["instances"])
        self.captions += len(records.lines["captions"])
        self.questions += len(records.lines["vqa_questions"])
        self.gqa_questions += len(records.lines["gqa_questions"])
        self.gqa_balanced += records.counts["gqa_balanced"]
        self.nlvr2_examples += len(records.lines["nlvr2"])
        self.vg_regions += records.counts["vg_regions"]
        self.vg_questions += records.counts["vg_questions"]


Guesses = dict[str, Counter[str]]


@dataclass
class SceneCounts:
    """The counts of a made data set.

    Attributes:
        splits: Counts by split.
        families: By family of VQA questions, how often each answer occurs, all splits together.
        gqa_guesses: By kind of balanced GQA questions, how often each answer, or the first or the second of
            two offered ones, is correct, all splits together.
        nlvr2_right: Number of NLVR2 labels that the best guess from the "sentence", or the sentence and the
            "left" or "right" picture, gets right, all splits together.
    """

    splits: dict[str, SplitCounts] = field(default_factory=lambda: {split: SplitCounts() for split in SPLITS})
    families: Guesses = field(default_factory=dict)
    gqa_guesses: Guesses = field(default_factory=dict)
    nlvr2_right: Counter[str] = field(default_factory=Counter)

    def add(self, records: ImageRecords) -> None:
        """Count one more image."""
        self.splits[records.split].add(records)
        for totals, image_counts in (
            (self.families, records.answers),
            (self.gqa_guesses, records.gqa_guesses),
        ):
            for name, answers in image_counts.items():
                totals.setdefault(name, Counter()).update(answers)
        for known in NLVR2_KNOWN:
            self.nlvr2_right[known] += records.counts[f"nlvr2_by_{known}"]

    @property
    def images(self) -> int:
        """Images of all splits."""
        return sum(split.images for split in self.splits.values())

    @property
    def questions(self) -> int:
        """VQA questions of all splits."""
        return sum(split.questions for split in self.splits.values())

    @property
    def nlvr2_examples(self) -> int:
        """NLVR2 examples of all splits."""
        return sum(split.nlvr2_examples for split in self.splits.values())

    @property
    def blind_accuracy(self) -> float:
        """Fraction of VQA questions that the most frequent answer of their family gets right."""
        return _blind_accuracy(self.families)

    @property
    def gqa_blind_accuracy(self) -> float:
        """Fraction of balanced GQA questions that the best guess of their kind gets right."""
        return _blind_accuracy(self.gqa_guesses)

    @property
    def nlvr2_blind_accuracy(self) -> dict[str, float]:
        """Maximum fractions of NLVR2 labels guessed without both pictures; see `nlvr2_right`."""
        total = self.nlvr2_examples
        return {known: self.nlvr2_right[known] / total if total else 0.0 for known in NLVR2_KNOWN}


def _blind_accuracy(guesses: Guesses) -> float:
    total = sum(counted.total() for counted in guesses.values())
    return sum(max(counted.values()) for counted in guesses.values()) / total if total else 0.0
