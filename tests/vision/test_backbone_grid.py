import json
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    DeiTConfig,
    DeiTModel,
    Dinov2Backbone,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ResNetBackbone,
    ResNetConfig,
    ResNetModel,
    SwinBackbone,
    SwinConfig,
    SwinModel,
    TimmBackboneConfig,
    ViTConfig,
    ViTModel,
    YolosConfig,
    YolosModel,
)

from lxmert.errors import ConfigurationError, RegionsError, WeightsError
from lxmert.vision import BackboneEncoder, BackboneGrid, RegionExtractor, build_extractor
from lxmert.vision.backbone_grid import _pool_to_grid, _token_grid
from tests.synthetic_images import smooth_image

TRANSFORMER = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
DINO = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 1}
PATCHES = {"image_size": 32, "patch_size": 8}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1], "layer_type": "basic"}
SWIN = {"embed_dim": 4, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "image_size": 32}
CONVNEXT = {"hidden_sizes": [4, 6], "depths": [1, 1], "num_stages": 2}


def clip_model():
    text = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=text | {"intermediate_size": 8}, vision_config=TRANSFORMER | PATCHES, projection_dim=8
    )
    return CLIPModel(config)


# name: (maker, size, rows and columns of the last map, features)
MODELS = {
    "vit": (lambda: ViTModel(ViTConfig(**TRANSFORMER, **PATCHES)), None, (4, 4), 12),
    "vit, wide": (lambda: ViTModel(ViTConfig(**TRANSFORMER, **PATCHES)), (24, 56), (3, 7), 12),
    "deit": (lambda: DeiTModel(DeiTConfig(**TRANSFORMER, **PATCHES)), None, (4, 4), 12),
    "clip": (clip_model, None, (4, 4), 12),
    "dinov2": (lambda: Dinov2Model(Dinov2Config(**DINO, **PATCHES)), None, (4, 4), 12),
    "dinov2, wide": (lambda: Dinov2Model(Dinov2Config(**DINO, **PATCHES)), (16, 48), (2, 6), 12),
    "registers": (
        lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**DINO, **PATCHES, num_register_tokens=3)),
        None,
        (4, 4),
        12,
    ),
    "dinov2 backbone": (
        lambda: Dinov2Backbone(Dinov2Config(**DINO, **PATCHES, out_features=["stage1"])),
        None,
        (4, 4),
        12,
    ),
    "swin": (lambda: SwinModel(SwinConfig(**SWIN)), None, (4, 4), 8),
    "swin, wide": (lambda: SwinModel(SwinConfig(**SWIN)), (32, 64), (4, 8), 8),
    "swin backbone": (lambda: SwinBackbone(SwinConfig(**SWIN, out_features=["stage2"])), None, (4, 4), 8),
    "convnext": (lambda: ConvNextModel(ConvNextConfig(**CONVNEXT)), (40, 64), (5, 8), 6),
    "resnet": (lambda: ResNetModel(ResNetConfig(**RESNET)), (50, 64), (7, 8), 6),
    "resnet backbone": (
        lambda: ResNetBackbone(ResNetConfig(**RESNET, out_features=["stage2"])),
        64,
        (8, 8),
        6,
    ),
}


def random_model(name):
    torch.manual_seed(5)
    made = MODELS[name][0]()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for buffer_name, buffer in made.named_buffers():  # so that a model left in training mode would show
            if buffer_name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return made


IMAGES = [smooth_image(37, 61), smooth_image(80, 50, 1), smooth_image(64, 64, 2)]


