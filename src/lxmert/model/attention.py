"""Multi-head attention, and the residual layers built on it (paper section 3.2, equations 1 to 8).

The computation itself is chosen by `config._attn_implementation` through `transformers`' attention interface
(eager, sdpa, flash_attention_2, flex_attention, registered ones). A call that asks for the attention maps
runs eagerly, whatever the setting, because the other kernels do not return them.

Masks are additive: 0 where a key is visible, the lowest number of the dtype where it is hidden (for float16
that of float32: its own is too small to outweigh a score). A query with no visible key then attends to all
keys equally instead of producing NaN.

Shapes: B batch, Q queries, K keys, H hidden, A heads, d = H / A width of a head.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lxmert.configuration import LxmertConfig

CPU_ATTENTION: Final = "eager"
"""For so few words and objects, plain matrix products beat torch's fused kernel on a CPU, in training and in
inference; in bfloat16 they use the processor's matrix units."""

AttentionFunction = Callable[..., tuple[Tensor, Tensor | None]]
FusedProjection = Callable[[Sequence[Any], Tensor], Tensor]


def additive_mask(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Turn a mask of 1 (visible) and 0 (hidden), (B, K), into one to add to scores, (B, 1, 1, K).

    Args:
        mask: (B, K), or None.
        dtype: of the states; the mask has the same, but float32 for float16.
    """
    if mask is None:
        return None
    if dtype == torch.float16:
        dtype = torch.float32
    hidden = 1.0 - mask[:, None, None, :].to(dtype)
    return hidden * torch.finfo(dtype).min


def eager_attention(
    module: "LxmertAttention",
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """Compute attention in plain steps, and return its weights too.

    Args:
        module: the attention module, whose `dropout` drops weights.
        query: (B, A, Q, d).
        key: (B, A, K, d).
        value: (B, A, K, d).
        attention_mask: additive (B, 1, 1, K), or None when all keys are visible.
        scaling: factor of the scores.
        dropout: not used; the module's own is called, so that hooks on it see the weights.

    Returns:
        the weighted values (B, Q, A, d) and the weights (B, A, Q, K), whose rows sum to 1 before dropout.
    """
    scores = torch.matmul(query, key.transpose(-1, -2)) * scaling  # (B, A, Q, K)
    # At least float32: in float16 no number is low enough to outweigh a score.
    precision = torch.promote_types(scores.dtype, torch.float32)
    scores = scores.to(precision)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1).to(value.dtype)
    weights = module.dropout(weights)
    return torch.matmul(weights, value).transpose(1, 2), weights


class LxmertAttention(nn.Module):
    """Multi-head attention from queries (words or objects) to a context (words or objects).

    Attributes:
        fused_projection: computes queries, keys and values of the same states, and those of both directions
            of a cross-attention, by one matrix product; None for one each. It pays if the fused weights are
            kept, as `torch.compile` does with frozen weights.
    """

    is_causal = False

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.fused_projection: FusedProjection | None = None

    def forward(
        self,
        hidden_states: Tensor,
        context: Tensor,
        attention_mask: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from queries to a context.

        Args:
            hidden_states: (B, Q, H), the queries.
            context: (B, K, H), the keys and values.
            attention_mask: additive (B, 1, 1, K), or None.
            output_attentions: also return the weights.

        Returns:
            (B, Q, H), and the weights (B, A, Q, K) or None.
        """
        query, key, value = self._project_qkv(hidden_states, context)
        is_self = hidden_states is context
        return self.attend(query, key, value, attention_mask, output_attentions, is_self=is_self)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        output_attentions: bool = False,
        *,
        is_self: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute attention from projected queries, keys and values.

        Args:
            query: (B, Q, H).
            key: (B, K, H).
            value: (B, K, H).
            attention_mask: see `forward`.
            output_attentions: see `forward`.
            is_self: whether queries and context are the same.

        Returns:
            see `forward`.
        """
        shape = query.shape
        query, key, value = map(self._split_heads, (query, key, value))
        # Fused kernels drop weights themselves; whatever replaced our layer has to be called.
        is_eager = output_attentions or not isinstance(self.dropout, nn.Dropout)
        name = "eager" if is_eager else _select_implementation(self.config, attention_mask, is_self)
        if name == "sdpa" and attention_mask is not None and _is_fused_kernel_unsafe(query):
            query, attention_mask = _zero_fully_masked(query, attention_mask)
        attend: AttentionFunction = eager_attention if name == "eager" else ALL_ATTENTION_FUNCTIONS[name]
        attended, weights = attend(
            self,
            query,
            key,
            value,
            _convert_mask(name, attention_mask, query),
            scaling=self.scaling,
            dropout=0.0 if is_eager or not self.dropout.training else self.dropout.p,
        )
        attended = attended.reshape(shape)  # (B, Q, A, d) -> (B, Q, H)
        return attended, weights if output_attentions else None

    def _project_qkv(self, hidden_states: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project states to queries (B, Q, H), and context to keys and values (B, K, H)."""
        if self.fused_projection is None:
            return self.query(hidden_states), self.key(context), self.value(context)
        if hidden_states is context:
            query, key, value = self.fused_projection((self.query, self.key, self.value), context).chunk(
                3, -1
            )
            return query, key, value
        key, value = self.fused_projection((self.key, self.value), context).chunk(2, -1)
        return self.query(hidden_states), key, value

    def _split_heads(self, states: Tensor) -> Tensor:
        """Split into heads: (B, N, H) -> (B, A, N, d)."""
        return states.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


def fused_linear(layers: Sequence[nn.Linear], states: Tensor) -> Tensor:
    """Apply linear layers to states (B, N, H) by one matrix product, and concatenate their outputs."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return nn.functional.linear(states, weight, bias)


def _select_implementation(config: LxmertConfig, mask: Tensor | None, is_self: bool) -> str:
    """Return the name of the attention function for a call that does not return weights."""
    name: str = config._attn_implementation or "eager"
    if "flash" in name and mask is not None and not is_self:
        # transformers' flash path unpads queries by the keys' mask: right in self-attention only.
        return "sdpa"
    return name


def _convert_mask(name: str, mask: Tensor | None, query: Tensor) -> Tensor | BlockMask | None:
    """Convert the additive mask (B, 1, 1, K) to the form that the attention function `name` expects."""
    if mask is None or name == "eager":
        return mask
    if "flash" in name:
        return mask[:, 0, 0, :] == 0  # (B, K), True where visible
    if name == "flex_attention":
        return _block_mask(mask, query.shape[2])
    if mask.dtype != query.dtype:
        # The mask is float32 for float16, and under autocast for all; half precision has a smaller range.
        mask = mask.clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
    return mask


def _is_fused_kernel_unsafe(query: Tensor) -> bool:
    """Whether the fused kernels would be wrong for queries (B, A, Q, d) with no visible key.

    Their gradient uses the log-sum-exp of the scores, in which the number of keys is lost next to the lowest
    number of the dtype; and float16's lowest does not outweigh the scores. A traced graph may run with and
    without gradients, whichever it was traced with.
    """
    is_tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined]
    return query.requires_grad or query.dtype == torch.float16 or is_tracing


def _zero_fully_masked(query: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Make all scores of queries (B, A, Q, d) with no visible key 0 rather than the lowest number."""
    is_fully_masked = (mask != 0).all(dim=-1, keepdim=True)  # (B, 1, 1, 1)
    return query.masked_fill(is_fully_masked, 0.0), mask.masked_fill(is_fully_masked, 0.0)


def _block_mask(mask: Tensor, queries: int) -> BlockMask:
    """Convert the mask (B, 1, 1, K) to FlexAttention's own kind; a dense mask corrupts memory on the CPU."""
    visible = mask[:, 0, 0, :] == 0  # (B, K)

    def is_visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return visible[batch, key]

    return create_block_mask(is_visible, len(mask), None, queries, mask.shape[-1], device=str(mask.device))


class LxmertAttentionOutput(nn.Module):
    """Linear layer, dropout, residual connection and normalisation after an attention."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """(B, Q, H) attended and (B, Q, H) before attention -> (B, Q, H)."""
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class LxmertCrossAttentionLayer(nn.Module):
    """Residual attention to the other modality."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.att = LxmertAttention(config)
        self.output = LxmertAttentionOutput(config)

    def forward(
        self,
        input_tensor: Tensor,
        ctx_tensor: Tensor,
        ctx_att_mask: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (B, Q, H) attend to the other modality (B, K, H) -> (B, Q, H), weights or None."""
        attended, weights = self.att(input_tensor, ctx_tensor, ctx_att_mask, output_attentions)
        return self.output(attended, input_tensor), weights

    def cross_attend(
        self,
        fused_projection: FusedProjection,
        words: Tensor,
        words_mask: Tensor | None,
        objects: Tensor,
        objects_mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Words attend to objects and objects to words, projected by one matrix product.

        Args:
            fused_projection: see `LxmertAttention`.
            words: (B, W, H).
            words_mask: additive (B, 1, 1, W), or None.
            objects: (B, O, H).
            objects_mask: additive (B, 1, 1, O), or None.

        Returns:
            words (B, W, H) and objects (B, O, H).
        """
        att = self.att
        sizes = *words.shape[:2], objects.shape[1]
        rows = _flatten_and_concatenate(words, objects)
        projected = fused_projection((att.query, att.key, att.value), rows)
        of_words, of_objects = _split_and_unflatten(projected, *sizes)
        word_query, word_key, word_value = of_words.chunk(3, dim=-1)
        object_query, object_key, object_value = of_objects.chunk(3, dim=-1)
        attended_words, _ = att.attend(word_query, object_key, object_value, objects_mask)
        attended_objects, _ = att.attend(object_query, word_key, word_value, words_mask)
        return _split_and_unflatten(
            self.output(_flatten_and_concatenate(attended_words, attended_objects), rows), *sizes
        )


def fused_projection_of(layer: nn.Module) -> FusedProjection | None:
    """Return the fused projection of a cross-attention layer; None without one, or if it is wrapped."""
    fused: FusedProjection | None = getattr(getattr(layer, "att", None), "fused_projection", None)
    return fused


def _flatten_and_concatenate(words: Tensor, objects: Tensor) -> Tensor:
    """Flatten and concatenate: (B, W, H) and (B, O, H) -> (B*W + B*O, H)."""
    return torch.cat([words.flatten(0, 1), objects.flatten(0, 1)])


def _split_and_unflatten(rows: Tensor, batch: int, words: int, objects: int) -> tuple[Tensor, Tensor]:
    """Undo `_flatten_and_concatenate`: (B*W + B*O, U) -> (B, W, U) and (B, O, U)."""
    of_words, of_objects = rows.split([batch * words, batch * objects])
    return of_words.unflatten(0, (batch, words)), of_objects.unflatten(0, (batch, objects))


class LxmertSelfAttentionLayer(nn.Module):
    """Residual attention within one modality."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.self = LxmertAttention(config)
        self.output = LxmertAttentionOutput(config)

    def forward(
        self,
        input_tensor: Tensor,
        attention_mask: Tensor | None = None,
        output_attentions: bool = False,
        first_only: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Self-attention of (B, Q, H) -> (B, Q, H), with `first_only` (B, 1, H); and weights or None."""
        queries = input_tensor[:, :1] if first_only else input_tensor
        attended, weights = self.self(queries, input_tensor, attention_mask, output_attentions)
        return self.output(attended, queries), weights
