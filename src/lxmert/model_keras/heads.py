"""The heads on top of the encoder (paper section 3.3).

Shapes: B batch, W words, O objects, H hidden, V vocabulary, C classes, D feature width.
"""

from typing import Any

import keras
from keras import ops

from lxmert.configuration import LxmertConfig
from lxmert.model_keras.activations import activation
from lxmert.model_keras.layers import TFLxmertLayerBase, TorchVariable, layer_norm, linear


class TFLxmertPooler(TFLxmertLayerBase):
    """Linear layer and tanh on the state of the first word ([CLS]): the cross-modality output."""

    sublayer_names = ("dense",)

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = linear(config, config.hidden_size, config.hidden_size)

    def call(self, hidden_states: Any) -> Any:
        """(B, W, H) -> (B, H) in -1..1."""
        return ops.tanh(self.dense(hidden_states[:, 0]))


class TFLxmertPredictionHeadTransform(TFLxmertLayerBase):
    """Linear layer, activation and normalisation before a prediction layer."""

    sublayer_names = ("dense", "LayerNorm")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = linear(config, config.hidden_size, config.hidden_size)
        self.transform_act_fn = activation(config.hidden_act)
        self.LayerNorm = layer_norm(config, config.hidden_size)

    def call(self, hidden_states: Any) -> Any:
        """(B, N, H) -> (B, N, H)."""
        return self.LayerNorm(self.transform_act_fn(self.dense(hidden_states)))


class TFLxmertLMPredictionHead(TFLxmertLayerBase):
    """Scores of all word pieces at each position; the decoder is tied to the word embedding by default."""

    sublayer_names = ("transform", "decoder")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocab_size = config.vocab_size
        self.transform = TFLxmertPredictionHeadTransform(config)
        if not config.tie_word_embeddings:
            self.decoder = linear(config, config.hidden_size, config.vocab_size, use_bias=False)

    def build(self, *_: Any, **__: Any) -> None:
        """Create the bias and the variables of all parts."""
        self.bias = self.add_weight(name="bias", shape=(self.vocab_size,), initializer="zeros")
        super().build()

    def direct_variables(self) -> dict[str, TorchVariable]:
        """Return the bias."""
        return {"bias": TorchVariable(self.bias, transposed=False)}

    def call(self, hidden_states: Any, word_embeddings: Any) -> Any:
        """States (..., H) and the matrix of the word embedding (V, H) -> (..., V)."""
        states = self.transform(hidden_states)
        decoder = getattr(self, "decoder", None)
        scores = ops.matmul(states, ops.transpose(word_embeddings)) if decoder is None else decoder(states)
        return scores + self.bias


class TFLxmertPreTrainingHeads(TFLxmertLayerBase):
    """The masked-word head and the head that predicts whether text and image match."""

    sublayer_names = ("predictions", "seq_relationship")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.predictions = TFLxmertLMPredictionHead(config)
        self.seq_relationship = linear(config, config.hidden_size, 2)

    def call(self, sequence_output: Any, pooled_output: Any, word_embeddings: Any) -> tuple[Any, Any]:
        """Words (B, W, H) and pooled state (B, H) -> (B, W, V), and (B, 2): 0 no match, 1 match."""
        return self.predictions(sequence_output, word_embeddings), self.seq_relationship(pooled_output)


class _Classifier(TFLxmertLayerBase):
    """Linear layer, GELU, normalisation and linear layer."""

    sublayer_names = ("logit_fc",)

    def __init__(self, config: LxmertConfig, inputs: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        inner = 2 * config.hidden_size
        self.logit_fc = [
            linear(config, inputs, inner),
            keras.layers.Activation("gelu"),
            layer_norm(config, inner),
            linear(config, inner, classes),
        ]

    def call(self, hidden_states: Any) -> Any:
        """(B, inputs) -> (B, classes)."""
        for step in self.logit_fc:
            hidden_states = step(hidden_states)
        return hidden_states


class TFLxmertVisualAnswerHead(_Classifier):
    """Scores of all answers (B, C), from the pooled state (B, H)."""

    def __init__(self, config: LxmertConfig, num_labels: int, **kwargs: Any) -> None:
        super().__init__(config, config.hidden_size, num_labels, **kwargs)


class TFLxmertPairHead(_Classifier):
    """Scores of "false" and "true" (B, 2), from the pooled states (B, 2H) of two images, left image first."""

    classes = 2

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(config, 2 * config.hidden_size, self.classes, **kwargs)


class TFLxmertVisualObjHead(TFLxmertLayerBase):
    """Predicts objects' classes (obj), attributes (attr) and feature vectors (feat), as configured."""

    sublayer_names = ("transform", "decoder_dict")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.transform = TFLxmertPredictionHeadTransform(config)
        widths = {}
        if config.visual_obj_loss:
            widths["obj"] = config.num_object_labels
        if config.visual_attr_loss:
            widths["attr"] = config.num_attr_labels
        if config.visual_feat_loss:
            widths["feat"] = config.visual_feat_dim
        self.decoder_dict = {
            task: linear(config, config.hidden_size, width) for task, width in widths.items()
        }

    def call(self, hidden_states: Any) -> dict[str, Any]:
        """Objects (B, O, H) -> by task, obj and attr (B, O, C), feat (B, O, D)."""
        states = self.transform(hidden_states)
        return {task: decoder(states) for task, decoder in self.decoder_dict.items()}
