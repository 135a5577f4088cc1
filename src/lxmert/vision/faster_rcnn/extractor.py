"""`FasterRcnnExtractor`: the objects found by a Faster R-CNN, as `Regions`.

Images are never padded, so that the regions of one do not depend on its batch; the published pipeline pads
images to the largest of a batch, and the padding affects the features.

Shapes: N objects of one image, D features, h and w network pixels.
"""

import copy
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lxmert.errors import ConfigurationError, WeightsError
from lxmert.vision.faster_rcnn.extraction_settings import DTYPES, ExtractionSettings
from lxmert.vision.faster_rcnn.folding import fold_detector
from lxmert.vision.faster_rcnn.modeling import FasterRcnn
from lxmert.vision.faster_rcnn.preprocessing import (
    network_size,
    scale_xyxy,
    to_image_boxes,
    to_network_pixels,
)
from lxmert.vision.faster_rcnn.selection import Detections, label_given_boxes, select_detections
from lxmert.vision.geometry import BoxesLike, check_one_set_per_image, validate_given_boxes
from lxmert.vision.images import ImageSource, as_rgb_list
from lxmert.vision.regions import Regions
from lxmert.weights.fingerprint import check_weights_hash, hash_weights
from lxmert.weights.hub import hub_folder, is_hub_name

EMBEDDED_DETECTOR = "scenes"
"""The name of the small detector that is part of the package."""

ARITHMETIC_VERSION = 1
"""Part of every identity; incremented whenever regions change for the same weights and pixels."""

_BATCH_SIZES = {"cpu": 1, "cuda": 8}
"""On a CPU larger batches are no faster than single images, and need more memory."""


