"""The model during pre-training: LxmertForPreTraining, optionally with a head that predicts places.

Shapes: B batch, O objects.
"""

from typing import Any

from torch import Tensor

from lxmert.configuration import LxmertConfig
from lxmert.model import LxmertForPreTraining, LxmertForPreTrainingOutput
from lxmert.model.losses import ObjectLabels
from lxmert.training.object_prediction import PlaceHead, copy_weights, require_object_layers

_PLACE_HEAD = "place_predict_head"


class LxmertInPreTraining(LxmertForPreTraining):
    """LxmertForPreTraining that can also predict the places of its objects; see `object_prediction`.

    Args:
        config: as for LxmertForPreTraining.
        predicts_places: True adds the head, which serves training only.

    Raises:
        ConfigurationError: objects are predicted, and no layer sees them.
    """

    def __init__(self, config: LxmertConfig, *, predicts_places: bool = False) -> None:
        super().__init__(config)
        if predicts_places or config.task_obj_predict:
            require_object_layers(config)
        self.predicts_places = predicts_places
        if predicts_places:
            self.place_predict_head = PlaceHead(self.config.hidden_size)
            self.post_init()

    def forward(  # type: ignore[override]
        self,
        visual_pos: Tensor,
        visual_attention_mask: Tensor | None = None,
        **inputs: Any,
    ) -> LxmertForPreTrainingOutput:
        """As LxmertForPreTraining.forward, but always returns an output object; `losses` may include "place".

        In evaluation mode all objects are scored, even where only labelled words are (`return_all_logits`).

        Args:
            visual_pos: see LxmertForPreTraining.
            visual_attention_mask: see LxmertForPreTraining.
            **inputs: see LxmertForPreTraining.
        """
        output: Any = super().forward(
            visual_pos=visual_pos,
            visual_attention_mask=visual_attention_mask,
            **inputs,
            output_hidden_states=self.predicts_places,
            return_dict=True,
        )
        if self.predicts_places:
            states = output.vision_hidden_states[-1]  # (B, O, H)
            loss = self.place_predict_head.loss(states, visual_pos, visual_attention_mask)
            output.losses = (output.losses or {}) | {"place": loss}
        return LxmertForPreTrainingOutput(
            prediction_logits=output.prediction_logits,
            cross_relationship_score=output.cross_relationship_score,
            question_answering_score=output.question_answering_score,
            losses=output.losses,
            object_scores=output.object_scores,
        )

    def _predict_objects(
        self, states: Tensor, targets: ObjectLabels, is_real: Tensor | None, return_all_logits: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        # Validation counts hits of each example, so one pass of the heads gives these and the losses.
        return super()._predict_objects(states, targets, is_real, return_all_logits or not self.training)

    @property
    def plain_parameter_count(self) -> int:
        """Number of parameters without the head for training only; tied weights count once."""
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if not name.startswith(_PLACE_HEAD)
        )

    def to_plain_model(self) -> LxmertForPreTraining:
        """The model without the head for training only."""
        return copy_weights(self, LxmertForPreTraining)
