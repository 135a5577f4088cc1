"""Embeddings of words and of objects, each with their positions (paper section 3.1).

Shapes: B batch, W words, O objects, H hidden, D feature width, P position width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lxmert.configuration import LxmertConfig


class LxmertEmbeddings(nn.Module):
    """Word, position and segment embeddings, summed and normalised.

    Only the word [PAD] has a padding row, which learns nothing from texts; in pre-training the masked-word
    head trains it where it shares the matrix. Position 0 ([CLS]) and segment 0 (the only one of a single
    sentence) are ordinary rows.
    """

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        pad = 0 if config.pad_token_id is None else config.pad_token_id
        self.word_embeddings = nn.Embedding(config.vocab_size, hidden, padding_idx=pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, hidden)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Embed words.

        Args:
            input_ids: (B, W) integer ids; or give `inputs_embeds`.
            token_type_ids: (B, W) integer segments; all 0 when not given.
            inputs_embeds: (B, W, H) word vectors instead of ids, cast to the precision of the model.

        Returns:
            (B, W, H).
        """
        if inputs_embeds is None:
            words = self.word_embeddings(input_ids)  # (B, W, H)
        else:
            words = _cast_like(self.position_embeddings.weight, inputs_embeds)  # (B, W, H)
        positions = torch.arange(words.shape[1], device=words.device)  # (W,)
        if token_type_ids is None:
            token_type_ids = torch.zeros(words.shape[:2], dtype=torch.long, device=words.device)
        summed = words + self.position_embeddings(positions) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(summed))


class LxmertVisualFeatureEncoder(nn.Module):
    """Objects: the mean of the projected, normalised feature and the projected, normalised position."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.visn_fc = nn.Linear(config.visual_feat_dim, hidden)
        self.visn_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.box_fc = nn.Linear(config.visual_pos_dim, hidden)
        self.box_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, visual_feats: Tensor, visual_pos: Tensor) -> Tensor:
        """Embed objects: features (B, O, D) and positions (B, O, P) -> (B, O, H)."""
        feature = self.visn_layer_norm(_project(self.visn_fc, visual_feats))
        position = self.box_layer_norm(_project(self.box_fc, visual_pos))
        return self.dropout((feature + position) / 2)


def _project(layer: nn.Linear, values: Tensor) -> Tensor:
    """Apply `layer` to `values` cast to its precision: features on disk are float32 (or float64).

    A module that wraps the layer, such as a low-rank adapter, may have no `weight` to cast to.
    """
    return layer(_cast_like(layer.weight, values) if hasattr(layer, "weight") else values)


def _cast_like(weight: Any, values: Tensor) -> Tensor:
    """Cast `values` to the dtype of `weight`, unless the weight is quantised to integers."""
    if not isinstance(weight, Tensor):  # a method in torch's own quantised layers, which expect float32
        return values.float()
    return values.to(weight.dtype) if weight.is_floating_point() else values
