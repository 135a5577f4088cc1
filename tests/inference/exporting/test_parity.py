"""Comparing an exported file with its model: random inputs, tolerance, equal answers, the report."""

import math
from pathlib import Path

import pytest
import torch

from lxmert.inference.exporting.exporter import ExportReport
from lxmert.inference.exporting.parity import Parity, ParityCheck, compare, random_check
from lxmert.inference.exporting.signature import Batch, export_signature
from tests.inference.exporting.conftest import small_model

SCORES = "question_answering_score"


def test_random_check_covers_extreme_sizes_and_masks() -> None:
    model = small_model()
    check = random_check(model, export_signature(model, segments=True))
    batches = list(check.batches)
    sizes = {(*batch["input_ids"].shape, batch["visual_feats"].shape[1]) for batch in batches}
    assert (1, 1, 1) in sizes
    assert max(words for _, words, _ in sizes) == model.config.max_position_embeddings == 16
    assert any(batch["token_type_ids"].any() for batch in batches)
    assert max(int(batch["input_ids"].max()) for batch in batches) > model.config.vocab_size / 2
    assert all(batch["visual_feats"].std() > 0.2 for batch in batches)
    for name in ("attention_mask", "visual_attention_mask"):
        kept = [batch[name].sum(dim=1) for batch in batches]
        assert any((count == 0).any() for count in kept), "rows of padding alone"
        assert any(
            (count > 0).any() and (count < batch[name].shape[1]).any()
            for count, batch in zip(kept, batches, strict=True)
        )
    assert any(
        all((batch[name] == 1).all() for name in ("attention_mask", "visual_attention_mask"))
        for batch in batches
        if len(batch["input_ids"]) > 1
    )


def test_compare_counts_differences_and_equal_answers() -> None:
    signature = export_signature(small_model())
    batches = [
        {
            "input_ids": torch.zeros(rows, 4),
            "labels": torch.zeros(rows),  # Not in the signature.
            "attention_mask": torch.ones(rows, 4),
            "visual_feats": torch.zeros(rows, 6, 13),
            "visual_pos": torch.zeros(rows, 6, 4),
            "visual_attention_mask": torch.ones(rows, 6),
        }
        for rows in (2, 3)
    ]

    def expected(batch: Batch) -> Batch:
        assert {name: str(values.dtype).removeprefix("torch.") for name, values in batch.items()} == {
            spec.name: spec.dtype for spec in signature.inputs
        }
        return {
            SCORES: torch.tensor([[0.0, 20.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0]])[
                : len(batch["input_ids"])
            ]
        }

    def found(batch: Batch) -> Batch:
        scores = expected(batch)[SCORES].clone()
        scores[1] = torch.tensor([1.5, 1.0, 0.0])
        return {SCORES: scores}

    parity = compare(expected, found, ParityCheck("rows", batches), signature)
    assert (parity.batches, parity.answers, parity.equal_answers) == (2, 5, 3)
    assert parity.sizes == {(2, 4, 6), (3, 4, 6)}
    assert parity.difference == 1.5
    assert parity.summary() == "rows: largest difference 1.5e+00, 3 of 5 answers equal (60.0%)"
    assert parity.largest == {SCORES: 20.0}


def scored(name: str, equal_answers: int) -> Parity:
    return Parity(name, answers=100, equal_answers=equal_answers)


@pytest.mark.parametrize(
    ("random", "questions", "agrees"),
    [(99, [], True), (98, [], False), (95, [99], True), (100, [98], False), (100, [100, 98], False)],
)
def test_report_judges_by_given_inputs_and_by_random_ones_without(
    random: int, questions: list[int], agrees: bool
) -> None:
    int8 = [scored("21 random batches", random), *(scored("questions", equal) for equal in questions)]
    assert ExportReport(Path("out"), float32=[], int8=int8).agrees is agrees


def test_report_without_answers_agrees() -> None:
    both = ExportReport(
        Path("out"), float32=[Parity("rows", answers=2)], int8=[Parity("rows"), Parity("questions")]
    )
    assert both.agrees, "nothing to compare"
    assert both.lines()[-1] == "int8, questions: largest difference 0.0e+00"


def test_report_states_sizes_differences_and_equal_answers_of_each_check() -> None:
    words = Parity("rows", 2, {(10, 3, 5), (2, 20, 1), (2, 4, 6)}, {"states": 0.25}, {"states": 3.0})
    scores = Parity("questions", 1, {(3, 4, 6)}, {SCORES: 0.5}, {SCORES: 20.0}, answers=3, equal_answers=2)
    report = ExportReport(Path("out"), [words], [scores])
    assert report.lines() == [
        "float32, rows: largest difference 2.5e-01",
        "int8, questions: largest difference 5.0e-01, 2 of 3 answers equal (66.7%)",
    ]
    float32 = {
        "inputs": "rows",
        "batches": 2,
        "batch x words x objects": ["2 x 4 x 6", "2 x 20 x 1", "10 x 3 x 5"],
        "largest_difference": {"states": 0.25},
        "largest_value": {"states": 3.0},
    }
    int8 = {
        "inputs": "questions",
        "batches": 1,
        "batch x words x objects": ["3 x 4 x 6"],
        "largest_difference": {SCORES: 0.5},
        "largest_value": {SCORES: 20.0},
        "answers": 3,
        "equal_answers": 2,
    }
    assert report.to_dict() == {"tolerance": 1e-4, "float32": [float32], "int8": [int8]}
    assert "int8" not in ExportReport(Path("out"), [words]).to_dict()


@pytest.mark.parametrize(
    ("difference", "largest", "beyond"),
    [(9e-5, 0.5, []), (1.1e-4, 0.5, [SCORES]), (9e-4, -10.0, []), (1.1e-3, -10.0, [SCORES])],
)
def test_parity_tolerance_scales_with_largest_score(
    difference: float, largest: float, beyond: list[str]
) -> None:
    parity = Parity("rows")
    parity.add({SCORES: torch.tensor([largest, 0.0])}, {SCORES: torch.tensor([largest, difference])}, None)
    parity.add({SCORES: torch.zeros(2)}, {SCORES: torch.zeros(2)}, None)
    assert parity.beyond_tolerance == beyond


def test_scores_of_other_shape_are_beyond_tolerance() -> None:
    parity = Parity("rows")
    parity.add({SCORES: torch.ones(3, 2)}, {SCORES: torch.ones(3, 1)}, None)
    assert parity.beyond_tolerance == [SCORES]


def test_single_nan_score_stays_beyond_tolerance() -> None:
    parity = Parity("rows")
    expected = {"states": torch.ones(3), SCORES: torch.ones(3, 2)}
    for found in (1.0, math.nan, 1.0):
        parity.add(expected, expected | {SCORES: torch.full((3, 2), found)}, None)
    assert math.isnan(parity.difference)
    assert parity.beyond_tolerance == [SCORES]
