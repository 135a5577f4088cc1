"""LxmertForPreTraining: LXMERT with the heads of its five pre-training tasks (paper section 3.3).

Shapes: B batch, W words, O objects, H hidden, V vocabulary, C answers, D feature width, L labelled positions.
"""

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedConfig

from lxmert.model.base import LxmertModel
from lxmert.model.heads import LxmertPreTrainingHeads, LxmertVisualAnswerHead, LxmertVisualObjHead
from lxmert.model.losses import (
    ObjectLabels,
    answer_loss,
    class_loss,
    labelled_object_losses,
    labelled_object_masks,
    labelled_word_mask,
    object_losses,
)
from lxmert.model.outputs import LxmertForPreTrainingOutput, states_and_attentions
from lxmert.model.pretrained import LxmertPreTrainedModel, QuestionAnsweringMixin
from lxmert.model_settings import PretrainingSettings


class LxmertForPreTraining(PretrainingSettings, QuestionAnsweringMixin, LxmertPreTrainedModel):
    """LXMERT with heads for masked words, matching, masked objects and question answering.

    Args:
        config: an LxmertConfig; its `task_*` and `visual_*_loss` decide which heads exist and which losses
            count.
    """

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "cls.predictions.decoder.weight": "lxmert.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.lxmert = LxmertModel(self.config)
        self.cls = LxmertPreTrainingHeads(self.config)
        if self.config.task_obj_predict:
            self.obj_predict_head = LxmertVisualObjHead(self.config)
        if self.config.task_qa:
            self.answer_head = LxmertVisualAnswerHead(self.config, self.config.num_qa_labels)
        self.post_init()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embedding, also in a masked-word head that shares its matrix."""
        super().set_input_embeddings(value)
        if isinstance(value, nn.Embedding):  # a module that wraps one has no matrix of its own
            self.tie_weights()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the layer that scores word pieces; its bias is `cls.predictions.bias`."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the layer that scores word pieces, and resize the bias to it."""
        self.cls.predictions.decoder = new_embeddings
        self.cls.predictions.resize_bias()

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
        obj_labels: ObjectLabels | None = None,
        matched_label: Tensor | None = None,
        ans: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_all_attentions: bool = False,
        return_all_logits: bool = True,
        **unknown: Any,
    ) -> LxmertForPreTrainingOutput | tuple[Any, ...]:
        """Score a batch with all heads; the loss is the sum over the tasks whose targets are given.

        Targets of a task that the configuration turns off are ignored; without others the loss is 0, and can
        still be differentiated. In all class ids, -100 and -1 mean "not labelled".

        Args:
            input_ids: see `LxmertModel.forward`, as all inputs up to `inputs_embeds`.
            visual_feats: see `LxmertModel.forward`.
            visual_pos: see `LxmertModel.forward`.
            attention_mask: see `LxmertModel.forward`.
            visual_attention_mask: see `LxmertModel.forward`; padding does not count in the object losses.
            token_type_ids: see `LxmertModel.forward`.
            inputs_embeds: see `LxmertModel.forward`.
            labels: (B, W) integers, the true ids of masked word pieces, -100 or -1 elsewhere.
            obj_labels: a pair of target and weight for any of "obj" (object class ids (B, O)), "attr"
                (attribute class ids (B, O)) and "feat" (features (B, O, D)). Weights are (B, O): confidences
                for obj and attr; for feat 1 for masked objects and 0 for others.
            matched_label: (B,) integers, 0: text and image do not match, 1: they match.
            ans: the right answers, in the forms of `labels` of LxmertForQuestionAnswering.
            output_attentions: see `LxmertModel.forward`, as the next three.
            output_hidden_states: see `LxmertModel.forward`.
            return_dict: see `LxmertModel.forward`.
            output_all_attentions: see `LxmertModel.forward`.
            return_all_logits: False scores only the words and objects labelled by `labels` and `obj_labels`:
                less time and memory, the same losses.
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
        )
        config = self.config
        word_scores, match_scores, losses = self._predict_words(
            encoded.language_output, encoded.pooled_output, labels, return_all_logits
        )
        if matched_label is not None and config.task_matched:
            losses["matched"] = class_loss(match_scores, matched_label, "matched_label")
        object_scores = None
        if obj_labels is not None and config.task_obj_predict:
            object_scores, object_losses_by_task = self._predict_objects(
                encoded.vision_output, obj_labels, visual_attention_mask, return_all_logits
            )
            losses |= object_losses_by_task
        answer_scores = self.answer_head(encoded.pooled_output) if config.task_qa else None  # (B, C)
        if ans is not None and answer_scores is not None:
            losses["qa"] = answer_loss(answer_scores, ans, "ans")

        has_targets = any(target is not None for target in (labels, obj_labels, matched_label, ans))
        output = LxmertForPreTrainingOutput(
            loss=_total_loss(losses, encoded.pooled_output) if has_targets else None,
            prediction_logits=word_scores,
            cross_relationship_score=match_scores,
            question_answering_score=answer_scores,
            **states_and_attentions(encoded),
            losses=losses if has_targets else None,
            object_scores=object_scores,
        )
        return_dict = config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _predict_words(
        self, words: Tensor, pooled: Tensor, labels: Tensor | None, return_all_logits: bool
    ) -> tuple[Tensor | None, Tensor, dict[str, Tensor]]:
        """Return scores of word pieces (B, W, V) or (L, V), scores of the match, and the words' loss."""
        labels = labels if self.config.task_mask_lm else None
        if not return_all_logits:
            if labels is None:
                return None, self.cls.seq_relationship(pooled), {}
            shape = (words.shape[0], words.shape[1])
            rows = labelled_word_mask(labels, shape)
            words, labels = words[rows], labels.reshape(shape)[rows]  # (L, H), (L,)
        # Called as one module, so that what is attached to it (hooks, a sharded group) runs.
        scores, match_scores = self.cls(words, pooled)
        losses = {} if labels is None else {"masked_lm": class_loss(scores, labels, "labels")}
        return scores, match_scores, losses

    def _predict_objects(
        self, states: Tensor, targets: ObjectLabels, is_real: Tensor | None, return_all_logits: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return scores and losses by task for (B, O, H); scores of all objects, or of labelled ones."""
        factor = self.config.visual_loss_normalizer
        if return_all_logits:
            scores = self.obj_predict_head(states)
            return scores, object_losses(scores, targets, is_real, factor)
        rows = labelled_object_masks(targets, (states.shape[0], states.shape[1]), is_real)
        scores = self.obj_predict_head.forward_selected(states, rows)
        return scores, labelled_object_losses(scores, targets, rows, is_real, factor)


def _total_loss(losses: dict[str, Tensor], pooled_output: Tensor) -> Tensor:
    """Sum the losses; without any, return a 0 that depends on the model, so that backward() works."""
    zero = (pooled_output.float() * 0.0).sum()
    return sum((loss.to(zero.device) for loss in losses.values()), start=zero)
