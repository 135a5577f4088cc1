"""The three encoders: language, object relationship, cross-modality (paper section 3.2, figure 2).

Shapes: B batch, W words, O objects, H hidden, A heads.
"""

from typing import Any, NamedTuple

import keras

from lxmert.configuration import LxmertConfig
from lxmert.model_keras.activations import activation
from lxmert.model_keras.attention import TFLxmertCrossAttentionLayer, TFLxmertSelfAttentionLayer
from lxmert.model_keras.embeddings import TFLxmertVisualFeatureEncoder
from lxmert.model_keras.layers import TFLxmertLayerBase, layer_norm, linear

Maps = tuple[Any, ...]


class TFLxmertIntermediate(TFLxmertLayerBase):
    """First half of the feed-forward block: linear layer and activation."""

    sublayer_names = ("dense",)

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = linear(config, config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def call(self, hidden_states: Any) -> Any:
        """(B, N, H) -> (B, N, intermediate_size)."""
        return self.intermediate_act_fn(self.dense(hidden_states))


class TFLxmertOutput(TFLxmertLayerBase):
    """Second half of the feed-forward block: linear layer, dropout, residual sum, normalisation."""

    sublayer_names = ("dense", "LayerNorm", "dropout")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = linear(config, config.intermediate_size, config.hidden_size)
        self.LayerNorm = layer_norm(config, config.hidden_size)
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob)

    def call(self, hidden_states: Any, input_tensor: Any) -> Any:
        """(B, N, intermediate_size) and the block's input (B, N, H) -> (B, N, H)."""
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class TFLxmertLayer(TFLxmertLayerBase):
    """A layer of one modality: self-attention, then feed-forward."""

    sublayer_names = ("attention", "intermediate", "output_")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = TFLxmertSelfAttentionLayer(config)
        self.intermediate = TFLxmertIntermediate(config)
        self.output_ = TFLxmertOutput(config)

    def call(
        self, hidden_states: Any, attention_mask: Any = None, output_attentions: bool = False
    ) -> tuple[Any, ...]:
        """States (B, N, H) -> (states,), or (states, weights (B, A, N, N)) with `output_attentions`."""
        attended, weights = self.attention(hidden_states, attention_mask, output_attentions=output_attentions)
        states = self.output_(self.intermediate(attended), attended)
        return (states,) if weights is None else (states, weights)


class TFLxmertXLayer(TFLxmertLayerBase):
    """A cross-modality layer: cross-attention both ways, self-attention, feed-forward.

    Both directions of the cross-attention share their weights, as in the authors' code.
    """

    sublayer_names = (
        "visual_attention",
        "lang_self_att",
        "visn_self_att",
        "lang_inter",
        "lang_output",
        "visn_inter",
        "visn_output",
    )

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.visual_attention = TFLxmertCrossAttentionLayer(config)
        self.lang_self_att = TFLxmertSelfAttentionLayer(config)
        self.visn_self_att = TFLxmertSelfAttentionLayer(config)
        self.lang_inter = TFLxmertIntermediate(config)
        self.lang_output = TFLxmertOutput(config)
        self.visn_inter = TFLxmertIntermediate(config)
        self.visn_output = TFLxmertOutput(config)

    def call(
        self,
        lang_feats: Any,
        lang_attention_mask: Any,
        visual_feats: Any,
        visual_attention_mask: Any,
        output_attentions: bool = False,
        output_all_attentions: bool = False,
        first_word_only: bool = False,
    ) -> tuple[Any, ...]:
        """Mix words and objects.

        Args:
            lang_feats: (B, W, H).
            lang_attention_mask: (B, 1, 1, W), see `invert_mask`, or None.
            visual_feats: (B, O, H).
            visual_attention_mask: (B, 1, 1, O), see `invert_mask`, or None.
            output_attentions: also return the weights of words to objects.
            output_all_attentions: also return the weights of all four attentions.
            first_word_only: compute only the first word, (B, 1, H), and no weights; objects are returned
                unchanged.

        Returns:
            Words (B, W, H) and objects (B, O, H); with `output_attentions`, then the weights of words to
            objects (B, A, W, O); with `output_all_attentions`, then also those of objects to words
            (B, A, O, W), words to words (B, A, W, W) and objects to objects (B, A, O, O).
        """
        if first_word_only:
            words, _ = self.visual_attention(lang_feats, visual_feats, visual_attention_mask)
            first, _ = self.lang_self_att(words, lang_attention_mask, first_only=True)
            return self.lang_output(self.lang_inter(first), first), visual_feats
        every = output_all_attentions
        words, words_to_objects = self.visual_attention(
            lang_feats, visual_feats, visual_attention_mask, output_attentions=output_attentions or every
        )
        objects, objects_to_words = self.visual_attention(
            visual_feats, lang_feats, lang_attention_mask, output_attentions=every
        )
        words, words_to_words = self.lang_self_att(words, lang_attention_mask, output_attentions=every)
        objects, objects_to_objects = self.visn_self_att(
            objects, visual_attention_mask, output_attentions=every
        )
        words = self.lang_output(self.lang_inter(words), words)
        objects = self.visn_output(self.visn_inter(objects), objects)
        maps = (words_to_objects, objects_to_words, words_to_words, objects_to_objects)
        return words, objects, *(weights for weights in maps if weights is not None)


