import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lxmert.errors import ConfigurationError, ImageError, RegionsError, WeightsError
from lxmert.vision import FasterRcnnExtractor, RegionExtractor, build_extractor
from lxmert.vision.faster_rcnn import FasterRcnnConfig, extractor
from lxmert.vision.faster_rcnn.extraction_settings import ExtractionSettings
from lxmert.vision.faster_rcnn.preprocessing import to_network_pixels
from lxmert.vision.faster_rcnn.selection import SelectionSettings, select_detections
from lxmert.weights.fingerprint import hash_weights
from tests.synthetic_images import noise_image
from tests.vision.faster_rcnn.random_detectors import random_detector


@pytest.fixture(scope="module")
def detector():
    return random_detector(object_names=[f"object {k}" for k in range(7)])


@pytest.fixture(scope="module")
def extract(detector):
    return FasterRcnnExtractor(detector)


@pytest.fixture(scope="module")
def folder(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "small-detector"
    detector.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def single_image_regions(extract):
    """The regions of each image, looked at by itself."""
    return [extract([image])[0] for image in IMAGES]


SIZES = [(60, 80), (31, 90), (200, 40), (60, 80), (120, 160)]
IMAGES = [noise_image(*size, seed=index) for index, size in enumerate(SIZES)]


@torch.no_grad()
def reference_regions(detector, image, **changes):
    """Proposals of the plain detector, chosen and scaled as the published pipeline does; features last."""
    pixels = to_network_pixels(image, detector.config)
    height, width = pixels.shape[1:]
    predictions = detector.predict(detector.feature_map(pixels[None])[0], (height, width))
    chosen = {"min_objects": detector.config.min_objects, "max_objects": detector.config.max_objects}
    detections = select_detections(predictions, (height, width), SelectionSettings(**(chosen | changes)))
    boxes = detections.boxes_xyxy.clone()
    boxes[:, 0::2] *= image.width / width
    boxes[:, 1::2] *= image.height / height
    return boxes, detections, predictions.features[detections.roi_indices]


@pytest.mark.parametrize("position", range(len(IMAGES)))
def test_regions_equal_those_of_unfolded_detector(detector, extract, position):
    image = IMAGES[position]
    regions = extract([image])[0]
    boxes, detections, features = reference_regions(detector, image)
    assert regions.size_hw == (image.height, image.width)
    assert regions.object_ids.tolist() == detections.object_ids.tolist()
    assert regions.attribute_ids.tolist() == detections.attribute_ids.tolist()
    torch.testing.assert_close(regions.boxes_xyxy_px, boxes, rtol=0, atol=1e-2)
    torch.testing.assert_close(regions.object_scores, detections.object_scores, rtol=0, atol=1e-4)
    torch.testing.assert_close(regions.attribute_scores, detections.attribute_scores, rtol=0, atol=1e-4)
    torch.testing.assert_close(regions.features, features, rtol=0, atol=1e-3)


def test_random_detector_gives_varied_labels_and_features(single_image_regions):
    assert all(len(regions) == 10 for regions in single_image_regions)
    assert len({label for regions in single_image_regions for label in regions.object_ids.tolist()}) >= 3
    assert all(regions.features.std(dim=0).mean() > 0.1 for regions in single_image_regions)


def test_faster_rcnn_extractor_is_a_region_extractor(detector, extract):
    assert isinstance(extract, RegionExtractor)
    assert not extract.needs_boxes
    assert extract.feature_dim == 128
    assert extract.object_names == tuple(f"object {k}" for k in range(7))
    assert extract.attribute_names is None
    assert hash_weights(detector) in extract.identity
    assert all(regions.extractor == extract.identity for regions in extract(IMAGES[:2]))
    assert extract([]) == []


@pytest.mark.parametrize("batch_size", [1, 3], ids=["one by one", "grouped as on a GPU"])
@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(len(IMAGES))), count=st.integers(1, len(IMAGES)))
def test_image_has_same_regions_in_any_batch_and_order(
    extract, single_image_regions, batch_size, order, count
):
    chosen = order[:count]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(extractor._BATCH_SIZES, "cpu", batch_size)
        batch = extract([IMAGES[position] for position in chosen])
    assert len(batch) == count
    for position, regions in zip(chosen, batch, strict=True):
        assert regions.equals(single_image_regions[position], tolerance=1e-4)


