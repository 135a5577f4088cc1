"""Conversion of the authors' original `.pth` checkpoints to our model folders, and back.

Source: airsplay/lxmert. Pre-training saves ``model_LXRT.pth`` and ``EpochNN_LXRT.pth``; fine-tuning saves
``BEST.pth`` and ``LAST.pth``. The files hold names and tensors only, so the configuration is read from the
shapes; what the shapes do not show (activation, dropout, LayerNorm epsilon, loss weight) is the original
code's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lxmert.answers import ANSWERS_FILE, write_answers
from lxmert.atomic_files import open_atomic
from lxmert.configuration import LxmertConfig
from lxmert.errors import IncompleteWeightsError, WeightsError
from lxmert.weights.dtypes import check_float_weights, check_not_quantized, dtype_name
from lxmert.weights.files import (
    CONFIG_NAME,
    SAFETENSORS_NAME,
    check_config,
    check_output_folder,
    read_folder,
    read_pytorch_file,
    write_safetensors,
)
from lxmert.weights.names import (
    FINETUNED_ENCODER,
    FINETUNED_HEAD,
    Architecture,
    canonical_original_name,
    from_original,
    to_original,
)
from lxmert.weights.report import LoadReport
from lxmert.weights.shapes import TIED_DECODER, WORD_EMBEDDINGS, infer_sizes, parameter_shapes, shapes_of

# The shapes do not show the number of heads. Models of the paper's width have the paper's number; for any
# other width a guess would give a model that loads completely and answers wrongly.
_PAPER_WIDTH, _PAPER_HEADS = 768, 12
# The original code's weight of the visual losses; `transformers` rounds it to 6.67.
_ORIGINAL_VISUAL_LOSS_WEIGHT = 1 / 0.15


def convert_original(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    heads: int | None = None,
    encoder_only: bool = False,
    answers: Sequence[str] | None = None,
    vocab_size: int | None = None,
    overwrite: bool = False,
) -> LoadReport:
    """Convert an original checkpoint to a model folder: config.json, model.safetensors, maybe answers.json.

    Args:
        checkpoint: the original `.pth`: pre-training (with or without ``module.``), encoder, or fine-tuned on
            VQA, GQA or NLVR2.
        folder: the folder to write.
        heads: attention heads per layer; None takes the paper's 12 for a model as wide as the paper's (768).
        encoder_only: True keeps only the encoder and the pooler, whatever heads there are.
        answers: the answer of each class id; its length must be the number of classes of the checkpoint.
        vocab_size: the number of word pieces of the tokenizer meant for the model, to be compared with the
            word embeddings of the checkpoint.
        overwrite: True replaces a model already in the folder; its answers go with it.

    Returns:
        A complete report; `unexpected` lists original tensors that were left out.

    Raises:
        WeightsError: the file cannot be read, is not an LXMERT checkpoint, holds weights that are not
            floating-point numbers, `heads` is needed but missing, or `folder` is a file or cannot
            be written.
        IncompleteWeightsError: tensors that the model needs are absent or misshapen; nothing is written.
    """
    folder = Path(folder)
    check_output_folder(folder)
    # A model in shards, or in PyTorch's format, has only the latter.
    written = (folder / SAFETENSORS_NAME, folder / CONFIG_NAME)
    for path in written:
        _check_overwrite(path, overwrite)
    replaces_model = any(path.exists() for path in written)
    original = _canonical_names(read_pytorch_file(checkpoint), str(checkpoint))
    architecture = (
        Architecture.ENCODER if encoder_only else _infer_original_architecture(original, str(checkpoint))
    )
    tensors, unused = _translate(original, architecture)
    config = _infer_config(tensors, architecture, heads)
    tied = _untie_or_drop_copy(tensors, config)
    report = LoadReport.compare(
        {n: s for n, s in parameter_shapes(config, architecture).items() if n not in tied},
        shapes_of(tensors) | shapes_of(unused),
        model=architecture.value,
        source=str(checkpoint),
    )
    report.require_complete()
    _check_matched_weights(report, tensors)
    _check_answers_and_vocabulary(config, architecture, answers, vocab_size)
    _write_folder(folder, tensors, config, architecture)
    if answers is not None:
        write_answers(folder / ANSWERS_FILE, answers)
    elif replaces_model:  # its answers are not those of the new one
        (folder / ANSWERS_FILE).unlink(missing_ok=True)
    return report


def export_original(
    folder: str | Path, checkpoint: str | Path, *, data_parallel: bool | None = None, overwrite: bool = False
) -> LoadReport:
    """Write a model folder as a `.pth` that the authors' code loads.

    Args:
        folder: a folder with config.json and weights (safetensors or .bin) of one of the model classes.
        checkpoint: the `.pth` to write. The original code appends ``_LXRT.pth`` to the names of pre-trained
            checkpoints and ``.pth`` to those of fine-tuned ones.
        data_parallel: True writes names with ``module.``, False without. None writes what the original
            loaders need: with it for encoders and pre-training (they silently skip every other name), without
            it for fine-tuned models.
        overwrite: True replaces an existing file.

    Returns:
        A complete report.

    Raises:
        WeightsError: the folder cannot be read, holds a model that the original code has no class for or
            quantized weights, or `checkpoint` is a folder.
        IncompleteWeightsError: the folder lacks tensors that its configuration requires; nothing is written.
    """
    folder, checkpoint = Path(folder), Path(checkpoint)
    if checkpoint.is_dir():
        raise WeightsError(f"{str(checkpoint)!r} is a folder; expected the name of a .pth file to write")
    check_output_folder(checkpoint.parent)
    _check_overwrite(checkpoint, overwrite)
    tensors = read_folder(folder)
    config = read_config(folder)
    check_not_quantized(config, str(folder))
    architecture = _infer_architecture(tensors)
    embeddings = tensors.get(f"lxmert.{WORD_EMBEDDINGS}")
    if architecture is Architecture.PRETRAINING and config.tie_word_embeddings and embeddings is not None:
        tensors.setdefault(TIED_DECODER, embeddings)
    report = LoadReport.compare(
        parameter_shapes(config, architecture),
        shapes_of(tensors),
        model=architecture.value,
        source=str(folder),
    )
    report.require_complete()
    _check_matched_weights(report, tensors)
    wrap = not architecture.is_finetuned if data_parallel is None else data_parallel
    original = {to_original(name, architecture, data_parallel=wrap): tensors[name] for name in report.matched}
    with open_atomic(checkpoint) as file:
        torch.save(original, file)
    return report


def _check_matched_weights(report: LoadReport, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors of the model that are not floating-point numbers."""
    check_float_weights(
        {name: dtype_name(tensors[name].dtype) for name in report.matched if name in tensors}, report.source
    )


