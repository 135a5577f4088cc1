"""LxmertModel: embeddings, the three encoders and the pooler (paper section 3).

Shapes: B batch, W words, O objects, H hidden, D feature width, P position width.
"""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig

from lxmert.errors import TensorError
from lxmert.faults import SKIPPED_OBJECT_STATES, SKIPPED_WORD_STATES
from lxmert.model.attention import additive_mask
from lxmert.model.checks import check_inputs, check_objects, check_words
from lxmert.model.embeddings import LxmertEmbeddings
from lxmert.model.encoder import LxmertEncoder
from lxmert.model.heads import LxmertPooler
from lxmert.model.outputs import LxmertModelOutput
from lxmert.model.pretrained import LxmertPreTrainedModel


class LxmertModel(LxmertPreTrainedModel):
    """LXMERT without a head: words and objects in, hidden states out.

    Args:
        config: an LxmertConfig.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.embeddings = LxmertEmbeddings(self.config)
        self.encoder = LxmertEncoder(self.config)
        self.pooler = LxmertPooler(self.config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embedding."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embedding, and update `vocab_size` of the configuration."""
        self.embeddings.word_embeddings = value
        self.config.vocab_size = getattr(value, "num_embeddings", self.config.vocab_size)

    def encode_objects(
        self, visual_feats: Tensor, visual_pos: Tensor, visual_attention_mask: Tensor | None = None
    ) -> Tensor:
        """Run the layers that see only objects; the result is `object_states` of `forward`.

        For several questions about an image this is needed only once.

        Args:
            visual_feats: see `forward`.
            visual_pos: see `forward`.
            visual_attention_mask: see `forward`; give the same one there.

        Returns:
            (B, O, H).

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
        """
        check_objects(self.config, None, visual_feats, visual_pos, visual_attention_mask)
        mask = additive_mask(visual_attention_mask, self.dtype)
        states: Tensor = self.encoder.encode_objects(visual_feats, visual_pos, mask)[0]
        return states

    def encode_words(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Run the layers that see only words; the result is `word_states` of `forward`.

        For one text about several images this is needed only once.

        Args:
            input_ids: see `forward`.
            attention_mask: see `forward`; give the same one there.
            token_type_ids: see `forward`.
            inputs_embeds: see `forward`.

        Returns:
            (B, W, H).

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
        """
        check_words(
            self.config, self.get_input_embeddings(), input_ids, inputs_embeds, attention_mask, token_type_ids
        )
        words = self.embeddings(input_ids, token_type_ids, inputs_embeds)  # (B, W, H)
        states: Tensor = self.encoder.encode_words(words, additive_mask(attention_mask, words.dtype))[0]
        return states

    def forward(
        self,
        input_ids: Tensor | None = None,
        visual_feats: Tensor | None = None,
        visual_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_all_attentions: bool = False,
        pooled_only: bool = False,
        object_states: Tensor | None = None,
        word_states: Tensor | None = None,
        **unknown: Any,
    ) -> LxmertModelOutput | tuple[Tensor, ...]:
        """Encode a batch of texts and images.

        Args:
            input_ids: (B, W) integers in 0..vocab_size-1, ids of word pieces; or give `inputs_embeds`.
            visual_feats: (B, O, D) numbers, features of the objects; any number of objects.
            visual_pos: (B, O, P) numbers, positions of the objects; published models expect boxes
                x1, y1, x2, y2 as shares of image width and height, 0..1.
            attention_mask: (B, W), 1 for a word piece, 0 for padding; all 1 when not given.
            visual_attention_mask: (B, O), 1 for an object, 0 for padding; all 1 when not given.
            token_type_ids: (B, W) integers in 0..type_vocab_size-1, text segments; all 0 when not given.
            inputs_embeds: (B, W, H) word vectors instead of `input_ids`.
            output_attentions: return attention maps; by default `config.output_attentions`.
            output_hidden_states: return the states after every layer; by default that of the configuration.
            return_dict: return an output object rather than a tuple; by default that of the configuration.
            output_all_attentions: return, besides the maps of `output_attentions`, those of objects to words
                and of the self-attentions of the cross-modality layers.
            pooled_only: leave `language_output` and `vision_output` out. Unless states or maps are asked for,
                most of the last cross-modality layer is then not computed.
            object_states: (B, O, H), the result of `encode_objects`, instead of `visual_feats` and
                `visual_pos`; states and maps cannot be asked for then.
            word_states: (B, W, H), the result of `encode_words`, instead of `input_ids` or `inputs_embeds`
                and `token_type_ids`; states and maps cannot be asked for then.
            **unknown: an argument not listed above is a TypeError, unless its value is None.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
        """
        if unknown:
            self._reject_unknown_arguments(unknown)
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        return_dict = config.return_dict if return_dict is None else return_dict
        every_layer = output_attentions or output_all_attentions or output_hidden_states
        check_inputs(
            config,
            self.get_input_embeddings(),
            words=(input_ids, inputs_embeds, attention_mask, token_type_ids, word_states),
            objects=(visual_feats, visual_pos, visual_attention_mask, object_states),
        )
        if object_states is not None and every_layer:
            raise TensorError(SKIPPED_OBJECT_STATES)
        if word_states is not None and every_layer:
            raise TensorError(SKIPPED_WORD_STATES)

        words = word_states  # (B, W, H)
        if words is None:
            words = self.embeddings(input_ids, token_type_ids, inputs_embeds)
        encoded = self.encoder(
            words,
            additive_mask(attention_mask, words.dtype),
            visual_feats,
            visual_pos,
            additive_mask(visual_attention_mask, words.dtype),
            output_attentions=output_attentions,
            output_all_attentions=output_all_attentions,
            first_word_only=pooled_only and not every_layer,
            object_states=object_states,
            words_are_encoded=word_states is not None,
            output_hidden_states=output_hidden_states,
        )
        pooled = self.pooler(encoded.language_output)  # (B, H)

        output = LxmertModelOutput(
            language_output=None if pooled_only else encoded.language_output,
            vision_output=None if pooled_only else encoded.vision_output,
            pooled_output=pooled,
            language_hidden_states=encoded.language[0] if output_hidden_states else None,
            vision_hidden_states=encoded.vision[0] if output_hidden_states else None,
            language_attentions=encoded.language[1],
            vision_attentions=encoded.vision[1],
            cross_encoder_attentions=encoded.words_to_objects,
            vision_to_language_attentions=encoded.objects_to_words,
            cross_language_self_attentions=encoded.words_to_words,
            cross_vision_self_attentions=encoded.objects_to_objects,
        )
        return output if return_dict else output.to_tuple()
