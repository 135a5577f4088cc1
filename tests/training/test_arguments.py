from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from lxmert import LxmertForQuestionAnswering
from lxmert.errors import ConfigurationError
from lxmert.training.arguments import choose_kernels, training_arguments
from lxmert.training.cpu.encoder import PackedEncoder
from lxmert.training.detection.recipe import DetectorOptimisationSection
from lxmert.training.recipe_sections import EncoderLoopSection, SavingSection
from tests.model.small import small_config


def test_float16_without_a_gpu_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    optimisation = DetectorOptimisationSection(precision="float16")
    with pytest.raises(ConfigurationError, match="float16, which needs a GPU"):
        training_arguments(optimisation, SavingSection(), tmp_path, score="map_50")


@pytest.mark.parametrize(("precision", "mixed_precision"), [("float32", "no"), ("bfloat16", "bf16")])
def test_recipe_precision_overrides_accelerate_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any, mixed_precision: str
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no" if mixed_precision == "bf16" else "bf16")
    optimisation = DetectorOptimisationSection(precision=precision)
    arguments = training_arguments(optimisation, SavingSection(), tmp_path, score="map_50")
    trainer = Trainer(torch.nn.Linear(2, 2), arguments, eval_dataset=[])  # type: ignore[arg-type]
    assert trainer.accelerator.mixed_precision == mixed_precision


def test_process_that_sees_several_gpus_trains_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_init = TrainingArguments.__post_init__

    def post_init_with_two_gpus(arguments: Any) -> None:
        post_init(arguments)
        arguments._n_gpu = 2  # As it is where no launcher gave the process a GPU of its own.

    monkeypatch.setattr(TrainingArguments, "__post_init__", post_init_with_two_gpus)
    optimisation = DetectorOptimisationSection(batch_size=5)
    arguments = training_arguments(optimisation, SavingSection(), tmp_path, score="map_50")
    trainer = Trainer(torch.nn.Linear(2, 2), arguments, eval_dataset=[])  # type: ignore[arg-type]
    assert (trainer.args.n_gpu, trainer.args.train_batch_size) == (1, 5)


def test_training_arguments_take_values_from_recipe(tmp_path: Path) -> None:
    optimisation = DetectorOptimisationSection(
        epochs=3,
        batch_size=5,
        accumulation_steps=2,
        warmup=7,
        schedule="linear",
        weight_decay=0.25,
        seed=11,
        peak_learning_rate=0.5,
        adam_beta2=0.75,
        adam_epsilon=0.125,
        max_gradient_norm=3.5,
    )
    saving = SavingSection(select="last", checkpoint_every_steps=9, keep_checkpoints=4, log_every_steps=6)
    arguments = training_arguments(optimisation, saving, tmp_path, score="map_50", loader_processes=2)
    assert (arguments.num_train_epochs, arguments.per_device_train_batch_size) == (3, 5)
    assert (arguments.gradient_accumulation_steps, arguments.warmup_steps) == (2, 7)
    assert (arguments.lr_scheduler_type, arguments.weight_decay, arguments.seed) == ("linear", 0.25, 11)
    assert (arguments.learning_rate, arguments.max_grad_norm) == (0.5, 3.5)
    # The trainer's own first beta is the original's too.
    assert (arguments.adam_beta1, arguments.adam_beta2, arguments.adam_epsilon) == (0.9, 0.75, 0.125)
    assert (arguments.save_strategy, arguments.save_steps, arguments.save_total_limit) == ("steps", 9, 4)
    assert (arguments.logging_steps, arguments.dataloader_num_workers) == (6, 2)
    assert arguments.load_best_model_at_end is False

    best = training_arguments(optimisation, SavingSection(), tmp_path, score="map_50")
    assert (best.load_best_model_at_end, best.metric_for_best_model) == (True, "map_50")
    assert best.greater_is_better is True
    assert best.save_strategy == "epoch"


@pytest.mark.parametrize("select", ["best", "last"])
def test_checkpoints_are_saved_at_each_validation_by_default(tmp_path: Path, select: Any) -> None:
    saving = SavingSection(select=select)
    optimisation = DetectorOptimisationSection()
    arguments = training_arguments(optimisation, saving, tmp_path, score="loss", evaluate_every_steps=7)
    assert (arguments.eval_strategy, arguments.eval_steps) == ("steps", 7)
    assert (arguments.save_strategy, arguments.save_steps) == ("steps", 7)


@pytest.mark.parametrize(
    ("attention", "has_accelerator", "kernel"),
    [(None, False, "eager"), (None, True, "sdpa"), ("sdpa", False, "sdpa"), ("eager", True, "eager")],
)
def test_attention_kernel_is_from_recipe_or_chosen_by_device(
    attention: str | None, has_accelerator: bool, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: has_accelerator)
    model = LxmertForQuestionAnswering(small_config())
    choose_kernels(model, EncoderLoopSection.model_construct(attention=attention))
    assert model.config._attn_implementation == kernel
    is_packed = isinstance(model.lxmert.encoder, PackedEncoder)
    assert is_packed == (kernel == "eager" and not has_accelerator)


def test_compiled_model_keeps_plain_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    model = LxmertForQuestionAnswering(small_config())
    choose_kernels(model, EncoderLoopSection.model_construct(compile=True))
    assert not isinstance(model.lxmert.encoder, PackedEncoder)


@pytest.mark.parametrize(("keep_checkpoints", "limit"), [(1, 2), (2, 2), (3, 3)])
def test_save_total_limit_is_at_least_two_when_best_is_selected(
    tmp_path: Path, keep_checkpoints: int, limit: int
) -> None:
    saving = SavingSection(keep_checkpoints=keep_checkpoints)
    arguments = training_arguments(DetectorOptimisationSection(), saving, tmp_path, score="map_50")
    assert arguments.save_total_limit == limit
