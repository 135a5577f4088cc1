import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from transformers import DetrConfig, DetrImageProcessorPil, ResNetConfig, ResNetModel

from lxmert.errors import ConfigurationError, ImageError, IncompleteWeightsError, RegionsError, WeightsError
from lxmert.vision import RegionExtractor, TransformersDetector, build_extractor
from lxmert.vision.detr import _classify
from tests.synthetic_images import smooth_image
from tests.vision.small_detectors import (
    FAMILIES,
    NAMES,
    QUERIES,
    save_detector,
    small_detector,
    small_processor,
)

SIZES_HW = ((37, 61), (80, 50), (64, 64))


IMAGES = [smooth_image(*size_hw, seed=index) for index, size_hw in enumerate(SIZES_HW)]


def detector(family="detr", **settings):
    return TransformersDetector(small_detector(family), image_processor=small_processor(family), **settings)


def transformers_detections(family, image):
    """Scores, labels and boxes in pixels, the best class of each query, by transformers alone."""
    processor = small_processor(family)
    with torch.no_grad():
        outputs = small_detector(family)(**processor(images=[image], return_tensors="pt"))
    (detections,) = processor.post_process_object_detection(
        outputs, threshold=0.0, target_sizes=[(image.height, image.width)]
    )
    best = {}  # Some families list a query once for each class; the first is its best.
    for index in detections["scores"].argsort(descending=True, stable=True).tolist():
        best.setdefault(tuple(detections["boxes"][index].tolist()), index)
    rows = list(best.values())
    return detections["scores"][rows], detections["labels"][rows], detections["boxes"][rows]


def class_head(family, model):
    if family == "deformable_detr":
        return model.class_embed[-1]
    return model.model.decoder.class_embed[-1] if family == "rt_detr" else model.class_labels_classifier


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_final_hidden_states_of_reported_queries(family):
    extractor = detector(family, max_objects=QUERIES)
    assert isinstance(extractor, RegionExtractor)
    head = class_head(family, extractor.model)
    for image, regions in zip(IMAGES, extractor(IMAGES), strict=True):
        assert regions.size_hw == (image.height, image.width)
        assert regions.features.shape == (QUERIES, extractor.feature_dim)
        assert not regions.features.requires_grad
        # The model's own class head, on the features, gives back the reported labels and scores.
        with torch.no_grad():
            logits = head(regions.features)
        chances = logits.softmax(1)[:, :-1] if logits.shape[1] == len(NAMES) + 1 else logits.sigmoid()
        assert torch.equal(chances.argmax(dim=1), regions.object_ids)
        assert torch.allclose(chances.max(dim=1).values, regions.object_scores, atol=1e-5)
        assert (regions.object_scores.diff() <= 0).all()
        assert len(set(regions.object_scores.tolist())) == QUERIES


