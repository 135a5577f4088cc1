"""TFLxmertForQuestionAnswering: LXMERT with a head that chooses an answer (paper section 3.3 and 4.2).

Shapes: B batch, W words, O objects, H hidden, C answers.
"""

from collections.abc import Mapping
from typing import Any

from lxmert.configuration import LxmertConfig
from lxmert.model_keras.base import TFLxmertModel
from lxmert.model_keras.checks import batch_size_of
from lxmert.model_keras.heads import TFLxmertVisualAnswerHead
from lxmert.model_keras.losses import answer_loss
from lxmert.model_keras.outputs import TFLxmertForQuestionAnsweringOutput, states_and_attentions
from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel
from lxmert.model_keras.target_checks import check_answers
from lxmert.model_keras.vocabulary import TFQuestionAnsweringMixin


class TFLxmertForQuestionAnswering(TFQuestionAnsweringMixin, TFLxmertPreTrainedModel):
    """LXMERT that answers a question about an image by choosing one of `num_qa_labels` answers.

    Args:
        config: an LxmertConfig.
        **kwargs: arguments of `keras.Model`: `name`, `dtype` (a Keras dtype or policy), `trainable`.
    """

    sublayer_names = ("lxmert", "answer_head")
    label_names = ("labels",)
    label_of_score = {"question_answering_score": "labels"}  # noqa: RUF012 -- never changed

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.lxmert = TFLxmertModel(self.config, name="lxmert", dtype=self.dtype_policy)
        self.answer_head = TFLxmertVisualAnswerHead(self.config, self.config.num_qa_labels)
        self.post_init()

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Check the inputs, by name; see `call` for what they must be."""
        self.lxmert.check(arguments)
        if "labels" in arguments:
            batch = batch_size_of(arguments)
            check_answers("labels", arguments["labels"], batch, self.config.num_qa_labels)

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
    ) -> TFLxmertForQuestionAnsweringOutput | tuple[Any, ...]:
        """Score all answers to a batch of questions about images.

        Args:
            input_ids: see `TFLxmertModel.call`, as all inputs up to `inputs_embeds`.
            visual_feats: see `TFLxmertModel.call`.
            visual_pos: see `TFLxmertModel.call`.
            attention_mask: see `TFLxmertModel.call`.
            visual_attention_mask: see `TFLxmertModel.call`.
            token_type_ids: see `TFLxmertModel.call`.
            inputs_embeds: see `TFLxmertModel.call`.
            labels: the correct answers. (B,) integers: class ids, with -100 or -1 for a question without one;
                the loss is softmax cross-entropy. (B, C) numbers in 0..1: one-hot or soft scores; the loss is
                binary cross-entropy summed over the answers and averaged over the questions.
            output_attentions: see `TFLxmertModel.call`, as the next four.
            output_hidden_states: see `TFLxmertModel.call`.
            return_dict: see `TFLxmertModel.call`.
            training: see `TFLxmertModel.call`.
            output_all_attentions: see `TFLxmertModel.call`.
            object_states: see `TFLxmertModel.call`; computed by `lxmert.encode_objects`.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
            TypeError: an input that the model does not have.
        """
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
            training=training,
            output_all_attentions=output_all_attentions,
            pooled_only=True,
            object_states=object_states,
        )
        scores = self.answer_head(encoded.pooled_output)  # (B, C)
        loss = None if labels is None else answer_loss(scores, labels)
        output = TFLxmertForQuestionAnsweringOutput(
            loss=loss,
            question_answering_score=scores,
            **states_and_attentions(encoded),
            losses=None if loss is None else {"qa": loss},
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()
