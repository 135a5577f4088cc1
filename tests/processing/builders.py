"""Processors with a small vocabulary, and the pictures, boxes and regions to give them."""

import re

import torch

from lxmert.processing import LxmertProcessor
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.vision import GivenBoxes, PooledPixels, Regions, RegularGrid
from tests.error_assertions import error_message
from tests.synthetic_images import noise_image

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "what",
    "is",
    "this",
    "colour",
    "the",
    "red",
    "?",
    "cat",
    "a",
    "##s",
]
PAD, UNK, CLS, SEP, MASK, WHAT, IS, THIS, COLOUR, THE, RED, ASK, CAT, A, PLURAL = range(len(WORDS))
VISUAL = {"visual_feats", "visual_pos", "visual_attention_mask"}
TEXTUAL = {"input_ids", "attention_mask", "token_type_ids"}
BOXES = [[0.0, 0.0, 15.0, 10.0], [3.0, 2.0, 9.0, 8.0]]


def tokenizer():
    return LxmertTokenizerFast(vocab={word: index for index, word in enumerate(WORDS)})


def build_processor(extractor="boxes", **settings):
    extractors = {
        "boxes": GivenBoxes(PooledPixels(4)),
        "grid": RegularGrid(2, 3, PooledPixels(2)),
        None: None,
    }
    return LxmertProcessor(tokenizer(), extractors[extractor], **settings)


def picture(width=30, height=20, seed=0):
    return noise_image(height, width, seed)


def random_regions(objects=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(objects, 2, generator=generator) * 10
    return Regions(
        boxes_xyxy_px=torch.cat([corners, corners + 5], dim=1),
        features=torch.rand(objects, 5, generator=generator),
        size_hw=(20, 30),
        extractor="by-hand",
    )


def assert_raises_one_line(error, pattern, call):
    assert re.search(pattern, error_message(error, call))
