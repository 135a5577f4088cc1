"""LxmertForQuestionAnswering: LXMERT with a head that chooses an answer (paper section 3.3 and 4.2).

Shapes: B batch, W words, O objects, H hidden, C answers.
"""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig

from lxmert.model.base import LxmertModel
from lxmert.model.heads import LxmertVisualAnswerHead
from lxmert.model.losses import answer_loss
from lxmert.model.outputs import LxmertForQuestionAnsweringOutput, states_and_attentions
from lxmert.model.pretrained import LxmertPreTrainedModel, QuestionAnsweringMixin


class LxmertForQuestionAnswering(QuestionAnsweringMixin, LxmertPreTrainedModel):
    """LXMERT that answers a question about an image by choosing one of `num_qa_labels` answers.

    Args:
        config: an LxmertConfig.

    Attributes:
        loss: computes the loss of scores (B, C), in the dtype of the model, and labels in place of those that
            `forward` describes, such as a CrossEntropyLoss with weights; None (the default) for those.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.lxmert = LxmertModel(self.config)
        self.answer_head = LxmertVisualAnswerHead(self.config, self.config.num_qa_labels)
        self.loss: nn.Module | None = None
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
    ) -> LxmertForQuestionAnsweringOutput | tuple[Any, ...]:
        """Score all answers to a batch of questions about images.

        Args:
            input_ids: see `LxmertModel.forward`, as all inputs up to `inputs_embeds`.
            visual_feats: see `LxmertModel.forward`.
            visual_pos: see `LxmertModel.forward`.
            attention_mask: see `LxmertModel.forward`.
            visual_attention_mask: see `LxmertModel.forward`.
            token_type_ids: see `LxmertModel.forward`.
            inputs_embeds: see `LxmertModel.forward`.
            labels: the correct answers. (B,) integers: class ids, with -100 or -1 for a question without one;
                the loss is softmax cross-entropy. (B, C) numbers in 0..1: one-hot or soft scores; the loss is
                binary cross-entropy summed over the answers and averaged over the questions.
            output_attentions: see `LxmertModel.forward`, as the next three.
            output_hidden_states: see `LxmertModel.forward`.
            return_dict: see `LxmertModel.forward`.
            output_all_attentions: see `LxmertModel.forward`.
            object_states: see `LxmertModel.forward`; `lxmert.encode_objects` makes them.
            word_states: see `LxmertModel.forward`; `lxmert.encode_words` makes them.
            **unknown: an argument not listed above is a TypeError, unless its value is None.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
        """
        if unknown:
            self._reject_unknown_arguments(unknown)
        encoded = self.lxmert(
            input_ids=input_ids,
            visual_feats=visual_feats,
            visual_pos=visual_pos,
            attention_mask=attention_mask,
            visual_attention_mask=visual_attention_mask,
            token_type_ids=token_type_ids,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            output_all_attentions=output_all_attentions,
            pooled_only=True,
            object_states=object_states,
            word_states=word_states,
        )
        scores = self.answer_head(encoded.pooled_output)  # (B, C)
        loss = None if labels is None else self._loss(scores, labels)
        output = LxmertForQuestionAnsweringOutput(
            loss=loss,
            question_answering_score=scores,
            **states_and_attentions(encoded),
            losses=None if loss is None else {"qa": loss},
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        if self.loss is None:
            return answer_loss(scores, labels, "labels")
        loss: Tensor = self.loss(scores, labels)
        return loss
