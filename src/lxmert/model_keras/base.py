"""TFLxmertModel: embeddings, the three encoders and the pooler (paper section 3).

Shapes: B batch, W words, O objects, H hidden, D feature width, P position width.
"""

from collections.abc import Mapping
from typing import Any

from lxmert.configuration import LxmertConfig
from lxmert.errors import TensorError
from lxmert.faults import SKIPPED_OBJECT_STATES
from lxmert.model_keras.attention import invert_mask
from lxmert.model_keras.checks import check_inputs, check_objects
from lxmert.model_keras.embeddings import TFLxmertEmbeddings
from lxmert.model_keras.encoder import TFLxmertEncoder
from lxmert.model_keras.heads import TFLxmertPooler
from lxmert.model_keras.outputs import TFLxmertModelOutput
from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel


class TFLxmertModel(TFLxmertPreTrainedModel):
    """LXMERT without a head: words and objects in, hidden states out.

    Args:
        config: an LxmertConfig.
        **kwargs: arguments of `keras.Model`: `name`, `dtype` (a Keras dtype or policy), `trainable`.
    """

    sublayer_names = ("embeddings", "encoder", "pooler")

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.embeddings = TFLxmertEmbeddings(self.config)
        self.encoder = TFLxmertEncoder(self.config)
        self.pooler = TFLxmertPooler(self.config)
        self.post_init()

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Check the inputs, by name; see `call` for what they must be."""
        check_inputs(self.config, arguments)

    def encode_objects(self, visual_feats: Any, visual_pos: Any, visual_attention_mask: Any = None) -> Any:
        """Run the layers that see only objects; the result is `object_states` of `call`.

        For several questions about an image this is needed only once.

        Args:
            visual_feats: see `call`.
            visual_pos: see `call`.
            visual_attention_mask: see `call`; give the same one there.

        Returns:
            (B, O, H).

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
        """
        inputs = {
            "visual_feats": visual_feats,
            "visual_pos": visual_pos,
            "visual_attention_mask": visual_attention_mask,
        }
        check_objects(self.config, None, {name: value for name, value in inputs.items() if value is not None})
        mask = invert_mask(visual_attention_mask, self.compute_dtype)
        return self.encoder.encode_objects(visual_feats, visual_pos, mask)[0]

    def call(
        self,
        input_ids: Any = None,
        visual_feats: Any = None,
        visual_pos: Any = None,
        attention_mask: Any = None,
        visual_attention_mask: Any = None,
        token_type_ids: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
        output_all_attentions: bool = False,
        pooled_only: bool = False,
        object_states: Any = None,
    ) -> TFLxmertModelOutput | tuple[Any, ...]:
        """Encode a batch of texts and images; called by `model(...)`.

        Inputs may be given by keyword, by position, as one list or tuple in this order, or as one dictionary.

        Args:
            input_ids: (B, W) integers in 0..vocab_size-1, ids of word pieces; or give `inputs_embeds`.
            visual_feats: (B, O, D) numbers, features of the objects; any number of objects.
            visual_pos: (B, O, P) numbers, positions of the objects; published models expect boxes
                x1, y1, x2, y2 as fractions of image width and height, 0..1.
            attention_mask: (B, W), 1 for a word piece, 0 for padding; all 1 when not given.
            visual_attention_mask: (B, O), 1 for an object, 0 for padding; all 1 when not given.
            token_type_ids: (B, W) integers in 0..type_vocab_size-1, text segments; all 0 when not given.
            inputs_embeds: (B, W, H) word vectors instead of `input_ids`.
            output_attentions: return attention maps; by default `config.output_attentions`.
            output_hidden_states: return the states after every layer; by default that of the configuration.
            return_dict: return an output object rather than a tuple; by default that of the configuration.
            training: whether dropout is active.
            output_all_attentions: return, besides the maps of `output_attentions`, those of objects to words
                and of the self-attentions of the cross-modality layers.
            pooled_only: leave `language_output` and `vision_output` out. Unless states or maps are asked for,
                most of the last cross-modality layer is then not computed.
            object_states: (B, O, H), the result of `encode_objects`, instead of `visual_feats` and
                `visual_pos`; states and maps cannot be asked for then.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
            TypeError: an input that the model does not have.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        return_dict = config.return_dict if return_dict is None else return_dict
        every_layer = output_attentions or output_all_attentions or output_hidden_states
        if object_states is not None and every_layer:
            raise TensorError(SKIPPED_OBJECT_STATES)

        words = self.embeddings(input_ids, token_type_ids, inputs_embeds, training=training)  # (B, W, H)
        encoded = self.encoder(
            words,
            invert_mask(attention_mask, self.compute_dtype),
            visual_feats,
            visual_pos,
            invert_mask(visual_attention_mask, self.compute_dtype),
            output_attentions=output_attentions,
            output_all_attentions=output_all_attentions,
            first_word_only=pooled_only and not every_layer,
            object_states=object_states,
            training=training,
        )
        pooled = self.pooler(encoded.language_output)  # (B, H)

        output = TFLxmertModelOutput(
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
