"""Benchmarks: they run at tiny size, do the same work on both sides, and count operations correctly.

Times are not checked.
"""

import atexit
import importlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from measuring import answering, models, onnx_peer, options, results, streams, timing, training, work  # noqa: E402

from lxmert import LxmertForQuestionAnswering  # noqa: E402
from lxmert.downloads import CACHE_VARIABLE  # noqa: E402
from lxmert.inference.fast_model import FastModel  # noqa: E402
from lxmert.training.cpu import linear_layers  # noqa: E402
from lxmert.training.cpu.encoder import PackedEncoder  # noqa: E402

# Odd sizes, all different, so that no two terms of a count can stand in for each other.
SIZES: dict[str, Any] = models.TINY | {"l_layers": 3, "x_layers": 2, "r_layers": 1, "intermediate_size": 100}


@pytest.fixture(autouse=True)
def _restored_process_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings that benchmarks change in the process are restored."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "home"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def _config(**sizes: Any) -> Any:
    from lxmert import LxmertConfig

    config = LxmertConfig(**(SIZES | sizes))
    config._attn_implementation = "eager"  # Its products are ordinary ones, which the counter knows.
    return config


def _training_task(finetuning: bool) -> Any:
    """The task whose training step is measured."""
    script = importlib.import_module("training_step")
    return script.FINETUNING if finetuning else script.PRETRAINING


def _counted_flops(model: Any, words: int, objects: int) -> int:
    """Operations that torch counts for one question about an image that is encoded first."""
    config = model.config
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        states = model.lxmert.encode_objects(
            torch.rand(1, objects, config.visual_feat_dim), torch.rand(1, objects, config.visual_pos_dim)
        )
        model(input_ids=torch.ones(1, words, dtype=torch.long), object_states=states)
    return counter.get_total_flops()


@pytest.mark.parametrize("layers", [{}, {"x_layers": 1}, {"r_layers": 3, "l_layers": 1}])
def test_stream_operations_equal_flops_counted_by_torch(layers: dict[str, int]) -> None:
    model = LxmertForQuestionAnswering(_config(**layers)).eval()
    sizes = [(7, 5), (11, 9), (4, 13)]
    questions = [(words, image) for image, (words, _) in enumerate(sizes)]
    expected = sum(_counted_flops(model, words, objects) for words, objects in sizes)
    assert work.stream_operations(model.config, questions, [objects for _, objects in sizes]) == expected


# In the first cross-modality layer queries, keys and values of objects do not depend on the words; where it
# is the last one too, objects ask nothing.
@pytest.mark.parametrize(("x_layers", "projections"), [(1, 2), (2, 3), (3, 3)])
def test_stream_operations_count_shared_image_once(x_layers: int, projections: int) -> None:
    model = LxmertForQuestionAnswering(_config(x_layers=x_layers)).eval()
    config, objects, hidden = model.config, 9, model.config.hidden_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.lxmert.encode_objects(
            torch.rand(1, objects, config.visual_feat_dim), torch.rand(1, objects, config.visual_pos_dim)
        )
    of_image = counter.get_total_flops() + 2 * projections * objects * hidden * hidden
    together = work.stream_operations(config, [(7, 0), (11, 0), (5, 0)], [objects])
    apart = work.stream_operations(config, [(7, 0), (11, 1), (5, 2)], [objects] * 3)
    assert apart - together == 2 * of_image
    assert work.latency_operations(config, 7, objects) == _counted_flops(model, 7, objects) - of_image


def test_stream_operations_ignore_images_without_questions() -> None:
    assert work.stream_operations(_config(), [(7, 1)], [9, 5]) == work.stream_operations(
        _config(), [(7, 0)], [5]
    )


