"""Validation: the metrics of batches against those of single examples, counted in plain Python."""

import gc
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from lxmert.training.pretraining.evaluation import PretrainingReport, evaluate_pretraining
from lxmert.training.pretraining.preparation import PreparedPretraining, prepare_pretraining
from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.training.pretraining.target_counts import TASKS

Make = Callable[..., PretrainRecipe]


def no_progress(description: str, total: int) -> Callable[[int], None]:
    return lambda done: None


def evaluate(prepared: PreparedPretraining, batch_size: int) -> PretrainingReport:
    data = replace(prepared.validation, batch_size=batch_size)
    return evaluate_pretraining(prepared.model, data, prepared.weights, Accelerator(cpu=True), no_progress)


@torch.no_grad()
def metrics_by_definition(prepared: PreparedPretraining) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Sums of losses and of weights by task; hits by accuracy and by accuracy/source."""
    data, model = prepared.validation, prepared.model.eval()
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, float] = defaultdict(float)
    hits: dict[str, list[float]] = defaultdict(list)
    for index in range(len(data.dataset)):
        batch = data.collate([data.dataset[index]])
        output = model(**batch)  # with all scores
        source = data.dataset.sources[int(data.dataset.source_ids[index])]

        def hit(name: str, right: float, source: str = source) -> None:
            hits[name].append(float(right))
            hits[f"{name}/{source}"].append(float(right))

        for place, label in enumerate(batch["labels"][0].tolist()):
            if label >= 0:
                scores = output.prediction_logits[0, place]
                sums["masked_words"] -= scores.log_softmax(0)[label].item()
                counts["masked_words"] += 1
                hit("masked_words", scores.argmax() == label)
        matched = batch["matched_label"].item()
        match_scores = output.cross_relationship_score[0]
        sums["matched"] -= match_scores.log_softmax(0)[matched].item()
        counts["matched"] += 1
        hit("matched", match_scores.argmax() == matched)
        features, chosen = batch["obj_labels"]["feat"]
        for place in range(features.shape[1]):
            for task, name in (("object_labels", "obj"), ("attribute_labels", "attr")):
                ids, weights = batch["obj_labels"][name]
                scores = output.object_scores[name][0, place]
                label, weight = int(ids[0, place]), weights[0, place].item()
                sums[task] -= weight * scores.log_softmax(0)[label].item()
                counts[task] += weight
                if weight:
                    hit(task, scores.argmax() == label)
                if weight and chosen[0, place]:
                    hit(f"{task}_masked", scores.argmax() == label)
            if chosen[0, place]:
                predicted = output.object_scores["feat"][0, place]
                sums["feature_regression"] += F.smooth_l1_loss(predicted, features[0, place]).item()
                counts["feature_regression"] += 1
        known = data.dataset.answer_scores(index)
        best = int(output.question_answering_score.argmax())
        if known:
            hit("qa_all_pairs", known.get(best, 0.0))
        drawn = batch["ans"].item()
        if drawn >= 0:
            sums["qa"] -= output.question_answering_score[0].log_softmax(0)[drawn].item()
            counts["qa"] += 1
            hit("qa", known.get(best, 0.0))
    return {task: sums[task] / counts[task] for task in sums}, hits


@pytest.fixture
def prepared(tiny_pretrain_recipe: Make) -> PreparedPretraining:
    torch.manual_seed(0)
    return prepare_pretraining(tiny_pretrain_recipe(data={"train_images": 3, "validation_images": 3}))


def test_validation_predicts_the_objects_of_a_batch_once(prepared: PreparedPretraining) -> None:
    batches = math.ceil(len(prepared.validation) / 7)
    passes: list[int] = []
    head = prepared.model.obj_predict_head.transform
    head.register_forward_hook(lambda module, inputs, states: passes.append(len(states)))
    evaluate(prepared, 7)
    assert len(passes) == batches > 1


def test_garbage_collector_is_disabled_during_tokenisation(tiny_pretrain_recipe: Make) -> None:
    looked_for: dict[str, bool] = {}

    def start(name: str, total: int) -> Callable[[int], None]:
        looked_for[name] = gc.isenabled()
        return lambda done: None

    prepare_pretraining(tiny_pretrain_recipe(data={"train_images": 3, "validation_images": 3}), start)
    assert looked_for["Tokenising"] is False
    assert gc.isenabled()


def test_passes_over_all_sentences_show_progress(tiny_pretrain_recipe: Make) -> None:
    bars: list[tuple[str, int]] = []
    done: Counter[int] = Counter()

    def start(name: str, total: int) -> Callable[[int], None]:
        number = len(bars)
        bars.append((name, total))
        return lambda step: done.update({number: step})

    answers = {"source": "annotations", "min_count": 1}
    recipe = tiny_pretrain_recipe(data={"train_images": 3, "validation_images": 3, "answers": answers})
    prepared = prepare_pretraining(recipe, start)
    train, validation = len(prepared.train), len(prepared.validation)
    both = Counter([train, validation])
    for name, totals in {
        "Collecting answers": Counter([train]),
        "Looking up answers": both + both,  # For the report, and for the targets.
        "Tokenising": both,
        "Computing fingerprints": both,
    }.items():
        assert Counter(total for bar, total in bars if bar == name) == totals, name
    assert all(done[number] == total for number, (_, total) in enumerate(bars))


@pytest.mark.parametrize("object_label_loss", ["all_confidence", "masked"])
def test_batched_metrics_equal_those_of_single_examples(
    tiny_pretrain_recipe: Make, object_label_loss: str
) -> None:
    torch.manual_seed(0)
    images = {"train_images": 3, "validation_images": 3}
    prepared = prepare_pretraining(
        tiny_pretrain_recipe(data=images, tasks={"object_label_loss": object_label_loss})
    )
    losses, hits = metrics_by_definition(prepared)
    report = evaluate(prepared, 16)
    for task, loss in losses.items():
        assert report.losses[task] == pytest.approx(loss, abs=1e-5), task
    assert set(report.losses) == {*losses, "places"}
    assert len(report.accuracies) == 8
    flat = report.flatten()
    assert {name for name in flat if "accuracy" in name} == {f"accuracy_{name}" for name in hits}
    for name, values in hits.items():
        assert flat[f"accuracy_{name}"] == pytest.approx(100 * sum(values) / len(values), abs=1e-9), name
    objects = len(hits["object_labels"])
    assert (objects == len(hits["object_labels_masked"])) == (object_label_loss == "masked")


def test_validation_loss_equals_training_loss_of_same_examples(prepared: PreparedPretraining) -> None:
    data = prepared.validation
    whole = data.collate([data.dataset[index] for index in range(len(data.dataset))])
    with torch.no_grad():
        losses = prepared.model.eval()(**whole).losses
    assert set(losses) == {"masked_lm", "matched", "obj", "attr", "feat", "qa", "place"}
    weights = dict.fromkeys(prepared.weights, 1.0) | {"qa": 3.0}
    report = evaluate(replace(prepared, weights=weights), 16)
    weighted = {task: weights[task] * losses[name].item() for task, name in TASKS.items()}
    assert report.loss == pytest.approx(sum(weighted.values()), rel=1e-5)
    assert report.weighted_losses == pytest.approx(weighted, rel=1e-5)
    assert report.losses["qa"] == pytest.approx(losses["qa"].item(), rel=1e-5)
    flat = report.flatten()
    assert (flat["weighted_loss_qa"], flat["loss_qa"]) == (report.weighted_losses["qa"], report.losses["qa"])


def test_validation_is_deterministic_and_keeps_random_state(prepared: PreparedPretraining) -> None:
    state = torch.get_rng_state()
    first = evaluate(prepared, 16)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert evaluate(prepared, 16) == first
    other = evaluate(prepared, 7)
    assert other.accuracies == pytest.approx(first.accuracies)
    assert other.losses == pytest.approx(first.losses, abs=1e-5)


def test_validation_restores_training_mode(prepared: PreparedPretraining) -> None:
    prepared.model.train()
    evaluate(prepared, 16)
    assert prepared.model.training


def test_tasks_of_weight_zero_are_left_out(tiny_pretrain_recipe: Make) -> None:
    recipe = tiny_pretrain_recipe(
        tasks={"feature_regression": 0.0, "qa": 0.0, "place_weight": 0.0},
        data={"train_images": 3, "validation_images": 2},
    )
    prepared = prepare_pretraining(recipe)
    report = evaluate(prepared, 16)
    assert set(report.losses) == {"masked_words", "matched", "object_labels", "attribute_labels"}
    # Which objects are masked is still known.
    assert "object_labels_masked" in report.accuracies
    assert math.isfinite(report.loss)
    assert set(prepared.baselines) == set(report.losses)


def test_task_without_targets_in_validation_is_left_out(tiny_pretrain_recipe: Make) -> None:
    captions = {"sources": tiny_pretrain_recipe().data.validation.model_dump()["sources"][:1]}
    images = {"train_images": 3, "validation_images": 2}
    prepared = prepare_pretraining(tiny_pretrain_recipe(data=images | {"validation": captions}))
    report = evaluate(prepared, 16)
    assert set(report.losses) == set(TASKS) - {"qa"}
    assert not {"qa", "qa_all_pairs"} & set(report.accuracies)
    assert math.isfinite(report.loss)


def test_validation_batches_sentences_of_similar_length(prepared: PreparedPretraining) -> None:
    data = replace(prepared.validation, batch_size=7)
    lengths = [data.dataset.lengths[row] for rows, _ in data.batches() for row in rows.tolist()]
    assert lengths == sorted(lengths)


class _TwoRanks:
    """An accelerator of two processes, of which this is one; `reduce` hands over what is to be added up."""

    num_processes = 2
    device = torch.device("cpu")

    def __init__(self, rank: int, parts: list[list[torch.Tensor]]) -> None:
        self.process_index = rank
        self.is_main_process = rank == 0
        self._parts = parts

    def reduce(self, values: torch.Tensor, how: str) -> torch.Tensor:
        self._parts[self.process_index].append(values)
        mine = len(self._parts[self.process_index]) - 1
        others = [part[mine] for part in self._parts if len(part) > mine]
        return torch.stack(others).sum(dim=0)


def test_processes_share_the_examples(prepared: PreparedPretraining) -> None:
    parts: list[list[torch.Tensor]] = [[], []]
    data = replace(prepared.validation, batch_size=11)
    shown_progress: list[tuple[str, int]] = []

    def start(description: str, total: int) -> Callable[[int], None]:
        shown_progress.append((description, total))
        return lambda done: shown_progress.append(("done", done))

    reports: list[Any] = [
        evaluate_pretraining(prepared.model, data, prepared.weights, _TwoRanks(rank, parts), start)
        for rank in (0, 1)
    ]
    # The first process shows the progress of both.
    bar, *steps = shown_progress
    assert bar == ("Validation", len(data))
    assert steps == [("done", 2 * len(rows)) for rows, _ in data.batches(0, 2)]
    shown = [[row for rows, _ in data.batches(rank, 2) for row in rows.tolist()] for rank in (0, 1)]
    assert sorted(shown[0] + shown[1]) == list(range(len(data)))
    expected = evaluate(prepared, 11)
    assert reports[1].losses == pytest.approx(expected.losses, abs=1e-5)
    assert reports[1].accuracies == pytest.approx(expected.accuracies)