@pytest.mark.parametrize("name", MODELS)
def test_each_cell_of_last_feature_map_becomes_one_region(name):
    _, size, (rows, columns), width = MODELS[name]
    extractor = BackboneGrid(random_model(name).train(), size=size)
    assert isinstance(extractor, RegionExtractor)
    assert (extractor.needs_boxes, extractor.takes_boxes) == (False, False)
    assert extractor.feature_dim == width
    for image, regions in zip(IMAGES, extractor(IMAGES), strict=True):
        assert regions.features.shape == (rows * columns, width)
        assert not regions.features.requires_grad
        high, wide = image.height / rows, image.width / columns
        for index in range(rows * columns):
            row, column = divmod(index, columns)
            expected = [column * wide, row * high, (column + 1) * wide, (row + 1) * high]
            assert regions.boxes_xyxy_px[index].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_painting_one_cell_changes_features_of_that_cell_most(name):
    """Red painted over one cell moves the features of that cell most.

    A map transposed, a class token taken for a patch, or tokens in another order would all fail here. The
    random kernels of a convolutional stack may look mostly at a neighbour, at most two cells away.
    """
    reach = 2 if name.startswith("resnet") else 0
    _, size, (rows, columns), _ = MODELS[name]
    extractor = BackboneGrid(random_model(name), size=size)
    height, width = extractor.size_hw
    plain = Image.new("RGB", (width, height), (90, 120, 100))
    (before,) = extractor([plain])
    right = 0
    for index in range(rows * columns):
        painted = plain.copy()
        box = [round(value) for value in before.boxes_xyxy_px[index].tolist()]
        painted.paste((255, 0, 0), tuple(box))
        (after,) = extractor([painted])
        moved = int((after.features - before.features).norm(dim=1).argmax())
        away = (abs(moved // columns - index // columns), abs(moved % columns - index % columns))
        right += max(away) <= reach
    assert right >= 0.8 * rows * columns


def test_pixels_are_resized_normalised_and_ordered_red_green_blue():
    extractor = BackboneGrid(random_model("vit"), mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    (regions,) = extractor([Image.new("RGB", (70, 30), (255, 0, 51))])
    pixels = torch.tensor([(1 - 0.1) / 0.5, (0 - 0.2) / 0.25, (0.2 - 0.3) / 2.0])[None, :, None, None]
    with torch.no_grad():
        tokens = random_model("vit").eval()(pixel_values=pixels.expand(1, 3, 32, 32)).last_hidden_state[0, 1:]
    assert torch.allclose(regions.features, tokens, atol=1e-5)


def exact_mean(values, top, bottom, left, right):
    """Mean of a map (h, w) under a rectangle, one cell after another, by the area that is covered."""
    total = weight = 0.0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            part = max(0.0, min(bottom, y + 1) - max(top, y)) * max(0.0, min(right, x + 1) - max(left, x))
            total += part * float(values[y, x])
            weight += part
    return total / weight


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_coarser_grid_takes_exact_mean_under_each_cell(height, width, rows, columns):
    values = torch.rand(2, height, width, generator=torch.Generator().manual_seed(1))
    pooled = _pool_to_grid(values, rows, columns)
    assert pooled.shape == (2, rows, columns)
    high, wide = height / rows, width / columns
    for row in range(rows):
        for column in range(columns):
            for channel in range(2):
                expected = exact_mean(
                    values[channel], row * high, (row + 1) * high, column * wide, (column + 1) * wide
                )
                assert float(pooled[channel, row, column]) == pytest.approx(expected, abs=1e-5)


def test_coarser_grid_features_are_means_of_last_feature_map():
    fine = BackboneGrid(random_model("resnet backbone"), size=64)([IMAGES[0]])[0].features.reshape(8, 8, 6)
    (coarse,) = BackboneGrid(random_model("resnet backbone"), rows=2, columns=4, size=64)([IMAGES[0]])
    expected = fine.reshape(2, 4, 4, 2, 6).mean(dim=(1, 3)).reshape(8, 6)
    assert torch.allclose(coarse.features, expected, atol=1e-5)
    assert coarse.boxes_xyxy_px[5].tolist() == pytest.approx([15.25, 18.5, 30.5, 37.0])


@pytest.mark.parametrize("name", ["vit", "swin", "convnext"])
def test_regions_of_image_are_same_alone_and_in_any_batch(name):
    extractor = BackboneGrid(random_model(name), size=MODELS[name][1])
    together = extractor(IMAGES)
    for order in ((0,), (2, 1), (1, 0, 2)):
        for index, regions in zip(order, extractor([IMAGES[index] for index in order]), strict=True):
            assert regions.equals(together[index])
    assert not torch.allclose(together[0].features, together[1].features, atol=1e-3)


def test_grid_loaded_from_folder_is_rebuilt_from_its_description(tmp_path):
    folder = tmp_path / "tiny-vit"
    random_model("vit").save_pretrained(folder)
    normalisation = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "image_processor_type": "X"}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalisation))
    extractor = BackboneGrid(folder, rows=3, columns=2)
    spec = json.loads(json.dumps(extractor.to_dict()))
    assert spec["kind"] == "backbone_grid"
    assert spec["mean"] == [0.5, 0.4, 0.3]
    rebuilt = build_extractor(spec)
    assert rebuilt.identity == extractor.identity
    assert "tiny-vit" in rebuilt.identity
    assert "3x2" in rebuilt.identity
    assert rebuilt([IMAGES[0]])[0].equals(extractor([IMAGES[0]])[0])
    with pytest.raises(WeightsError, match="not those that the features were made with"):
        build_extractor(spec | {"weights_hash": "0" * 12})
    with pytest.raises(ConfigurationError, match="created in memory"):
        BackboneGrid(random_model("vit")).to_dict()


def test_identity_changes_with_model_and_every_setting():
    identities = {
        BackboneGrid(random_model("vit")).identity,
        BackboneGrid(random_model("vit"), rows=2, columns=2).identity,
        BackboneGrid(random_model("vit"), size=48).identity,
        BackboneGrid(random_model("vit"), size=(32, 48)).identity,
        BackboneGrid(random_model("vit"), mean=(0.5, 0.5, 0.5)).identity,
        BackboneGrid(random_model("deit")).identity,
    }
    assert len(identities) == 6
    assert (
        BackboneGrid(random_model("vit")).identity
        == BackboneGrid(random_model("vit"), size=(32, 32)).identity
    )


