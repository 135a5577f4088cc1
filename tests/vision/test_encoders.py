import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import (
    ResNetBackbone,
    ResNetConfig,
    ResNetModel,
    ViTMAEConfig,
    ViTMAEModel,
    ViTModel,
)

from lxmert.errors import ConfigurationError, RegionsError, WeightsError
from lxmert.vision import (
    BackboneEncoder,
    GivenBoxes,
    PooledPixels,
    RegionExtractor,
    RegularGrid,
    build_encoder,
    build_extractor,
)
from lxmert.vision.vision_model import VisionModel, resize_to_unit_tensor
from tests.synthetic_images import noise_image
from tests.vision.small_backbones import small_vit


def mean_under(values, left, top, right, bottom):
    """Mean of a picture under a rectangle, one pixel after another, each by the area that is covered."""
    total, weight = np.zeros(3), 0.0
    for y in range(math.floor(top), min(math.ceil(bottom), len(values))):  # 7.000000000000001 rows are 7
        for x in range(math.floor(left), min(math.ceil(right), values.shape[1])):
            part = (min(right, x + 1) - max(left, x)) * (min(bottom, y + 1) - max(top, y))
            total += part * values[y, x]
            weight += part
    return total / weight / 127.5 - 1


def pooled_one_by_one(image, box, size):
    values = np.asarray(image).astype(float)
    x1, y1, x2, y2 = box
    width, height = (x2 - x1) / size, (y2 - y1) / size
    pooled = np.zeros((3, size, size))
    for row in range(size):
        for column in range(size):
            left, top = x1 + column * width, y1 + row * height
            pooled[:, row, column] = mean_under(values, left, top, left + width, top + height)
    return pooled.reshape(-1)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_pooled_pixels_equal_the_mean_under_each_cell(size):
    image = noise_image(13, 29)
    boxes = torch.tensor(
        [
            [0.0, 0.0, 29.0, 13.0],
            [3.25, 2.5, 17.75, 9.125],
            [4.0, 5.0, 6.0, 6.0],  # narrower than the grid
            [7.3, 8.6, 7.9, 8.7],  # inside one pixel
            [28.5, 12.5, 29.0, 13.0],  # the last corner
            [5.9, 3.9, 6.1, 4.1],  # less than a pixel, across four
        ]
    )
    found = PooledPixels(size)(image, boxes)
    assert found.shape == (6, 3 * size * size)
    assert found.dtype == torch.float32
    for row, box in enumerate(boxes.double().tolist()):
        assert np.allclose(found[row].numpy(), pooled_one_by_one(image, box, size), atol=2e-6), box


@given(
    st.integers(1, 5),
    st.tuples(*[st.floats(0, 1, width=32)] * 4),
)
@settings(max_examples=40, deadline=None)
def test_pooled_pixels_of_any_box_equal_the_mean_under_each_cell(size, corners):
    height, width = 7, 11
    x1, x2 = sorted(corner * width for corner in corners[:2])
    y1, y2 = sorted(corner * height for corner in corners[2:])
    box = torch.tensor([[x1, y1, max(x2, x1 + 0.01), max(y2, y1 + 0.01)]])
    box = torch.minimum(box, torch.tensor([width, height, width, height], dtype=torch.float32))
    if box[0, 2] - box[0, 0] < 0.005 or box[0, 3] - box[0, 1] < 0.005:
        return
    image = noise_image(height, width, seed=1)
    expected = pooled_one_by_one(image, box[0].double().tolist(), size)
    assert np.allclose(PooledPixels(size)(image, box)[0].numpy(), expected, atol=1e-5)


def test_box_of_exact_pooling_size_gives_its_own_pixels():
    image = noise_image(20, 30)
    found = PooledPixels(5)(image, torch.tensor([[7.0, 3.0, 12.0, 8.0]]))
    crop = np.asarray(image)[3:8, 7:12].transpose(2, 0, 1).reshape(-1) / 127.5 - 1
    assert np.allclose(found[0].numpy(), crop, atol=1e-6)


