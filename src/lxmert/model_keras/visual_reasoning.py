"""`TFLxmertForVisualReasoning`: LXMERT that predicts whether a sentence about two images is true (NLVR2).

Each image is encoded with its own copy of the sentence; the concatenated cross-modality outputs are the input
of a head.

Source: paper section 4.2 and the authors' NLVR2 model (airsplay/lxmert).

Shapes: B batch, W words, O objects, H hidden, D feature width, P position width.
"""

from collections.abc import Mapping
from typing import Any

from keras import ops

from lxmert.configuration import IMAGES_PER_SENTENCE, LxmertConfig
from lxmert.model_keras.base import TFLxmertModel
from lxmert.model_keras.checks import batch_size_of, check_pair_inputs
from lxmert.model_keras.heads import TFLxmertPairHead
from lxmert.model_keras.losses import class_loss
from lxmert.model_keras.outputs import TFLxmertForVisualReasoningOutput, states_and_attentions
from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel
from lxmert.model_keras.target_checks import check_class_ids


class TFLxmertForVisualReasoning(TFLxmertPreTrainedModel):
    """LXMERT that predicts whether a sentence about a pair of images is true.

    Args:
        config: an LxmertConfig.
        **kwargs: arguments of `keras.Model`: `name`, `dtype` (a Keras dtype or policy), `trainable`.
    """

    sublayer_names = ("lxmert", "pair_head")
    image_axes = (IMAGES_PER_SENTENCE,)
    label_names = ("labels",)
    label_of_score = {"logits": "labels"}  # noqa: RUF012 -- never changed

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.lxmert = TFLxmertModel(self.config, name="lxmert", dtype=self.dtype_policy)
        self.pair_head = TFLxmertPairHead(self.config)
        self.post_init()

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Check the inputs, by name; see `call` for what they must be."""
        check_pair_inputs(self.config, arguments)
        if "labels" in arguments:
            batch = batch_size_of(arguments)
            check_class_ids("labels", arguments["labels"], (batch,), TFLxmertPairHead.classes)

    def call(
        self,
        input_ids: Any = None,
        visual_feats: Any = None,
        visual_pos: Any = None,
        attention_mask: Any = None,
        visual_attention_mask: Any = None,
        token_type_ids: Any = None,
        inputs_embeds: Any = None,
        labels: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
        output_all_attentions: bool = False,
        object_states: Any = None,
    ) -> TFLxmertForVisualReasoningOutput | tuple[Any, ...]:
        """Score "false" and "true" for a batch of sentences, each about a left and a right image.

        Args:
            input_ids: (B, W), see `TFLxmertModel.call`; or give `inputs_embeds`.
            visual_feats: (B, 2, O, D) numbers, features of the objects of the left and the right image; the
                image with fewer objects is padded.
            visual_pos: (B, 2, O, P) numbers, positions of the objects.
            attention_mask: (B, W), 1 for a word piece, 0 for padding; all 1 when not given.
            visual_attention_mask: (B, 2, O), 1 for an object, 0 for padding; all 1 when not given.
            token_type_ids: (B, W), see `TFLxmertModel.call`.
            inputs_embeds: (B, W, H) word vectors instead of `input_ids`.
            labels: (B,) integers, 0: the sentence is false, 1: it is true, -100 or -1: not known. The loss
                is softmax cross-entropy.
            output_attentions: see `TFLxmertModel.call`, as the next four.
            output_hidden_states: see `TFLxmertModel.call`.
            return_dict: see `TFLxmertModel.call`.
            training: see `TFLxmertModel.call`.
            output_all_attentions: see `TFLxmertModel.call`.
            object_states: (B, 2, O, H), the results of `lxmert.encode_objects` for the left and the right
                image, instead of `visual_feats` and `visual_pos`.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
            TypeError: an input that the model does not have.
        """
        encoded = self.lxmert(
            input_ids=_for_each_image(input_ids),  # (2B, W)
            visual_feats=_flat_pairs(visual_feats),  # (2B, O, D)
            visual_pos=_flat_pairs(visual_pos),
            attention_mask=_for_each_image(attention_mask),
            visual_attention_mask=_flat_pairs(visual_attention_mask),
            token_type_ids=_for_each_image(token_type_ids),
            inputs_embeds=_for_each_image(inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
            output_all_attentions=output_all_attentions,
            pooled_only=True,
            object_states=_flat_pairs(object_states),  # (2B, O, H)
        )
        width = IMAGES_PER_SENTENCE * self.config.hidden_size
        scores = self.pair_head(ops.reshape(encoded.pooled_output, (-1, width)))  # (B, 2H) -> (B, 2)
        loss = None if labels is None else class_loss(scores, labels)
        output = TFLxmertForVisualReasoningOutput(
            loss=loss,
            logits=scores,
            **states_and_attentions(encoded),
            losses=None if loss is None else {"pair": loss},
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


def _for_each_image(words: Any) -> Any:
    """(B, ...) -> (2B, ...): each sentence followed by its copy, in the order of the images of a pair."""
    return None if words is None else ops.repeat(words, IMAGES_PER_SENTENCE, axis=0)


def _flat_pairs(objects: Any) -> Any:
    """(B, 2, ...) -> (2B, ...): left image, right image, left image of the next pair, and so on."""
    return None if objects is None else ops.reshape(objects, (-1, *ops.shape(objects)[2:]))
