"""The three encoders as training on a CPU runs them: on words and objects that are no padding, row by row.

The same weights and the same numbers as `model.encoder`, but for rounding and for which numbers dropout drops
(paper section 3.2). What it saves: padding is not computed; queries, keys and values are one matrix product,
and one for words and objects where they share weights; states are cast once for it under autocast; random
numbers of dropout are cheaper.

Shapes: B batch, W words, O objects, P places of a sequence (W or O), N rows (places that are no padding),
H hidden, A heads, d = H / A.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu
from transformers.activations import GELUActivation

from lxmert.model.attention import LxmertAttention, LxmertAttentionOutput
from lxmert.model.encoder import LxmertEncoder, LxmertEncoderOutput, LxmertOutput
from lxmert.training.cpu.dropout import Dropout
from lxmert.training.cpu.products import ROWS_MULTIPLE, linear


class Rows:
    """Which places of padded sequences are rows, the others being padding.

    Behind the rows of a mask stand empty ones, which fill up their number; no gradient comes from them.

    Args:
        mask: additive (B, 1, 1, P), 0 where a place is real; None when all are.
        batch: B.
        places: P.
        multiple: what the number of rows is filled up to.

    Attributes:
        shape: B and P.
        mask: as given.
        have_first: True when the first place of each sequence is a row.
        have_any: True when each sequence has a row.
    """

    def __init__(self, mask: Tensor | None, batch: int, places: int, multiple: int = 1) -> None:
        self.shape = (batch, places)
        self.mask = mask
        self.have_first = self.have_any = True
        self._index: tuple[Tensor, Tensor, int] | None = None
        if mask is None:
            return
        visible = mask[:, 0, 0, :] == 0  # (B, P)
        self.have_first = bool(visible[:, :1].all())
        self.have_any = bool(visible.any(dim=1).all())
        real = visible.flatten()  # (B*P,)
        place_of_row = real.nonzero().flatten()  # (N,) without the empty ones
        # A place without a row takes any: its mask hides it.
        row_of_place = (real.cumsum(0) - 1).clamp(min=0)  # (B*P,)
        self._index = (place_of_row, row_of_place, -len(place_of_row) % multiple)

    def packed(self, states: Tensor) -> Tensor:
        """(B, P, H) -> (N, H)."""
        states = states.flatten(0, 1)
        if self._index is None:
            return states
        rows: Tensor = _Packed.apply(states, *self._index)
        return rows

    def padded(self, rows: Tensor) -> Tensor:
        """(N, H) -> (B, P, H); in padding stands the state of a neighbour."""
        if self._index is not None:
            rows = _Padded.apply(rows, *self._index)
        return rows.unflatten(0, self.shape)


class _Packed(torch.autograd.Function):
    """Places (B*P, H) to rows (N, H)."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, place_of_row: Tensor, row_of_place: Tensor, empty: int) -> Tensor:
        ctx.index = place_of_row, row_of_place, empty
        return _rows(states, place_of_row, empty)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        place_of_row, row_of_place, _ = ctx.index
        of_states = gradient.new_zeros(len(row_of_place), gradient.shape[1])
        of_states.index_copy_(0, place_of_row, gradient[: len(place_of_row)])
        return of_states, None, None, None


