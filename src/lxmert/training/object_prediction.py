"""Fine-tuning together with object prediction, so that a model from scratch learns to see.

From questions alone a small LXMERT needs many epochs before a word like "red" points at the red objects; the
object loss of the paper's pre-training (section 3.1.2: class and attribute of every object) teaches it what
it sees. But it also overwrites where an object is: trained with this loss alone, the last vision states
encode the class of every object but no longer its box, and questions about places stay at chance. So the box
can be predicted too. The heads serve training only and are not saved.

Shapes: B batch, O objects, H hidden.
"""

import copy
import dataclasses
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from lxmert.configuration import LxmertConfig
from lxmert.data.region_source import ObjectLabelSource
from lxmert.errors import ConfigurationError
from lxmert.model import LxmertForQuestionAnswering, LxmertForVisualReasoning, LxmertPreTrainedModel
from lxmert.model.heads import LxmertVisualObjHead
from lxmert.model.losses import object_losses

_PlainModel = TypeVar("_PlainModel", bound=LxmertPreTrainedModel)

_BOX_COORDINATES = 4


class PlaceHead(nn.Linear):
    """Predicts an object's box from its last vision state, so that the state keeps the object's place.

    Args:
        hidden_size: H.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size, _BOX_COORDINATES)

    def loss(self, states: Tensor, boxes_xyxy_unit: Tensor, is_real: Tensor | None) -> Tensor:
        """The absolute error summed over the four coordinates, mean over the objects: a float32 scalar.

        Args:
            states: (B, O, H), the last vision states.
            boxes_xyxy_unit: (B, O, 4), fractions of the image.
            is_real: (B, O), 1 for an object, 0 for padding; None when all are real.
        """
        error = (self(states).float() - boxes_xyxy_unit).abs().sum(dim=2)  # (B, O)
        real = torch.ones_like(error) if is_real is None else is_real.to(error)
        return (error * real).sum() / real.sum().clamp(min=1)


def require_object_layers(config: LxmertConfig) -> None:
    """Raise a ConfigurationError unless there is a layer that sees objects."""
    if config.r_layers + config.x_layers == 0:
        raise ConfigurationError(
            "object prediction needs a layer that processes objects, got r_layers 0 and x_layers 0: raise "
            "one of them"
        )


def copy_weights(model: LxmertPreTrainedModel, plain_class: type[_PlainModel]) -> _PlainModel:
    """Copy the weights of a model to one of a class that lacks some of its heads."""
    plain = plain_class(model.config)
    weights = model.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain


class ObjectPrediction(LxmertPreTrainedModel):
    """Adds the prediction of class, attribute and place of objects to a model with a task's head.

    Args:
        config: as for the model; `num_object_labels` and `num_attr_labels` size the head,
            `visual_loss_normalizer` weights its losses.
        place_weight: weight of the loss of `PlaceHead`, 0 for none.

    Raises:
        ConfigurationError: the configuration has no layer that sees objects.
    """

    plain_class: ClassVar[type[LxmertPreTrainedModel]]
    """The model without these heads."""

    def __init__(self, config: LxmertConfig, place_weight: float = 0.0) -> None:
        super().__init__(config)
        require_object_layers(config)
        self.obj_predict_head = LxmertVisualObjHead(self.config)
        self.place_predict_head = PlaceHead(config.hidden_size)
        self.place_weight = place_weight
        self.post_init()

    def forward(self, obj_labels: dict[str, tuple[Tensor, Tensor]] | None = None, **inputs: Any) -> Any:
        """As the model's own forward; `obj_labels` as in LxmertForPreTraining, one per object."""
        output: Any = super().forward(**inputs, output_hidden_states=obj_labels is not None, return_dict=True)
        if obj_labels is None:
            return output
        states = output.vision_hidden_states[-1]  # (images, O, H)
        scores = self.obj_predict_head(states)  # (images, O, classes), by task
        targets = {
            task: (_flatten_images(ids, states), _flatten_images(weights, states))
            for task, (ids, weights) in obj_labels.items()
        }
        mask = inputs.get("visual_attention_mask")
        mask = None if mask is None else _flatten_images(mask, states)
        losses = output.losses | object_losses(scores, targets, mask, self.config.visual_loss_normalizer)
        if self.place_weight:
            boxes = _flatten_images(inputs["visual_pos"], states)
            losses["place"] = self.place_weight * self.place_predict_head.loss(states, boxes, mask)
        return dataclasses.replace(
            output,
            loss=torch.stack(list(losses.values())).sum(),
            language_hidden_states=None,
            vision_hidden_states=None,
            losses=losses,
        )

    @classmethod
    def from_model(
        cls, model: LxmertPreTrainedModel, labels: ObjectLabelSource, place_weight: float = 0.0
    ) -> Self:
        """Add new heads for these labels to the weights of a model."""
        config = copy.deepcopy(model.config)
        config.num_object_labels, config.num_attr_labels = labels.object_count, labels.attribute_count
        extended = cls(config, place_weight)
        extended.load_state_dict(model.state_dict(), strict=False)
        return extended

    def to_plain_model(self) -> LxmertPreTrainedModel:
        """The model without the heads."""
        return copy_weights(self, self.plain_class)


class LxmertWithObjectPrediction(ObjectPrediction, LxmertForQuestionAnswering):  # type: ignore[misc]
    """A question answering model that also predicts what its objects are."""

    plain_class = LxmertForQuestionAnswering


class PairsWithObjectPrediction(ObjectPrediction, LxmertForVisualReasoning):  # type: ignore[misc]
    """A model of image pairs that also predicts what the objects of both images are."""

    plain_class = LxmertForVisualReasoning


def add_object_prediction(
    model: LxmertPreTrainedModel, labels: ObjectLabelSource, place_weight: float = 0.0
) -> ObjectPrediction:
    """Add heads that predict these labels of the objects to a model."""
    is_pairs = isinstance(model, LxmertForVisualReasoning)
    extended_class = PairsWithObjectPrediction if is_pairs else LxmertWithObjectPrediction
    return extended_class.from_model(model, labels, place_weight)


def _flatten_images(values: Tensor, states: Tensor) -> Tensor:
    """Flatten values of objects, of one or two images per example, to one row per image as in `states`."""
    return values if len(values) == len(states) else values.flatten(0, 1)