def test_images_are_grouped_by_size_in_network_pixels(extract, monkeypatch):
    monkeypatch.setitem(extractor._BATCH_SIZES, "cpu", 2)
    batches = list(extract._batches([*IMAGES, IMAGES[0]]))
    assert batches == [[0, 3], [4, 5], [1], [2]]


def test_extractor_does_not_modify_callers_detector():
    detector = random_detector()
    detector.train()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    trainable = [parameter.requires_grad for parameter in detector.parameters()]
    FasterRcnnExtractor(detector)(IMAGES[:1])
    FasterRcnnExtractor(detector, dtype="bfloat16")(IMAGES[:1])
    after = detector.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [parameter.requires_grad for parameter in detector.parameters()] == trainable
    assert any(trainable)
    assert detector.training


def test_later_training_of_detector_does_not_change_extractor():
    detector = random_detector()
    extract = FasterRcnnExtractor(detector)
    before = extract(IMAGES[:1])[0]
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(0.1)
    assert extract(IMAGES[:1])[0].equals(before)


def test_features_can_be_used_in_backward_pass(extract):
    features = extract(IMAGES[:1])[0].features
    (features.clone().requires_grad_() * features).sum().backward()


# Decimals that do not survive a change of scale and back.
BOXES = torch.tensor([[10.1, 5.3, 40.7, 30.9], [0, 0, 90, 31], [70.123, 20.321, 70.987, 20.765]])


@torch.no_grad()
def test_given_boxes_keep_coordinates_and_get_features_labels_and_scores(detector, extract):
    image = IMAGES[1]
    regions = extract([image], [BOXES])[0]
    assert torch.equal(regions.boxes_xyxy_px, BOXES)
    pixels = to_network_pixels(image, detector.config)
    height, width = pixels.shape[1:]
    scaled = BOXES * torch.tensor([width / 90, height / 31, width / 90, height / 31])
    features = detector.roi_features(detector.feature_map(pixels[None])[0], scaled)
    torch.testing.assert_close(regions.features, features, rtol=0, atol=1e-3)
    object_logits, attribute_logits, _ = detector.classify(features)
    scores, labels = object_logits.softmax(dim=1)[:, :-1].max(dim=1)
    assert regions.object_ids.tolist() == labels.tolist()
    torch.testing.assert_close(regions.object_scores, scores, rtol=0, atol=1e-4)
    assert regions.attribute_ids.tolist() == attribute_logits[:, :-1].argmax(dim=1).tolist()


def test_given_boxes_of_several_images_may_be_empty_for_some(extract):
    sets = [BOXES[:1], torch.zeros(0, 4), [[0, 0, 20, 100]]]
    found = extract([IMAGES[1], IMAGES[0], IMAGES[2]], sets)
    assert [len(regions) for regions in found] == [1, 0, 1]
    assert [regions.features.shape for regions in found] == [(1, 128), (0, 128), (1, 128)]
    assert found[0].equals(extract([IMAGES[1]], [BOXES[:1]])[0], tolerance=1e-4)


def test_wrong_number_of_box_sets_and_box_outside_image_are_rejected(extract):
    with pytest.raises(RegionsError, match="1 sets of boxes for 2 images"):
        extract(IMAGES[:2], [BOXES])
    with pytest.raises(RegionsError, match="beyond the right edge"):
        extract(IMAGES[:1], [[[0, 0, 500, 20]]])


@pytest.mark.parametrize("size_hw", [(1, 5000), (5000, 1), (1, 1), (2, 2), (1, 3), (3, 700)])
def test_thin_and_tiny_images_give_regions(extract, size_hw):
    regions = extract([noise_image(*size_hw)])[0]
    assert 1 <= len(regions) <= 10
    assert regions.size_hw == size_hw


def test_uniform_images_give_finite_features(extract):
    for colour in ("black", "white"):
        assert extract([Image.new("RGB", (50, 40), colour)])[0].features.isfinite().all()


def test_grey_image_gives_same_regions_as_its_rgb_conversion(extract):
    grey = IMAGES[0].convert("L")
    assert extract([grey])[0].equals(extract([grey.convert("RGB")])[0])


