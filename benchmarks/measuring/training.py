"""Both sides of a training step: forward, backward, clipping and AdamW.

A step of pre-training on all five tasks, or of fine-tuning for question answering. Ours is the call that our
trainer makes (scores only at labelled positions); the peer's is that of a user of `transformers.Trainer`.
Batch, optimiser, clipping and autocast are the same on both sides, with fused AdamW, which is also the
default of `Trainer`.

Shapes: B pairs, W words, O objects.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from lxmert import LxmertForQuestionAnswering
from lxmert.training.arguments import choose_kernels
from lxmert.training.cpu.clipping import clip_gradients
from lxmert.training.pretraining.model import LxmertInPreTraining
from lxmert.training.pretraining.recipe import PretrainOptimisationSection, TasksSection
from measuring.answering import pad_token_ids
from measuring.models import build_peer
from measuring.streams import LENGTHS, OBJECTS, histogram_quantiles
from measuring.work import LabelCounts

MODEL_INPUTS = ("input_ids", "attention_mask", "visual_feats", "visual_pos")
"""Inputs of a batch for every task."""
PADDED_WORDS = 20
"""Length to which users of the original code pad every text."""
# Paper, table 1: about a third of the sentences are questions; only matching ones have an answer.
QUESTIONS = 1 / 3
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Sentence-image pairs with the labels of all tasks.

    Attributes:
        inputs: inputs of `forward` of both models.
        pairs: words, objects and labels of each pair, for `work.training_operations`.
    """

    inputs: Mapping[str, Any]
    pairs: list[tuple[int, int, LabelCounts]]


def generate_batch(config: Any, size: int, *, length: int | None = None, device: str = "cpu") -> Batch:
    """Make a batch of random pairs, the same for every `length`.

    Args:
        config: sizes of vocabulary, classes and features.
        size: number of pairs B.
        length: length to which texts are padded; None for the longest.
        device: device of the tensors.
    """
    tasks, generator = TasksSection(), torch.Generator().manual_seed(0)
    texts, hidden = _texts(config, size, tasks.word_mask_rate)
    word_labels = [
        [word if is_hidden else IGNORED for word, is_hidden in zip(ids, row, strict=True)]
        for ids, row in zip(texts, hidden, strict=True)
    ]
    input_ids, mask = pad_token_ids(texts, device, length)
    matched = torch.rand(size, generator=generator) >= tasks.mismatch_probability
    # Without any masked word, or any answered question, the peer's loss is NaN.
    matched[0] = True
    asked = matched & (torch.arange(size) < max(1, round(QUESTIONS * size)))
    answers = torch.randint(config.num_qa_labels, (size,), generator=generator).masked_fill(~asked, IGNORED)
    objects, masked = _objects(config, size, tasks.object_mask_rate, generator)
    inputs = {
        "input_ids": input_ids,
        "attention_mask": mask,
        "labels": pad_token_ids(word_labels, device, length)[0].masked_fill(mask == 0, IGNORED),
        "matched_label": matched.long(),
        "ans": answers,
        **objects,
    }
    # With the default recipe all objects are labelled.
    counts = zip(map(len, texts), hidden, masked.sum(dim=1).tolist(), asked.tolist(), strict=True)
    pairs = [
        (words, OBJECTS, LabelCounts(sum(row), OBJECTS, count, OBJECTS, is_asked))
        for words, row, count, is_asked in counts
    ]
    return Batch(to_device(inputs, device), pairs)


def generate_answering_batch(
    config: Any, size: int, *, length: int | None = None, device: str = "cpu"
) -> Batch:
    """Make the texts and images of `generate_batch`, each with the class of its answer."""
    batch = generate_batch(config, size, length=length, device=device)
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(config.num_qa_labels, (size,), generator=generator)
    inputs = {name: batch.inputs[name] for name in MODEL_INPUTS}
    return Batch(inputs | {"labels": labels.to(device)}, batch.pairs)


def _texts(config: Any, size: int, mask_rate: float) -> tuple[list[list[int]], list[list[bool]]]:
    """Make token ids of texts with VQA's lengths, and mark those masked: never the first or the last."""
    draw = random.Random(0)
    lengths = histogram_quantiles(LENGTHS, size)
    draw.shuffle(lengths)
    texts = [[draw.randrange(1, config.vocab_size) for _ in range(words)] for words in lengths]
    hidden = [
        [0 < place < len(ids) - 1 and draw.random() < mask_rate for place in range(len(ids))] for ids in texts
    ]
    hidden[0][1] = True
    return texts, hidden