@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_and_scores_equal_transformers_post_processing(family):
    for image, regions in zip(IMAGES, detector(family, max_objects=QUERIES)(IMAGES), strict=True):
        scores, labels, boxes = transformers_detections(family, image)
        assert len(scores) >= 4  # families that list queries by class do not come to the weakest
        mine = regions.select(slice(len(scores)))
        assert torch.allclose(scores, mine.object_scores, atol=1e-5)
        assert torch.equal(labels, mine.object_ids)
        clipped = torch.minimum(boxes.clamp(min=0), torch.tensor([image.width, image.height] * 2))
        wide = ((clipped[:, 2:] - clipped[:, :2]) > 1).all(dim=1)
        assert wide.sum() >= 4
        assert torch.allclose(clipped[wide], mine.boxes_xyxy_px[wide], atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_regions_of_image_are_same_alone_and_in_any_batch(family):
    extractor = detector(family, max_objects=7)
    together = extractor(IMAGES)
    for order in ((0,), (2, 1), (1, 0, 2)):
        for index, regions in zip(order, extractor([IMAGES[index] for index in order]), strict=True):
            assert regions.equals(together[index])
    assert not together[0].features.equal(together[1].features)


@pytest.mark.parametrize("family", FAMILIES)
def test_extractor_loaded_from_folder_is_rebuilt_from_its_description(family, tmp_path):
    folder = save_detector(tmp_path / "small", family)
    extractor = TransformersDetector(folder, max_objects=5)
    in_memory = detector(family, max_objects=5)(IMAGES)
    found = extractor(IMAGES)
    for one, other in zip(found, in_memory, strict=True):
        # Where weights lie in memory decides on the last bits of a product.
        assert one.equals(replace(other, extractor=extractor.identity), tolerance=5e-5)
    spec = json.loads(json.dumps(extractor.to_dict()))
    assert spec["kind"] == "detr"
    rebuilt = build_extractor(spec)
    assert rebuilt.identity == extractor.identity
    assert rebuilt.to_dict() == extractor.to_dict()
    assert all(one.equals(other) for one, other in zip(rebuilt(IMAGES), found, strict=True))
    assert extractor.object_names == ("cat", "dog", "cup", "sky", "car")
    assert extractor.attribute_names is None
    assert (extractor.needs_boxes, extractor.takes_boxes) == (False, False)


def test_object_count_follows_min_max_and_score_threshold():
    scores = detector(max_objects=QUERIES)([IMAGES[0]])[0].object_scores
    cut = float((scores[4] + scores[5]) / 2)
    counts = {
        (3, 1, None): 3,
        (36, 1, None): QUERIES,
        (36, 1, cut): 5,
        (4, 1, cut): 4,
        (36, 8, cut): 8,
        (36, 1, float(scores[4])): 5,  # a score equal to the threshold is enough
        (36, 1, 1.0): 1,
        (36, 36, 1.0): QUERIES,
        (36, 1, 0): QUERIES,
    }
    for (most, least, threshold), count in counts.items():
        found = detector(max_objects=most, min_objects=least, score_threshold=threshold)([IMAGES[0]])[0]
        assert len(found) == count, (most, least, threshold)
        assert torch.equal(found.object_scores, scores[:count])


def test_identity_changes_with_model_image_processor_and_every_setting():
    other_size = small_processor()
    other_size.size = {"shortest_edge": 64, "longest_edge": 96}
    identities = {
        detector().identity,
        detector("yolos").identity,
        detector(max_objects=10).identity,
        detector(max_objects=10, score_threshold=0.5).identity,
        detector(max_objects=10, score_threshold=0.5, min_objects=2).identity,
        TransformersDetector(small_detector(seed=1), image_processor=small_processor()).identity,
        TransformersDetector(small_detector(), image_processor=other_size).identity,
    }
    assert len(identities) == 7
    assert detector().identity == detector().identity


def test_model_in_training_mode_is_set_to_evaluation_mode():
    model = small_detector().train()
    found = TransformersDetector(model, image_processor=small_processor())([IMAGES[0]])[0]
    assert found.equals(detector()([IMAGES[0]])[0])


def test_grey_and_tiny_images_are_accepted():
    (grey,) = detector("rt_detr")([Image.new("L", (9, 7), 80)])
    (rgb,) = detector("rt_detr")([Image.new("RGB", (9, 7), (80, 80, 80))])
    assert grey.equals(rgb)
    (dot,) = detector()([Image.new("RGB", (1, 1))])
    assert dot.boxes_xyxy_px.tolist() == [[0, 0, 1, 1]] * QUERIES


@pytest.mark.parametrize("family", ["detr", "yolos"])
def test_strip_too_narrow_to_resize_raises_one_line_error(family):
    with pytest.raises(ImageError, match="5000×1 pixels") as caught:
        detector(family)([Image.new("RGB", (5000, 1))])
    assert "\n" not in str(caught.value)


def test_transformers_detector_rejects_given_boxes():
    with pytest.raises(RegionsError, match="finds its own boxes"):
        detector()([IMAGES[0]], [torch.zeros(0, 4)])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"max_objects": 0}, "max_objects is 0"),
        ({"max_objects": 3.0}, r"max_objects is 3\.0"),
        ({"min_objects": True}, "min_objects is True"),
        ({"max_objects": 3, "min_objects": 4}, "min_objects 4 is more than max_objects 3"),
        ({"score_threshold": 1.5}, r"score_threshold is 1\.5"),
        ({"score_threshold": float("nan")}, "score_threshold is nan"),
        ({"score_threshold": "high"}, "score_threshold is 'high'"),
        ({"max_objects": -1, "score_threshold": -1}, "max_objects is -1.*score_threshold is -1"),
    ],
)
def test_settings_out_of_range_are_rejected_by_name(wrong, words):
    with pytest.raises(ConfigurationError, match=words):
        detector(**wrong)


