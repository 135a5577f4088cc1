"""`TFLxmertForPreTraining`: LXMERT with the heads of its five pre-training tasks (paper section 3.3).

Shapes: B batch, W words, O objects, H hidden, V vocabulary, C answers, D feature width.
"""

from collections.abc import Mapping
from typing import Any

from lxmert.configuration import LxmertConfig
from lxmert.errors import TensorError
from lxmert.model_keras.base import TFLxmertModel
from lxmert.model_keras.heads import TFLxmertPreTrainingHeads, TFLxmertVisualAnswerHead, TFLxmertVisualObjHead
from lxmert.model_keras.losses import answer_loss, class_loss, object_losses, total_loss
from lxmert.model_keras.outputs import TFLxmertForPreTrainingOutput, states_and_attentions
from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel
from lxmert.model_keras.target_checks import check_answers, check_class_ids, check_object_labels
from lxmert.model_keras.vocabulary import TFQuestionAnsweringMixin
from lxmert.model_settings import PretrainingSettings


class TFLxmertForPreTraining(PretrainingSettings, TFQuestionAnsweringMixin, TFLxmertPreTrainedModel):
    """LXMERT with heads for masked words, matching, masked objects and question answering.

    Args:
        config: an LxmertConfig; its `task_*` and `visual_*_loss` determine which heads exist and which losses
            are computed.
        **kwargs: arguments of `keras.Model`: `name`, `dtype` (a Keras dtype or policy), `trainable`.
    """

    sublayer_names = ("lxmert", "cls", "obj_predict_head", "answer_head")
    label_names = ("masked_lm_labels", "labels", "obj_labels", "matched_label", "ans")
    task_names = ("masked_lm", "matched", "obj", "attr", "feat", "qa")
    label_of_score = {  # noqa: RUF012 -- never changed
        "prediction_logits": "labels",
        "cross_relationship_score": "matched_label",
        "question_answering_score": "ans",
    }
    legacy_label_names = {"labels": "masked_lm_labels"}  # noqa: RUF012 -- never changed

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.lxmert = TFLxmertModel(self.config, name="lxmert", dtype=self.dtype_policy)
        self.cls = TFLxmertPreTrainingHeads(self.config)
        if self.config.task_obj_predict:
            self.obj_predict_head = TFLxmertVisualObjHead(self.config)
        if self.config.task_qa:
            self.answer_head = TFLxmertVisualAnswerHead(self.config, self.config.num_qa_labels)
        self.post_init()

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Check the inputs, by name; see `call` for what they must be."""
        config = self.config
        self.lxmert.check(arguments)
        words = arguments["input_ids"] if "input_ids" in arguments else arguments["inputs_embeds"]
        if "masked_lm_labels" in arguments and "labels" in arguments:
            raise TensorError("labels and masked_lm_labels are the same input: pass one of them")
        for name in ("masked_lm_labels", "labels"):
            if name in arguments:
                check_class_ids(name, arguments[name], tuple(words.shape[:2]), config.vocab_size)
        if "matched_label" in arguments:
            check_class_ids("matched_label", arguments["matched_label"], (words.shape[0],), 2)
        if "obj_labels" in arguments:
            check_object_labels(config, arguments["obj_labels"], arguments)
        if "ans" in arguments:
            check_answers("ans", arguments["ans"], words.shape[0], config.num_qa_labels)

    def call(
        self,
        input_ids: Any = None,
        visual_feats: Any = None,
        visual_pos: Any = None,
        attention_mask: Any = None,
        visual_attention_mask: Any = None,
        token_type_ids: Any = None,
        inputs_embeds: Any = None,
        masked_lm_labels: Any = None,
        obj_labels: Mapping[str, tuple[Any, Any]] | None = None,
        matched_label: Any = None,
        ans: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
        labels: Any = None,
        output_all_attentions: bool = False,
    ) -> TFLxmertForPreTrainingOutput | tuple[Any, ...]:
        """Score words, match, objects and answers; with targets, compute the losses of their tasks.

        Args:
            input_ids: see `TFLxmertModel.call`, as all inputs up to `inputs_embeds`.
            visual_feats: see `TFLxmertModel.call`.
            visual_pos: see `TFLxmertModel.call`.
            attention_mask: see `TFLxmertModel.call`.
            visual_attention_mask: see `TFLxmertModel.call`; padding does not count in the object losses.
            token_type_ids: see `TFLxmertModel.call`.
            inputs_embeds: see `TFLxmertModel.call`.
            masked_lm_labels: (B, W) integers, the true ids of masked word pieces, -100 or -1 elsewhere.
            obj_labels: a pair of target and weight for any of "obj" (object class ids (B, O)), "attr"
                (attribute class ids (B, O)) and "feat" (features (B, O, D)). Weights are (B, O): confidences
                for obj and attr; for feat 1 for masked objects and 0 for others.
            matched_label: (B,) integers, 0: text and image do not match, 1: they match.
            ans: the correct answers, in the forms of `labels` of TFLxmertForQuestionAnswering.
            output_attentions: see `TFLxmertModel.call`, as the next three.
            output_hidden_states: see `TFLxmertModel.call`.
            return_dict: see `TFLxmertModel.call`.
            training: see `TFLxmertModel.call`.
            labels: another name for `masked_lm_labels`, as in the PyTorch class.
            output_all_attentions: see `TFLxmertModel.call`.

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
        )
        config = self.config
        labels = masked_lm_labels if labels is None else labels
        embeddings = self.lxmert.embeddings.word_vectors()  # (V, H)
        word_scores, match_scores = self.cls(encoded.language_output, encoded.pooled_output, embeddings)
        losses: dict[str, Any] = {}
        if labels is not None and config.task_mask_lm:
            losses["masked_lm"] = class_loss(word_scores, labels)
        if matched_label is not None and config.task_matched:
            losses["matched"] = class_loss(match_scores, matched_label)
        object_scores = None
        if obj_labels is not None and config.task_obj_predict:
            object_scores = self.obj_predict_head(encoded.vision_output)
            losses |= object_losses(
                object_scores, obj_labels, visual_attention_mask, config.visual_loss_normalizer
            )
        answer_scores = self.answer_head(encoded.pooled_output) if config.task_qa else None  # (B, C)
        if ans is not None and answer_scores is not None:
            losses["qa"] = answer_loss(answer_scores, ans)

        has_targets = any(target is not None for target in (labels, obj_labels, matched_label, ans))
        output = TFLxmertForPreTrainingOutput(
            loss=total_loss(losses, encoded.pooled_output) if has_targets else None,
            prediction_logits=word_scores,
            cross_relationship_score=match_scores,
            question_answering_score=answer_scores,
            **states_and_attentions(encoded),
            losses=losses if has_targets else None,
            object_scores=object_scores,
        )
        return_dict = config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()
