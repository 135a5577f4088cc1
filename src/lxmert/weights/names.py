"""The flat name tables between original checkpoints and ours, and from TensorFlow's to ours.

Source: the parameter names of the original code (airsplay/lxmert, ``src/lxrt/modeling.py``, ``src/tasks``)
and the state-dict names of `transformers`' LXMERT, which ours equal. The inner names of the encoder are the
same on both sides; only the prefixes differ, so the whole table is a handful of prefix pairs per model class
and is a bijection between the names it covers. ``shapes.py`` lists the names after the prefixes.
"""

from collections.abc import Mapping
from enum import StrEnum

from lxmert.errors import WeightsError


class Architecture(StrEnum):
    """The model classes that an original checkpoint can become; the value is the class name."""

    ENCODER = "LxmertModel"
    PRETRAINING = "LxmertForPreTraining"
    QUESTION_ANSWERING = "LxmertForQuestionAnswering"
    VISUAL_REASONING = "LxmertForVisualReasoning"

    @property
    def is_finetuned(self) -> bool:
        """True for the classes whose encoder the original code names "lxrt_encoder", next to their head."""
        return self in (Architecture.QUESTION_ANSWERING, Architecture.VISUAL_REASONING)


# Original answer head of a fine-tuned model; the names of VQA, GQA and NLVR2 heads are equal.
FINETUNED_HEAD = "logit_fc."
# Everything a fine-tuned original model keeps outside its answer head.
FINETUNED_ENCODER = "lxrt_encoder.model."

# (ours, original) prefixes. No prefix on either side of one row is a prefix of another's, so the first fit is
# the only one; LxmertModel alone has an empty prefix, and one row.
_PREFIXES: Mapping[Architecture, tuple[tuple[str, str], ...]] = {
    Architecture.ENCODER: (("", "bert."),),
    Architecture.PRETRAINING: (
        ("lxmert.", "bert."),
        ("cls.", "cls."),
        ("obj_predict_head.", "obj_predict_head."),
        ("answer_head.", "answer_head."),
    ),
    Architecture.QUESTION_ANSWERING: (
        ("lxmert.", f"{FINETUNED_ENCODER}bert."),
        (f"answer_head.{FINETUNED_HEAD}", FINETUNED_HEAD),
    ),
    Architecture.VISUAL_REASONING: (
        ("lxmert.", f"{FINETUNED_ENCODER}bert."),
        (f"pair_head.{FINETUNED_HEAD}", FINETUNED_HEAD),
    ),
}

# LayerNorm names of checkpoints that descend from the first TensorFlow BERT.
_TENSORFLOW_PARAMETERS = {"gamma": "weight", "beta": "bias"}


def canonical_original_name(name: str) -> str:
    """The original name without ``module.`` (left anywhere by data parallelism) and with gamma/beta renamed.

    No parameter of LXMERT has a part named "module", so dropping every such part is safe.
    """
    return canonical_norm_name(".".join(part for part in name.split(".") if part != "module"))


def canonical_norm_name(name: str) -> str:
    """The name with "gamma" and "beta", its last part in checkpoints of the first BERT, renamed."""
    before, dot, last = name.rpartition(".")
    return before + dot + _TENSORFLOW_PARAMETERS.get(last, last)


def from_original(name: str, architecture: Architecture) -> str | None:
    """Our name of a canonical original name; None if the architecture has no such parameter."""
    for ours, original in _PREFIXES[architecture]:
        if name.startswith(original):
            return ours + name.removeprefix(original)
    return None


def to_original(name: str, architecture: Architecture, *, data_parallel: bool = False) -> str:
    """The original name of one of our parameters.

    Args:
        name: a state-dict name of the class `architecture`.
        architecture: the class whose state dict holds the name.
        data_parallel: True inserts the ``module.`` that the original code saves with several GPUs. Its own
            loaders of pre-trained weights accept no other names.

    Raises:
        WeightsError: the name belongs to no part that the original code has.
    """
    for ours, original in _PREFIXES[architecture]:
        if name.startswith(ours):
            translated = original + name.removeprefix(ours)
            return _insert_module(translated, architecture) if data_parallel else translated
    raise WeightsError(
        f"{name!r} has no counterpart in the original code: expected a parameter of {architecture} under "
        f"{', '.join(repr(ours) for ours, _ in _PREFIXES[architecture])}"
    )


def _insert_module(name: str, architecture: Architecture) -> str:
    """Insert ``module.`` where the original code wraps: the whole model, or a fine-tuned model's encoder."""
    if not architecture.is_finetuned:
        return f"module.{name}"
    if name.startswith(FINETUNED_ENCODER):
        return f"{FINETUNED_ENCODER}module.{name.removeprefix(FINETUNED_ENCODER)}"
    return name


# First parts of the names of a model with heads; older files prepend the name of the whole model.
_TENSORFLOW_ROOTS = frozenset({"lxmert", "cls", "obj_predict_head", "answer_head"})
_TENSORFLOW_KERNEL = "kernel"
_TENSORFLOW_VARIABLES = {**_TENSORFLOW_PARAMETERS, "embeddings": "weight", _TENSORFLOW_KERNEL: "weight"}


def from_tensorflow(name: str) -> tuple[str, bool]:
    """Our name of a variable of `transformers`' former TensorFlow LXMERT, and whether it is transposed.

    For example "tf_lxmert_model/lxmert/encoder/layer_._0/output/dense/kernel:0" is the transpose of
    "lxmert.encoder.layer.0.output.dense.weight". All names begin with the part of a model with heads, even
    "lxmert." for the model without heads.
    """
    parts = name.removesuffix(":0").split("/")
    roots = [index for index, part in enumerate(parts[:-1]) if part in _TENSORFLOW_ROOTS]
    parts = parts[roots[-1] if roots else 0 :]
    transposed = parts[-1] == _TENSORFLOW_KERNEL
    parts[-1] = _TENSORFLOW_VARIABLES.get(parts[-1], parts[-1])
    return ".".join(parts).replace("_._", "."), transposed
