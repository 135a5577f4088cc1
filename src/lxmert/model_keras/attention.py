"""Multi-head attention, and the residual layers built on it (paper section 3.2, equations 1 to 8).

Scores are at least float32, and the lowest number of float32 is added to those of hidden keys. A query with
no visible key then attends to all keys equally, at any precision, instead of producing NaN.

Shapes: B batch, Q queries, K keys, H hidden, A heads, d = H / A width of a head.
"""

from typing import Any

import keras
from keras import ops

from lxmert.configuration import LxmertConfig
from lxmert.model_keras.layers import TFLxmertLayerBase, layer_norm, linear

_LOWEST = -3.4028234663852886e38
"""The lowest finite number of float32; it serves float64 too."""


def invert_mask(mask: Any, dtype: str) -> Any:
    """Turn a mask of 1 (visible) and 0 (hidden), (B, K), into one of 1 (hidden) and 0, (B, 1, 1, K)."""
    # The lowest number itself would not pass through layers of half precision.
    return None if mask is None else 1.0 - ops.cast(mask, dtype)[:, None, None, :]


class TFLxmertAttention(TFLxmertLayerBase):
    """Multi-head attention from queries (words or objects) to a context (words or objects)."""

    sublayer_names = ("query", "key", "value", "dropout")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        hidden = config.hidden_size
        self.heads = config.num_attention_heads
        self.head_dim = hidden // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.query = linear(config, hidden, hidden)
        self.key = linear(config, hidden, hidden)
        self.value = linear(config, hidden, hidden)
        self.dropout = keras.layers.Dropout(config.attention_probs_dropout_prob)

    def call(
        self, hidden_states: Any, context: Any, attention_mask: Any = None, output_attentions: bool = False
    ) -> tuple[Any, Any]:
        """Attend from queries to a context.

        Args:
            hidden_states: (B, Q, H), the queries.
            context: (B, K, H), the keys and values.
            attention_mask: (B, 1, 1, K), see `invert_mask`, or None.
            output_attentions: also return the weights.

        Returns:
            (B, Q, H), and the weights (B, A, Q, K) or None; rows of weights sum to 1 before dropout.
        """
        query = ops.transpose(self._split_heads(self.query(hidden_states)), (0, 2, 1, 3))  # (B, A, Q, d)
        key = ops.transpose(self._split_heads(self.key(context)), (0, 2, 3, 1))  # (B, A, d, K)
        value = ops.transpose(self._split_heads(self.value(context)), (0, 2, 1, 3))  # (B, A, K, d)
        scores = ops.matmul(query * self.scaling, key)  # (B, A, Q, K)
        scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
        if attention_mask is not None:
            scores = scores + ops.cast(attention_mask, scores.dtype) * _LOWEST
        weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
        weights = self.dropout(weights)
        mixed = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))  # (B, Q, A, d)
        mixed = ops.reshape(mixed, (-1, ops.shape(mixed)[1], self.heads * self.head_dim))
        return mixed, weights if output_attentions else None

    def _split_heads(self, states: Any) -> Any:
        """(B, N, H) -> (B, N, A, d)."""
        return ops.reshape(states, (-1, ops.shape(states)[1], self.heads, self.head_dim))


class TFLxmertAttentionOutput(TFLxmertLayerBase):
    """Linear layer, dropout, residual connection and normalisation after an attention."""

    sublayer_names = ("dense", "LayerNorm", "dropout")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = linear(config, config.hidden_size, config.hidden_size)
        self.LayerNorm = layer_norm(config, config.hidden_size)
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob)

    def call(self, hidden_states: Any, input_tensor: Any) -> Any:
        """(B, Q, H) attended and (B, Q, H) before attention -> (B, Q, H)."""
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class TFLxmertCrossAttentionLayer(TFLxmertLayerBase):
    """Residual attention to the other modality."""

    sublayer_names = ("att", "output_")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.att = TFLxmertAttention(config)
        self.output_ = TFLxmertAttentionOutput(config)

    def call(
        self, input_tensor: Any, ctx_tensor: Any, ctx_att_mask: Any = None, output_attentions: bool = False
    ) -> tuple[Any, Any]:
        """Queries (B, Q, H) attend to the other modality (B, K, H) -> (B, Q, H), weights or None."""
        attended, weights = self.att(
            input_tensor, ctx_tensor, ctx_att_mask, output_attentions=output_attentions
        )
        return self.output_(attended, input_tensor), weights


class TFLxmertSelfAttentionLayer(TFLxmertLayerBase):
    """Residual attention within one modality."""

    sublayer_names = ("self", "output_")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.self = TFLxmertAttention(config)
        self.output_ = TFLxmertAttentionOutput(config)

    def call(
        self,
        input_tensor: Any,
        attention_mask: Any = None,
        output_attentions: bool = False,
        first_only: bool = False,
    ) -> tuple[Any, Any]:
        """Self-attention of (B, Q, H) -> (B, Q, H), with `first_only` (B, 1, H); and weights or None."""
        queries = input_tensor[:, :1] if first_only else input_tensor
        attended, weights = self.self(
            queries, input_tensor, attention_mask, output_attentions=output_attentions
        )
        return self.output_(attended, queries), weights