def _objects(
    config: Any, size: int, mask_rate: float, generator: torch.Generator
) -> tuple[dict[str, Any], Tensor]:
    """Make the models' object inputs, including labels, and a mask of the masked objects (B, O)."""
    shape = (size, OBJECTS)
    features = torch.rand(*shape, config.visual_feat_dim, generator=generator)
    masked = torch.rand(shape, generator=generator) < mask_rate
    classes = {"obj": config.num_object_labels, "attr": config.num_attr_labels}
    labels = {
        name: (torch.randint(count, shape, generator=generator), torch.rand(shape, generator=generator))
        for name, count in classes.items()
    }
    inputs = {
        "visual_feats": features.masked_fill(masked[..., None], 0.0),
        "visual_pos": torch.rand(*shape, config.visual_pos_dim, generator=generator),
        "obj_labels": labels | {"feat": (features, masked.float())},
    }
    return inputs, masked


def to_device(value: Any, device: str) -> Any:
    """Move the tensors of a nested batch to a device."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(to_device(item, device) for item in value)
    return {name: to_device(item, device) for name, item in value.items()}


def our_model(
    config: Any, attention: str | None = None, device: str = "cpu", *, finetuning: bool = False
) -> Any:
    """Set up our model as the trainer does on a device, with a recipe's attention or the trainer's choice."""
    torch.manual_seed(0)
    model = (LxmertForQuestionAnswering if finetuning else LxmertInPreTraining)(config)
    optimisation = PretrainOptimisationSection(attention=attention)
    choose_kernels(model, optimisation, on_cpu=device == "cpu")  # even if the machine has a GPU
    return model.train()


def peer_model(ours: Any) -> Any:
    """Make the peer with our model's weights."""
    answers = isinstance(ours, LxmertForQuestionAnswering)
    kind = transformers.LxmertForQuestionAnswering if answers else transformers.LxmertForPreTraining
    return build_peer(ours, kind).train()


class Step:
    """Training steps of one model.

    Args:
        model: the model of either side.
        is_ours: whether it is ours.
        forward: the compiled model, or None.
    """

    def __init__(self, model: Any, *, is_ours: bool, forward: Callable[..., Any] | None = None) -> None:
        self.model = model
        self._forward = model if forward is None else forward
        self._is_ours = is_ours
        self._options = {} if isinstance(model, LxmertForQuestionAnswering) else {"return_all_logits": False}
        recipe = PretrainOptimisationSection()
        self._norm = recipe.max_gradient_norm
        self._optimizer = torch.optim.AdamW(
            _groups(model, recipe.weight_decay),
            lr=recipe.peak_learning_rate,
            eps=recipe.adam_epsilon,
            fused=True,
        )

    def loss(self, inputs: Mapping[str, Any], dtype: str = "float32") -> Tensor:
        """Return the sum of all tasks' losses, computed under autocast if `dtype` is bfloat16."""
        device = inputs["input_ids"].device.type
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            if self._is_ours:
                losses = self._forward(**inputs, **self._options).losses
                return torch.stack([loss.float() for loss in losses.values()]).sum()
            return self._forward(**inputs).loss

    def run(self, inputs: Mapping[str, Any], dtype: str = "float32") -> None:
        """Run forward, backward, clipping, and the optimiser's step."""
        self.loss(inputs, dtype).backward()
        # As the trainers of both sides choose it.
        is_own = self._is_ours and inputs["input_ids"].device.type == "cpu"
        clip = clip_gradients if is_own else nn.utils.clip_grad_norm_
        clip(self.model.parameters(), self._norm)
        self._optimizer.step()
        self._optimizer.zero_grad()


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Group parameters for weight decay: matrices, but not biases and normalisations, as both trainers do."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [matrix for matrix in parameters if matrix.dim() > 1], "weight_decay": weight_decay},
        {"params": [vector for vector in parameters if vector.dim() <= 1], "weight_decay": 0.0},
    ]