class TFLxmertEncoderOutput(NamedTuple):
    """What TFLxmertEncoder returns.

    Attributes:
        vision: hidden states of the objects after each layer, and attention maps of the relationship layers.
        language: hidden states of the words after each layer, and attention maps of the language layers.
        words_to_objects: attention maps of the cross-modality layers, (B, A, W, O) each.
        language_output: (B, W, H), the final states of the words, defined even without any layer.
        vision_output: (B, O, H), the final states of the objects, defined even without any layer.
        objects_to_words: attention maps of the cross-modality layers, (B, A, O, W) each.
        words_to_words: self-attention maps of the cross-modality layers, (B, A, W, W) each.
        objects_to_objects: self-attention maps of the cross-modality layers, (B, A, O, O) each.

    All maps are None without `output_attentions`, the last three also without `output_all_attentions`.
    """

    vision: tuple[Maps, Maps | None]
    language: tuple[Maps, Maps | None]
    words_to_objects: Maps | None
    language_output: Any
    vision_output: Any
    objects_to_words: Maps | None
    words_to_words: Maps | None
    objects_to_objects: Maps | None


class TFLxmertEncoder(TFLxmertLayerBase):
    """Object embedding and the three encoders."""

    sublayer_names = ("visn_fc", "layer", "x_layers", "r_layers")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.visn_fc = TFLxmertVisualFeatureEncoder(config)
        # "layer", not "l_layers": BERT's name for its layers, so that BERT weights can be loaded.
        self.layer = [TFLxmertLayer(config) for _ in range(config.l_layers)]
        self.x_layers = [TFLxmertXLayer(config) for _ in range(config.x_layers)]
        self.r_layers = [TFLxmertLayer(config) for _ in range(config.r_layers)]

    def call(
        self,
        lang_feats: Any,
        lang_attention_mask: Any,
        visual_feats: Any,
        visual_pos: Any,
        visual_attention_mask: Any = None,
        output_attentions: bool = False,
        output_all_attentions: bool = False,
        first_word_only: bool = False,
        object_states: Any = None,
        training: bool | None = None,
    ) -> TFLxmertEncoderOutput:
        """Encode words and objects separately, then jointly.

        Args:
            lang_feats: (B, W, H), embedded words.
            lang_attention_mask: (B, 1, 1, W), see `invert_mask`, or None.
            visual_feats: (B, O, visual_feat_dim), object features.
            visual_pos: (B, O, visual_pos_dim), object positions.
            visual_attention_mask: (B, 1, 1, O), see `invert_mask`, or None.
            output_attentions: return attention maps.
            output_all_attentions: return all attention maps of the cross-modality layers.
            first_word_only: compute only the first word in the last cross-modality layer, unless maps are
                returned; the words are then (B, 1, H), and the objects those before that layer.
            object_states: (B, O, H) from `encode_objects`, instead of `visual_feats` and `visual_pos`.
            training: whether dropout is active; Keras passes it to all sublayers.
        """
        output_attentions = output_attentions or output_all_attentions
        first_word_only = first_word_only and not output_attentions
        words, word_states, word_maps = _run_layers(
            self.layer, lang_feats, lang_attention_mask, output_attentions
        )
        if object_states is None:
            objects, objects_by_layer, object_maps = self.encode_objects(
                visual_feats, visual_pos, visual_attention_mask, output_attentions
            )
        else:
            objects, objects_by_layer, object_maps = object_states, (), None
        cross_maps: list[Maps] = []
        for number, layer in enumerate(self.x_layers, start=1):
            words, objects, *maps = layer(
                words,
                lang_attention_mask,
                objects,
                visual_attention_mask,
                output_attentions=output_attentions,
                output_all_attentions=output_all_attentions,
                first_word_only=first_word_only and number == len(self.x_layers),
            )
            word_states += (words,)
            objects_by_layer += (objects,)
            cross_maps.append(tuple(maps))
        kinds = 4 if output_all_attentions else 1 if output_attentions else 0
        by_kind: list[Maps | None] = [tuple(maps[kind] for maps in cross_maps) for kind in range(kinds)]
        words_to_objects, objects_to_words, words_to_words, objects_to_objects = by_kind + [None] * (
            4 - kinds
        )
        return TFLxmertEncoderOutput(
            vision=(objects_by_layer, object_maps),
            language=(word_states, word_maps),
            words_to_objects=words_to_objects,
            language_output=words,
            vision_output=objects,
            objects_to_words=objects_to_words,
            words_to_words=words_to_words,
            objects_to_objects=objects_to_objects,
        )

    def encode_objects(
        self,
        visual_feats: Any,
        visual_pos: Any,
        visual_attention_mask: Any = None,
        output_attentions: bool = False,
    ) -> tuple[Any, Maps, Maps | None]:
        """Run the object embedding and the relationship layers, which do not depend on words.

        Args:
            visual_feats: see `call`, as the next three.
            visual_pos: see `call`.
            visual_attention_mask: see `call`.
            output_attentions: see `call`.

        Returns:
            The objects (B, O, H), the states after each layer, and the attention maps or None.
        """
        objects = self.visn_fc(visual_feats, visual_pos)  # (B, O, H)
        return _run_layers(self.r_layers, objects, visual_attention_mask, output_attentions)


def _run_layers(
    layers: list[Any], states: Any, mask: Any, output_attentions: bool
) -> tuple[Any, Maps, Maps | None]:
    """Run the layers of one modality; return the final states, those after each layer, and maps or None."""
    all_states: Maps = ()
    all_maps: Maps = ()
    for layer in layers:
        states, *maps = layer(states, mask, output_attentions=output_attentions)
        all_states += (states,)
        all_maps += tuple(maps)
    return states, all_states, all_maps if output_attentions else None