def test_pooled_pixels_keep_rgb_channel_order():
    found = PooledPixels(2)(Image.new("RGB", (9, 9), (255, 51, 0)), torch.tensor([[1.5, 1.0, 8.0, 8.0]]))
    assert torch.allclose(found, torch.tensor([[1.0] * 4 + [-0.6] * 4 + [-1.0] * 4]))


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "8"])
def test_invalid_pooling_size_is_rejected(size):
    with pytest.raises(ConfigurationError, match="whole number"):
        PooledPixels(size)


def test_given_boxes_regions_carry_identity_image_size_and_clamped_boxes():
    extractor = GivenBoxes(PooledPixels(4))
    image = noise_image(20, 30)
    boxes = [[1.0, 2.0, 5.0, 9.0], [0.0, 0.0, 30.5, 20.0]]
    (regions,) = extractor([image], [boxes])
    assert regions.extractor == extractor.identity == "given-boxes/pooled-pixels-4"
    assert regions.size_hw == (20, 30)
    assert regions.feature_dim == extractor.feature_dim == 48
    assert regions.boxes_xyxy_px.tolist() == [[1.0, 2.0, 5.0, 9.0], [0.0, 0.0, 30.0, 20.0]]
    assert isinstance(extractor, RegionExtractor)


def test_each_image_is_computed_as_if_alone():
    images = [noise_image(20, 30), noise_image(50, 10, 1), noise_image(33, 33, 2)]
    boxes = [
        torch.tensor([[1.0, 1.0, 9.0, 9.0]]),
        torch.tensor([[0.0, 5.0, 9.5, 9.0]] * 3),
        torch.zeros(0, 4),
    ]
    extractor = GivenBoxes(PooledPixels(3))
    together = extractor(images, boxes)
    assert [len(one) for one in together] == [1, 3, 0]
    for index in (2, 0, 1):
        (alone,) = extractor([images[index]], [boxes[index]])
        assert alone.equals(together[index])


def test_given_boxes_demand_boxes_for_every_image():
    extractor = GivenBoxes(PooledPixels(3))
    with pytest.raises(RegionsError, match="pass boxes"):
        extractor([noise_image(5, 5)])
    with pytest.raises(RegionsError, match="1 sets of boxes for 2 images"):
        extractor([noise_image(5, 5)] * 2, [torch.tensor([[0.0, 0.0, 2.0, 2.0]])])
    with pytest.raises(RegionsError, match="box 0 "):
        extractor([noise_image(5, 5)], [torch.tensor([[0.0, 0.0, 20.0, 2.0]])])


def test_images_of_other_modes_are_taken_as_rgb():
    grey = Image.new("L", (8, 8), 51)
    (regions,) = GivenBoxes(PooledPixels(1))([grey], [[[0, 0, 8, 8]]])
    assert regions.features.tolist()[0] == pytest.approx([-0.6, -0.6, -0.6])


def test_grid_covers_image_row_by_row():
    extractor = RegularGrid(2, 3, PooledPixels(1))
    image = Image.new("RGB", (9, 4))
    for row in range(2):
        for column in range(3):
            image.paste((row * 100, column * 50, 0), (column * 3, row * 2, column * 3 + 3, row * 2 + 2))
    (regions,) = extractor([image])
    assert regions.boxes_xyxy_px.tolist()[:4] == [[0, 0, 3, 2], [3, 0, 6, 2], [6, 0, 9, 2], [0, 2, 3, 4]]
    colours = ((regions.features + 1) * 127.5).round().int().tolist()
    assert colours == [[0, 0, 0], [0, 50, 0], [0, 100, 0], [100, 0, 0], [100, 50, 0], [100, 100, 0]]
    assert regions.extractor == "regular-grid-2x3/pooled-pixels-1"


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=40, deadline=None)
def test_grid_tiles_each_have_equal_share_of_image_area(rows, columns, height, width):
    (regions,) = RegularGrid(rows, columns, PooledPixels(1))([Image.new("RGB", (width, height))])
    boxes = regions.boxes_xyxy_unit()
    assert len(boxes) == rows * columns
    assert ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) * rows * columns).tolist() == pytest.approx(
        [1.0] * rows * columns, rel=1e-3
    )


