"""Matrix products of a model joined and parted as suits a processor; what they give is the same.

It pays where the joined and the parted weights are kept, as by compiled code with frozen weights.

Shapes: N rows, I inputs, U outputs of a layer.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lxmert.model.attention import LxmertAttention, joint_product
from lxmert.model.encoder import LxmertEncoder

_PART_OUTPUTS = 256


def join_products(model: PreTrainedModel) -> None:
    """Join the projections of a model's attentions, in place.

    An attention with a joint product of its own keeps it, and one with layers that are not plain has none.
    """
    for part in model.modules():
        if not isinstance(part, LxmertAttention) or part.joint_product is not None:
            continue
        if all(map(is_plain, (part.query, part.key, part.value))):
            part.joint_product = joint_product


def is_plain(layer: nn.Module) -> bool:
    """Whether a linear layer makes of its inputs what its weights say and nothing else.

    An adapter (LoRA), which shows the weights of the layer that it adds to as its own, is not plain.
    """
    return type(layer) in (nn.Linear, _PartedLinear) and not has_hooks(layer)


def has_hooks(module: nn.Module) -> bool:
    """Whether others see or change what goes into a module, or comes out of it."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def part_products(model: PreTrainedModel) -> None:
    """Compute the outputs of the words' feed-forward blocks in parts, in place.

    For bfloat16 on a CPU with matrix units: oneDNN (torch 2.13) computes products of 450 to 1,300 rows, which
    the words of a batch are, of 3,072 inputs and 768 outputs on one thread of two, those of 256 on both.
    Layers other than plain linear ones stay.
    """
    encoder: LxmertEncoder = model.lxmert.encoder
    outputs: list[Any] = [layer.output for layer in encoder.layer]
    outputs += [layer.lang_output for layer in encoder.x_layers]
    for output in outputs:
        if is_plain(output.dense):
            output.dense.__class__ = _PartedLinear


class _PartedLinear(nn.Linear):
    """A linear layer that computes some outputs after others."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, N, I) -> (…, N, U)."""
        parts = zip(self.weight.split(_PART_OUTPUTS), self.bias.split(_PART_OUTPUTS), strict=True)
        return torch.cat([nn.functional.linear(input, *part) for part in parts], dim=-1)