class FasterRcnnExtractor:
    """Finds the objects of images, or describes objects whose boxes are given.

    Args:
        detector: a `FasterRcnn`, which is copied and not modified, or where to load one: "scenes" (the
            embedded one), a folder or a hub name.
        preset: "published" selects objects like the published pipeline, "butd" like the Caffe program that
            computed the features LXMERT was trained on: non-maximum suppression within each class, unrefined
            proposals as boxes, and 600×1000 pixels for a detector with the published 800×1333.
        channel_order: "bgr" is correct; "rgb" swaps red and blue, as in features that the published script
            computed from local files.
        min_objects: least number of objects per image; None for the configuration's, or `max_objects` if
            that is less.
        max_objects: greatest number of objects per image; None for the configuration's, or `min_objects` if
            that is more.
        score_threshold: least class probability of objects beyond `min_objects`; None for the
            configuration's.
        dtype: "float32", or "bfloat16" for the layers after the proposals, nine tenths of the work: several
            times faster on processors that support it, with the same proposals and features within about
            0.3 %.
        weights_hash: the fingerprint that the weights must have; None for any.

    Raises:
        ConfigurationError: unknown or impossible settings.
        WeightsError: no detector can be loaded, or its weights have another fingerprint.
    """

    needs_boxes = False

    def __init__(
        self,
        detector: FasterRcnn | str | Path,
        *,
        preset: str = "published",
        channel_order: str = "bgr",
        min_objects: int | None = None,
        max_objects: int | None = None,
        score_threshold: float | None = None,
        dtype: str = "float32",
        weights_hash: str | None = None,
    ) -> None:
        loaded, self.name = _load(detector)
        self.settings = ExtractionSettings.resolve(
            loaded.config,
            preset=preset,
            channel_order=channel_order,
            dtype=dtype,
            objects=(min_objects, max_objects),
            score_threshold=score_threshold,
        )
        self._requested_settings = {
            "preset": preset,
            "channel_order": channel_order,
            "min_objects": min_objects,
            "max_objects": max_objects,
            "score_threshold": score_threshold,
            "dtype": dtype,
        }
        self.weights_hash = hash_weights(loaded)
        check_weights_hash(self.name or type(loaded).__name__, self.weights_hash, weights_hash)
        detector_copy = copy.deepcopy(loaded) if loaded is detector else loaded
        self._detector = fold_detector(detector_copy, DTYPES[dtype])

    @property
    def identity(self) -> str:
        """Weights, preset, channel order, hash of the settings, arithmetic version, and dtype if reduced."""
        settings = self.settings
        parts = ["faster-rcnn", self.weights_hash, settings.selection.preset, settings.channel_order]
        parts += [settings.fingerprint, str(ARITHMETIC_VERSION)]
        return "-".join(parts if settings.dtype == "float32" else [*parts, settings.dtype])

    @property
    def feature_dim(self) -> int:
        """Number of features D."""
        return self._detector.config.feature_dim

    @property
    def object_names(self) -> tuple[str, ...] | None:
        """Names of the object ids, or None."""
        names = self._detector.config.object_names
        return None if names is None else tuple(names)

    @property
    def attribute_names(self) -> tuple[str, ...] | None:
        """Names of the attribute ids, or None."""
        names = self._detector.config.attribute_names
        return None if names is None else tuple(names)

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        boxes_xyxy_px: Sequence[BoxesLike] | None = None,
    ) -> list[Regions]:
        """Extract the objects of each image.

        Args:
            images: Pillow images of any mode, or anything else that `load_image` reads.
            boxes_xyxy_px: for each image (N, 4) x1, y1, x2, y2 in its pixels: boxes to describe instead of
                detecting objects. They are returned in the same order, with features and labels.

        Returns:
            One `Regions` for each image, on the CPU; detected objects come best first.

        Raises:
            ImageError: no image, or one without pixels.
            RegionsError: not one set of boxes per image, or a box that is not inside its image.
        """
        upright = as_rgb_list(images)
        given: list[Tensor | None] = [None] * len(upright)
        if boxes_xyxy_px is not None:
            check_one_set_per_image(boxes_xyxy_px, len(upright))
            pairs = zip(boxes_xyxy_px, upright, strict=True)
            given = [validate_given_boxes(boxes, (image.height, image.width)) for boxes, image in pairs]
        found: dict[int, Regions] = {}
        for positions in self._batches(upright):
            batch = self._extract_batch([upright[i] for i in positions], [given[i] for i in positions])
            found.update(zip(positions, batch, strict=True))
        return [found[position] for position in range(len(upright))]

    def to(self, device: torch.device | str) -> "FasterRcnnExtractor":
        """Move the detector to `device`; returns itself."""
        self._detector.to(device)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return a description from which `build_extractor` makes an equal extractor.

        Raises:
            ConfigurationError: the detector was made in memory and has no name.
        """
        if self.name is None:
            raise ConfigurationError(
                "the detector was created in memory and cannot be saved by name; save it with "
                "save_pretrained and pass its folder to FasterRcnnExtractor"
            )
        return {
            "kind": "faster_rcnn",
            "detector": self.name,
            **self._requested_settings,
            "weights_hash": self.weights_hash,
        }

    def _batches(self, images: Sequence[Image.Image]) -> Iterator[list[int]]:
        """Group the positions of images of equal network size into batches, so that none is padded."""
        batch_size = _BATCH_SIZES.get(self._detector.device.type, 1)
        by_size: dict[tuple[int, int], list[int]] = {}
        for position, image in enumerate(images):
            by_size.setdefault(self._network_size(image), []).append(position)
        for positions in by_size.values():
            yield from (
                positions[start : start + batch_size] for start in range(0, len(positions), batch_size)
            )

    def _extract_batch(self, images: Sequence[Image.Image], given: Sequence[Tensor | None]) -> list[Regions]:
        """Compute the regions of images of equal network size; `given` has (N, 4) in image pixels or None."""
        config, order = self.settings.config, self.settings.channel_order
        network_hw = self._network_size(images[0])
        sizes_hw = [(image.height, image.width) for image in images]
        pixels = torch.stack([to_network_pixels(image, config, order) for image in images])
        boxes = [
            None if one is None else one / scale_xyxy(size_hw, network_hw)
            for one, size_hw in zip(given, sizes_hw, strict=True)
        ]
        results = self._infer(pixels, network_hw, boxes)
        regions = []
        for size_hw, known, (features, found) in zip(sizes_hw, given, results, strict=True):
            refined = to_image_boxes(found.boxes_xyxy.cpu(), network_hw, size_hw)
            regions.append(self._regions(refined if known is None else known, features, size_hw, found))
        return regions

    def _regions(
        self, boxes_xyxy_px: Tensor, features: Tensor, size_hw: tuple[int, int], found: Detections
    ) -> Regions:
        return Regions(
            boxes_xyxy_px=boxes_xyxy_px,
            features=_cpu_clone(features),
            size_hw=size_hw,
            extractor=self.identity,
            object_ids=_cpu_clone(found.object_ids),
            object_scores=_cpu_clone(found.object_scores),
            attribute_ids=None if found.attribute_ids is None else _cpu_clone(found.attribute_ids),
            attribute_scores=None if found.attribute_scores is None else _cpu_clone(found.attribute_scores),
        )

    @torch.inference_mode()
    def _infer(
        self, pixels: Tensor, network_hw: tuple[int, int], boxes_xyxy: Sequence[Tensor | None]
    ) -> list[tuple[Tensor, Detections]]:
        """Compute features (N, D) and labels of images (B, 3, h, w), for boxes in network pixels if given."""
        device = self._detector.device
        maps = self._detector.feature_map(pixels.to(device))  # (B, C, h / stride, w / stride)
        results = []
        for one, boxes in zip(maps, boxes_xyxy, strict=True):
            predictions = self._detector.predict(one, network_hw, None if boxes is None else boxes.to(device))
            if boxes is None:
                detections = select_detections(predictions, network_hw, self.settings.selection)
            else:
                detections = label_given_boxes(predictions)
            results.append((predictions.features[detections.roi_indices], detections))
        return results

    def _network_size(self, image: Image.Image) -> tuple[int, int]:
        config = self.settings.config
        return network_size((image.height, image.width), config.min_size_px, config.max_size_px)


def detector_folder(name: str | Path) -> str:
    """Return the folder from which `FasterRcnn.from_pretrained` loads a named detector.

    Args:
        name: "scenes", a folder or a hub name, which is downloaded if necessary.

    Raises:
        WeightsError: none of these, or not found on the hub.
    """
    if str(name) == EMBEDDED_DETECTOR:
        return str(files("lxmert") / "assets" / "scenes_detector")
    if Path(name).is_dir():
        return str(name)
    if "/" not in str(name) or not is_hub_name(str(name)):
        raise WeightsError(
            f"unknown detector {str(name)!r}: expected {EMBEDDED_DETECTOR!r} (the embedded one), a "
            "folder, or a hub name 'owner/name'"
        )
    return str(hub_folder(str(name)))


def _load(detector: FasterRcnn | str | Path) -> tuple[FasterRcnn, str | None]:
    """Return the detector, and its name, by which it can be loaded again."""
    if isinstance(detector, FasterRcnn):
        return detector, detector.config.name_or_path or None
    if not isinstance(detector, (str, Path)):
        raise ConfigurationError(
            f"detector is a {type(detector).__name__}; expected a FasterRcnn, {EMBEDDED_DETECTOR!r}, a "
            f"folder or a hub name"
        )
    return FasterRcnn.from_pretrained(detector_folder(detector)), str(detector)


def _cpu_clone(values: Tensor) -> Tensor:
    """Clone to the CPU, because tensors made in inference mode cannot be used in training later."""
    return values.cpu().clone()
