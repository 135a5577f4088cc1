"""Sections shared by the recipes of all kinds of training: optimisation, and what is saved."""

from typing import Literal, Self

from pydantic import Field, model_validator

from lxmert.training.recipe_base import Section

Schedule = Literal["linear", "cosine", "constant_with_warmup"]


class LoopSection(Section):
    """Optimisation. Each kind of training has its own defaults, with their sources."""

    epochs: float = Field(gt=0, description="Passes over the training examples.")
    batch_size: int = Field(ge=1, description="Examples per step and process.")
    accumulation_steps: int = Field(default=1, ge=1, description="Number of batches per weight update.")
    optimizer: Literal["adamw", "bert_adam"] = Field(
        default="adamw",
        description="adamw: with bias correction, without decay of biases and normalisations. bert_adam: as "
        "in the authors' released code, without bias correction and with decay of all weights.",
    )
    peak_learning_rate: float = Field(gt=0, description="Highest learning rate.")
    schedule: Schedule = Field(
        description="Learning rate schedule after the warm-up; linear and cosine end at 0."
    )
    warmup: float = Field(
        ge=0, description="Warm-up length: below 1, a fraction of all steps; otherwise, a number of steps."
    )
    weight_decay: float = Field(
        ge=0, description="Weight decay; with adamw, biases and normalisations have none."
    )
    adam_beta2: float = Field(
        default=0.999, gt=0, lt=1, description="Decay rate of the second moment (paper: 0.999)."
    )
    adam_epsilon: float = Field(gt=0, description="Epsilon of the optimiser.")
    max_gradient_norm: float = Field(
        default=5.0, ge=0, description="Clip gradients to this norm; 0: no clipping."
    )
    seed: int = Field(ge=0, lt=2**32, description="Random seed.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Precision of matrix products; weights and losses stay in float32. float16 needs a GPU.",
    )
    threads: int | None = Field(
        default=None, ge=1, description="Number of CPU threads; null: chosen by PyTorch."
    )


class EncoderLoopSection(LoopSection):
    """Optimisation of LXMERT, in pre-training and in fine-tuning alike."""

    schedule: Schedule = Field(
        default="linear",
        description="Learning rate schedule after the warm-up; linear and cosine end at 0 (paper: linear).",
    )
    weight_decay: float = Field(
        default=0.01,
        ge=0,
        description="Weight decay; with adamw, biases and normalisations have none (paper: 0.01 on all).",
    )
    adam_epsilon: float = Field(default=1e-6, gt=0, description="Epsilon of the optimiser (paper: 1e-6).")
    seed: int = Field(
        default=9595,
        ge=0,
        lt=2**32,
        description="Random seed of weights, order and dropout, and of the masks and pairs of pre-training "
        "(authors' default: 9595).",
    )
    attention: Literal["sdpa", "eager"] | None = Field(
        default=None,
        description="Attention kernel for training; null: eager on a CPU, where it is faster, and the choice "
        "of transformers elsewhere.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the model with torch.compile (needs a C++ compiler on a CPU). Each text "
        "length is compiled separately; text.pad_to_multiple_of limits their number.",
    )
    group_by_length: bool = Field(
        default=True, description="Batch texts of similar length: less padding, same examples per epoch."
    )
    loader_processes: int = Field(
        default=0,
        ge=0,
        description="Number of processes that prepare batches in advance; 0: prepare them in the main "
        "process, which is best for small models with regions in memory.",
    )


class SavingSection(Section):
    """What is saved."""

    weights_dtype: Literal["float32", "float16", "bfloat16"] = Field(
        default="float32",
        description="Data type of the final weights on disk; they are always loaded as float32.",
    )
    checkpoint_every_steps: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints; null: one with each validation."
    )
    keep_checkpoints: int = Field(
        default=1,
        ge=1,
        description="Number of checkpoints to keep; with select: best, at least two, including the best.",
    )
    select: Literal["best", "last"] = Field(
        default="best",
        description="Weights to keep: of the epoch that is best on the validation split (paper), or of the "
        "last.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop after this many consecutive validations without a new best; null: no early "
        "stopping. Requires select: best.",
    )
    log_every_steps: int = Field(default=50, ge=1, description="Steps between logged losses.")

    @model_validator(mode="after")
    def _check_checkpoint_selection(self) -> Self:
        if self.select == "best" and self.checkpoint_every_steps is not None:
            raise ValueError(
                "select: best requires one checkpoint per validation; omit checkpoint_every_steps"
            )
        if self.patience is not None and self.select != "best":
            raise ValueError("patience requires select: best; omit patience, or change select")
        return self