def _check_answers_and_vocabulary(
    config: LxmertConfig, architecture: Architecture, answers: Sequence[str] | None, vocab_size: int | None
) -> None:
    """Refuse an answer table or a vocabulary that belongs to another model."""
    has_answers = architecture is Architecture.QUESTION_ANSWERING or (
        architecture is Architecture.PRETRAINING and config.task_qa
    )
    if answers is not None and not has_answers:
        raise WeightsError("an answer table was given, but the model has no answer head; omit the table")
    if answers is not None and len(answers) != config.num_qa_labels:
        raise WeightsError(
            f"the answer table has {len(answers)} answers, but the checkpoint scores "
            f"{config.num_qa_labels}; expected one answer per class, in class order"
        )
    if vocab_size is not None and vocab_size != config.vocab_size:
        raise WeightsError(
            f"the vocabulary has {vocab_size} word pieces, but the checkpoint embeds {config.vocab_size}; "
            "expected the vocabulary that the model was trained with"
        )


def _check_overwrite(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise WeightsError(
            f"{str(path)!r} already exists; choose another name, or overwrite it (--overwrite)"
        )


def _canonical_names(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    canonical = {canonical_original_name(name): tensor for name, tensor in tensors.items()}
    if len(canonical) != len(tensors):
        raise WeightsError(
            f"{source!r} contains the same parameter under two names (with and without 'module.')"
        )
    return canonical


def _infer_original_architecture(original: Mapping[str, Tensor], source: str) -> Architecture:
    """The class of a checkpoint, from its names and head shapes."""
    first = original.get(f"{FINETUNED_HEAD}0.weight")
    if first is not None and any(name.startswith(FINETUNED_ENCODER) for name in original):
        if first.ndim == 2 and first.shape[0] == first.shape[1]:
            # The NLVR2 head reads the pooled outputs of two images: 2H -> 2H, where the others are H -> 2H.
            return Architecture.VISUAL_REASONING
        return Architecture.QUESTION_ANSWERING
    if any(name.startswith("cls.") for name in original):
        return Architecture.PRETRAINING
    if any(name.startswith(("bert.", FINETUNED_ENCODER)) for name in original):
        return Architecture.ENCODER
    raise WeightsError(
        f"{source!r} is not an original LXMERT checkpoint: expected names under 'bert.' or "
        f"'lxrt_encoder.', got {', '.join(repr(name) for name in list(original)[:3])}, …"
    )


def _translate(
    original: Mapping[str, Tensor], architecture: Architecture
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split into the tensors of the class under our names, and the rest under the original names."""
    ours: dict[str, Tensor] = {}
    unused: dict[str, Tensor] = {}
    for name, tensor in original.items():
        inner = name.removeprefix(FINETUNED_ENCODER) if architecture is Architecture.ENCODER else name
        translated = from_original(inner, architecture)
        if translated is None:
            unused[name] = tensor
        else:
            ours[translated] = tensor
    return ours, unused


def _infer_config(
    tensors: Mapping[str, Tensor], architecture: Architecture, heads: int | None
) -> LxmertConfig:
    sizes: dict[str, Any] = infer_sizes(shapes_of(tensors), architecture)
    if "hidden_size" not in sizes:
        raise IncompleteWeightsError(
            "the checkpoint has no word embeddings "
            f"({to_original(WORD_EMBEDDINGS, Architecture.ENCODER)}), from which the sizes of the model "
            "are read; expected a complete LXMERT checkpoint"
        )
    hidden = sizes["hidden_size"]
    if heads is None:
        if hidden != _PAPER_WIDTH:
            raise WeightsError(
                f"the number of attention heads is not in the checkpoint, and with {hidden} hidden units "
                f"(the paper's model has {_PAPER_WIDTH}) it cannot be inferred; pass --heads N (heads=N)"
            )
        heads = _PAPER_HEADS
    dtypes = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    return LxmertConfig(
        **sizes,
        num_attention_heads=heads,
        visual_loss_normalizer=_ORIGINAL_VISUAL_LOSS_WEIGHT,
        architectures=[architecture.value],
        dtype=dtype_name(dtypes.pop()) if len(dtypes) == 1 else "float32",
    )


def _untie_or_drop_copy(tensors: dict[str, Tensor], config: LxmertConfig) -> set[str]:
    """Drop the decoder if it equals the word embeddings, else record that it is untied.

    Returns:
        The names that the file may lack because the model ties them.
    """
    decoder, word_embeddings = tensors.get(TIED_DECODER), tensors.get(f"lxmert.{WORD_EMBEDDINGS}")
    if decoder is not None and word_embeddings is not None and not torch.equal(decoder, word_embeddings):
        config.tie_word_embeddings = False
        return set()
    tensors.pop(TIED_DECODER, None)
    return {TIED_DECODER}


def _write_folder(
    folder: Path, tensors: Mapping[str, Tensor], config: LxmertConfig, architecture: Architecture
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    expected = parameter_shapes(config, architecture)
    # Views of a larger storage would be written with all of it, and several views of one storage not at all.
    copies = {
        name: tensors[name].clone(memory_format=torch.contiguous_format)
        for name in expected
        if name in tensors
    }
    write_safetensors(copies, folder / SAFETENSORS_NAME)
    config.save_pretrained(folder)


def read_config(folder: str | Path) -> LxmertConfig:
    """The configuration of a local model folder.

    Raises:
        WeightsError: it has none, or it is malformed or of another kind of model.
    """
    check_config(folder)
    return LxmertConfig.from_pretrained(folder)


def _infer_architecture(tensors: Mapping[str, Tensor]) -> Architecture:
    if any(name.startswith("cls.") for name in tensors):
        return Architecture.PRETRAINING
    if any(name.startswith("pair_head.") for name in tensors):
        return Architecture.VISUAL_REASONING
    if any(name.startswith("lxmert.") for name in tensors):
        return Architecture.QUESTION_ANSWERING
    return Architecture.ENCODER