@pytest.mark.parametrize("finetuning", [False, True])
def test_training_operations_equal_flops_counted_by_torch(
    finetuning: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch does not count the products that it hands to oneDNN.
    monkeypatch.setattr(linear_layers, "prefers_onednn", lambda: False)
    config = _config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    # One pair, so that no padding is counted; a matched question with an answer.
    task = _training_task(finetuning)
    batch = task.make_batch(config, 1)
    model = training.our_model(config, "eager", finetuning=finetuning)
    with FlopCounterMode(display=False) as counter:
        training.Step(model, is_ours=True).loss(batch.inputs).backward()
    assert task.operations(config, batch.pairs) == counter.get_total_flops()


def test_training_operations_exclude_padding_and_missing_labels() -> None:
    config = _config()
    batch, longer = training.generate_batch(config, 5), training.generate_batch(config, 5, length=20)
    assert longer.inputs["input_ids"].shape == (5, 20)
    assert work.training_operations(config, batch.pairs) == work.training_operations(config, longer.pairs)
    words, objects, labels = batch.pairs[0]
    silent = [(words, objects, work.LabelCounts(0, 0, 0, 0, False))]
    assert work.training_operations(config, silent) < work.training_operations(
        config, [(words, objects, labels)]
    )


def test_training_operations_include_answer_head_for_answered_questions() -> None:
    config = _config(hidden_size=8, num_attention_heads=2, num_qa_labels=33)
    costs = [
        work.training_operations(config, [(5, 3, work.LabelCounts(1, 3, 1, 3, has_answer))])
        for has_answer in (False, True)
    ]
    # 8 × 16 and 16 × 33 multiply-adds, two operations each, forward once and backward twice.
    assert costs[1] - costs[0] == (8 * 16 + 16 * 33) * 2 * 3


def test_batch_label_counts_equal_labels_in_inputs() -> None:
    batch = training.generate_batch(_config(), 7)
    inputs, labels = batch.inputs, [pair[2] for pair in batch.pairs]
    assert [pair[0] for pair in batch.pairs] == inputs["attention_mask"].sum(dim=1).tolist()
    assert sorted(pair[0] for pair in batch.pairs) == streams.histogram_quantiles(streams.LENGTHS, 7)
    assert [counts.words for counts in labels] == (inputs["labels"] >= 0).sum(dim=1).tolist()
    assert [counts.masked_objects for counts in labels] == inputs["obj_labels"]["feat"][1].sum(dim=1).tolist()
    assert [counts.question for counts in labels] == (inputs["ans"] >= 0).tolist()


def test_generated_batch_has_label_rates_of_pretraining_recipe() -> None:
    pairs = 900
    batch = training.generate_batch(_config(), pairs, length=20)
    inputs, (features, masked) = batch.inputs, batch.inputs["obj_labels"]["feat"]
    assert inputs["labels"].shape == (pairs, 20)
    hidden = inputs["labels"] >= 0
    words = inputs["attention_mask"].sum(dim=1)
    assert not hidden[:, 0].any()
    assert not hidden[torch.arange(pairs), words - 1].any()
    # In BERT's way 15 of 100 words between [CLS] and [SEP], and so many objects; half of the pairs match.
    assert hidden.sum().item() == pytest.approx(0.15 * (words - 2).sum().item(), rel=0.1)
    assert masked.mean().item() == pytest.approx(0.15, rel=0.1)
    assert not inputs["visual_feats"][masked > 0].any()
    assert torch.equal(inputs["visual_feats"][masked == 0], features[masked == 0])
    assert inputs["matched_label"].float().mean().item() == pytest.approx(0.5, rel=0.1)
    # A third of the pairs are questions, of any length, and those that match have an answer.
    has_answer = inputs["ans"] >= 0
    assert torch.equal(has_answer[:300], inputs["matched_label"][:300] == 1)
    assert not has_answer[300:].any()
    assert words[:300].float().mean().item() == pytest.approx(words.float().mean().item(), rel=0.1)


def test_stream_has_vqa_question_lengths_and_questions_per_image() -> None:
    config = _config(vocab_size=30522)
    stream = streams.generate_stream(config, 169, 31)
    assert Counter(map(len, stream.token_ids)) == streams.LENGTHS
    assert Counter(Counter(stream.images).values()) == streams.QUESTIONS_PER_IMAGE
    assert len({tuple(ids) for ids in stream.token_ids}) == 169
    assert list(stream.images) == sorted(stream.images)
    assert all(ids[0] == streams.CLS and ids[-1] == streams.SEP for ids in stream.token_ids)


def test_sample_histogram_of_any_size_keeps_quantiles() -> None:
    histogram = {1: 1, 2: 1, 6: 2, 9: 1}
    assert streams.histogram_quantiles(histogram, 1) == [6]
    assert streams.histogram_quantiles(histogram, 5) == [1, 2, 6, 6, 9]
    assert streams.histogram_quantiles(histogram, 10) == [1, 1, 2, 2, 6, 6, 6, 6, 9, 9]


@pytest.mark.parametrize(("questions", "images"), [(200, 37), (20, 4), (7, 3)])
def test_stream_of_any_size_has_questions_about_every_image(questions: int, images: int) -> None:
    stream = streams.generate_stream(_config(), questions, images)
    assert len(stream) == questions
    assert set(stream.images) == set(range(images))


def test_our_scores_equal_peer_scores_in_stream_order() -> None:
    config = _config()
    ours, peer = models.build_answering_pair(config)
    stream = streams.generate_stream(config, 13, 5)
    expected = answering.peer_scores(peer, stream, batch_size=4)
    found = answering.our_scores(FastModel(ours), stream)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert answering.answer_agreement(found, expected) == 1.0


def test_our_and_peer_scores_ignore_padded_objects() -> None:
    config = _config()
    ours, peer = models.build_answering_pair(config)
    made = streams.generate_stream(config, 9, 3)
    mask = torch.ones(3, streams.OBJECTS, dtype=torch.long)
    mask[1, 20:] = 0
    stream = streams.Stream(made.token_ids, made.images, made.visual_feats, made.visual_pos, mask)
    assert stream.objects == [36, 20, 36]
    expected = answering.peer_scores(peer, stream)
    torch.testing.assert_close(answering.our_scores(FastModel(ours), stream), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("finetuning", [False, True])
@pytest.mark.parametrize("length", [None, 20])
def test_our_training_loss_equals_peer_loss(length: int | None, finetuning: bool) -> None:
    config = _config()
    batch = _training_task(finetuning).make_batch(config, 6, length=length)
    ours = training.our_model(config, finetuning=finetuning)
    steps = training.Step(ours, is_ours=True), training.Step(training.peer_model(ours), is_ours=False)
    found = []
    for step in steps:
        step.model.eval()  # Without dropout.
        found.append(step.loss(batch.inputs).item())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("has_gpu", [False, True])
def test_training_model_uses_kernels_of_named_device_regardless_of_gpu(
    has_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: has_gpu)
    models_by_device = {
        device: training.our_model(models.build_config(True), None, device) for device in ("cpu", "cuda")
    }
    found = {
        device: (model.config._attn_implementation, isinstance(model.lxmert.encoder, PackedEncoder))
        for device, model in models_by_device.items()
    }
    assert found == {"cpu": ("eager", True), "cuda": ("sdpa", False)}
    named = training.our_model(models.build_config(True), "sdpa", "cpu")
    assert named.config._attn_implementation == "sdpa"


def test_training_steps_reduce_loss() -> None:
    config = _config()
    step = training.Step(training.our_model(config), is_ours=True)
    batch = training.generate_batch(config, 3)
    before = step.loss(batch.inputs).item()
    for _ in range(5):
        step.run(batch.inputs)
    assert step.loss(batch.inputs).item() < before


@pytest.mark.slow
def test_onnx_scores_equal_fast_model_scores() -> None:
    pytest.importorskip("onnxruntime")
    ours, _ = models.build_answering_pair(_config())
    stream = streams.generate_stream(ours.config, 70, 5)  # More than one batch.
    expected = answering.our_scores(FastModel(ours), stream)
    notes: list[str] = []
    with onnx_peer.onnx_sides(ours, notes) as sides:
        assert not notes
        found = {name: side(stream) for name, side in sides.items()}
    torch.testing.assert_close(found[onnx_peer.EXACT], expected, atol=1e-4, rtol=1e-3)
    assert answering.answer_agreement(found[onnx_peer.INT8], expected) > 0.9


def test_answer_agreement_is_share_of_equal_best_answers() -> None:
    scores = torch.tensor([[1.0, 2.0], [2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    others = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 9.0], [1.0, 0.0]])
    assert answering.answer_agreement(scores, others) == 0.75


def test_time_alternating_rotates_order_every_round() -> None:
    calls: list[str] = []
    sides = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    taken = timing.time_alternating(sides, 3, warmups=0)
    assert calls == [*"abc", *"bca", *"cab"]
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratios_are_of_medians_and_of_lowest_and_highest_round() -> None:
    assert timing.ratios([4.0, 6.0, 20.0], [1.0, 2.0, 4.0]) == (3.0, 3.0, 5.0)


def test_failing_variant_is_dropped_with_note_but_failing_peer_raises() -> None:
    notes: list[str] = []

    def fail() -> None:
        raise RuntimeError("no such unit\nand more")

    assert list(timing.keep_working_sides({"ours, a": fail, "ours, b": lambda: None}, notes)) == ["ours, b"]
    assert notes == ["ours, a: not measured, RuntimeError: no such unit"]
    with pytest.raises(RuntimeError):
        timing.keep_working_sides({"transformers": fail}, notes)


def test_temporary_compile_cache_is_deleted_at_process_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.delenv(CACHE_VARIABLE)
    options.use_temporary_compile_cache()
    folder = Path(os.environ[CACHE_VARIABLE])
    assert folder.is_dir()
    options.use_temporary_compile_cache()  # Of a process that it started.
    assert Path(os.environ[CACHE_VARIABLE]) == folder
    (end,) = at_exit
    end()
    assert not folder.exists()


def test_command_line_hides_private_paths() -> None:
    private = ("--features", "--results")
    printed_command = results.command_line(
        "x.py", ["--quick", "--features", "/a/b", "--results=/c", "--rounds", "3"], private
    )
    assert printed_command == "python benchmarks/x.py --quick --features … --results=… --rounds 3"


QUICK: dict[str, list[str]] = {
    "stream": ["--no-compile", "--no-export", "--questions", "9", "--images", "3"],
    "latency": ["--no-compile"],
    "training_step": ["--batch", "3"],
    "finetuning_step": ["--batch", "3", "--finetuning"],
    "opening": ["--opened", "9", "--tsv-rows", "3"],
    "startup": [],
    "throughput_cpu": ["--batch", "3", "--steps", "1", "--workers", "0"],
}
"""Options by the name of the result."""
SCRIPTS = {"finetuning_step": "training_step", "throughput_cpu": "throughput"}


@pytest.mark.parametrize("name", QUICK)
def test_benchmark_runs_and_writes_its_result(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--quick", "--rounds", "2", "--threads", "1", "--results", str(tmp_path)]
    importlib.import_module(SCRIPTS.get(name, name)).main([*common, *QUICK[name]])
    _check_result(name, tmp_path, capsys.readouterr().out)


@pytest.mark.slow
def test_memory_benchmark_runs_and_writes_its_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = importlib.import_module("memory")
    memory.main(["--quick", "--no-compile", "--threads", "1", "--results", str(tmp_path)])
    _check_result("memory", tmp_path, capsys.readouterr().out)


def _check_result(name: str, folder: Path, printed: str) -> None:
    result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    assert result["name"] == name
    assert result["machine"]["versions"]["torch"] == torch.__version__
    assert result["tables"]
    assert all(len(row) == len(table["columns"]) for table in result["tables"] for row in table["rows"])
    assert bool(result["goals"]) == (name != "finetuning_step")
    assert all(
        goal.keys() == {"work", "goal", "measured", "met", "share", "note"} for goal in result["goals"]
    )
    assert str(folder) not in json.dumps(result)
    assert (folder / f"{name}.md").read_text(encoding="utf-8").strip() == printed.strip()


def test_summary_lists_goals_of_available_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goals = [
        results.Goal("asking", "2×", "3.1×", True, 0.71),
        results.Goal("learning", "2×", "1.9×", False, 0.4, "why"),
        results.Goal("opening", "1 s", None, None),
    ]
    for number, goal in enumerate(goals):
        results.Result(f"r{number}", "R", "About.", "c", goals=[goal]).write(tmp_path)
    results.write_summary(["r0", "absent", "r1", "r2"], tmp_path)
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "| asking | 2× | 3.1× | 71% | met |" in page
    assert "| learning | 2× | 1.9× | 40% | missed; why |" in page
    assert "| opening | 1 s | – |  | not measured |" in page
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["goals"][1]["met"] is False
    assert capsys.readouterr().out.endswith(page)


def test_summary_without_results_exits_with_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no benchmark left a result"):
        results.write_summary(["absent"], tmp_path)
