"""Question answering with object prediction beside it, so that a model from scratch learns to see.

From questions alone a small LXMERT needs many epochs before a word like "red" points at the red objects; the
object loss of the paper's pre-training (section 3.1.2: class and attribute of every object) teaches it what
it looks at. But it also overwrites where an object lies: trained with it alone, the last vision states tell
the class of every object and no longer its box, and questions about places stay at chance. So the box can be
predicted beside it. The heads serve training only and are not saved.

Shapes: B batch, O objects, C answers.
"""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from lxmert.configuration import LxmertConfig
from lxmert.data.object_labels import ObjectLabels
from lxmert.errors import ConfigurationError
from lxmert.model import LxmertForQuestionAnswering, LxmertForQuestionAnsweringOutput
from lxmert.model.heads import LxmertVisualObjHead
from lxmert.model.losses import object_losses

HEADS = ("obj_predict_head", "place_predict_head")
"""Names of the heads that serve training only."""

_BOX_NUMBERS = 4


class LxmertWithObjectPrediction(LxmertForQuestionAnswering):
    """A question answering model that also predicts class, attribute and place of its objects.

    Args:
        config: as for LxmertForQuestionAnswering; `num_object_labels` and `num_attr_labels` size the head,
            `visual_loss_normalizer` weighs its losses.
        place_weight: weight of the place loss, 0 for none: the error of an object's four predicted
            coordinates as fractions of the image, absolute and summed, mean over the objects.

    Raises:
        ConfigurationError: the configuration has no layer that sees objects.
    """

    def __init__(self, config: LxmertConfig, place_weight: float = 0.0) -> None:
        super().__init__(config)
        if config.r_layers + config.x_layers == 0:
            raise ConfigurationError(
                "object prediction needs a layer that sees objects, got r_layers 0 and x_layers 0: raise one"
            )
        self.obj_predict_head = LxmertVisualObjHead(self.config)
        self.place_predict_head = nn.Linear(config.hidden_size, _BOX_NUMBERS)
        self.place_weight = place_weight
        self.post_init()

    def forward(  # type: ignore[override]
        self, obj_labels: dict[str, tuple[Tensor, Tensor]] | None = None, **inputs: Any
    ) -> LxmertForQuestionAnsweringOutput:
        """As LxmertForQuestionAnswering.forward; `obj_labels` as LxmertForPreTraining takes them."""
        output: Any = super().forward(**inputs, output_hidden_states=obj_labels is not None, return_dict=True)
        if obj_labels is None:
            return output
        states = output.vision_hidden_states[-1]  # (B, O, H)
        scores = self.obj_predict_head(states)  # (B, O, classes), by task
        mask, factor = inputs.get("visual_attention_mask"), self.config.visual_loss_normalizer
        losses = output.losses | object_losses(scores, obj_labels, mask, factor)
        if self.place_weight:
            error = (self.place_predict_head(states) - inputs["visual_pos"]).abs().sum(dim=2)  # (B, O)
            real = torch.ones_like(error) if mask is None else mask.to(error)
            losses["place"] = self.place_weight * (error * real).sum() / real.sum().clamp(min=1)
        return LxmertForQuestionAnsweringOutput(
            loss=torch.stack(list(losses.values())).sum(),
            question_answering_score=output.question_answering_score,
            losses=losses,
        )

    @classmethod
    def around(
        cls, model: LxmertForQuestionAnswering, labels: ObjectLabels, place_weight: float = 0.0
    ) -> Self:
        """The same weights, and new heads for these labels."""
        config = copy.deepcopy(model.config)
        config.num_object_labels, config.num_attr_labels = labels.object_count, labels.attribute_count
        wider = cls(config, place_weight)
        wider.load_state_dict(model.state_dict(), strict=False)
        return wider

    def without_head(self) -> LxmertForQuestionAnswering:
        """The same weights as a plain question answering model."""
        plain = LxmertForQuestionAnswering(self.config)
        kept = {name: value for name, value in self.state_dict().items() if not name.startswith(HEADS)}
        plain.load_state_dict(kept)
        return plain