def test_encoder_accepts_crop_size_other_than_model_image_size():
    encoder = BackboneEncoder(random_model("vit"), size=48)
    assert encoder(IMAGES[0], torch.tensor([[1.0, 2.0, 30.0, 20.0]])).shape == (1, 12)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rows": 2}, "set both"),
        ({"rows": 0, "columns": 2}, "0 rows"),
        ({"rows": 2, "columns": 2.5}, r"2\.5 columns"),
        ({"size": 0}, "whole number of pixels"),
        ({"size": (32, 32, 32)}, "one side, or height and width"),
        ({"size": (32, -1)}, "whole number of pixels"),
        ({"std": (1, 1, 0)}, "three positive numbers"),
        ({"mean": (1, 1)}, "three numbers"),
    ],
)
def test_invalid_grid_settings_are_rejected(wrong, words):
    with pytest.raises(ConfigurationError, match=words):
        BackboneGrid(random_model("vit"), **wrong)


def test_model_without_token_grid_or_unusable_size_raises_one_line_error():
    detector = YolosModel(
        YolosConfig(**TRANSFORMER, **PATCHES | {"image_size": [32, 32]}, num_detection_tokens=5)
    )
    for extractor, words in (
        (BackboneGrid(detector, size=32), "22 tokens for a picture of 32×32"),
        (BackboneGrid(random_model("dinov2"), size=4), "cannot take an image of 4×4"),
    ):
        with pytest.raises(ConfigurationError, match=words) as caught:
            extractor([IMAGES[0]])
        assert "\n" not in str(caught.value)


def test_backbone_grid_rejects_given_boxes():
    with pytest.raises(RegionsError, match="places its own boxes"):
        BackboneGrid(random_model("vit"))([IMAGES[0]], [torch.zeros(0, 4)])


def test_timm_backbone_is_rejected_in_one_line(tmp_path):
    TimmBackboneConfig(backbone="resnet18").save_pretrained(tmp_path)
    for maker in (BackboneGrid, BackboneEncoder):
        with pytest.raises(WeightsError, match="needs timm") as caught:
            maker(tmp_path)
        assert "\n" not in str(caught.value)


def test_grey_and_transparent_images_are_converted_to_rgb():
    extractor = BackboneGrid(random_model("vit"), 2, 2)
    grey, shown = IMAGES[0].convert("L"), IMAGES[0].convert("L").convert("RGB")
    assert extractor([grey])[0].equals(extractor([shown])[0])
    transparent = Image.new("RGBA", (40, 30), (200, 10, 10, 0))  # nothing but white shows
    assert extractor([transparent])[0].equals(extractor([Image.new("RGB", (40, 30), "white")])[0])


def test_to_moves_model_to_device():
    made = BackboneGrid(random_model("vit"))
    assert made.identity.startswith("backbone-grid-as-is/")
    assert made.to("meta") is made
    assert {parameter.device.type for parameter in made.vision_model.model.parameters()} == {"meta"}


def test_features_can_be_used_in_backward_pass():
    regions = BackboneGrid(random_model("vit"), 2, 3)([IMAGES[0]])[0]
    assert not regions.features.is_inference()
    layer = torch.nn.Linear(regions.feature_dim, 2)
    layer(regions.features).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("tokens", "size_hw", "settings", "expected"),
    [
        (12, (18, 24), {"patch_size": 6}, (3, 4, 0)),  # no token but those of patches
        (13, (18, 24), {"patch_size": 6}, (3, 4, 1)),
        (14, (20, 29), {"patch_size": (6, 7)}, (3, 4, 2)),  # what is left of a patch is cut off
        (18, (18, 24), {"patch_size": 6, "num_register_tokens": 5}, (3, 4, 6)),
        (15, (9, 17), {}, (3, 5, 0)),  # patches of 4 pixels, the last ones begun
        (6, (9, 17), {}, (2, 3, 0)),  # 8
        (8, (32, 50), {"patch_size": 4}, (2, 4, 0)),  # merged to 16
        (6, (66, 50), {"patch_size": None}, (3, 2, 0)),  # 32
        (6, (65, 190), {"patch_size": 0}, (2, 3, 0)),  # 64
    ],
)
def test_token_grid_gives_rows_columns_and_number_of_prefix_tokens(tokens, size_hw, settings, expected):
    assert _token_grid(tokens, size_hw, SimpleNamespace(**settings)) == expected


@pytest.mark.parametrize(
    ("tokens", "settings"),
    [(15, {"patch_size": 6}), (11, {"patch_size": 6}), (19, {"num_register_tokens": 5})],
)
def test_number_of_tokens_that_fits_no_grid_is_rejected(tokens, settings):
    with pytest.raises(ConfigurationError, match=f"{tokens} tokens for a picture of 24×18 pixels"):
        _token_grid(tokens, (18, 24), SimpleNamespace(**settings))