class _Padded(torch.autograd.Function):
    """Rows (N, H) to places (B*P, H). Nobody looks at padding, so no gradient comes from there."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, place_of_row: Tensor, row_of_place: Tensor, empty: int) -> Tensor:
        ctx.index = place_of_row, empty
        return rows.index_select(0, row_of_place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _rows(gradient, *ctx.index), None, None, None


def _rows(places: Tensor, place_of_row: Tensor, empty: int) -> Tensor:
    """The places that are rows, then empty rows of zeros."""
    count = len(place_of_row)
    rows = places.new_empty(count + empty, places.shape[1])
    torch.index_select(places, 0, place_of_row, out=rows[:count])
    rows[count:].zero_()
    return rows


class PackedEncoder(LxmertEncoder):
    """An encoder that trains on rows.

    It is the plain one in evaluation, compiled, with gradient checkpointing, with other attention than eager,
    where maps are asked for, and where a text lacks its first word or an image has no object. States in
    padding are those of a neighbour: no loss may look at them.
    """

    @classmethod
    def take_over(cls, encoder: LxmertEncoder) -> None:
        """Make an encoder, with its weights and its place in a model, one of this class."""
        encoder.__class__ = cls

    def forward(
        self,
        lang_feats: Tensor,
        lang_attention_mask: Tensor | None,
        visual_feats: Tensor | None,
        visual_pos: Tensor | None,
        visual_attention_mask: Tensor | None = None,
        *options: Any,
        **named_options: Any,
    ) -> LxmertEncoderOutput:
        """See `LxmertEncoder.forward`."""
        by_layer = bool(named_options.get("output_hidden_states", True))
        others = [asked for name, asked in named_options.items() if name != "output_hidden_states"]
        # By identity: states of objects are asked for too, and a tensor has no truth of its own.
        asks_more = any(asked is not None and asked is not False for asked in (*options, *others))
        if visual_feats is not None and visual_pos is not None and not asks_more and self._may_pack():
            autocast = torch.is_autocast_enabled("cpu")
            dtype = torch.get_autocast_dtype("cpu") if autocast else lang_feats.dtype
            multiple = ROWS_MULTIPLE if dtype == torch.bfloat16 else 1
            words = Rows(lang_attention_mask, len(lang_feats), lang_feats.shape[1], multiple)
            objects = Rows(visual_attention_mask, len(visual_feats), visual_feats.shape[1], multiple)
            if words.have_first and objects.have_any:
                with torch.autocast("cpu", enabled=False):
                    one_pass = _Pass(self, dtype, words, objects, by_layer=by_layer)
                    return one_pass.run(lang_feats, visual_feats, visual_pos)
        return super().forward(
            lang_feats,
            lang_attention_mask,
            visual_feats,
            visual_pos,
            visual_attention_mask,
            *options,
            **named_options,
        )

    def _may_pack(self) -> bool:
        if not self.training or torch.compiler.is_compiling():
            return False
        if any(getattr(layer, "gradient_checkpointing", False) for layer in self.modules()):
            return False
        return self.config._attn_implementation == "eager"


class _Pass:
    """One pass through an encoder.

    Args:
        encoder: whose weights.
        dtype: of matrix products.
        words: rows of the texts.
        objects: rows of the images.
        by_layer: True gives the states after each layer too.
    """

    def __init__(
        self, encoder: LxmertEncoder, dtype: torch.dtype, words: Rows, objects: Rows, *, by_layer: bool
    ) -> None:
        self._encoder = encoder
        # Of states between layers, as autocast keeps them too.
        self._precise = encoder.visn_fc.visn_fc.weight.dtype
        self._dtype = dtype
        self._words = words
        self._objects = objects
        self._by_layer = by_layer

    def run(self, words: Tensor, features: Tensor, boxes: Tensor) -> LxmertEncoderOutput:
        """Words (B, W, H), object features (B, O, D) and boxes (B, O, 4) to what the encoder returns."""
        encoder = self._encoder
        lang = self._words.packed(words)
        seen = self._embedded(self._objects.packed(features), self._objects.packed(boxes))
        word_states, object_states = list[Tensor](), list[Tensor]()
        for layer in encoder.layer:
            lang = self._layer(layer, lang, self._words)
            self._note(word_states, lang, self._words)
        for layer in encoder.r_layers:
            seen = self._layer(layer, seen, self._objects)
            self._note(object_states, seen, self._objects)
        for layer in encoder.x_layers:
            lang, seen = self._cross_layer(layer, lang, seen)
            self._note(word_states, lang, self._words)
            self._note(object_states, seen, self._objects)
        return LxmertEncoderOutput(
            vision=(tuple(object_states), None),
            language=(tuple(word_states), None),
            words_to_objects=None,
            language_output=self._words.padded(lang),
            vision_output=self._objects.padded(seen),
            objects_to_words=None,
            words_to_words=None,
            objects_to_objects=None,
        )

    def _note(self, by_layer: list[Tensor], states: Tensor, rows: Rows) -> None:
        """Append the states (N, H) after a layer, as (B, P, H), where they are asked for."""
        if self._by_layer:
            by_layer.append(rows.padded(states))

    def _embedded(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Features (N, D) and boxes (N, 4) -> (N, H)."""
        parts = self._encoder.visn_fc
        feature = parts.visn_layer_norm(linear(features.to(self._dtype), parts.visn_fc).to(self._precise))
        box = parts.box_layer_norm(linear(boxes.to(self._dtype), parts.box_fc).to(self._precise))
        return Dropout(parts.dropout.p)((feature + box) / 2)

    def _layer(self, layer: Any, states: Tensor, rows: Rows) -> Tensor:
        states = self._self_attention(layer.attention, states, rows)
        return self._feed_forward(layer.intermediate, layer.output, states)

    def _cross_layer(self, layer: Any, lang: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([lang, seen])
        sizes = [len(lang), len(seen)]
        attention = layer.visual_attention.att
        projected = linear(both.to(self._dtype), attention.query, attention.key, attention.value)
        of_words, of_objects = projected.split(sizes)
        words, objects = (
            self._heads(of_words, self._words, attention),
            self._heads(of_objects, self._objects, attention),
        )
        mixed = torch.cat(
            [
                self._words.packed(self._attended(attention, words[0], objects[1:], self._objects)),
                self._objects.packed(self._attended(attention, objects[0], words[1:], self._words)),
            ]
        )
        lang, seen = self._residual(layer.visual_attention.output, mixed, both).split(sizes)
        lang = self._self_attention(layer.lang_self_att, lang, self._words)
        seen = self._self_attention(layer.visn_self_att, seen, self._objects)
        return (
            self._feed_forward(layer.lang_inter, layer.lang_output, lang),
            self._feed_forward(layer.visn_inter, layer.visn_output, seen),
        )

    def _self_attention(self, block: Any, states: Tensor, rows: Rows) -> Tensor:
        attention = block.self
        projected = linear(states.to(self._dtype), attention.query, attention.key, attention.value)
        query, *context = self._heads(projected, rows, attention)
        mixed = self._attended(attention, query, context, rows)
        return self._residual(block.output, rows.packed(mixed), states)

    def _heads(self, projected: Tensor, rows: Rows, attention: LxmertAttention) -> tuple[Tensor, ...]:
        """(N, 3H) -> queries, keys, values (B*A, P, d)."""
        padded = rows.padded(projected).unflatten(-1, (3, -1, attention.head_dim))  # (B, P, 3, A, d)
        return padded.permute(2, 0, 3, 1, 4).reshape(3, -1, rows.shape[1], attention.head_dim).unbind()

    def _attended(self, attention: LxmertAttention, query: Tensor, context: Any, rows: Rows) -> Tensor:
        """(B*A, Q, d), and keys and values (B*A, K, d) -> (B, Q, H)."""
        key, value = context
        batch = rows.shape[0]
        scores = torch.bmm(query, key.transpose(1, 2)).unflatten(0, (batch, -1))  # (B, A, Q, K)
        scores = scores.to(self._precise) * attention.scaling
        if rows.mask is not None:
            scores = scores + rows.mask
        weights = scores.softmax(dim=-1).to(value.dtype).flatten(0, 1)
        dropout = Dropout(attention.dropout)
        kept = dropout.kept(weights)
        mixed = torch.bmm(weights if kept is None else weights * kept, value)  # (B*A, Q, d)
        if kept is not None:
            mixed = mixed * dropout.growth
        return mixed.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)

    def _feed_forward(self, inner: Any, output: LxmertOutput, states: Tensor) -> Tensor:
        hidden = linear(states.to(self._dtype), inner.dense)
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
        made = linear(values, output.dense, after_gelu=after_gelu)
        dropout = Dropout(output.dropout.p)
        kept = dropout.kept(made)
        if kept is not None:
            made = made * kept
        normalised: Tensor = output.LayerNorm(torch.add(states, made, alpha=dropout.growth))
        return normalised
