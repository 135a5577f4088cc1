"""Small random models in the layout of the published ones: same files, same class counts, few channels."""

from pathlib import Path
from typing import Any

import torch
import yaml

from lxmert import LxmertConfig, LxmertForQuestionAnswering, LxmertProcessor, LxmertTokenizerFast
from lxmert.answers import read_answers
from lxmert.inference.models import embedded_model_folder
from lxmert.vision.faster_rcnn import FasterRcnn
from lxmert.vision.faster_rcnn.extractor import FasterRcnnExtractor
from tests.vision.faster_rcnn.random_detectors import random_detector

MODEL_NAME = "unc-nlp/lxmert-vqa-uncased"
DETECTOR_NAME = "unc-nlp/frcnn-vg-finetuned"

FEATURE_DIM = 128
"""Features per object of the small detector: eight times the channels of its first residual stage."""


def write_small_published_detector(folder: Path) -> FasterRcnn:
    """A small detector of 1,600 classes and 400 attributes as config.yaml and pytorch_model.bin."""
    detector = random_detector(
        num_object_labels=1600, num_attr_labels=400, stage_blocks=(3, 4, 6, 3), max_proposals=60
    )
    config = detector.config
    content = {
        "model": {"max_pool": True, "pixel_mean": config.pixel_mean_bgr, "pixel_std": config.pixel_std_bgr},
        "input": {
            "format": "BGR",
            "min_size_test": config.min_size_px,
            "max_size_test": config.max_size_px,
        },
        "resnets": {
            "depth": 50,
            "stem_out_channels": config.stem_channels,
            "res2_out_channels": config.res2_channels,
            "width_per_group": config.width_per_group,
        },
        "proposal_generator": {"hidden_channels": config.proposal_channels},
        "anchor_generator": {"sizes": [config.anchor_sizes_px], "aspect_ratios": [config.anchor_ratios]},
        "rpn": {
            "pre_nms_topk_test": config.proposals_before_nms,
            "post_nms_topk_test": config.max_proposals,
        },
        "roi_box_head": {"pooler_resolution": config.pooling_resolution},
    }
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    torch.save(detector.state_dict(), folder / "pytorch_model.bin")
    return detector


def write_small_published_model(folder: Path, *, answers: int, features: int = FEATURE_DIM) -> None:
    """A small question-answering model with its vocabulary, without answers and extractor, as on the hub."""
    folder.mkdir(parents=True)
    words = embedded_model_folder() / "vocab.txt"
    (folder / "vocab.txt").write_bytes(words.read_bytes())
    torch.manual_seed(1)
    config = LxmertConfig(
        vocab_size=len(words.read_text().splitlines()),
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=16,
        l_layers=1,
        x_layers=1,
        r_layers=1,
        visual_feat_dim=features,
        num_qa_labels=answers,
    )
    model = LxmertForQuestionAnswering(config)
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "tf_model.h5").write_bytes(b"weights for another library")


def write_small_model_with_detector(folder: Path, **settings: Any) -> None:
    """A model folder whose processor detects objects with a small detector of named classes in the folder.

    Args:
        folder: the folder to make.
        **settings: of the `FasterRcnnExtractor`.
    """
    write_small_published_model(folder, answers=36)
    shapes = ["circle", "square", "triangle", "star", "heart", "cross", "ring"]
    looks = ["small red solid", "large blue hollow", "small green striped", "large red solid", "small cyan"]
    detector = random_detector(object_names=shapes, attribute_names=looks)
    detector.save_pretrained(folder / "detector")
    LxmertProcessor(
        LxmertTokenizerFast(vocab_file=str(folder / "vocab.txt")),
        FasterRcnnExtractor(str(folder / "detector"), **settings),
        read_answers(embedded_model_folder() / "answers.json"),
    ).save_pretrained(folder)
