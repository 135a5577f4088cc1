"""Image inputs of every extractor: EXIF orientation, transparency on white, paths, and a single image."""

import numpy as np
import pytest
import torch
from PIL import Image

from lxmert.errors import ImageError, RegionsError
from lxmert.vision import (
    BackboneGrid,
    FasterRcnnConfig,
    FasterRcnnExtractor,
    GivenBoxes,
    PooledPixels,
    RegularGrid,
    TransformersDetector,
)
from lxmert.vision.faster_rcnn.preprocessing import to_network_pixels
from tests.vision.faster_rcnn.random_detectors import random_detector
from tests.vision.small_backbones import small_vit
from tests.vision.small_detectors import small_detector, small_processor

WIDTH, HEIGHT = 60, 40
TRANSPARENT_COLOUR = (0, 200, 0)
BOXES = torch.tensor([[1.0, 2.0, 50.0, 35.0], [40.0, 0.0, 60.0, 40.0]])


EXTRACTORS = {
    "given boxes": lambda: GivenBoxes(PooledPixels(3)),
    "regular grid": lambda: RegularGrid(2, 3, PooledPixels(3)),
    "backbone grid": lambda: BackboneGrid(small_vit(2, side_px=32)),
    "detr": lambda: TransformersDetector(small_detector(), image_processor=small_processor()),
    "faster rcnn": lambda: FasterRcnnExtractor(random_detector()),
}


def make_image(patch_colour="white"):
    """Red, with a blue corner and a patch of a colour."""
    made = Image.new("RGB", (WIDTH, HEIGHT), "red")
    made.paste("blue", (0, 0, 20, 15))
    made.paste(patch_colour, (30, 20, 50, 35))
    return made


@pytest.fixture
def tagged_images(tmp_path):
    """The image as opened and unopened RGB files whose EXIF orientation or transparency must be applied."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    make_image().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    make_image(TRANSPARENT_COLOUR).save(tmp_path / "clear.png", transparency=TRANSPARENT_COLOUR)
    opened = [Image.open(tmp_path / name) for name in ("lying.png", "clear.png")]
    assert [one.mode for one in opened] == ["RGB", "RGB"]
    return [*opened, tmp_path / "lying.png", str(tmp_path / "clear.png")]


@pytest.mark.parametrize("kind", EXTRACTORS)
def test_exif_orientation_and_transparency_are_applied_to_images_and_paths(kind, tagged_images, tmp_path):
    extractor = EXTRACTORS[kind]()

    def extract(*images):
        return extractor(images, [BOXES] * len(images)) if extractor.needs_boxes else extractor(images)

    (expected,) = extract(make_image())
    assert expected.size_hw == (HEIGHT, WIDTH)
    for regions in extract(*tagged_images):
        assert regions.equals(expected)
    with pytest.raises(ImageError, match=r"absent\.png: no such image file"):
        extract(tmp_path / "absent.png")


@pytest.mark.parametrize("kind", EXTRACTORS)
def test_single_image_of_any_source_type_is_accepted(kind, tmp_path):
    extractor = EXTRACTORS[kind]()

    def extract(images):
        return extractor(images, [BOXES]) if extractor.needs_boxes else extractor(images)

    (expected,) = extract([make_image()])
    make_image().save(tmp_path / "one.png")
    pixels = np.asarray(make_image())
    alone = (make_image(), pixels, torch.from_numpy(pixels.copy()).permute(2, 0, 1), tmp_path / "one.png")
    for source in (*alone, str(tmp_path / "one.png"), pixels[None]):
        (regions,) = extract(source)
        assert regions.equals(expected)
    assert extractor([], [] if extractor.needs_boxes else None) == []


def test_network_pixels_respect_exif_orientation_and_transparency(tagged_images):
    config = FasterRcnnConfig(min_size_px=30, max_size_px=50)
    expected = to_network_pixels(make_image(), config)
    assert expected.shape == (3, 30, 45)
    for source in tagged_images[:2]:
        assert torch.equal(to_network_pixels(source, config), expected)


def test_given_boxes_name_the_argument_that_the_extractor_has() -> None:
    with pytest.raises(RegionsError, match=r"pass boxes_xyxy_px=, one \(N, 4\) set for each image \(boxes="):
        GivenBoxes(PooledPixels(3))(make_image())
