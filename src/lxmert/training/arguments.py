"""A recipe as the arguments of `transformers.Trainer`."""

from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.integrations import is_tensorboard_available

from lxmert.errors import ConfigurationError
from lxmert.model.attention import CPU_ATTENTION
from lxmert.model.pretrained import LxmertPreTrainedModel
from lxmert.training.cpu.encoder import PackedEncoder
from lxmert.training.recipe_sections import EncoderLoopSection, LoopSection, SavingSection


def choose_kernels(
    model: LxmertPreTrainedModel, optimisation: EncoderLoopSection, *, on_cpu: bool | None = None
) -> None:
    """Set the attention kernel that the recipe names, or the fastest kernels for training on a CPU.

    Args:
        model: a model with `lxmert.encoder`.
        optimisation: may name the attention, and determines whether the model is compiled.
        on_cpu: True for training on a CPU; None for the CPU unless there is an accelerator.
    """
    attention = optimisation.attention
    if on_cpu is None:
        on_cpu = not torch.accelerator.is_available()
    if attention is None and on_cpu:
        attention = CPU_ATTENTION
    if attention is not None:
        model.set_attn_implementation(attention)
    if on_cpu and attention == CPU_ATTENTION and not optimisation.compile:
        PackedEncoder.convert(model.lxmert.encoder)


def training_arguments(
    optimisation: LoopSection,
    saving: SavingSection,
    checkpoints: Path,
    *,
    score: str,
    higher_is_better: bool = True,
    evaluation_batch_size: int = 1,
    evaluate_every_steps: int | None = None,
    loader_processes: int = 0,
    compile_model: bool = False,
    find_unused_parameters: bool = True,
) -> TrainingArguments:
    """Arguments that evaluate after each epoch or number of steps, save checkpoints and print nothing.

    Args:
        optimisation: the recipe's optimisation.
        saving: the recipe's saving.
        checkpoints: folder of the checkpoints.
        score: the validation figure that selects the best weights.
        higher_is_better: False for a score to minimise, such as a loss.
        evaluation_batch_size: examples per batch of an evaluation.
        evaluate_every_steps: steps between evaluations; None for one after each epoch.
        loader_processes: processes that load examples in advance; 0 loads them in the main process.
        compile_model: True runs the model through torch.compile.
        find_unused_parameters: False promises that each update has a gradient for every weight, which saves
            several processes a search for unused ones.

    Raises:
        ConfigurationError: a precision that the machine does not support.
    """
    has_accelerator = torch.accelerator.is_available()
    if optimisation.precision == "float16" and not has_accelerator:
        raise ConfigurationError(
            "optimisation.precision is float16, which needs a GPU; without one, use bfloat16 or float32"
        )
    selects_best = saving.select == "best"
    # A recipe with `best` cannot name steps of its own: the best weights are those of a checkpoint.
    save_steps = saving.checkpoint_every_steps or evaluate_every_steps
    arguments = TrainingArguments(
        # Absolute, so that a run may be resumed from another working directory.
        output_dir=str(checkpoints.absolute()),
        num_train_epochs=optimisation.epochs,
        per_device_train_batch_size=optimisation.batch_size,
        per_device_eval_batch_size=evaluation_batch_size,
        gradient_accumulation_steps=optimisation.accumulation_steps,
        learning_rate=optimisation.peak_learning_rate,
        lr_scheduler_type=optimisation.schedule,
        warmup_steps=optimisation.warmup,
        weight_decay=optimisation.weight_decay,
        adam_beta2=optimisation.adam_beta2,
        adam_epsilon=optimisation.adam_epsilon,
        max_grad_norm=optimisation.max_gradient_norm,
        optim="adamw_torch_fused",
        seed=optimisation.seed,
        bf16=optimisation.precision == "bfloat16",
        # Explicit, because half precision is refused on a CPU that was not requested.
        use_cpu=not has_accelerator,
        fp16=optimisation.precision == "float16",
        torch_compile=compile_model,
        eval_strategy="epoch" if evaluate_every_steps is None else "steps",
        eval_steps=evaluate_every_steps,
        save_strategy="epoch" if save_steps is None else "steps",
        save_steps=save_steps or 500,
        # With only one, the Trainer would finally delete the newest if an older one is best, and a run
        # interrupted before its weights are written would have to resume from the best.
        save_total_limit=max(saving.keep_checkpoints, 2) if selects_best else saving.keep_checkpoints,
        load_best_model_at_end=selects_best,
        metric_for_best_model=score if selects_best else None,
        greater_is_better=higher_is_better if selects_best else None,
        logging_steps=saving.log_every_steps,
        dataloader_num_workers=loader_processes,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=["tensorboard"] if is_tensorboard_available() else [],
        disable_tqdm=True,
        log_level="error",
        log_level_replica="error",
        ddp_find_unused_parameters=find_unused_parameters,
    )
    _override_launcher_settings(arguments, optimisation)
    return arguments


def _override_launcher_settings(arguments: TrainingArguments, optimisation: LoopSection) -> None:
    """Set what the Trainer would take from the launcher or the machine, whatever the recipe says."""
    if optimisation.precision == "float32":
        # Otherwise `accelerate launch` may be configured for half precision, whatever the recipe says.
        arguments.mixed_precision = "no"
    if arguments.n_gpu > 1:
        # Otherwise the Trainer would multiply the batch by a process's number of GPUs, divide it among them,
        # and mistake the mean over each GPU's part for that over the whole.
        arguments._n_gpu = 1
    if arguments.device.type == "cpu":
        # Several processes have "cpu:0" here, onto which transformers 5.6 cannot load a checkpoint.
        vars(arguments)["_setup_devices"] = torch.device("cpu")
