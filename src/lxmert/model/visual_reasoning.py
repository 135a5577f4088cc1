"""LxmertForVisualReasoning: LXMERT that judges a sentence about two images (NLVR2; paper section 4.2).

Each image is encoded with its own copy of the sentence; a head reads the concatenated cross-modality outputs.
Source: paper section 4.2 and the authors' NLVR2 model (airsplay/lxmert).

Shapes: B batch, W words, O objects, H hidden, D feature width, P position width.
"""

from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig

from lxmert.configuration import IMAGES_PER_SENTENCE
from lxmert.errors import TensorError
from lxmert.faults import image_pair_shape_message
from lxmert.model.base import LxmertModel
from lxmert.model.heads import LxmertPairHead
from lxmert.model.losses import class_loss
from lxmert.model.outputs import LxmertForVisualReasoningOutput, states_and_attentions
from lxmert.model.pretrained import LxmertPreTrainedModel


class LxmertForVisualReasoning(LxmertPreTrainedModel):
    """LXMERT that says whether a sentence about a pair of images is true.

    Args:
        config: an LxmertConfig.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.lxmert = LxmertModel(self.config)
        self.pair_head = LxmertPairHead(self.config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        visual_feats: Tensor | None = None,
        visual_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_all_attentions: bool = False,
        object_states: Tensor | None = None,
        word_states: Tensor | None = None,
        **unknown: Any,
    ) -> LxmertForVisualReasoningOutput | tuple[Any, ...]:
        """Score "false" and "true" for a batch of sentences, each about a left and a right image.

        Args:
            input_ids: (B, W), see `LxmertModel.forward`; or give `inputs_embeds`.
            visual_feats: (B, 2, O, D) numbers, features of the objects of the left and the right image; the
                image with fewer objects is padded.
            visual_pos: (B, 2, O, P) numbers, positions of the objects.
            attention_mask: (B, W), 1 for a word piece, 0 for padding; all 1 when not given.
            visual_attention_mask: (B, 2, O), 1 for an object, 0 for padding; all 1 when not given.
            token_type_ids: (B, W), see `LxmertModel.forward`.
            inputs_embeds: (B, W, H) word vectors instead of `input_ids`.
            labels: (B,) integers, 0: the sentence is false, 1: it is true, -100 or -1: not labelled. The loss
                is softmax cross-entropy.
            output_attentions: see `LxmertModel.forward`, as the next three.
            output_hidden_states: see `LxmertModel.forward`.
            return_dict: see `LxmertModel.forward`.
            output_all_attentions: see `LxmertModel.forward`.
            object_states: (B, 2, O, H), results of `lxmert.encode_objects` for the left and the right image,
                instead of `visual_feats` and `visual_pos`.
            word_states: (B, W, H), the result of `lxmert.encode_words` for the sentences, each once, instead
                of `input_ids` or `inputs_embeds` and `token_type_ids`.
            **unknown: an argument not listed above is a TypeError, unless its value is None.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
        """
        if unknown:
            self._reject_unknown_arguments(unknown)
        encoded = self.lxmert(
            input_ids=_repeat_for_each_image(input_ids),  # (2B, W)
            visual_feats=_flatten_pairs("visual_feats", visual_feats, 4),  # (2B, O, D)
            visual_pos=_flatten_pairs("visual_pos", visual_pos, 4),
            attention_mask=_repeat_for_each_image(attention_mask),
            visual_attention_mask=_flatten_pairs("visual_attention_mask", visual_attention_mask, 3),
            token_type_ids=_repeat_for_each_image(token_type_ids),
            inputs_embeds=_repeat_for_each_image(inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            output_all_attentions=output_all_attentions,
            pooled_only=True,
            object_states=_flatten_pairs("object_states", object_states, 4),  # (2B, O, H)
            word_states=_repeat_for_each_image(word_states),  # (2B, W, H)
        )
        pairs = encoded.pooled_output.unflatten(0, (-1, IMAGES_PER_SENTENCE)).flatten(1)  # (B, 2H)
        scores = self.pair_head(pairs)  # (B, 2)
        loss = None if labels is None else class_loss(scores, labels, "labels")
        output = LxmertForVisualReasoningOutput(
            loss=loss,
            logits=scores,
            **states_and_attentions(encoded),
            losses=None if loss is None else {"pair": loss},
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


def _repeat_for_each_image(words: Tensor | None) -> Tensor | None:
    """Repeat every sentence for the two images of its pair: (B, ...) -> (2B, ...)."""
    if not isinstance(words, Tensor) or not words.dim():
        return words  # None, or refused by the model's own checks
    return words.repeat_interleave(IMAGES_PER_SENTENCE, dim=0)


def _flatten_pairs(name: str, objects: Tensor | None, dimensions: int) -> Tensor | None:
    """Flatten pairs: (B, 2, ...) -> (2B, ...), left image, right image, left image of the next pair."""
    if not isinstance(objects, Tensor):
        return objects  # None, or refused by the model's own checks
    if objects.dim() != dimensions or objects.shape[1] != IMAGES_PER_SENTENCE:
        raise TensorError(image_pair_shape_message(name, tuple(objects.shape), dimensions))
    return objects.flatten(0, 1)
