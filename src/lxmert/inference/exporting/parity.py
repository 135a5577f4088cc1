"""Whether an exported file says what the model says.

Shapes: B batch, W words, O objects, C classes.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lxmert.inference.exporting.signature import OBJECTS, Batch, ScoringModule, Signature, random_batch

TOLERANCE = 1e-4
"""The largest difference in float32, as a share of the largest value (of 1 where that is smaller).

Two libraries that sum in another order differ by some 1e-6 of it; a wrong mask, epsilon or activation by 1e-3
and more, also the approximate GELU."""

MIN_AGREEMENT = 0.99
"""Share of equal answers below which 8 bits deserve a warning."""

# Batch, words and objects: single ones, odd ones, those of a usual batch.
_BATCH_SIZES = ((1, 1, 1), (1, 9, 1), (1, 3, 36), (2, 20, 10), (3, 5, 7), (5, 2, 3), (8, 10, 36))
_WORDS, _OBJECTS = "attention_mask", "visual_attention_mask"

Scorer = Callable[[Batch], Batch]


@dataclass(frozen=True)
class ParityCheck:
    """Inputs that the exported file is tried on.

    Attributes:
        name: what they are, in words.
        batches: the inputs; may be gone through several times.
    """

    name: str
    batches: Iterable[Batch]


@dataclass
class Parity:
    """How near an exported file comes to its model.

    Attributes:
        inputs: what was compared, in words.
        batches: how many batches.
        sizes: their sizes (B, W, O).
        differences: largest absolute difference by output.
        largest: largest absolute value of the model by output.
        answers: how many rows of scores; 0 for models without classes.
        equal_answers: in how many of them the same class has the highest score.
    """

    inputs: str
    batches: int = 0
    sizes: set[tuple[int, ...]] = field(default_factory=set)
    differences: dict[str, float] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    answers: int = 0
    equal_answers: int = 0

    @property
    def difference(self) -> float:
        """The largest difference of any output; NaN if there is one."""
        return _nan_max(self.differences.values())

    @property
    def agreement(self) -> float:
        """Share of equal answers, 1 where there are none to compare."""
        return self.equal_answers / self.answers if self.answers else 1.0

    @property
    def beyond_tolerance(self) -> list[str]:
        """The outputs that differ by more than `TOLERANCE` allows; NaN is beyond."""
        return [
            name
            for name, difference in self.differences.items()
            if not difference <= TOLERANCE * max(1.0, self.largest[name])
        ]

    def add(self, expected: Batch, found: Batch, scores: str | None) -> None:
        """Count in the outputs of one batch."""
        self.batches += 1
        for name, values in expected.items():
            self._compare(name, values, found[name])
        if scores is not None:
            equal = expected[scores].argmax(dim=-1) == found[scores].argmax(dim=-1)
            self.answers += equal.numel()
            self.equal_answers += int(equal.sum())

    def _compare(self, name: str, expected: Tensor, found: Tensor) -> None:
        if expected.shape != found.shape:
            self.differences[name] = math.inf
            self.largest.setdefault(name, 0.0)
            return
        difference = float((expected - found).abs().max())
        self.differences[name] = _nan_max((difference, self.differences.get(name, 0.0)))
        self.largest[name] = max(self.largest.get(name, 0.0), float(expected.abs().max()))

    def summary(self) -> str:
        """One line for people."""
        text = f"{self.inputs}: largest difference {self.difference:.1e}"
        if self.answers:
            text += f", {self.equal_answers:,} of {self.answers:,} answers equal ({self.agreement:.1%})"
        return text

    def to_dict(self) -> dict[str, Any]:
        """As it stands in parity.json."""
        report: dict[str, Any] = {
            "inputs": self.inputs,
            "batches": self.batches,
            "batch x words x objects": [" x ".join(map(str, sizes)) for sizes in sorted(self.sizes)],
            "largest_difference": self.differences,
            "largest_value": self.largest,
        }
        if self.answers:
            report |= {"answers": self.answers, "equal_answers": self.equal_answers}
        return report


def compare(expected: Scorer, found: Scorer, check: ParityCheck, signature: Signature) -> Parity:
    """Run both on the same inputs.

    Args:
        expected: the model.
        found: the exported file.
        check: the inputs; what the signature does not name is left out.
        signature: of both.
    """
    parity = Parity(check.name)
    for batch in check.batches:
        inputs = {spec.name: batch[spec.name].to(getattr(torch, spec.dtype)) for spec in signature.inputs}
        parity.sizes.add((*inputs["input_ids"].shape, inputs[_OBJECTS].shape[-1]))
        parity.add(expected(inputs), found(inputs), signature.scores)
    return parity


class ModelScorer:
    """The model itself in the form of an exported file.

    Args:
        model: in evaluation mode.
        signature: its inputs and outputs.
    """

    def __init__(self, model: PreTrainedModel, signature: Signature) -> None:
        # The states of hidden objects, which an encoder gives too, equal the file's if both clear them.
        gives_objects = any(OBJECTS in spec.shape for spec in signature.outputs)
        self._module = ScoringModule(model, signature, clears_hidden=gives_objects)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Batch:
        """Inputs by name -> outputs by name."""
        outputs: Batch = self._module(**batch)
        return outputs


def random_check(model: PreTrainedModel, signature: Signature) -> ParityCheck:
    """Random batches of several sizes: without padding, with padding, and with rows that are all padding."""
    batches = list(_random_batches(model, signature))
    return ParityCheck(f"{len(batches)} random batches", batches)


def _random_batches(model: PreTrainedModel, signature: Signature) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(0)
    for examples, words, objects in _BATCH_SIZES:
        sizes = (examples, min(words, signature.max_words), objects)
        yield random_batch(signature, model, sizes, generator)
        padded = random_batch(signature, model, sizes, generator)
        for name in (_WORDS, _OBJECTS):
            padded[name] = _random_mask(padded[name], generator)
        yield padded
        hidden = random_batch(signature, model, sizes, generator)
        for name in (_WORDS, _OBJECTS):
            hidden[name] = _random_mask(hidden[name], generator)
        hidden[_WORDS][0] = 0
        hidden[_OBJECTS][-1] = 0
        yield hidden


def _random_mask(ones: Tensor, generator: torch.Generator) -> Tensor:
    """Padding of random length at the end of each row (..., N), at least one place left."""
    places = ones.shape[-1]
    lengths = torch.randint(1, places + 1, ones.shape[:-1], generator=generator)
    return (torch.arange(places) < lengths[..., None]).to(ones.dtype)


def _nan_max(values: Iterable[float]) -> float:
    """The largest of the values; NaN, which `max` may pass over, if there is one."""
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found, default=0.0)