def test_exif_orientation_of_grey_image_is_applied():
    grey = IMAGES[1].convert("L")
    lying = grey.transpose(Image.Transpose.ROTATE_90)
    lying.getexif()[0x0112] = 6  # to be turned clockwise by a quarter
    extract = FasterRcnnExtractor(random_detector())
    assert extract([lying])[0].equals(extract([grey])[0])


def test_image_without_pixels_raises_image_error(extract):
    with pytest.raises(ImageError, match="0×5"):
        extract([Image.new("RGB", (0, 5))])


def test_fewer_proposals_than_min_objects_give_fewer_regions():
    detector = random_detector(max_proposals=4)
    regions = FasterRcnnExtractor(detector)(IMAGES)
    assert all(1 <= len(one) <= 4 for one in regions)


def test_detector_without_attributes_gives_no_attribute_ids():
    regions = FasterRcnnExtractor(random_detector(num_attr_labels=0))(IMAGES[:1])[0]
    assert regions.object_ids is not None
    assert regions.attribute_ids is None
    assert regions.attribute_scores is None


def test_equal_min_and_max_objects_give_fixed_number_of_regions(detector):
    for count in (1, 7, 13):
        found = FasterRcnnExtractor(detector, max_objects=count, min_objects=count)(IMAGES[:2])
        assert [len(regions) for regions in found] == [count, count]


def test_score_threshold_gives_adaptive_number_of_regions(detector):
    threshold = 0.25
    settings = {"min_objects": 2, "max_objects": 9, "score_threshold": threshold}
    found = FasterRcnnExtractor(detector, **settings)(IMAGES)
    for image, regions in zip(IMAGES, found, strict=True):
        _, detections, _ = reference_regions(detector, image, min_objects=2, max_objects=9)
        good = int((detections.object_scores >= threshold).sum())
        assert len(regions) == min(max(good, 2), 9)
    assert len({len(regions) for regions in found}) > 1


@pytest.mark.parametrize(
    ("asked", "expected"),
    [((None, None), (36, 36)), ((None, 20), (20, 20)), ((10, None), (10, 36)), ((50, None), (50, 50))],
)
def test_requested_object_counts_override_configuration(asked, expected):
    resolved = resolve(FasterRcnnConfig(), objects=asked)
    assert (resolved.selection.min_objects, resolved.selection.max_objects) == expected


def resolve(config, **changes):
    asked = {
        "preset": "published",
        "channel_order": "bgr",
        "dtype": "float32",
        "objects": (None, None),
        "score_threshold": None,
    }
    return ExtractionSettings.resolve(config, **(asked | changes))


def test_butd_preset_reports_unrefined_proposal_boxes(detector):
    image = IMAGES[4]
    regions = FasterRcnnExtractor(detector, preset="butd")([image])[0]
    boxes, _, features = reference_regions(detector, image, preset="butd")
    torch.testing.assert_close(regions.boxes_xyxy_px, boxes, rtol=0, atol=1e-2)
    torch.testing.assert_close(regions.features, features, rtol=0, atol=1e-3)


def test_butd_preset_lowers_image_sizes_only_if_they_are_the_published_ones():
    published = FasterRcnnConfig()
    butd = resolve(published, preset="butd").config
    assert (butd.min_size_px, butd.max_size_px) == (600, 1000)
    assert (published.min_size_px, published.max_size_px) == (800, 1333)
    own = resolve(FasterRcnnConfig(min_size_px=96, max_size_px=160), preset="butd").config
    assert (own.min_size_px, own.max_size_px) == (96, 160)


def test_every_setting_that_changes_regions_changes_the_identity(detector):
    choices = [
        {},
        {"preset": "butd"},
        {"channel_order": "rgb"},
        {"min_objects": 3},
        {"max_objects": 12},
        {"min_objects": 3, "score_threshold": 0.1},
        {"dtype": "bfloat16"},
    ]
    identities = [FasterRcnnExtractor(detector, **choice).identity for choice in choices]
    identities += [FasterRcnnExtractor(random_detector(seed=1)).identity]
    identities += [FasterRcnnExtractor(random_detector(**changes)).identity for changes in IDENTITY_FIELDS]
    for one, other in itertools.combinations(identities, 2):
        assert one != other


