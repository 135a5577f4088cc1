"""Original-style checkpoints, made from transformers' LXMERT by renaming, without our name table."""

from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor, nn

TINY: dict[str, Any] = {
    "vocab_size": 31,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 17,
    "l_layers": 2,
    "x_layers": 1,
    "r_layers": 3,
    "visual_feat_dim": 10,
    "num_qa_labels": 7,
    "num_object_labels": 6,
    "num_attr_labels": 5,
}


@dataclass(frozen=True)
class Original:
    """A checkpoint as the authors' code names it, and the peer model whose numbers it holds."""

    tensors: dict[str, Tensor]
    peer: Any


def pretraining(**changes: Any) -> Original:
    peer = _with_random_parameters(
        transformers.LxmertForPreTraining(transformers.LxmertConfig(**{**TINY, **changes}))
    )
    return Original({_swap(name, "lxmert.", "bert."): t for name, t in peer.state_dict().items()}, peer)


def finetuned(**changes: Any) -> Original:
    peer = _with_random_parameters(
        transformers.LxmertForQuestionAnswering(transformers.LxmertConfig(**{**TINY, **changes}))
    )
    named = {_swap(name, "lxmert.", "lxrt_encoder.model.bert."): t for name, t in peer.state_dict().items()}
    return Original({_swap(name, "answer_head.", ""): t for name, t in named.items()}, peer)


def encoder(**changes: Any) -> Original:
    peer = _with_random_parameters(transformers.LxmertModel(transformers.LxmertConfig(**{**TINY, **changes})))
    return Original({f"bert.{name}": t for name, t in peer.state_dict().items()}, peer)


def nlvr2(**changes: Any) -> Original:
    """A fine-tuned checkpoint whose head reads two pooled outputs side by side: 2H -> 2H."""
    vqa = finetuned(**changes)
    wide = vqa.tensors["logit_fc.0.bias"].numel()
    head = {
        "logit_fc.0.weight": nn.Linear(wide, wide).weight.data,
        "logit_fc.3.weight": nn.Linear(wide, 2).weight.data,
    }
    return Original(
        {**vqa.tensors, **head, "logit_fc.3.bias": vqa.tensors["logit_fc.3.bias"][:2].clone()}, vqa.peer
    )


def _swap(name: str, old: str, new: str) -> str:
    return new + name[len(old) :] if name.startswith(old) else name


def _with_random_parameters(model: Any) -> Any:
    """No parameter at its initial constant, so that a swapped or forgotten tensor changes the outputs."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()
