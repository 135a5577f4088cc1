"""The three encoders: language, object relationship, cross-modality (paper section 3.2, figure 2).

Shapes: B batch, W words, O objects, H hidden, A heads.
"""

from typing import NamedTuple

from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from lxmert.configuration import LxmertConfig
from lxmert.model.attention import LxmertCrossAttentionLayer, LxmertSelfAttentionLayer, fused_projection_of
from lxmert.model.embeddings import LxmertVisualFeatureEncoder

Maps = tuple[Tensor, ...]


class LxmertIntermediate(nn.Module):
    """First half of the feed-forward block: linear layer and activation."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, N, H) -> (B, N, intermediate_size)."""
        return self.intermediate_act_fn(self.dense(hidden_states))


class LxmertOutput(nn.Module):
    """Second half of the feed-forward block: linear layer, dropout, residual sum, normalisation."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """(B, N, intermediate_size) and the block's input (B, N, H) -> (B, N, H)."""
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class LxmertLayer(GradientCheckpointingLayer):
    """A layer of one modality: self-attention, then feed-forward."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.attention = LxmertSelfAttentionLayer(config)
        self.intermediate = LxmertIntermediate(config)
        self.output = LxmertOutput(config)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> tuple[Tensor, ...]:
        """States (B, N, H) -> (states,), or (states, weights (B, A, N, N)) with `output_attentions`."""
        attended, weights = self.attention(hidden_states, attention_mask, output_attentions)
        states = self.output(self.intermediate(attended), attended)
        return (states,) if weights is None else (states, weights)


class LxmertXLayer(GradientCheckpointingLayer):
    """A cross-modality layer: cross-attention both ways, self-attention, feed-forward.

    Both directions of the cross-attention share their weights, as in the authors' code.
    """

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.visual_attention = LxmertCrossAttentionLayer(config)
        self.lang_self_att = LxmertSelfAttentionLayer(config)
        self.visn_self_att = LxmertSelfAttentionLayer(config)
        self.lang_inter = LxmertIntermediate(config)
        self.lang_output = LxmertOutput(config)
        self.visn_inter = LxmertIntermediate(config)
        self.visn_output = LxmertOutput(config)

    def forward(
        self,
        lang_feats: Tensor,
        lang_attention_mask: Tensor | None,
        visual_feats: Tensor,
        visual_attention_mask: Tensor | None,
        output_attentions: bool = False,
        output_all_attentions: bool = False,
        first_word_only: bool = False,
    ) -> tuple[Tensor, ...]:
        """Mix words and objects.

        Args:
            lang_feats: (B, W, H).
            lang_attention_mask: additive (B, 1, 1, W), or None.
            visual_feats: (B, O, H).
            visual_attention_mask: additive (B, 1, 1, O), or None.
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
        maps_of_words = output_attentions or output_all_attentions
        words_to_objects = objects_to_words = None
        fused_projection = fused_projection_of(self.visual_attention)
        if fused_projection is None or maps_of_words:
            words, words_to_objects = self.visual_attention(
                lang_feats, visual_feats, visual_attention_mask, maps_of_words
            )
            objects, objects_to_words = self.visual_attention(
                visual_feats, lang_feats, lang_attention_mask, output_all_attentions
            )
        else:
            words, objects = self.visual_attention.cross_attend(
                fused_projection, lang_feats, lang_attention_mask, visual_feats, visual_attention_mask
            )
        words, words_to_words = self.lang_self_att(words, lang_attention_mask, output_all_attentions)
        objects, objects_to_objects = self.visn_self_att(
            objects, visual_attention_mask, output_all_attentions
        )
        words = self.lang_output(self.lang_inter(words), words)
        objects = self.visn_output(self.visn_inter(objects), objects)
        maps = (words_to_objects, objects_to_words, words_to_words, objects_to_objects)
        return words, objects, *(weights for weights in maps if weights is not None)


