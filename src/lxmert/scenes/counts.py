"""What a made data set holds, counted."""

from collections import Counter
from dataclasses import dataclass, field

from lxmert.scenes.records import SPLITS, ImageRecords


@dataclass
class SplitCounts:
    """How much one split holds."""

    images: int = 0
    objects: int = 0
    captions: int = 0
    questions: int = 0

    def add(self, records: ImageRecords) -> None:
        """Count one more image."""
        self.images += 1
        self.objects += len(records.instances)
        self.captions += len(records.captions)
        self.questions += len(records.questions)


@dataclass
class SceneCounts:
    """What a made data set holds.

    Attributes:
        splits: Counts by split.
        families: By family of questions, how often each answer occurs, all splits together.
    """

    splits: dict[str, SplitCounts] = field(default_factory=lambda: {split: SplitCounts() for split in SPLITS})
    families: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, records: ImageRecords) -> None:
        """Count one more image."""
        self.splits[records.split].add(records)
        for family, answers in records.answers.items():
            self.families.setdefault(family, Counter()).update(answers)

    @property
    def images(self) -> int:
        """Images of all splits."""
        return sum(split.images for split in self.splits.values())

    @property
    def questions(self) -> int:
        """Questions of all splits."""
        return sum(split.questions for split in self.splits.values())

    @property
    def blind_accuracy(self) -> float:
        """Share of questions that the most frequent answer of their family gets right, 0..1."""
        right = sum(max(answers.values()) for answers in self.families.values())
        return right / self.questions if self.questions else 0.0