IDENTITY_FIELDS = [
    {"min_size_px": 90},
    {"pixel_mean_bgr": (1.0, 2.0, 3.0)},
    {"pooling": "align"},
    {"roi_dilation": 1},
    {"proposals_before_nms": 199},
    {"box_delta_weights": (1.0, 1.0, 1.0, 1.0)},
]


def test_names_and_freezing_do_not_change_the_identity(detector):
    plain = FasterRcnnExtractor(random_detector()).identity
    assert plain == FasterRcnnExtractor(detector).identity
    assert plain == FasterRcnnExtractor(random_detector(freeze_at=0)).identity


@pytest.mark.parametrize(
    "settings", [{}, {"preset": "butd", "min_objects": 2, "score_threshold": 0.2, "channel_order": "rgb"}]
)
def test_description_builds_equal_extractor(folder, settings):
    extract = FasterRcnnExtractor(str(folder), **settings)
    spec = json.loads(json.dumps(extract.to_dict()))
    assert spec["kind"] == "faster_rcnn"
    assert spec["weights_hash"] == extract.weights_hash
    again = build_extractor(spec)
    assert again.identity == extract.identity
    assert again(IMAGES[:2])[1].equals(extract(IMAGES[:2])[1])


def test_extractor_loaded_from_folder_equals_extractor_made_in_memory(folder, extract):
    loaded = FasterRcnnExtractor(folder)
    assert loaded.identity == extract.identity
    assert loaded(IMAGES[:1])[0].equals(extract(IMAGES[:1])[0])
    assert loaded.object_names == extract.object_names


def test_description_with_wrong_value_types_is_rejected(folder):
    spec = FasterRcnnExtractor(folder).to_dict()
    for wrong in ({"max_objects": 36.0}, {"max_objects": "36"}, {"min_objects": 1, "score_threshold": "0.2"}):
        with pytest.raises(ConfigurationError, match="must be"):
            build_extractor(spec | wrong)


def test_description_with_other_weights_hash_is_rejected(folder):
    spec = FasterRcnnExtractor(folder).to_dict()
    with pytest.raises(WeightsError, match="000000000000"):
        build_extractor(spec | {"weights_hash": "0" * 12})


def test_describing_detector_made_in_memory_raises_configuration_error(extract):
    with pytest.raises(ConfigurationError, match="save_pretrained"):
        extract.to_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "caffe"}, "'caffe'"),
        ({"channel_order": "gbr"}, "'gbr'; expected rgb or bgr"),
        ({"dtype": "float16"}, "'float16'; expected float32 or bfloat16"),
        ({"min_objects": 9, "max_objects": 8}, "min_objects 9 is more than max_objects 8"),
        ({"max_objects": 0}, "max_objects must be an integer of at least 1, got 0"),
        ({"max_objects": 36.0}, r"max_objects must be an integer of at least 1, got 36\.0"),
        ({"min_objects": "36"}, "min_objects must be an integer of at least 0, got '36'"),
        ({"min_objects": 1, "max_objects": "36"}, "max_objects must be an integer of at least 1, got '36'"),
        ({"max_objects": True}, "max_objects must be an integer of at least 1, got True"),
        (
            {"min_objects": 2, "score_threshold": "0.2"},
            r"score_threshold must be a number in 0..1, got '0\.2'",
        ),
        ({"score_threshold": 0.3}, "set min_objects below 10"),
        ({"min_objects": 2, "score_threshold": 1.5}, "1.5"),
    ],
)
def test_impossible_settings_raise_configuration_error(detector, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        FasterRcnnExtractor(detector, **settings)


def test_folder_without_detector_and_wrong_argument_type_are_rejected(tmp_path):
    with pytest.raises(WeightsError, match="no detector here"):
        FasterRcnnExtractor(tmp_path)
    with pytest.raises(ConfigurationError, match="detector is a int"):
        FasterRcnnExtractor(3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_features_of_given_boxes_on_gpu_equal_those_on_cpu(detector, extract):
    images, sets = [IMAGES[1], IMAGES[0], IMAGES[1]], [BOXES, BOXES[:1], BOXES]
    found = FasterRcnnExtractor(detector).to("cuda")(images, sets)
    for regions, expected in zip(found, extract(images, sets), strict=True):
        error = (regions.features - expected.features).norm() / expected.features.norm()
        assert error < 0.01  # convolutions may run in TF32 there
        assert regions.device.type == "cpu"
