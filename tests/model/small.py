"""A small model and an uneven batch for the tests of the models."""

from typing import Any

import torch
from torch import Tensor, nn

from lxmert.configuration import LxmertConfig
from lxmert.model import LxmertModel

BATCH, WORDS, OBJECTS = 3, 7, 5
SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "num_qa_labels": 9,
    "num_object_labels": 11,
    "num_attr_labels": 6,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
    "l_layers": 2,
    "x_layers": 3,
    "r_layers": 1,
    "visual_feat_dim": 13,
}

RAW = {"word": ("input_ids", "token_type_ids"), "object": ("visual_feats", "visual_pos")}
MASKS = {"word": "attention_mask", "object": "visual_attention_mask"}


def enable_checkpointing(model: Any, settings: dict[str, bool] | None = None) -> None:
    """Turn checkpointing on under the name that this version of transformers has for it."""
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(settings)
    else:
        model.gradient_checkpointing_enable(settings)


def small_config(**changes: Any) -> LxmertConfig:
    return LxmertConfig(**(SIZES | changes))


def inputs(config: LxmertConfig | None = None) -> dict[str, Tensor]:
    """Ids, features and positions for three uneven examples, with both masks and segments."""
    config = config or small_config()
    generator = torch.Generator().manual_seed(3)
    words = torch.ones(BATCH, WORDS, dtype=torch.long)
    words[1, 4:] = 0
    objects = torch.ones(BATCH, OBJECTS, dtype=torch.long)
    objects[2, 3:] = 0
    segments = torch.zeros(BATCH, WORDS, dtype=torch.long)
    segments[0, 4:] = 1
    return {
        "input_ids": torch.randint(1, config.vocab_size, (BATCH, WORDS), generator=generator),
        "visual_feats": torch.randn(BATCH, OBJECTS, config.visual_feat_dim, generator=generator),
        "visual_pos": torch.rand(BATCH, OBJECTS, config.visual_pos_dim, generator=generator),
        "attention_mask": words,
        "visual_attention_mask": objects,
        "token_type_ids": segments,
    }


def targets(config: LxmertConfig | None = None) -> dict[str, Any]:
    """Targets of all five pre-training tasks for the batch of `inputs`."""
    config = config or small_config()
    generator = torch.Generator().manual_seed(4)
    labels = torch.full((BATCH, WORDS), -100)
    labels[0, 2], labels[1, 3] = 5, 8
    shape = (BATCH, OBJECTS)
    return {
        "labels": labels,
        "obj_labels": {
            "obj": (
                torch.randint(0, config.num_object_labels, shape, generator=generator),
                torch.rand(shape, generator=generator),
            ),
            "attr": (
                torch.randint(0, config.num_attr_labels, shape, generator=generator),
                torch.rand(shape, generator=generator),
            ),
            "feat": (
                torch.randn(*shape, config.visual_feat_dim, generator=generator),
                torch.randint(0, 2, shape, generator=generator).float(),
            ),
        },
        "matched_label": torch.tensor([0, 1, 1]),
        "ans": torch.tensor([4, 0, 8]),
    }


def with_encoded_states(kind: str, model: LxmertModel, given: dict[str, Any]) -> dict[str, Any]:
    """A batch whose words or objects, by `kind`, are encoded beforehand."""
    encode = model.encode_words if kind == "word" else model.encode_objects
    states = encode(**{name: given[name] for name in (*RAW[kind], MASKS[kind])})
    others = {name: value for name, value in given.items() if name not in RAW[kind]}
    return others | {f"{kind}_states": states}


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weights.grad for name, weights in model.named_parameters() if weights.grad is not None}
