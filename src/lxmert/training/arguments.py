"""A recipe in the words of `transformers.Trainer`."""

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
    """Set the attention kernel that the recipe names, or the fastest ones where training runs on a CPU.

    Args:
        model: a model with `lxmert.encoder`.
        optimisation: names the attention or leaves it out, and says whether the model is compiled.
        on_cpu: True where training runs on a CPU; None where there is no accelerator.
    """
    attention = optimisation.attention
    if on_cpu is None:
        on_cpu = not torch.accelerator.is_available()
    if attention is None and on_cpu:
        attention = CPU_ATTENTION
    if attention is not None:
        model.set_attn_implementation(attention)
    if on_cpu and attention == CPU_ATTENTION and not optimisation.compile:
        PackedEncoder.take_over(model.lxmert.encoder)


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
    leaves_weights_unused: bool = True,
) -> TrainingArguments:
    """Arguments that evaluate after each epoch or every so many steps, save checkpoints and show nothing.

    Args:
        optimisation: how the weights move.
        saving: what is kept.
        checkpoints: folder of the checkpoints.
        score: the validation figure that chooses the best weights.
        higher_is_better: False for a score that shall be low, such as a loss.
        evaluation_batch_size: examples per batch of an evaluation.
        evaluate_every_steps: steps between evaluations; None for one after each epoch.
        loader_processes: processes that read examples ahead; 0 reads them in between.
        compile_model: True runs the model through torch.compile.
        leaves_weights_unused: False says that each update has a gradient for every weight, which saves
            several processes from looking.

    Raises:
        ConfigurationError: a precision that the machine cannot compute in.
    """
    has_accelerator = torch.accelerator.is_available()
    if optimisation.precision == "float16" and not has_accelerator:
        raise ConfigurationError(
            "optimisation.precision is float16, which needs a GPU; without one give bfloat16 or float32"
        )
    best = saving.select == "best"
    # The best weights are looked for among the checkpoints, so there is one for each evaluation.
    save_every_steps = evaluate_every_steps if best else saving.checkpoint_every_steps
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
        # Said explicitly, because half precision is refused on a CPU that was not asked for.
        use_cpu=not has_accelerator,
        fp16=optimisation.precision == "float16",
        torch_compile=compile_model,
        eval_strategy="epoch" if evaluate_every_steps is None else "steps",
        eval_steps=evaluate_every_steps,
        save_strategy="epoch" if save_every_steps is None else "steps",
        save_steps=save_every_steps or 500,
        # Of one alone the Trainer would delete the newest at the end, where the best is an older one; a run
        # that breaks off before its weights are written would have to train on from the best.
        save_total_limit=max(saving.keep_checkpoints, 2) if best else saving.keep_checkpoints,
        load_best_model_at_end=best,
        metric_for_best_model=score if best else None,
        greater_is_better=higher_is_better if best else None,
        logging_steps=saving.log_every_steps,
        dataloader_num_workers=loader_processes,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=["tensorboard"] if is_tensorboard_available() else [],
        disable_tqdm=True,
        log_level="error",
        log_level_replica="error",
        ddp_find_unused_parameters=leaves_weights_unused,
    )
    if optimisation.precision == "float32":
        # Else half precision where `accelerate launch` is set up for it, whatever the recipe says.
        arguments.mixed_precision = "no"
    if arguments.n_gpu > 1:
        # Else the Trainer would part each batch among all GPUs of a process, make it so many times as large,
        # and take means of each GPU's part for those of the whole.
        arguments._n_gpu = 1
    return arguments
