"""Matrix products of a model joined and parted as suits a processor; what they give is the same.

It pays where the joined and the parted weights are kept, as by compiled code with frozen weights.

Shapes: B batch, W words, O objects, H hidden, N rows, I inputs, U outputs of a layer.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lxmert.model.attention import LxmertAttention, joint_product
from lxmert.model.encoder import Attended, LxmertEncoder, LxmertXLayer

_PART_OUTPUTS = 256


def join_products(model: PreTrainedModel) -> None:
    """Join the projections of a model's attentions, in place.

    An attention with a joint product of its own keeps it.
    """
    encoder: LxmertEncoder = model.lxmert.encoder
    for part in encoder.modules():
        if isinstance(part, LxmertAttention) and part.joint_product is None:
            part.joint_product = joint_product
    for layer in encoder.x_layers:
        layer.__class__ = _JoinedXLayer


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
        if type(output.dense) is nn.Linear:
            output.dense.__class__ = _PartedLinear


class _JoinedXLayer(LxmertXLayer):
    """A cross-modality layer whose words and objects go through their shared cross-attention as one."""

    def cross_attend(
        self,
        lang_feats: Tensor,
        lang_attention_mask: Tensor | None,
        visual_feats: Tensor,
        visual_attention_mask: Tensor | None,
        maps_of_words: bool = False,
        maps_of_objects: bool = False,
    ) -> tuple[Attended, Attended]:
        """See `LxmertXLayer.cross_attend`."""
        cross, attention = self.visual_attention, self.visual_attention.att
        joint_product = attention.joint_product
        if joint_product is None or maps_of_words or maps_of_objects:
            return super().cross_attend(
                lang_feats,
                lang_attention_mask,
                visual_feats,
                visual_attention_mask,
                maps_of_words,
                maps_of_objects,
            )
        sizes = *lang_feats.shape[:2], visual_feats.shape[1]
        both = _rows(lang_feats, visual_feats)
        projected = joint_product((attention.query, attention.key, attention.value), both)
        of_words, of_objects = _sequences(projected, *sizes)
        word_query, word_key, word_value = of_words.chunk(3, dim=-1)
        object_query, object_key, object_value = of_objects.chunk(3, dim=-1)
        words, _ = attention.attend(word_query, object_key, object_value, visual_attention_mask)
        objects, _ = attention.attend(object_query, word_key, word_value, lang_attention_mask)
        words, objects = _sequences(cross.output(_rows(words, objects), both), *sizes)
        return (words, None), (objects, None)


def _rows(words: Tensor, objects: Tensor) -> Tensor:
    """(B, W, H) and (B, O, H) -> (B*W + B*O, H)."""
    return torch.cat([words.flatten(0, 1), objects.flatten(0, 1)])


def _sequences(rows: Tensor, batch: int, words: int, objects: int) -> tuple[Tensor, Tensor]:
    """(B*W + B*O, U) -> (B, W, U) and (B, O, U)."""
    of_words, of_objects = rows.split([batch * words, batch * objects])
    return of_words.unflatten(0, (batch, words)), of_objects.unflatten(0, (batch, objects))


class _PartedLinear(nn.Linear):
    """A linear layer that computes some outputs after others."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, N, I) -> (…, N, U)."""
        parts = zip(self.weight.split(_PART_OUTPUTS), self.bias.split(_PART_OUTPUTS), strict=True)
        return torch.cat([nn.functional.linear(input, *part) for part in parts], dim=-1)