def test_timm_backbone_is_rejected_in_one_line(tmp_path):
    DetrConfig().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"needs timm.*no_timm") as caught:
        TransformersDetector(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("usual_recursion_limit")
def test_folder_without_detector_is_rejected_in_one_line(tmp_path):
    names = ("empty", "deep", "backbone", "bare", "partial")
    empty, deep, backbone, bare, partial = (tmp_path / name for name in names)
    empty.mkdir()
    deep.mkdir()
    (deep / "config.json").write_text(f'{{"model_type": "yolos", "x": {"[" * 600}{"]" * 600}}}')
    ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])).save_pretrained(backbone)
    small_detector().save_pretrained(bare)
    save_detector(partial)
    (partial / "model.safetensors").unlink()
    other = small_detector()
    kept = {name: value for name, value in other.state_dict().items() if "class_labels" not in name}
    other.save_pretrained(partial, state_dict=kept)
    for folder, error, words in (
        (empty, WeightsError, "no object detector"),
        (deep, WeightsError, "no object detector"),
        (backbone, WeightsError, "'resnet', not an object detector"),
        (bare, WeightsError, "preprocessor_config.json"),
        (partial, IncompleteWeightsError, "class_labels_classifier"),
    ):
        with pytest.raises(error, match=words) as caught:
            TransformersDetector(folder)
        assert "\n" not in str(caught.value)


def test_changed_weights_are_rejected(tmp_path):
    folder = save_detector(tmp_path / "small")
    spec = TransformersDetector(folder).to_dict()
    save_detector(tmp_path / "small", seed=1)
    with pytest.raises(WeightsError, match="not those that the features were made with"):
        build_extractor(spec)


@pytest.mark.parametrize("attention", ["any/kernel", {"backbone_config": "any/kernel"}])
def test_attention_that_may_be_code_of_the_hub_is_refused(attention, tmp_path):
    path = tmp_path / "config.json"
    save_detector(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"attn_implementation": attention}))
    with pytest.raises(WeightsError, match="'any/kernel', which may be code of the hub"):
        TransformersDetector(tmp_path)


def test_changed_image_processor_does_not_change_described_extractor(tmp_path):
    folder = save_detector(tmp_path / "small")
    extractor = TransformersDetector(folder)
    spec = json.loads(json.dumps(extractor.to_dict()))
    processor = small_processor()
    processor.image_mean = [0.0, 0.0, 0.0]
    processor.save_pretrained(folder)
    assert not TransformersDetector(folder)(IMAGES[:1])[0].equals(extractor(IMAGES[:1])[0])
    assert build_extractor(spec)(IMAGES[:1])[0].equals(extractor(IMAGES[:1])[0])


def test_model_created_in_memory_needs_image_processor_and_has_no_description():
    with pytest.raises(ConfigurationError, match="image_processor="):
        TransformersDetector(small_detector())
    with pytest.raises(ConfigurationError, match="created in memory"):
        detector().to_dict()
    with pytest.raises(ConfigurationError, match="no such image processor"):
        TransformersDetector(small_detector(), image_processor={"image_processor_type": "AutoModel"})


def test_model_without_detection_head_raises_configuration_error_at_first_image():
    model = ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1]))
    extractor = TransformersDetector(model, image_processor=small_processor())
    with pytest.raises(ConfigurationError, match="DETR-like"):
        extractor([IMAGES[0]])


class _Config:
    model_type = "made-up"

    def __init__(self, classes, **flags):
        self.id2label = dict.fromkeys(range(classes), "")
        vars(self).update(flags)


