"""`VisionModel`: checkpoints with missing weights, and normalisation as its image processor does it."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    EfficientNetImageProcessorPil,
    FunnelConfig,
    FunnelModel,
    MobileViTConfig,
    MobileViTImageProcessorPil,
    MobileViTModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

from lxmert.errors import ConfigurationError, IncompleteWeightsError, WeightsError
from lxmert.vision import BackboneEncoder, BackboneGrid, TransformersDetector, build_encoder, build_extractor
from lxmert.vision.normalisation import IMAGENET_MEAN, IMAGENET_STD
from lxmert.vision.vision_model import VisionModel
from lxmert.weights.fingerprint import hash_weights

SIDE = 16
VIT = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "image_size": SIDE,
    "patch_size": 8,
}
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def save_random_model(model, folder):
    torch.manual_seed(6)
    model(ViTConfig(**VIT)).save_pretrained(folder)
    return folder


def change_weights(folder, change):
    """Rewrite the tensors of a folder; `change` makes a tensor, or None, of a name and a tensor."""
    path = folder / "model.safetensors"
    changed = {name: change(name, tensor) for name, tensor in load_file(path).items()}
    save_file(
        {name: tensor for name, tensor in changed.items() if tensor is not None}, path, {"format": "pt"}
    )


def drop_tensors(part):
    return lambda name, tensor: None if part in name else tensor


def test_classifier_without_pooler_has_same_identity_at_every_load(tmp_path):
    folder = save_random_model(ViTForImageClassification, tmp_path / "classifier")
    assert not [name for name in load_file(folder / "model.safetensors") if "pooler" in name]
    grid, encoder = BackboneGrid(folder), BackboneEncoder(folder)
    assert BackboneGrid(folder).identity == grid.identity
    assert BackboneEncoder(folder).identity == encoder.identity
    assert build_extractor(json.loads(json.dumps(grid.to_dict()))).identity == grid.identity
    assert build_encoder(json.loads(json.dumps(encoder.to_dict()))).identity == encoder.identity
    pixels = torch.rand(1, 3, SIDE, SIDE)
    classifier = ViTForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = classifier.vit(grid.vision_model.normalisation(pixels)).last_hidden_state
    assert torch.allclose(grid.vision_model(pixels), expected, atol=1e-5)


def test_incomplete_pooler_is_left_out_of_identity(tmp_path):
    folder = save_random_model(ViTModel, tmp_path)
    change_weights(folder, drop_tensors("pooler.dense.weight"))
    assert BackboneGrid(folder).identity == BackboneGrid(folder).identity


def test_pooler_of_checkpoint_changes_weights_hash(tmp_path):
    folder = save_random_model(ViTModel, tmp_path)
    assert VisionModel(folder).weights_hash == hash_weights(ViTModel.from_pretrained(folder))
    before = VisionModel(folder).weights_hash
    change_weights(folder, lambda name, tensor: tensor + 1 if "pooler" in name else tensor)
    assert VisionModel(folder).weights_hash != before


def shorten_layernorm_weight(name, tensor):
    return tensor[:-1].contiguous() if name.endswith("layernorm.weight") else tensor


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop_tensors("patch_embeddings.projection.bias"), r"1 missing \(embeddings.patch_embeddings"),
        (drop_tensors("layernorm"), "missing"),
        (shorten_layernorm_weight, r"with another shape \(layernorm.weight: checkpoint 11, model 12\)"),
    ],
)
@pytest.mark.parametrize("has_pooler", [True, False])
def test_missing_or_misshapen_weights_besides_pooler_are_rejected(has_pooler, change, words, tmp_path):
    folder = save_random_model(ViTModel, tmp_path)
    change_weights(folder, change)
    if not has_pooler:
        change_weights(folder, drop_tensors("pooler"))
    for maker in (BackboneGrid, BackboneEncoder):
        with pytest.raises(IncompleteWeightsError, match=words) as caught:
            maker(folder)
        assert "pooler" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_weights_that_no_feature_uses_do_not_change_weights_hash(tmp_path):
    text = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config=text | {"intermediate_size": 8}, vision_config=VIT, projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    whole = VisionModel(tmp_path / "clip").weights_hash
    change_weights(tmp_path / "clip", drop_tensors("text_model"))
    assert VisionModel(tmp_path / "clip").weights_hash == whole
    change_weights(tmp_path / "clip", drop_tensors("layers.1"))
    with pytest.raises(IncompleteWeightsError, match=r"missing \(vision_model"):
        VisionModel(tmp_path / "clip")
    resnet = ResNetConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic")
    ResNetModel(resnet).save_pretrained(tmp_path / "resnet")
    whole = VisionModel(tmp_path / "resnet").weights_hash
    change_weights(tmp_path / "resnet", drop_tensors("num_batches_tracked"))
    assert VisionModel(tmp_path / "resnet").weights_hash == whole


def test_text_models_and_objects_that_are_no_model_are_rejected(tmp_path):
    FunnelModel(FunnelConfig(vocab_size=9, block_sizes=[1], d_model=4, n_head=1, d_head=4)).save_pretrained(
        tmp_path
    )
    with pytest.raises(WeightsError, match="'funnel', not a vision model"):
        BackboneGrid(tmp_path)
    sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, intermediate_size=8)).save_pretrained(tmp_path / "bert")
    for maker in (BackboneGrid, BackboneEncoder):
        with pytest.raises(WeightsError, match="'bert', not a vision model"):
            maker(tmp_path / "bert")
    for maker in (BackboneGrid, BackboneEncoder, TransformersDetector):
        with pytest.raises(ConfigurationError, match="model is 5; expected a model of transformers"):
            maker(5)


def captured_pixel_values(extractor, call):
    """The pixels that the model of an extractor is given during a call."""
    seen = []
    hook = extractor.vision_model.model.register_forward_pre_hook(
        lambda model, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    call(extractor)
    hook.remove()
    return seen[0]


PROCESSORS = {
    "rescaled and normalised": ViTImageProcessorPil(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]),
    "not normalised": ViTImageProcessorPil(do_normalize=False),
    "not rescaled": ViTImageProcessorPil(
        do_rescale=False, image_mean=[120.0, 110.0, 100.0], image_std=[60.0, 50.0, 40.0]
    ),
    "neither rescaled nor normalised": ViTImageProcessorPil(do_rescale=False, do_normalize=False),
    "rescale factor of 1/127.5": ViTImageProcessorPil(rescale_factor=1 / 127.5, image_mean=[1.0, 0.9, 0.8]),
    "one mean and std for all channels": ViTImageProcessorPil(image_mean=0.3, image_std=0.7),
    "bgr": MobileViTImageProcessorPil(),
    "bgr, not rescaled": MobileViTImageProcessorPil(do_rescale=False),
    "rgb": MobileViTImageProcessorPil(do_flip_channel_order=False),
    "divided by std twice": EfficientNetImageProcessorPil(image_std=[0.4, 0.5, 0.6]),
    "divided by std once": EfficientNetImageProcessorPil(include_top=False),
    "rescale offset": EfficientNetImageProcessorPil(
        rescale_factor=1 / 100, rescale_offset=True, do_normalize=False, include_top=False
    ),
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_model_receives_pixel_values_of_its_image_processor(kind, tmp_path):
    folder = save_random_model(ViTModel, tmp_path / "model")
    PROCESSORS[kind].save_pretrained(folder)
    expected = PROCESSORS[kind](
        images=PICTURE, do_resize=False, do_center_crop=False, return_tensors="pt"
    ).pixel_values
    whole = torch.tensor([[0.0, 0.0, SIDE, SIDE]])
    grid, encoder = BackboneGrid(folder), BackboneEncoder(folder)
    PROCESSORS["rescaled and normalised"].save_pretrained(folder)  # which must not matter to what is rebuilt
    for extractor, call in (
        (grid, lambda one: one([PICTURE])),
        (build_extractor(json.loads(json.dumps(grid.to_dict()))), lambda one: one([PICTURE])),
        (encoder, lambda one: one(PICTURE, whole)),
        (build_encoder(json.loads(json.dumps(encoder.to_dict()))), lambda one: one(PICTURE, whole)),
    ):
        seen = captured_pixel_values(extractor, call)
        assert torch.allclose(seen, expected.float(), rtol=1e-5, atol=1e-5)


def test_bgr_model_features_equal_those_of_transformers(tmp_path):
    torch.manual_seed(1)
    config = MobileViTConfig(
        hidden_sizes=[16, 16, 16],
        neck_hidden_sizes=[8, 8, 8, 16, 16, 16, 16],
        image_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = MobileViTModel(config)
    with torch.no_grad():  # of small weights and strange statistics, nothing would be left at the end
        for part in model.modules():
            if isinstance(part, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(part.weight)
            elif isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 1.0
        model.train()(torch.rand(8, 3, 64, 64))
    model.eval().save_pretrained(tmp_path)
    processor = MobileViTImageProcessorPil()
    processor.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    # As on the hub: nothing is said of a normalisation, because there is none.
    kept = {name: value for name, value in settings.items() if not name.startswith(("image_m", "image_s"))}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(kept))
    picture = PICTURE.resize((64, 64), Image.Resampling.BICUBIC)
    pixels = processor(
        images=picture, do_resize=False, do_center_crop=False, return_tensors="pt"
    ).pixel_values
    with torch.no_grad():
        expected, other = (model(one).last_hidden_state[0].flatten(1).T for one in (pixels, pixels.flip(1)))
    (regions,) = BackboneGrid(tmp_path, size=64)([picture])
    assert (expected - other).abs().max() > 0.02
    assert torch.allclose(regions.features, expected, atol=1e-4)


def normalisation_of(folder, **given):
    made = VisionModel(folder, **given).normalisation
    return made.mean, made.std, made.channel_order


def test_missing_preprocessor_settings_default_to_those_of_image_processor_class(tmp_path):
    folder, settings = (
        save_random_model(ViTModel, tmp_path / "model"),
        tmp_path / "model" / "preprocessor_config.json",
    )
    for content, expected in (
        (None, (IMAGENET_MEAN, IMAGENET_STD, "rgb")),
        ({"image_processor_type": "ViTImageProcessor"}, ((0.5,) * 3, (0.5,) * 3, "rgb")),
        ({"feature_extractor_type": "ViTFeatureExtractor"}, ((0.5,) * 3, (0.5,) * 3, "rgb")),
        ({"feature_extractor_type": "MobileViTFeatureExtractor"}, ((0.0,) * 3, (1.0,) * 3, "bgr")),
        ({"image_processor_type": "Unheard"}, (IMAGENET_MEAN, IMAGENET_STD, "rgb")),
        ({"image_processor_type": "Unheard", "do_normalize": False}, ((0.0,) * 3, (1.0,) * 3, "rgb")),
        # Factors that were written with less digits are 1/255 all the same.
        (
            {"image_processor_type": "ViTImageProcessor", "rescale_factor": 0.00392157},
            ((0.5,) * 3,) * 2 + ("rgb",),
        ),
    ):
        if content is not None:
            settings.write_text(json.dumps(content))
        assert normalisation_of(folder) == expected
    given = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "channel_order": "bgr"}
    assert normalisation_of(folder, **given) == tuple(given.values())


def test_loaded_model_takes_normalisation_from_its_folder(tmp_path):
    folder = save_random_model(ViTModel, tmp_path / "vit")
    ViTImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(folder)
    loaded = ViTModel.from_pretrained(folder)
    assert VisionModel(loaded).normalisation.mean == (0.5, 0.5, 0.5)
    assert BackboneGrid(loaded).identity == BackboneGrid(folder).identity
    assert VisionModel(ViTModel(ViTConfig(**VIT))).normalisation.mean == IMAGENET_MEAN
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(
        ConfigurationError, match=r"vit, where its normalisation cannot be .*\(no such folder\)"
    ):
        VisionModel(loaded)
    whole = VisionModel(loaded, mean=(0.1,) * 3, std=(0.2,) * 3, channel_order="bgr")
    assert whole.normalisation.mean == (0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"image_processor_type": "ImageGPTImageProcessor"}, "do_color_quantize"),
        ({"image_processor_type": "Unheard", "do_grayscale": True}, "do_grayscale"),
        ({"image_processor_type": "Unheard", "rescale_factor": "x"}, "rescale_factor must be a number"),
        ({"image_processor_type": "Unheard", "rescale_factor": math.nan}, "rescale_factor must be a number"),
        ({"image_processor_type": "Unheard", "image_mean": [1, 2]}, "image_mean is .* three numbers"),
    ],
)
def test_unsupported_image_processor_settings_are_rejected(content, words, tmp_path):
    save_random_model(ViTModel, tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match=words) as caught:
        BackboneGrid(tmp_path)
    assert "\n" not in str(caught.value)
    BackboneGrid(tmp_path, mean=(0.5,) * 3, std=(0.5,) * 3, channel_order="rgb")


def test_channel_order_changes_identity_only_if_bgr(tmp_path):
    folder = save_random_model(ViTModel, tmp_path)
    plain = BackboneGrid(folder)
    assert BackboneGrid(folder, channel_order="rgb").identity == plain.identity
    assert BackboneGrid(folder, channel_order="bgr").identity != plain.identity
    with pytest.raises(ConfigurationError, match="channel_order is 'gbr'; expected rgb or bgr"):
        BackboneEncoder(folder, channel_order="gbr")
