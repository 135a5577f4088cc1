"""Faster R-CNN with an attribute head: the detector whose features LXMERT was trained on."""

from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.extractor import FasterRcnnExtractor
from lxmert.vision.faster_rcnn.modeling import FasterRcnn

__all__ = ["FasterRcnn", "FasterRcnnConfig", "FasterRcnnExtractor"]
