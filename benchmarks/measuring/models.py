"""Models of our class and of `transformers`' with the same weights, and their sizes.

For LXMERT `transformers` 5 has eager attention only; the peer is not compiled.
"""

import copy
from typing import Any

import torch
import transformers

from lxmert import LxmertConfig, LxmertForQuestionAnswering

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
VQA_ANSWERS = 3129
TINY: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 48,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "l_layers": 2,
    "x_layers": 2,
    "r_layers": 1,
    "num_object_labels": 21,
    "num_attr_labels": 9,
    "num_qa_labels": 33,
    "visual_feat_dim": 40,
}
"""Sizes for --quick."""


def build_config(quick: bool, **sizes: Any) -> LxmertConfig:
    """Return the full-size configuration (9/5/5 layers of width 768), or a tiny one."""
    return LxmertConfig(**(TINY if quick else sizes))


def build_answering_pair(config: LxmertConfig) -> tuple[Any, Any]:
    """Make LxmertForQuestionAnswering, ours and the peer's, with the same random weights, for inference."""
    torch.manual_seed(0)
    ours = LxmertForQuestionAnswering(config).eval()
    return ours, build_peer(ours, transformers.LxmertForQuestionAnswering).eval()


def build_peer(ours: Any, kind: Any) -> Any:
    """Make a model of `transformers`, of class `kind`, with our model's weights."""
    peer = kind(peer_config(ours.config))
    peer.load_state_dict(ours.state_dict())
    return peer


def peer_config(config: LxmertConfig) -> Any:
    """Convert our configuration to `transformers`' class."""
    # Layer counts have other names; `num_hidden_layers` is derived from them.
    values = {name: value for name, value in config.to_dict().items() if name != "num_hidden_layers"}
    return transformers.LxmertConfig(**values)


def copy_in_dtype(model: Any, dtype: torch.dtype) -> Any:
    """Return a copy of a model in a dtype."""
    return copy.deepcopy(model).to(dtype)
