"""Embeddings of words and of objects, each with their positions (paper section 3.1).

Shapes: B batch, W words, O objects, H hidden, D feature width, P position width.
"""

from typing import Any

import keras
from keras import ops

from lxmert.configuration import LxmertConfig
from lxmert.model_keras.checks import assert_ids_in_graph
from lxmert.model_keras.layers import TFLxmertLayerBase, embedding, layer_norm, linear


class NormalWithPaddingRow(keras.initializers.RandomNormal):
    """Normally distributed values, with a row of zeros for the padding token.

    Args:
        stddev: standard deviation.
        padding_row: index of the row of zeros.
        seed: of the random numbers.
    """

    def __init__(self, stddev: float = 0.02, padding_row: int = 0, seed: Any = None) -> None:
        super().__init__(stddev=stddev, seed=seed)
        self.padding_row = padding_row

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """Generate the initial values of a variable."""
        is_word = ops.arange(shape[0]) != self.padding_row
        values = super().__call__(shape, dtype)
        return values * ops.cast(is_word, values.dtype)[:, None]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that Keras needs to make it again."""
        return {"stddev": self.stddev, "padding_row": self.padding_row, "seed": self.seed}


class TFLxmertEmbeddings(TFLxmertLayerBase):
    """Word, position and segment embeddings, summed and normalised.

    Only the word [PAD] has a padding row: it learns nothing from texts that hold it, but a tied masked-word
    head in pre-training still trains it. Position 0 ([CLS]) and segment 0 (the only one of a single sentence)
    are ordinary rows.
    """

    sublayer_names = (
        "word_embeddings",
        "position_embeddings",
        "token_type_embeddings",
        "LayerNorm",
        "dropout",
    )

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pad = 0 if config.pad_token_id is None else config.pad_token_id
        initializer = NormalWithPaddingRow(config.initializer_range, self.pad)
        self.word_embeddings = embedding(config, config.vocab_size, initializer)
        self.position_embeddings = embedding(config, config.max_position_embeddings)
        self.token_type_embeddings = embedding(config, config.type_vocab_size)
        self.LayerNorm = layer_norm(config, config.hidden_size)
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob)

    def call(
        self,
        input_ids: Any = None,
        token_type_ids: Any = None,
        inputs_embeds: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Embed words.

        Args:
            input_ids: (B, W) integer ids; or give `inputs_embeds`.
            token_type_ids: (B, W) integer segments; all 0 when not given.
            inputs_embeds: (B, W, H) word vectors instead of ids, cast to the precision of the model.
            training: whether dropout is active.

        Returns:
            (B, W, H).
        """
        if inputs_embeds is None:
            count = self.word_embeddings.input_dim
            words = self.word_embeddings(assert_ids_in_graph("input_ids", input_ids, count))  # (B, W, H)
            is_padding = ops.equal(input_ids, self.pad)[:, :, None]
            words = ops.where(is_padding, ops.stop_gradient(words), words)
        else:
            words = ops.cast(inputs_embeds, self.compute_dtype)  # Keras does not cast integers
        positions = ops.arange(ops.shape(words)[1], dtype="int32")[None, :]  # (1, W)
        if token_type_ids is None:
            token_type_ids = ops.zeros_like(positions)  # (1, W)
        else:
            count = self.token_type_embeddings.input_dim
            token_type_ids = assert_ids_in_graph("token_type_ids", token_type_ids, count)
        summed = words + self.position_embeddings(positions) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(summed), training=training)

    def word_vectors(self) -> Any:
        """Return the vectors of all words, (V, H)."""
        table = self.word_embeddings
        if table.quantization_mode is None:
            return ops.convert_to_tensor(table.embeddings)
        return table(ops.arange(table.input_dim))  # a quantized table holds integers, which a look-up scales


class TFLxmertVisualFeatureEncoder(TFLxmertLayerBase):
    """Object embedding: the mean of the projected, normalised feature and projected, normalised position."""

    sublayer_names = ("visn_fc", "visn_layer_norm", "box_fc", "box_layer_norm", "dropout")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        hidden = config.hidden_size
        self.visn_fc = linear(config, config.visual_feat_dim, hidden)
        self.visn_layer_norm = layer_norm(config, hidden)
        self.box_fc = linear(config, config.visual_pos_dim, hidden)
        self.box_layer_norm = layer_norm(config, hidden)
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob)

    def call(self, visual_feats: Any, visual_pos: Any) -> Any:
        """Embed objects: features (B, O, D) and positions (B, O, P) -> (B, O, H)."""
        feature = self.visn_layer_norm(self.visn_fc(visual_feats))
        position = self.box_layer_norm(self.box_fc(visual_pos))
        return self.dropout((feature + position) / 2)
