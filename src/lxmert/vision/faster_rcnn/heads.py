"""The region proposal head and the RoI head of the detector.

Source: Ren et al. 2015 (Faster R-CNN) and, for the attributes, Anderson et al. 2018 (arXiv 1707.07998).

Shapes: B images, C channels and h × w cells of the feature map, A anchors per cell, R RoIs, D features,
K object classes, L attributes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lxmert.vision.faster_rcnn.anchors import cell_anchors
from lxmert.vision.faster_rcnn.backbone import build_stage, feature_map_channels
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig


class AnchorGenerator(nn.Module):
    """Holds the anchors of one cell as a buffer, which published weights contain as `cell_anchors.0`."""

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.cell_anchors = nn.Module()
        anchors = cell_anchors(config.anchor_sizes_px, config.anchor_ratios)
        self.cell_anchors.register_buffer("0", anchors)

    @property
    def per_cell_xyxy(self) -> Tensor:
        """Anchors of the cell at the origin, (A, 4) in network pixels."""
        return self.cell_anchors.get_buffer("0")


class ProposalHead(nn.Module):
    """Predicts the objectness and the box deltas of each anchor."""

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        width, anchors = config.proposal_channels, config.anchors_per_cell
        self.conv = nn.Conv2d(feature_map_channels(config), width, 3, padding=1)
        self.objectness_logits = nn.Conv2d(width, anchors, 1)
        self.anchor_deltas = nn.Conv2d(width, 4 * anchors, 1)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> logits (B, h·w·A), deltas (B, h·w·A, 4), both in the order y, x, anchor."""
        hidden = F.relu_(self.conv(feature_map))
        logits = self.objectness_logits(hidden).permute(0, 2, 3, 1)  # (B, h, w, A)
        deltas = self.anchor_deltas(hidden).permute(0, 2, 3, 1)  # (B, h, w, 4A)
        return logits.flatten(1), deltas.reshape(len(deltas), -1, 4)


class ProposalGenerator(nn.Module):
    """The region proposal network: anchors and the head that scores them."""

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.anchor_generator = AnchorGenerator(config)
        self.rpn_head = ProposalHead(config)


class BoxPredictor(nn.Module):
    """Predicts the class, box deltas and attribute of an RoI from its feature vector."""

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        features, classes = config.feature_dim, config.num_object_labels
        self.cls_score = nn.Linear(features, classes + 1)
        self.bbox_pred = nn.Linear(features, 4 * classes)
        self.has_attributes = config.num_attr_labels > 0
        if self.has_attributes:
            self.cls_embedding = nn.Embedding(classes + 1, config.class_embedding_channels)
            self.fc_attr = nn.Linear(features + config.class_embedding_channels, config.attribute_channels)
            self.attr_score = nn.Linear(config.attribute_channels, config.num_attr_labels + 1)

    def forward(
        self, features: Tensor, object_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Predict from features (R, D).

        Args:
            features: (R, D).
            object_ids: (R,) int64 classes whose embeddings are input to the attribute prediction; None for
                the highest-scoring class of each RoI, which may be background (K).

        Returns:
            Class logits (R, K + 1) and attribute logits (R, L + 1), background last in both, or None without
            attributes; deltas (R, 4K), grouped by class.
        """
        object_logits = self.cls_score(features)
        deltas = self.bbox_pred(features)
        if not self.has_attributes:
            return object_logits, None, deltas
        classes = object_logits.argmax(dim=1) if object_ids is None else object_ids
        joined = torch.cat([features, self.cls_embedding(classes)], dim=1)
        attribute_logits = self.attr_score(F.relu(self.fc_attr(joined)))
        return object_logits, attribute_logits, deltas


class RoiHeads(nn.Module):
    """res5, applied to pooled RoIs, and the predictor."""

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.res5 = build_stage(config, 5, stride=1, dilation=config.roi_dilation)
        self.box_predictor = BoxPredictor(config)

    def encode(self, pooled: Tensor) -> Tensor:
        """Pooled RoIs (R, C, P, P) -> features (R, D), non-negative."""
        features: Tensor = self.res5(pooled).mean(dim=(2, 3))
        return features
