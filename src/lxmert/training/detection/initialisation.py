"""The initial detector of a run: with random weights, or pretrained ones with new heads."""

import torch

from lxmert.data.box_annotations import BoxVocabulary
from lxmert.errors import ConfigurationError
from lxmert.training.detection.model import DetectorInTraining
from lxmert.training.detection.recipe import DetectorRecipe
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.extractor import detector_folder
from lxmert.vision.faster_rcnn.modeling import FasterRcnn

_PREDICTOR = "roi_heads.box_predictor."
_CLASS_LAYERS = tuple(f"{_PREDICTOR}{layer}." for layer in ("cls_score", "bbox_pred", "cls_embedding"))
_ATTRIBUTE_LAYERS = (f"{_PREDICTOR}attr_score.",)
_ANCHORS = "proposal_generator.anchor_generator."


def build_detector(recipe: DetectorRecipe, vocabulary: BoxVocabulary) -> DetectorInTraining:
    """Create the model with the recipe's configuration and the vocabulary's classes.

    With `from_pretrained`, the layers of classes or attributes are initialised anew, unless the detector's
    names are those of the vocabulary, or it has no names and as many classes.

    Raises:
        ConfigurationError: an impossible configuration, or another architecture than the pretrained
            detector's.
        WeightsError: there is no detector.
    """
    config_values, source = recipe.model.config, recipe.model.from_pretrained
    names = {
        "num_object_labels": len(vocabulary.objects),
        "num_attr_labels": len(vocabulary.attributes),
        "object_names": list(vocabulary.objects.names),
        "attribute_names": list(vocabulary.attributes.names) or None,
    }
    if source is None:
        # With random weights, every layer and statistic must be trained.
        values = {"freeze_norms": False, "freeze_at": 0} | config_values | names
        return DetectorInTraining(FasterRcnnConfig(**values), recipe.losses)
    trained = FasterRcnn.from_pretrained(detector_folder(source), dtype=torch.float32)
    values = trained.config.to_dict() | config_values | names
    model = DetectorInTraining(FasterRcnnConfig(**values), recipe.losses)
    initialised = _reinitialised_layers(trained.config, model.config)
    if {"anchor_sizes_px", "anchor_ratios"} & config_values.keys():
        initialised += (_ANCHORS,)
    _copy_weights(trained, model, initialised)
    return model


def _reinitialised_layers(trained: FasterRcnnConfig, config: FasterRcnnConfig) -> tuple[str, ...]:
    """The layers whose rows would be for other classes or attributes than they were trained for."""
    layers: tuple[str, ...] = ()
    if trained.object_names not in (None, config.object_names):
        layers += _CLASS_LAYERS
    if trained.attribute_names not in (None, config.attribute_names):
        layers += _ATTRIBUTE_LAYERS
    return layers


def _copy_weights(trained: FasterRcnn, model: DetectorInTraining, initialised: tuple[str, ...]) -> None:
    """Copy the weights that fit; only those of the predictor may differ in shape."""
    old, new = trained.state_dict(), model.state_dict()
    matching = {name for name in new if name in old and old[name].shape == new[name].shape}
    mismatched = [name for name in new if name not in matching and not name.startswith(_PREDICTOR)]
    if mismatched:
        raise ConfigurationError(
            f"model.config changes the architecture of the pretrained detector: {len(mismatched)} weights do "
            f"not fit, such as {mismatched[0]}; omit the values that set the sizes of layers"
        )
    copied = {name: old[name] for name in matching if not name.startswith(initialised)}
    model.load_state_dict(copied, strict=False)