class LxmertEncoderOutput(NamedTuple):
    """What LxmertEncoder returns; its first three values are those of `transformers`' encoder.

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
    language_output: Tensor
    vision_output: Tensor
    objects_to_words: Maps | None
    words_to_words: Maps | None
    objects_to_objects: Maps | None


class LxmertEncoder(nn.Module):
    """Object embedding and the three encoders."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.config = config
        self.visn_fc = LxmertVisualFeatureEncoder(config)
        # "layer", not "l_layers": BERT's name for its layers, so that BERT weights can be loaded.
        self.layer = nn.ModuleList([LxmertLayer(config) for _ in range(config.l_layers)])
        self.x_layers = nn.ModuleList([LxmertXLayer(config) for _ in range(config.x_layers)])
        self.r_layers = nn.ModuleList([LxmertLayer(config) for _ in range(config.r_layers)])

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
        """Encode words and objects separately, then jointly.

        Args:
            lang_feats: (B, W, H), embedded words.
            lang_attention_mask: additive (B, 1, 1, W), or None.
            visual_feats: (B, O, visual_feat_dim), object features.
            visual_pos: (B, O, visual_pos_dim), object positions.
            visual_attention_mask: additive (B, 1, 1, O), or None.
            output_attentions: return attention maps; by default what the configuration says.
            output_all_attentions: return all attention maps of the cross-modality layers.
            first_word_only: compute only the first word in the last cross-modality layer, unless maps are
                returned; the words are then (B, 1, H), and the objects those before that layer.
            object_states: (B, O, H) from `encode_objects`, instead of `visual_feats` and `visual_pos`.
            words_are_encoded: `lang_feats` come from `encode_words`.
            output_hidden_states: False if the states after each layer are not used; an encoder may then omit
                them if they take work.
        """
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        output_attentions = output_attentions or output_all_attentions
        first_word_only = first_word_only and not output_attentions
        words_by_layer: Maps = ()
        word_maps: Maps | None = None
        if words_are_encoded:
            words = lang_feats
        else:
            words, words_by_layer, word_maps = self.encode_words(
                lang_feats, lang_attention_mask, output_attentions
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
            words_by_layer += (words,)
            objects_by_layer += (objects,)
            cross_maps.append(tuple(maps))
        kinds = 4 if output_all_attentions else 1 if output_attentions else 0
        # In the order in which the layers return them.
        words_to_objects, objects_to_words, words_to_words, objects_to_objects = (
            tuple(maps[kind] for maps in cross_maps) if kind < kinds else None for kind in range(4)
        )
        return LxmertEncoderOutput(
            vision=(objects_by_layer, object_maps),
            language=(words_by_layer, word_maps),
            words_to_objects=words_to_objects,
            language_output=words,
            vision_output=objects,
            objects_to_words=objects_to_words,
            words_to_words=words_to_words,
            objects_to_objects=objects_to_objects,
        )

    def encode_words(
        self, lang_feats: Tensor, lang_attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> tuple[Tensor, Maps, Maps | None]:
        """Run the language layers, which do not depend on objects.

        Args:
            lang_feats: see `forward`, as the next two.
            lang_attention_mask: see `forward`.
            output_attentions: see `forward`.

        Returns:
            The words (B, W, H), the states after each layer, and the attention maps or None.
        """
        return _run_layers(self.layer, lang_feats, lang_attention_mask, output_attentions)

    def encode_objects(
        self,
        visual_feats: Tensor | None,
        visual_pos: Tensor | None,
        visual_attention_mask: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Maps, Maps | None]:
        """Run the object embedding and the relationship layers, which do not depend on words.

        Args:
            visual_feats: see `forward`, as the next three.
            visual_pos: see `forward`.
            visual_attention_mask: see `forward`.
            output_attentions: see `forward`.

        Returns:
            The objects (B, O, H), the states after each layer, and the attention maps or None.
        """
        objects = self.visn_fc(visual_feats, visual_pos)  # (B, O, H)
        return _run_layers(self.r_layers, objects, visual_attention_mask, output_attentions)


def _run_layers(
    layers: nn.ModuleList, states: Tensor, mask: Tensor | None, output_attentions: bool
) -> tuple[Tensor, Maps, Maps | None]:
    """Run the layers of one modality; return the final states, those after each layer, and maps or None."""
    all_states: Maps = ()
    all_maps: Maps = ()
    for layer in layers:
        states, *maps = layer(states, mask, output_attentions=output_attentions)
        all_states += (states,)
        all_maps += tuple(maps)
    return states, all_states, all_maps if output_attentions else None
