"""Matrix products of a model fused and split to suit a processor, without changing their results.

This pays if the fused and the split weights are kept, as compiled code with frozen weights does.

Shapes: N rows, I inputs, U outputs of a layer.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lxmert.model.attention import LxmertAttention, fused_linear
from lxmert.model.encoder import LxmertEncoder

_OUTPUTS_PER_SPLIT = 256


def fuse_projections(model: PreTrainedModel) -> None:
    """Fuse the projections of a model's attentions, in place.

    An attention that has a fused projection keeps it; one with layers that are not plain gets none.
    """
    for part in model.modules():
        if not isinstance(part, LxmertAttention) or part.fused_projection is not None:
            continue
        if all(map(is_plain, (part.query, part.key, part.value))):
            part.fused_projection = fused_linear


def is_plain(layer: nn.Module) -> bool:
    """Whether a linear layer is determined by its weights.

    An adapter (LoRA), which exposes the weights of the layer that it wraps as its own, is not plain.
    """
    return type(layer) in (nn.Linear, _SplitLinear) and not has_hooks(layer)


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has forward hooks."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def split_products(model: PreTrainedModel) -> None:
    """Split the output products of the words' feed-forward blocks, in place.

    For bfloat16 on a CPU with matrix units: oneDNN (torch 2.13) computes products of 450 to 1,300 rows, the
    words of a batch, 3,072 inputs and 768 outputs on one of two threads, but those of 256 outputs on both.
    Layers that are not plain are left alone.
    """
    encoder: LxmertEncoder = model.lxmert.encoder
    outputs: list[Any] = [layer.output for layer in encoder.layer]
    outputs += [layer.lang_output for layer in encoder.x_layers]
    for output in outputs:
        if is_plain(output.dense):
            output.dense.__class__ = _SplitLinear


class _SplitLinear(nn.Linear):
    """A linear layer that computes its outputs in parts."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, N, I) -> (…, N, U)."""
        parts = zip(self.weight.split(_OUTPUTS_PER_SPLIT), self.bias.split(_OUTPUTS_PER_SPLIT), strict=True)
        return torch.cat([nn.functional.linear(input, *part) for part in parts], dim=-1)
