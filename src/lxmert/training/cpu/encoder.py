"""The three encoders as training on a CPU runs them: on words and objects that are no padding, row by row.

The same weights and the same numbers as `model.encoder`, but for rounding and for which numbers dropout drops
(paper section 3.2). What it saves: padding is not computed; queries, keys and values are one matrix product,
and one for words and objects where they share weights; states are cast once for it under autocast; random
numbers of dropout are cheaper.

Shapes: B batch, W words, O objects, P positions of a sequence (W or O), N rows (positions that are no
padding), H hidden, A heads, d = H / A.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers.activations import GELUActivation

from lxmert.model.attention import LxmertAttention, LxmertAttentionOutput
from lxmert.model.encoder import LxmertEncoder, LxmertEncoderOutput, LxmertOutput
from lxmert.training.cpu.dropout import Dropout
from lxmert.training.cpu.linear_layers import ROWS_MULTIPLE, linear
from lxmert.training.cpu.packing import PackingLayout


class PackedEncoder(LxmertEncoder):
    """An encoder that trains on rows.

    It is the plain one in evaluation, compiled, with gradient checkpointing, with other attention than eager,
    where maps are asked for, and where a text lacks its first word or an image has no object. States in
    padding are those of a neighbour: no loss may look at them.
    """

    @classmethod
    def convert(cls, encoder: LxmertEncoder) -> None:
        """Make an encoder, with its weights and its place in a model, one of this class."""
        encoder.__class__ = cls

    def forward(
        self,
        lang_feats: Tensor,
        lang_attention_mask: Tensor | None,
        visual_feats: Tensor | None,
        visual_pos: Tensor | None,
        visual_attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_all_attentions: bool = False,
        first_word_only: bool = False,
        object_states: Tensor | None = None,
        words_are_encoded: bool = False,
        output_hidden_states: bool = True,
    ) -> LxmertEncoderOutput:
        """See `LxmertEncoder.forward`."""
        has_maps = output_attentions or output_all_attentions
        is_encoded = words_are_encoded or object_states is not None
        can_pack = not (has_maps or is_encoded) and self._can_pack()
        if visual_feats is not None and visual_pos is not None and can_pack:
            autocast = torch.is_autocast_enabled("cpu")
            dtype = torch.get_autocast_dtype("cpu") if autocast else lang_feats.dtype
            multiple = ROWS_MULTIPLE if dtype == torch.bfloat16 else 1
            words = PackingLayout(lang_attention_mask, len(lang_feats), lang_feats.shape[1], multiple)
            objects = PackingLayout(visual_attention_mask, len(visual_feats), visual_feats.shape[1], multiple)
            if words.has_first_of_each and objects.has_any_of_each:
                packed_forward = _PackedForward(
                    self,
                    dtype,
                    words,
                    objects,
                    first_word_only=first_word_only,
                    by_layer=output_hidden_states,
                )
                with torch.autocast("cpu", enabled=False):
                    return packed_forward.run(lang_feats, visual_feats, visual_pos)
        return super().forward(
            lang_feats,
            lang_attention_mask,
            visual_feats,
            visual_pos,
            visual_attention_mask,
            output_attentions,
            output_all_attentions,
            first_word_only,
            object_states,
            words_are_encoded,
            output_hidden_states,
        )

    def _can_pack(self) -> bool:
        if not self.training or torch.compiler.is_compiling():
            return False
        if any(getattr(layer, "gradient_checkpointing", False) for layer in self.modules()):
            return False
        return self.config._attn_implementation == "eager"


class _PackedForward:
    """One pass through an encoder.

    States are rows, (N, H), everywhere but inside an attention, where positions attend to each other.
    A layer:

        states --one product--> (N, 3H) --padded--> queries, keys, values of each head (`_project`)
               --scores, softmax, dropout, mixed values--> (B, P, H) --packed--> (N, H) (`_attend`)
               --linear layer, dropout, + states, normalised--> (N, H) (`_residual`)
               --linear layer, GELU, and such a residual sum again--> (N, H) (`_feed_forward`)

    A cross-modality layer begins with a cross-attention: the same first three lines, with the rows of the
    objects below those of the words wherever both meet the same weights. If only the first words are wanted,
    the last such layer computes what they depend on alone (`_first_words`).

    Args:
        encoder: whose weights.
        dtype: of matrix products.
        words: rows of the texts.
        objects: rows of the images.
        first_word_only: see `LxmertEncoder.forward`.
        by_layer: True gives the states after each layer too.
    """

    def __init__(
        self,
        encoder: LxmertEncoder,
        dtype: torch.dtype,
        words: PackingLayout,
        objects: PackingLayout,
        *,
        first_word_only: bool = False,
        by_layer: bool = True,
    ) -> None:
        self._encoder = encoder
        # As under autocast, states between layers have the dtype of the weights.
        self._state_dtype = encoder.visn_fc.visn_fc.weight.dtype
        self._matmul_dtype = dtype
        self._words = words
        self._objects = objects
        self._first = PackingLayout(None, words.shape[0], 1)
        self._first_word_only = first_word_only
        self._by_layer = by_layer

    def run(self, words: Tensor, features: Tensor, boxes: Tensor) -> LxmertEncoderOutput:
        """Words (B, W, H), object features (B, O, D) and boxes (B, O, 4) to what the encoder returns."""
        encoder = self._encoder
        lang = self._words.pack(words)
        vision = self._embed_objects(self._objects.pack(features), self._objects.pack(boxes))
        word_states, object_states = list[Tensor](), list[Tensor]()
        for layer in encoder.layer:
            lang = self._layer(layer, lang, self._words)
            self._record_states(word_states, lang, self._words)
        for layer in encoder.r_layers:
            vision = self._layer(layer, vision, self._objects)
            self._record_states(object_states, vision, self._objects)
        output_rows = self._words
        for number, layer in enumerate(encoder.x_layers, start=1):
            if self._first_word_only and number == len(encoder.x_layers):
                lang, output_rows = self._first_words(layer, lang, vision), self._first
            else:
                lang, vision = self._cross_layer(layer, lang, vision)
            self._record_states(word_states, lang, output_rows)
            self._record_states(object_states, vision, self._objects)
        return LxmertEncoderOutput(
            vision=(tuple(object_states), None),
            language=(tuple(word_states), None),
            words_to_objects=None,
            language_output=output_rows.pad(lang),
            vision_output=self._objects.pad(vision),
            objects_to_words=None,
            words_to_words=None,
            objects_to_objects=None,
        )

    def _record_states(self, by_layer: list[Tensor], states: Tensor, rows: PackingLayout) -> None:
        """Append the states (N, H) after a layer, as (B, P, H), where they are asked for."""
        if self._by_layer:
            by_layer.append(rows.pad(states))

    def _embed_objects(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Features (N, D) and boxes (N, 4) -> (N, H)."""
        parts = self._encoder.visn_fc
        feature = parts.visn_layer_norm(
            linear(features.to(self._matmul_dtype), parts.visn_fc).to(self._state_dtype)
        )
        box = parts.box_layer_norm(linear(boxes.to(self._matmul_dtype), parts.box_fc).to(self._state_dtype))
        return Dropout(parts.dropout.p)((feature + box) / 2)

    def _layer(self, layer: Any, states: Tensor, rows: PackingLayout) -> Tensor:
        states = self._self_attention(layer.attention, states, rows)
        return self._feed_forward(layer.intermediate, layer.output, states)

    def _cross_layer(self, layer: Any, lang: Tensor, vision: Tensor) -> tuple[Tensor, Tensor]:
        lang, vision = self._cross_attention(layer.visual_attention, lang, vision)
        lang = self._self_attention(layer.lang_self_att, lang, self._words)
        vision = self._self_attention(layer.visn_self_att, vision, self._objects)
        return (
            self._feed_forward(layer.lang_inter, layer.lang_output, lang),
            self._feed_forward(layer.visn_inter, layer.visn_output, vision),
        )

    def _first_words(self, layer: Any, lang: Tensor, vision: Tensor) -> Tensor:
        """A cross-modality layer for the first word of each text alone: (B, H)."""
        block, inner = layer.visual_attention, layer.lang_self_att
        attended = self._attention(block.att, lang, self._words, vision, self._objects)
        lang = self._residual(block.output, attended, lang)
        first = self._words.first(lang)
        attended = self._attention(inner.self, first, self._first, lang, self._words)
        first = self._residual(inner.output, attended, first)
        return self._feed_forward(layer.lang_inter, layer.lang_output, first)

    def _attention(
        self,
        attention: LxmertAttention,
        states: Tensor,
        rows: PackingLayout,
        context: Tensor,
        context_rows: PackingLayout,
    ) -> Tensor:
        """What states take from others: rows (N, H) of the first."""
        (query,) = self._project(states, rows, attention.query)
        key, value = self._project(context, context_rows, attention.key, attention.value)
        return self._attend(attention, query, key, value, rows, context_rows)

    def _self_attention(self, block: Any, states: Tensor, rows: PackingLayout) -> Tensor:
        attention = block.self
        layers = attention.query, attention.key, attention.value
        query, key, value = self._project(states, rows, *layers)
        mixed = self._attend(attention, query, key, value, rows, rows)
        return self._residual(block.output, mixed, states)

    def _cross_attention(self, block: Any, lang: Tensor, vision: Tensor) -> tuple[Tensor, ...]:
        attention = block.att
        states, sizes = torch.cat([lang, vision]), [len(lang), len(vision)]
        projected = linear(states.to(self._matmul_dtype), attention.query, attention.key, attention.value)
        word_projections, object_projections = projected.split(sizes)
        words, objects = self._words, self._objects
        word_query, word_key, word_value = self._heads(word_projections, words, 3)
        object_query, object_key, object_value = self._heads(object_projections, objects, 3)
        mixed_words = self._attend(attention, word_query, object_key, object_value, words, objects)
        mixed_objects = self._attend(attention, object_query, word_key, word_value, objects, words)
        return self._residual(block.output, torch.cat([mixed_words, mixed_objects]), states).split(sizes)

    def _project(self, states: Tensor, rows: PackingLayout, *layers: nn.Linear) -> tuple[Tensor, ...]:
        """States (N, H) by each linear layer, as heads: (B*A, P, d) each."""
        return self._heads(linear(states.to(self._matmul_dtype), *layers), rows, len(layers))

    def _heads(self, projected: Tensor, rows: PackingLayout, count: int) -> tuple[Tensor, ...]:
        """(N, count * H) -> `count` times (B*A, P, d)."""
        heads = self._encoder.config.num_attention_heads
        padded = rows.pad(projected).unflatten(-1, (count, heads, -1))  # (B, P, count, A, d)
        return padded.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind()

    def _attend(
        self,
        attention: LxmertAttention,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_rows: PackingLayout,
        key_rows: PackingLayout,
    ) -> Tensor:
        """What queries (B*A, P, d) take from keys and values (B*A, Q, d): rows (N, H) of the queries."""
        scores = torch.bmm(query, key.transpose(1, 2))  # (B*A, P, Q)
        scores = scores.unflatten(0, (key_rows.shape[0], -1)).to(self._state_dtype) * attention.scaling
        if key_rows.mask is not None:
            scores = scores + key_rows.mask
        weights = scores.softmax(dim=-1).to(value.dtype).flatten(0, 1)
        dropout = Dropout(attention.dropout.p)
        # Rescaled after the product, which is smaller than the weights.
        mixed = dropout.rescale(torch.bmm(dropout.drop(weights), value))  # (B*A, P, d)
        return query_rows.pack(mixed.unflatten(0, scores.shape[:2]).transpose(1, 2).flatten(2))

    def _feed_forward(self, inner: Any, output: LxmertOutput, states: Tensor) -> Tensor:
        hidden = linear(states.to(self._matmul_dtype), inner.dense)
        activation = inner.intermediate_act_fn
        if isinstance(activation, GELUActivation) and activation.act is gelu:
            return self._residual(output, hidden, states, after_gelu=True)
        return self._residual(output, activation(hidden), states)

    def _residual(
        self,
        output: LxmertAttentionOutput | LxmertOutput,
        values: Tensor,
        states: Tensor,
        *,
        after_gelu: bool = False,
    ) -> Tensor:
        """Linear layer, after GELU or not, dropout, residual sum and normalisation."""
        dropout = Dropout(output.dropout.p)
        update = dropout.drop(linear(values, output.dense, after_gelu=after_gelu))
        # Rescaled by the sum itself.
        normalised: Tensor = output.LayerNorm(torch.add(states, update, alpha=dropout.scale))
        return normalised
