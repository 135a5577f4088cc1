"""`TransformersDetector`: objects and features from any DETR-like object detector of `transformers`.

DETR (Carion et al. 2020, arXiv 2005.12872) and its descendants (Conditional, Deformable and DAB DETR,
RT-DETR, D-FINE, YOLOS, …) output a fixed number of queries, each with a class, a box and a vector; the
vector, the state of the query after the last decoder layer, is the object's feature. Pictures go through the
detector's own published image processor in its Pillow variant, one at a time and without padding, so that no
result depends on the other pictures of a batch.

Shapes: Q queries, K object classes, N objects kept, D features, h and w height and width of the input.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lxmert.cpu import fast_linear_layers
from lxmert.errors import ConfigurationError, ImageError, RegionsError, WeightsError, first_line
from lxmert.faults import is_int_in_range
from lxmert.vision.external_models import (
    load_config,
    require_model,
    require_name,
    resolve_model_source,
    translate_forward_errors,
    translate_loading_errors,
)
from lxmert.vision.geometry import clip_non_empty, cxcywh_to_xyxy
from lxmert.vision.images import ImageSource, as_rgb_list
from lxmert.vision.regions import Regions
from lxmert.weights.fingerprint import check_weights_hash, hash_weights

DEFAULT_OBJECTS = 36
"""Objects per picture that LXMERT was trained with (section 4.1 of the paper)."""


class TransformersDetector:
    """Finds objects with a DETR-like detector.

    Args:
        model: a detector of `transformers`, or the folder or hub name of one.
        max_objects: most objects of a picture; without a threshold exactly this many, the best-scored.
        min_objects: least objects of a picture, even if fewer reach the threshold.
        score_threshold: least score of objects beyond `min_objects`; None for a fixed number.
        image_processor: resizes and normalises pictures: an image processor of `transformers` or its
            settings; None for the one stored with the model.
        revision: branch, tag or commit of the hub; `facebook/detr-resnet-50` has its weights for
            `transformers`' own backbone in "no_timm".
        weights_hash: the fingerprint that the weights must have; None for any.

    Raises:
        ConfigurationError: numbers of objects or a threshold out of range, or a model that is not a detector.
        WeightsError: nothing to load, incomplete or other weights, no image processor, or a timm backbone.
    """

    needs_boxes = False
    takes_boxes = False

    def __init__(
        self,
        model: nn.Module | str | Path,
        max_objects: int = DEFAULT_OBJECTS,
        min_objects: int = 1,
        score_threshold: float | None = None,
        image_processor: Any = None,
        revision: str | None = None,
        weights_hash: str | None = None,
    ) -> None:
        _check_selection(max_objects, min_objects, score_threshold)
        if isinstance(model, (str, Path)):
            self.name: str | None = str(model)
            model_path: str | None = resolve_model_source(self.name, revision)
            self.model = _load_detector(self.name, str(model_path), revision)
        else:
            self.model = require_model(model)
            self.name = model_path = getattr(getattr(model, "config", None), "name_or_path", None) or None
        self.model = self.model.eval()
        self.max_objects = max_objects
        self.min_objects = min_objects
        self.score_threshold = score_threshold
        self.revision = revision
        self.image_processor = _image_processor(image_processor, model_path, revision)
        self.weights_hash = hash_weights(self.model)
        check_weights_hash(self.name, self.weights_hash, weights_hash)

    @property
    def _config(self) -> Any:
        return self.model.config

    @property
    def identity(self) -> str:
        """Model name, number of objects, and hashes of the weights and of the image processor's settings."""
        name = Path(self.name).name if self.name else type(self.model).__name__
        count = str(self.max_objects)
        if self.score_threshold is not None:
            count = f"{self.min_objects}-to-{count}-at-{self.score_threshold:g}"
        settings = json.dumps(self._processor_settings(), sort_keys=True)
        processing = hashlib.sha256(settings.encode()).hexdigest()[:4]
        return f"detr-{name}-{count}-{self.weights_hash}-{processing}"

    @property
    def feature_dim(self) -> int:
        """Width of a query's state."""
        return int(self._config.hidden_size)

    @property
    def object_names(self) -> tuple[str, ...]:
        """The K class names, from the model's `id2label`."""
        names: Mapping[int, str] = self._config.id2label
        return tuple(str(names.get(index, f"class {index}")) for index in range(len(names)))

    @property
    def attribute_names(self) -> None:
        """None: these detectors do not predict attributes."""
        return None

    def __call__(
        self, images: ImageSource | Sequence[ImageSource], boxes_xyxy_px: Sequence[Tensor] | None = None
    ) -> list[Regions]:
        """Find the objects of each image, of any kind that `load_image` reads, best-scored first.

        Raises:
            RegionsError: boxes were given; the detector finds its own.
            ImageError: not an image, or one too narrow for the image processor.
            ConfigurationError: the model lacks logits, boxes or states, or does not accept such an image.
        """
        if boxes_xyxy_px is not None:
            raise RegionsError(f"{self.identity} finds its own boxes; omit boxes, or use given_boxes")
        return [self._detect(image) for image in as_rgb_list(images)]

    def to(self, device: torch.device | str) -> "TransformersDetector":
        """Move the model to `device`; returns itself."""
        self.model.to(device)
        return self

    def to_dict(self) -> dict[str, Any]:
        """`{"kind": "detr", "model": …, …}`, the image processor's settings and the weights' hash included.

        Raises:
            ConfigurationError: the model was made in memory and has no name.
        """
        return {
            "kind": "detr",
            "model": require_name(self.name, self.model),
            "max_objects": self.max_objects,
            "min_objects": self.min_objects,
            "score_threshold": self.score_threshold,
            "image_processor": self._processor_settings(),
            "revision": self.revision,
            "weights_hash": self.weights_hash,
        }

    def _processor_settings(self) -> dict[str, Any]:
        # Through JSON, because enumerations and tuples in settings would not survive a round trip.
        settings: dict[str, Any] = json.loads(json.dumps(self.image_processor.to_dict()))
        return settings

    def _detect(self, image: Image.Image) -> Regions:
        size_hw = (image.height, image.width)
        # Clones, because tensors made in inference mode cannot be used in training later.
        logits, boxes, states = (output.clone() for output in self._forward(self._preprocess(image)))
        scores, labels = _classify(logits, self._config)  # (Q,), (Q,)
        # Stable, so that queries of equal score keep their order on every machine.
        kept = scores.sort(descending=True, stable=True).indices[: self.max_objects]
        if self.score_threshold is not None:
            num_above_threshold = int((scores >= self.score_threshold).sum())
            kept = kept[: max(self.min_objects, num_above_threshold)]
        scale = boxes.new_tensor([size_hw[1], size_hw[0]] * 2)
        return Regions(
            boxes_xyxy_px=clip_non_empty(cxcywh_to_xyxy(boxes[kept]) * scale, size_hw),
            features=states[kept],
            size_hw=size_hw,
            extractor=self.identity,
            object_ids=labels[kept],
            object_scores=scores[kept],
        )

    def _preprocess(self, image: Image.Image) -> Tensor:
        try:
            # A single picture needs no padding; boxes would then be relative to the padded canvas.
            processed = self.image_processor(images=image, do_pad=False, return_tensors="pt")
        except (ValueError, ZeroDivisionError, OSError) as error:
            raise ImageError(
                f"the image of {image.width}×{image.height} pixels (width×height) is too narrow for "
                f"{type(self.image_processor).__name__} ({first_line(error)}); crop it"
            ) from error
        pixels: Tensor = processed["pixel_values"]  # (1, 3, h, w)
        return pixels

    @torch.inference_mode()
    def _forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels (1, 3, h, w) -> on the CPU, float32: logits (Q, ≥K), boxes (Q, 4) in 0..1, states (Q, D)."""
        parameter = next(self.model.parameters())
        size_hw = (pixels.shape[2], pixels.shape[3])
        with translate_forward_errors(self.model, size_hw), fast_linear_layers(self.model):
            outputs = self.model(pixel_values=pixels.to(parameter.device, parameter.dtype))
        fields = [getattr(outputs, name, None) for name in ("logits", "pred_boxes", "last_hidden_state")]
        if any(field is None for field in fields):
            raise ConfigurationError(
                f"{type(self.model).__name__} does not return logits, pred_boxes and last_hidden_state; "
                "expected a DETR-like object detector"
            )
        logits, boxes, states = (field[0].float().cpu() for field in fields if field is not None)
        # YOLOS puts its queries after the picture's patches.
        return logits, boxes, states[-len(logits) :]


def _check_selection(max_objects: Any, min_objects: Any, score_threshold: Any) -> None:
    faults = []
    for name, value in (("max_objects", max_objects), ("min_objects", min_objects)):
        if not is_int_in_range(value, 1):
            faults.append(f"{name} is {value!r}, expected a whole number of at least 1")
    if not faults and min_objects > max_objects:
        faults.append(f"min_objects {min_objects} is more than max_objects {max_objects}")
    is_number = isinstance(score_threshold, int | float) and not isinstance(score_threshold, bool)
    if score_threshold is not None and not (is_number and 0 <= score_threshold <= 1):
        faults.append(f"score_threshold is {score_threshold!r}, expected a number in 0..1 or None")
    if faults:
        raise ConfigurationError(f"detector: {'; '.join(faults)}")


def _classify(logits: Tensor, config: Any) -> tuple[Tensor, Tensor]:
    """Return the probability and the best class of each query: (Q, ≥K) -> (Q,) float32, (Q,) int64.

    With one logit more than classes, the last means "no object", and all compete in a softmax (DETR, YOLOS);
    otherwise every class has a sigmoid of its own (Deformable DETR and its successors).
    """
    classes = len(config.id2label)
    if logits.shape[1] not in (classes, classes + 1):
        raise ConfigurationError(
            f"{config.model_type} returns {logits.shape[1]} logits per query for the {classes} classes of "
            "its id2label; expected as many, or one more for 'no object'"
        )
    has_no_object = logits.shape[1] == classes + 1 or not getattr(config, "use_focal_loss", True)
    probabilities = logits.softmax(dim=1)[:, :-1] if has_no_object else logits.sigmoid()
    scores, labels = probabilities.max(dim=1)
    return scores, labels


def _load_detector(name: str, model_path: str, revision: str | None) -> nn.Module:
    from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING

    from lxmert.weights.report import load_complete

    config = load_config(name, model_path, "object detector", revision)
    if type(config) not in MODEL_FOR_OBJECT_DETECTION_MAPPING:
        raise WeightsError(
            f"{name}: a model of type {config.model_type!r}, not an object detector of transformers"
        )
    with translate_loading_errors(name, "object detector"):
        model, _ = load_complete(
            MODEL_FOR_OBJECT_DETECTION_MAPPING[type(config)],
            model_path,
            config=config,
            revision=revision,
            dtype=torch.float32,
        )
    return model


def _image_processor(given: Any, model_path: str | None, revision: str | None) -> Any:
    if isinstance(given, Mapping):
        return _processor_from_settings(given)
    if given is not None:
        return given
    if model_path is None:
        raise ConfigurationError(
            "a detector created in memory needs image_processor=, such as transformers' "
            "DetrImageProcessorPil()"
        )
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    with translate_loading_errors(model_path, "image processor (preprocessor_config.json)"):
        return AutoImageProcessor.from_pretrained(
            model_path, backend="pil", revision=revision, trust_remote_code=False
        )


def _processor_from_settings(settings: Mapping[str, Any]) -> Any:
    import transformers
    from transformers import ImageProcessingMixin

    kind = str(settings.get("image_processor_type"))
    # The stored name is that of a family; its Pillow variant is preferred.
    for name in (f"{kind}Pil", kind):
        processor_class = getattr(transformers, name, None)
        if isinstance(processor_class, type) and issubclass(processor_class, ImageProcessingMixin):
            processor: Any = processor_class
            return processor.from_dict(dict(settings))
    raise ConfigurationError(f"image_processor_type is {kind!r}; transformers has no such image processor")
