"""Question answering with object prediction beside it, so that a model from scratch learns to see.

From questions alone a small LXMERT needs many epochs before a word like "red" points at the red objects; the
object loss of the paper's pre-training (section 3.1.2: class and attribute of every object) teaches it what
it looks at. The head serves training only and is not saved.

Shapes: B batch, O objects, C answers.
"""

import copy
from typing import Any, Self

import torch
from torch import Tensor

from lxmert.configuration import LxmertConfig
from lxmert.data.object_labels import ObjectLabels
from lxmert.errors import ConfigurationError
from lxmert.model import LxmertForQuestionAnswering, LxmertForQuestionAnsweringOutput
from lxmert.model.heads import LxmertVisualObjHead
from lxmert.model.losses import object_losses

HEAD = "obj_predict_head"
"""Name of the head that serves training only."""


class LxmertWithObjectPrediction(LxmertForQuestionAnswering):
    """A question answering model that also predicts class and attribute of its objects.

    Args:
        config: as for LxmertForQuestionAnswering; `num_object_labels` and `num_attr_labels` size the head,
            `visual_loss_normalizer` weighs its losses.

    Raises:
        ConfigurationError: the configuration has no layer that sees objects.
    """

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__(config)
        if config.r_layers + config.x_layers == 0:
            raise ConfigurationError(
                "object prediction needs a layer that sees objects, got r_layers 0 and x_layers 0: raise one"
            )
        self.obj_predict_head = LxmertVisualObjHead(self.config)
        self.post_init()

    def forward(  # type: ignore[override]
        self, obj_labels: dict[str, tuple[Tensor, Tensor]] | None = None, **inputs: Any
    ) -> LxmertForQuestionAnsweringOutput:
        """As LxmertForQuestionAnswering.forward; `obj_labels` as LxmertForPreTraining takes them."""
        output: Any = super().forward(**inputs, output_hidden_states=obj_labels is not None, return_dict=True)
        if obj_labels is None:
            return output
        scores = self.obj_predict_head(output.vision_hidden_states[-1])  # (B, O, classes), by task
        mask, factor = inputs.get("visual_attention_mask"), self.config.visual_loss_normalizer
        losses = output.losses | object_losses(scores, obj_labels, mask, factor)
        return LxmertForQuestionAnsweringOutput(
            loss=torch.stack(list(losses.values())).sum(),
            question_answering_score=output.question_answering_score,
            losses=losses,
        )

    @classmethod
    def around(cls, model: LxmertForQuestionAnswering, labels: ObjectLabels) -> Self:
        """The same weights, and a new head for these labels."""
        config = copy.deepcopy(model.config)
        config.num_object_labels, config.num_attr_labels = labels.object_count, labels.attribute_count
        wider = cls(config)
        wider.load_state_dict(model.state_dict(), strict=False)
        return wider

    def without_head(self) -> LxmertForQuestionAnswering:
        """The same weights as a plain question answering model."""
        plain = LxmertForQuestionAnswering(self.config)
        kept = {name: value for name, value in self.state_dict().items() if not name.startswith(HEAD)}
        plain.load_state_dict(kept)
        return plain
