"""`FasterRcnn`: detects objects with classes, attributes and feature vectors.

Source: Ren et al. 2015 with the attribute head of Anderson et al. 2018 (arXiv 1707.07998). The weights have
the names of those of the detector published as `unc-nlp/frcnn-vg-finetuned`.

Shapes: B images, H and W network pixels (those of the resized image), C channels and h × w cells of the
feature map, A anchors per cell, R RoIs, D features, K object classes, L attributes.
"""

import os
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from lxmert.vision.faster_rcnn.anchors import grid_anchors
from lxmert.vision.faster_rcnn.backbone import Backbone
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.heads import ProposalGenerator, RoiHeads
from lxmert.vision.faster_rcnn.proposals import ProposalSettings, select_proposals
from lxmert.vision.faster_rcnn.selection import RoiPredictions
from lxmert.vision.pooling import MaxPoolTables, roi_align

ROI_BATCH_SIZE = 16
"""RoIs per batch of res5 without gradients: all 300 at once would need 2 GB, and more time."""


class FasterRcnn(PreTrainedModel):
    """A Faster R-CNN with an attribute head.

    `from_pretrained` accepts a folder or hub name in the published layout (config.yaml, pytorch_model.bin) or
    in that of `save_pretrained`, and rejects weights that are not exactly this model's.

    Args:
        config: its configuration.
    """

    config_class = FasterRcnnConfig
    config: FasterRcnnConfig
    base_model_prefix = "faster_rcnn"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: FasterRcnnConfig) -> None:
        config.validate()
        super().__init__(config)
        self.backbone = Backbone(config)
        self.proposal_generator = ProposalGenerator(config)
        self.roi_heads = RoiHeads(config)
        self.post_init()
        self.backbone.freeze(config.freeze_at)

    def forward(self, pixel_values: Tensor, sizes_hw: Tensor) -> list[RoiPredictions]:
        """Predict classes, attributes and boxes for all proposals; `select_detections` selects the objects.

        Args:
            pixel_values: (B, 3, H, W) float32, normalised, blue first; padded at the right and bottom.
            sizes_hw: (B, 2) int64, height and width of each image without padding.

        Returns:
            One `RoiPredictions` for each image.
        """
        maps = self.feature_map(pixel_values)
        return [
            self.predict(one, (int(height), int(width)))
            for one, (height, width) in zip(maps, sizes_hw.tolist(), strict=True)
        ]

    def feature_map(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels -> (B, C, h, w)."""
        features: Tensor = self.backbone(pixel_values)
        return features

    def proposal_scores(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> objectness logits (B, h·w·A), deltas (B, h·w·A, 4), in the order of `anchors`."""
        scores: tuple[Tensor, Tensor] = self.proposal_generator.rpn_head(feature_map)
        return scores

    def anchors(self, height: int, width: int) -> Tensor:
        """Return the anchors of a map of h × w cells, (h·w·A, 4) in network pixels, order y, x, anchor."""
        per_cell = self.proposal_generator.anchor_generator.per_cell_xyxy
        return grid_anchors(per_cell, height, width, self.config.stride)

    def propose(self, feature_map: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Compute the proposals of one image.

        Args:
            feature_map: (C, h, w).
            size_hw: height and width of the image without padding, in network pixels.

        Returns:
            Boxes (R, 4) in network pixels, clipped to the image, and their logits (R,), best first.
        """
        logits, deltas = self.proposal_scores(feature_map[None])
        anchors = self.anchors(*feature_map.shape[1:])
        return select_proposals(logits[0], deltas[0], anchors, size_hw, self.proposal_settings())

    def proposal_settings(self) -> ProposalSettings:
        """Return the settings of the selection of proposals."""
        config = self.config
        return ProposalSettings(
            before_nms=config.proposals_before_nms,
            after_nms=config.max_proposals,
            nms_threshold=config.proposal_nms_threshold,
            min_size_px=config.proposal_min_size_px,
            delta_weights=config.proposal_delta_weights,
        )

    def pooler(self, feature_map: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that pools a map (C, h, w) at boxes (R, 4) in network pixels to (R, C, P, P)."""
        scale, resolution = 1 / self.config.stride, self.config.pooling_resolution
        if self.config.pooling == "max":
            tables = MaxPoolTables(feature_map, resolution)
            return lambda boxes_xyxy: tables(boxes_xyxy, scale)
        return lambda boxes_xyxy: roi_align(feature_map, boxes_xyxy, scale=scale, resolution=resolution)

    def roi_features(self, feature_map: Tensor, boxes_xyxy: Tensor) -> Tensor:
        """Compute features (R, D) of boxes (R, 4) in network pixels, from the feature map (C, h, w)."""
        pool = self.pooler(feature_map)
        if torch.is_grad_enabled():
            return self.roi_heads.encode(pool(boxes_xyxy))
        features = feature_map.new_empty(len(boxes_xyxy), self.config.feature_dim)
        for start in range(0, len(boxes_xyxy), ROI_BATCH_SIZE):
            part = slice(start, start + ROI_BATCH_SIZE)
            features[part] = self.roi_heads.encode(pool(boxes_xyxy[part]))
        return features

    def classify(
        self, features: Tensor, object_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Predict classes, attributes and boxes from features.

        Args:
            features: (R, D).
            object_ids: (R,) int64 classes whose embeddings are input to the attribute prediction, in training
                the true ones; None for the highest-scoring class of each RoI, which may be background (K).

        Returns:
            Class logits (R, K + 1), attribute logits (R, L + 1) or None, and deltas (R, 4K).
        """
        predictions: tuple[Tensor, Tensor | None, Tensor] = self.roi_heads.box_predictor(features, object_ids)
        return predictions

    def predict(
        self, feature_map: Tensor, size_hw: tuple[int, int], boxes_xyxy: Tensor | None = None
    ) -> RoiPredictions:
        """Compute all predictions for the RoIs of one image.

        Args:
            feature_map: (C, h, w).
            size_hw: height and width of the image without padding, in network pixels.
            boxes_xyxy: RoIs (R, 4) in network pixels; None for those of the proposal network.
        """
        proposals = self.propose(feature_map, size_hw)[0] if boxes_xyxy is None else boxes_xyxy
        features = self.roi_features(feature_map, proposals)
        object_logits, attribute_logits, deltas = self.classify(features)
        return RoiPredictions(
            proposals_xyxy=proposals,
            features=features,
            object_logits=object_logits,
            attribute_logits=attribute_logits,
            deltas=deltas,
        )

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Self:
        """Load a detector; incomplete weights are an error.

        Args:
            pretrained_model_name_or_path: a folder or a hub name, in the published layout or ours.
            *args: arguments of `PreTrainedModel.from_pretrained`.
            **kwargs: its keyword arguments, such as `dtype`, `revision`, `token` and `local_files_only`.

        Raises:
            WeightsError: no detector there, or weights that are missing, unexpected or of another shape.
            ConfigurationError: a configuration that this model does not support.
        """
        from lxmert.vision.faster_rcnn.loading import load_detector

        return load_detector(cls, super().from_pretrained, pretrained_model_name_or_path, *args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if not isinstance(module, nn.Conv2d | nn.Linear):
            return
        # Layer by layer: their parents are initialised later, when transformers skips initialised weights.
        if std := self._initial_stds().get(module):
            init.normal_(module.weight, std=std)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _initial_stds(self) -> dict[nn.Module, float]:
        """Initial standard deviations of the heads' weights: Ren et al. 2015; box deltas: Girshick 2015."""
        head, predictor = self.proposal_generator.rpn_head, self.roi_heads.box_predictor
        layers = (head.conv, head.objectness_logits, head.anchor_deltas, predictor.cls_score)
        return dict.fromkeys(layers, 0.01) | {predictor.bbox_pred: 0.001}