def test_grid_rejects_boxes_and_impossible_sizes():
    with pytest.raises(RegionsError, match="places its own boxes"):
        RegularGrid(2, 2, PooledPixels(1))([noise_image(5, 5)], [torch.zeros(0, 4)])
    for rows, columns in ((0, 2), (2, -1), (1.5, 2)):
        with pytest.raises(ConfigurationError, match="whole number"):
            RegularGrid(rows, columns, PooledPixels(1))


@pytest.mark.parametrize(
    "extractor", [GivenBoxes(PooledPixels(10)), RegularGrid(3, 4, PooledPixels(2))], ids=["boxes", "grid"]
)
def test_extractor_is_rebuilt_from_its_description(extractor):
    spec = json.loads(json.dumps(extractor.to_dict()))
    rebuilt = build_extractor(spec)
    assert rebuilt.identity == extractor.identity
    assert rebuilt.to_dict() == extractor.to_dict()
    assert spec["kind"] in ("given_boxes", "regular_grid")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "unknown kind of extractor None"),
        ({"kind": ["regular_grid"]}, r"unknown kind of extractor \['regular_grid'\]"),
        ({"kind": {}}, "unknown kind of extractor"),
        ({"kind": "regular_grid", 1: 2, "rowes": 3}, "unknown 1, unknown 'rowes'"),
        ({"kind": "given_boxes", "encoder": {"kind": []}}, "unknown kind of encoder"),
        ({"kind": "magic"}, "'magic'; expected one of .*given_boxes.*, regular_grid"),
        ("given_boxes", "mapping"),
        ({"kind": "given_boxes"}, "missing 'encoder'"),
        ({"kind": "given_boxes", "encoder": {"kind": "eye"}}, "unknown kind of encoder 'eye'"),
        ({"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "sise": 3}}, "unknown 'sise'"),
        ({"kind": "regular_grid", "encoder": {"kind": "pooled_pixels"}}, "missing 'columns', missing 'rows'"),
        ({"kind": "given_boxes", "encoder": None}, "mapping"),
    ],
)
def test_descriptions_with_faults_are_rejected(spec, words):
    with pytest.raises(ConfigurationError, match=words):
        build_extractor(spec)


def tiny_resnet(kind=ResNetModel):
    torch.manual_seed(4)
    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    model = kind(config)
    with torch.no_grad():  # random statistics, so that a model left in training mode would show
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
    return model


BOXES = torch.tensor([[0.0, 0.0, 30.0, 20.0], [3.3, 4.4, 8.8, 9.9], [11.2, 7.1, 11.6, 7.9]])


@pytest.mark.parametrize(
    ("model", "size", "width"),
    [(small_vit(), None, 12), (tiny_resnet(), 32, 6), (tiny_resnet(ResNetBackbone), 32, 6)],
    ids=["vit", "resnet", "backbone"],
)
def test_backbone_encodes_each_box_independently_of_the_others(model, size, width):
    encoder = BackboneEncoder(model.train(), size=size)
    assert encoder.size == (size or 16)
    assert encoder.feature_dim == width
    found = encoder(noise_image(20, 30), BOXES)
    assert found.shape == (3, width)
    assert torch.isfinite(found).all()
    assert not found.requires_grad
    for index in range(3):
        alone = encoder(noise_image(20, 30), BOXES[index : index + 1])
        assert torch.allclose(alone[0], found[index], atol=1e-5)
    assert encoder(noise_image(20, 30), BOXES[:0]).shape == (0, width)


