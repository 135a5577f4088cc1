"""Sections shared by the recipes of all kinds of training: optimisation, and what is saved."""

from typing import Literal, Self

from pydantic import Field, model_validator

from lxmert.training.recipe_base import Section

Schedule = Literal["linear", "cosine", "constant_with_warmup"]


class LoopSection(Section):
    """Optimisation. Each kind of training has its own defaults, with their sources."""

    epochs: float = Field(gt=0, description="Passes over the training examples.")
    batch_size: int = Field(ge=1, description="Examples per step and process.")
    accumulation_steps: int = Field(default=1, ge=1, description="Batches per weight update.")
    optimizer: Literal["adamw", "bert_adam"] = Field(
        default="adamw",
        description="adamw: with bias correction, no decay of biases and normalisations. bert_adam: as the "
        "authors' released code has it, without bias correction and with decay of all weights.",
    )
    peak_learning_rate: float = Field(gt=0, description="Highest learning rate.")
    schedule: Schedule = Field(
        description="Course of the learning rate after the warm-up; the first two end at 0."
    )
    warmup: float = Field(
        ge=0, description="Rise to the peak: below 1 a share of all steps, else a number of steps."
    )
    weight_decay: float = Field(ge=0, description="Decay; with adamw biases and normalisations have none.")
    adam_beta2: float = Field(
        default=0.999, gt=0, lt=1, description="Decay of the second moment (paper: 0.999)."
    )
    adam_epsilon: float = Field(gt=0, description="Epsilon of the optimiser.")
    max_gradient_norm: float = Field(
        default=5.0, ge=0, description="Gradients are scaled down to this norm; 0 leaves them as they are."
    )
    seed: int = Field(ge=0, lt=2**32, description="Seed of all that is random.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Arithmetic of matrix products; weights and losses stay float32. float16 needs a GPU.",
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads; null leaves torch's choice.")


class EncoderLoopSection(LoopSection):
    """Optimisation of LXMERT, in pre-training and in fine-tuning alike."""

    schedule: Schedule = Field(
        default="linear",
        description="Course of the learning rate after the warm-up; the first two end at 0 (paper: linear).",
    )
    weight_decay: float = Field(
        default=0.01,
        ge=0,
        description="Decay; with adamw biases and normalisations have none (paper: 0.01 on all).",
    )
    adam_epsilon: float = Field(default=1e-6, gt=0, description="Epsilon of the optimiser (paper: 1e-6).")
    seed: int = Field(
        default=9595,
        ge=0,
        lt=2**32,
        description="Seed of weights, order, dropout, and of pre-training's masks and pairs (authors' "
        "default: 9595).",
    )
    attention: Literal["sdpa", "eager"] | None = Field(
        default=None,
        description="Attention kernel while training; null takes eager on a CPU, where it is the faster one, "
        "and leaves the choice to transformers elsewhere.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the model with torch.compile (needs a C++ compiler on a CPU). Each length of "
        "text is compiled for itself: text.pad_to_multiple_of keeps them few.",
    )
    group_by_length: bool = Field(
        default=True, description="Batch texts of similar length: less padding, same examples per epoch."
    )
    loader_processes: int = Field(
        default=0,
        ge=0,
        description="Processes that make batches ahead; 0 makes them in between, which small models with "
        "regions in memory like best.",
    )


class SavingSection(Section):
    """What is saved."""

    weights_dtype: Literal["float32", "float16", "bfloat16"] = Field(
        default="float32",
        description="Format of the final weights on disk; they are always loaded as float32.",
    )
    checkpoint_every_steps: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints; null for one after each epoch."
    )
    keep_checkpoints: int = Field(
        default=1,
        ge=1,
        description="Checkpoints kept; with select: best no fewer than two, of which one is best.",
    )
    select: Literal["best", "last"] = Field(
        default="best",
        description="Weights of the best epoch on the validation split (paper), or of the last.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop early after so many validations in a row without a new best; null goes on to the "
        "end. Works with select: best.",
    )
    log_every_steps: int = Field(default=50, ge=1, description="Steps between two logged losses.")

    @model_validator(mode="after")
    def _best_needs_epochs(self) -> Self:
        if self.select == "best" and self.checkpoint_every_steps is not None:
            raise ValueError(
                "select: best works with one checkpoint per validation; leave checkpoint_every_steps out"
            )
        if self.patience is not None and self.select != "best":
            raise ValueError("patience works with select: best; leave patience out or change select")
        return self