def test_no_object_class_counts_in_softmax_but_is_never_predicted():
    # By hand: softmax of (0, ln 3, ln 4) is (1, 3, 4) / 8; the last, no object, is passed over.
    logits = torch.tensor([[0.0, 3.0, 4.0]]).clamp(min=1).log()
    scores, labels = _classify(logits, _Config(2))
    assert (labels.tolist(), scores.tolist()) == ([1], pytest.approx([3 / 8]))
    scores, labels = _classify(logits, _Config(3))  # each class by itself: sigmoid of ln 4 is 4 / 5
    assert (labels.tolist(), scores.tolist()) == ([2], pytest.approx([4 / 5]))
    scores, labels = _classify(logits, _Config(3, use_focal_loss=False))
    assert (labels.tolist(), scores.tolist()) == ([1], pytest.approx([3 / 8]))
    with pytest.raises(ConfigurationError, match="3 logits per query for the 5 classes"):
        _classify(logits, _Config(5))


def test_grey_and_transparent_images_are_converted_to_rgb():
    extractor = detector(max_objects=3)
    grey, shown = IMAGES[0].convert("L"), IMAGES[0].convert("L").convert("RGB")
    assert extractor([grey])[0].equals(extractor([shown])[0])
    transparent = Image.new("RGBA", (40, 30), (200, 10, 10, 0))  # nothing but white shows
    assert extractor([transparent])[0].equals(extractor([Image.new("RGB", (40, 30), "white")])[0])


def test_default_is_up_to_36_objects_without_score_threshold():
    made = detector()
    assert (made.max_objects, made.min_objects, made.score_threshold) == (36, 1, None)


def test_to_moves_model_to_device():
    made = detector()
    assert made.to("meta") is made
    assert {parameter.device.type for parameter in made.model.parameters()} == {"meta"}


def test_regions_can_be_used_in_backward_pass():
    regions = detector(max_objects=4)([IMAGES[0]])[0]
    for name in ("boxes_xyxy_px", "features", "object_ids", "object_scores"):
        assert not getattr(regions, name).is_inference(), name
    layer = torch.nn.Linear(regions.feature_dim, 2)
    layer(regions.features).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_pad_size_of_image_processor_does_not_change_regions():
    sizes = {"size": {"shortest_edge": 40, "longest_edge": 60}}
    canvas = {"do_pad": True, "pad_size": {"height": 96, "width": 96}}
    plain, padded = (
        TransformersDetector(small_detector(), image_processor=DetrImageProcessorPil(**sizes, **more))
        for more in ({}, canvas)
    )
    one, other = plain([IMAGES[0]])[0], padded([IMAGES[0]])[0]
    assert torch.equal(one.boxes_xyxy_px, other.boxes_xyxy_px)
    assert torch.equal(one.features, other.features)


def test_error_for_image_that_model_cannot_process_names_its_size():
    model = small_detector()
    model.forward = lambda pixel_values: torch.zeros(3)[pixel_values.shape[2] :].reshape(7)
    found = TransformersDetector(model, image_processor=small_processor())
    height, width = found._preprocess(IMAGES[0]).shape[2:]
    assert height != width
    with pytest.raises(ConfigurationError, match=f"cannot take an image of {width}×{height} pixels"):
        found([IMAGES[0]])


def test_bfloat16_model_gives_float32_outputs():
    found = TransformersDetector(small_detector().bfloat16(), image_processor=small_processor())
    assert {one.dtype for one in found._forward(found._preprocess(IMAGES[0]))} == {torch.float32}


def test_configuration_and_weights_are_of_the_same_revision(monkeypatch):
    asked = []

    def config(name, place, what, revision):
        asked.append(revision)
        return DetrConfig()

    def weights(kind, place, **settings):
        asked.append(settings["revision"])
        return small_detector(), None

    monkeypatch.setattr("lxmert.vision.detr.load_config", config)
    monkeypatch.setattr("lxmert.weights.report.load_complete", weights)
    TransformersDetector("someone/detr", revision="no_timm", image_processor=small_processor())
    assert asked == ["no_timm", "no_timm"]


def test_image_processor_loads_even_if_auto_image_processor_needs_torchvision(tmp_path, monkeypatch):
    class NeedsTorchvision:  # what transformers 5.16 and older put in its place
        @classmethod
        def from_pretrained(cls, *args, **settings):
            raise ImportError("AutoImageProcessor requires the Torchvision library")

    folder = save_detector(tmp_path / "small")
    monkeypatch.setattr("transformers.AutoImageProcessor", NeedsTorchvision)
    assert len(TransformersDetector(folder)(IMAGES)) == len(IMAGES)