def test_backbone_feature_is_mean_of_tokens_of_normalised_crop():
    model = small_vit()
    encoder = BackboneEncoder(model, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    image = Image.new("RGB", (40, 40), (255, 0, 0))
    image.paste((0, 255, 51), (10, 5, 30, 25))
    found = encoder(image, torch.tensor([[12.0, 7.0, 28.0, 23.0]]))
    pixels = torch.tensor([(0 - 0.1) / 0.5, (1 - 0.2) / 0.25, (0.2 - 0.3) / 2.0])
    with torch.no_grad():
        tokens = model.eval()(pixel_values=pixels[None, :, None, None].expand(1, 3, 16, 16)).last_hidden_state
    assert torch.allclose(found[0], tokens[0].mean(dim=0), atol=1e-5)


def test_masked_autoencoder_is_rejected_but_its_weights_load_as_plain_vit(tmp_path):
    torch.manual_seed(1)
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    masked = ViTMAEModel(ViTMAEConfig(**sizes, image_size=16, patch_size=4, mask_ratio=0.75)).eval()
    with pytest.raises(ConfigurationError, match="ViTMAEModel hides patches at random"):
        BackboneEncoder(masked)
    masked.save_pretrained(tmp_path / "masked")
    # What the error advises.
    ViTModel.from_pretrained(tmp_path / "masked", add_pooling_layer=False).save_pretrained(tmp_path / "plain")
    found = BackboneEncoder(tmp_path / "plain")(noise_image(20, 30), BOXES[:1])
    masked.config.mask_ratio = 0.0
    pixels = VisionModel(small_vit()).normalisation(
        resize_to_unit_tensor(noise_image(20, 30), (16, 16), BOXES[0])[None]
    )
    with torch.no_grad():
        tokens = masked(pixel_values=pixels, noise=torch.arange(16.0)[None]).last_hidden_state
    assert torch.allclose(found[0], tokens[0].mean(dim=0), atol=1e-5)


def test_identity_changes_with_weights_size_and_normalisation():
    other = small_vit()
    with torch.no_grad():
        other.layernorm.bias[0] += 1e-3
    identities = {
        BackboneEncoder(small_vit()).identity,
        BackboneEncoder(other).identity,
        BackboneEncoder(tiny_resnet(), size=16).identity,
        BackboneEncoder(tiny_resnet(), size=32).identity,
        BackboneEncoder(tiny_resnet(), size=32, mean=(0.5, 0.5, 0.5)).identity,
    }
    assert len(identities) == 5
    assert BackboneEncoder(small_vit()).identity == BackboneEncoder(small_vit()).identity


def test_backbone_loaded_from_folder_is_rebuilt_from_its_description(tmp_path):
    folder = tmp_path / "tiny-vit"
    small_vit().save_pretrained(folder)
    normalisation = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "image_processor_type": "X"}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalisation))
    encoder = BackboneEncoder(str(folder))
    assert encoder.mean == (0.5, 0.4, 0.3)
    assert encoder.std == (0.2, 0.3, 0.4)
    assert "tiny-vit" in encoder.identity
    rebuilt = build_encoder(json.loads(json.dumps(encoder.to_dict())))
    assert rebuilt.identity == encoder.identity
    assert torch.equal(rebuilt(noise_image(20, 30), BOXES), encoder(noise_image(20, 30), BOXES))
    spec = encoder.to_dict()
    tiny_resnet(ResNetBackbone).save_pretrained(tmp_path / "backbone")
    assert BackboneEncoder(tmp_path / "backbone", size=32).feature_dim == 6
    with pytest.raises(WeightsError, match="not those that the features were made with"):
        build_encoder(spec | {"weights_hash": "0" * 12})


def test_backbone_created_in_memory_has_no_description():
    with pytest.raises(ConfigurationError, match="created in memory"):
        BackboneEncoder(small_vit()).to_dict()


def test_folder_without_model_is_rejected_in_one_line(tmp_path):
    with pytest.raises(WeightsError, match="no vision model") as caught:
        BackboneEncoder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"size": 0}, {"mean": (0.5, 0.5)}, {"std": (0.5, 0.0, 0.5)}, {"mean": "no"}]
)
def test_invalid_backbone_settings_are_rejected(settings):
    with pytest.raises(ConfigurationError):
        BackboneEncoder(small_vit(), **settings)
