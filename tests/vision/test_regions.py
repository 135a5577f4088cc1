import dataclasses
import pickle

import pytest
import torch
from safetensors.torch import save_file

from lxmert.errors import RegionsError
from lxmert.vision import Regions, pad_regions


def make_regions(objects=3, width=5, size_hw=(40, 80), **changes):
    left = torch.arange(objects, dtype=torch.float32)
    settings = {
        "boxes_xyxy_px": torch.stack([left, left * 2, left + 10, left * 2 + 4], dim=1),
        "features": torch.arange(objects * width, dtype=torch.float32).reshape(objects, width),
        "size_hw": size_hw,
        "extractor": "by-hand",
    }
    return Regions(**(settings | changes))


def labelled_regions(objects=3):
    return make_regions(
        objects,
        object_ids=torch.arange(objects) + 7,
        object_scores=torch.linspace(0.5, 1.0, objects),
        attribute_ids=torch.arange(objects) + 70,
        attribute_scores=torch.linspace(0.0, 0.5, objects),
    )


def test_boxes_are_normalised_by_width_and_height():
    regions = make_regions(2, boxes_xyxy_px=torch.tensor([[0.0, 0.0, 80.0, 40.0], [20.0, 30.0, 40.0, 40.0]]))
    assert regions.boxes_xyxy_unit().tolist() == [[0.0, 0.0, 1.0, 1.0], [0.25, 0.75, 0.5, 1.0]]


def test_overshooting_boxes_are_clamped_so_that_unit_boxes_stay_in_the_unit_square():
    regions = make_regions(1, boxes_xyxy_px=torch.tensor([[-0.75, 3.0, 80.5, 40.9]]))
    assert regions.boxes_xyxy_px.tolist() == [[0.0, 3.0, 80.0, 40.0]]
    assert regions.boxes_xyxy_unit().max().item() == 1.0


def test_len_and_feature_dim_equal_shape_of_features():
    regions = make_regions(3, 5)
    assert (len(regions), regions.feature_dim) == (3, 5)
    assert "3 objects" in repr(regions)


def test_image_without_objects_is_valid():
    assert len(make_regions(0)) == 0


def test_regions_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_regions().extractor = "other"


def test_float16_features_and_integer_boxes_become_float32():
    regions = make_regions(
        2,
        features=torch.ones(2, 3, dtype=torch.float16),
        boxes_xyxy_px=torch.tensor([[0, 0, 5, 5], [1, 1, 2, 2]]),
    )
    assert regions.features.dtype == torch.float32
    assert regions.boxes_xyxy_px.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_features_that_are_not_finite_are_rejected_with_row_and_column(value):
    features = torch.zeros(3, 5)
    features[1, 4] = value
    with pytest.raises(RegionsError, match=rf"box 1 contain {value} at column 4") as caught:
        make_regions(features=features)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": torch.zeros(2, 5)}, r"\(2, 5\); expected \(3, D\)"),
        ({"features": torch.zeros(3)}, "expected"),
        ({"features": torch.zeros(3, 0)}, "expected"),
        ({"features": torch.zeros(3, 5, dtype=torch.int64)}, "int64"),
        ({"features": [[1.0]]}, "list"),
        ({"size_hw": (0, 10)}, "at least one pixel"),
        ({"size_hw": (10, 0)}, "at least one pixel"),
        ({"size_hw": 40}, "height, width"),
        ({"extractor": ""}, "extractor"),
        ({"boxes_xyxy_px": torch.tensor([[0.0, 0.0, 200.0, 9.0]] * 3)}, "120 px beyond the right edge"),
        ({"boxes_xyxy_px": torch.tensor([[5.0, 0.0, 2.0, 9.0]] * 3)}, "x2 = 2 is not greater"),
        ({"object_ids": torch.zeros(2, dtype=torch.int64)}, r"object_ids have shape \(2,\); expected \(3,\)"),
        ({"object_ids": torch.zeros(3)}, "object_ids are torch.float32"),
        ({"attribute_ids": torch.zeros(3, dtype=torch.bool)}, "attribute_ids are torch.bool"),
        ({"object_scores": torch.tensor([0.1, 0.2, 1.5])}, "object_scores of box 2 is 1.5"),
        ({"attribute_scores": torch.tensor([0.1, float("nan"), 0.5])}, "attribute_scores of box 1 is nan"),
        ({"object_scores": torch.ones(3, 1)}, "object_scores have shape"),
        ({"object_scores": torch.ones(3, dtype=torch.int64)}, "object_scores are torch.int64"),
    ],
)
def test_malformed_regions_are_rejected(changes, words):
    with pytest.raises(RegionsError, match=words):
        make_regions(**changes)


def test_select_takes_rows_of_all_tensors_in_given_order():
    regions = labelled_regions()
    chosen = regions.select([2, 0])
    assert chosen.features.tolist() == [regions.features[2].tolist(), regions.features[0].tolist()]
    assert chosen.boxes_xyxy_px[0].tolist() == [2.0, 4.0, 12.0, 8.0]
    assert chosen.object_ids.tolist() == [9, 7]
    assert chosen.attribute_scores.tolist() == [0.5, 0.0]
    assert chosen.size_hw == regions.size_hw


def test_select_accepts_mask_slice_and_empty_list():
    regions = labelled_regions()
    assert regions.select(torch.tensor([True, False, True])).object_ids.tolist() == [7, 9]
    assert regions.select(slice(1, None)).object_ids.tolist() == [8, 9]
    assert len(regions.select([])) == 0


@pytest.mark.parametrize("indices", [[3], torch.tensor([True, False])])
def test_select_rejects_index_or_mask_out_of_range(indices):
    with pytest.raises(RegionsError, match="cannot select from 3 objects"):
        labelled_regions().select(indices)


def test_saved_regions_come_back_equal(tmp_path):
    for index, regions in enumerate((labelled_regions(), make_regions(), make_regions(0))):
        regions.save(tmp_path / f"{index}.safetensors")
        loaded = Regions.load(tmp_path / f"{index}.safetensors")
        assert loaded.equals(regions)
        assert loaded.size_hw == (40, 80)
        assert (loaded.object_ids is None) == (regions.object_ids is None)


def test_other_users_may_read_saved_regions_as_far_as_the_umask_says(tmp_path):
    make_regions().save(tmp_path / "one.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "one.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_regions_with_shared_memory_survive_save_and_load(tmp_path):
    scores, table = torch.linspace(0.5, 1.0, 3), torch.rand(1, 9)
    table[:, :4] = torch.tensor([0.0, 0.0, 5.0, 5.0])
    for regions in (
        make_regions(3, object_scores=scores, attribute_scores=scores),
        make_regions(1, boxes_xyxy_px=table[:, :4], features=table[:, 4:], object_scores=table[:, 5]),
        labelled_regions().select([1, 1, 0]),
        make_regions(3, features=torch.rand(5, 3).T),
    ):
        regions.save(tmp_path / "regions.safetensors")
        assert Regions.load(tmp_path / "regions.safetensors").equals(regions)


def test_load_rejects_files_without_regions(tmp_path):
    (tmp_path / "text").write_text("no tensors here")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"features": 1}))
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    for name in ("text", "pickle", "other", "absent"):
        with pytest.raises(RegionsError, match=name):
            Regions.load(tmp_path / name)


@pytest.mark.parametrize("absent", ["size_hw", "extractor"])
def test_load_rejects_file_without_required_metadata(absent, tmp_path):
    metadata = {"format": "lxmert-regions-1", "size_hw": "[40, 80]", "extractor": "by-hand"}
    del metadata[absent]
    tensors = {"boxes_xyxy_px": torch.tensor([[0.0, 0.0, 5.0, 5.0]]), "features": torch.ones(1, 2)}
    save_file(tensors, tmp_path / "regions", metadata=metadata)
    with pytest.raises(RegionsError, match=f"lacks {absent}"):
        Regions.load(tmp_path / "regions")


@pytest.mark.parametrize("size_hw", ["[40", "40", "null", "[40]"])
def test_load_rejects_malformed_size_hw(size_hw, tmp_path):
    metadata = {"format": "lxmert-regions-1", "size_hw": size_hw, "extractor": "by-hand"}
    tensors = {"boxes_xyxy_px": torch.tensor([[0.0, 0.0, 5.0, 5.0]]), "features": torch.ones(1, 2)}
    save_file(tensors, tmp_path / "regions", metadata=metadata)
    with pytest.raises(RegionsError, match="size_hw is"):
        Regions.load(tmp_path / "regions")


def test_equals_detects_every_difference():
    regions = labelled_regions()
    assert regions.equals(labelled_regions())
    assert not regions.equals(make_regions())
    assert not regions.equals(regions.select([0, 1]))
    assert not regions.equals(dataclasses.replace(regions, extractor="other"))
    nudged = dataclasses.replace(regions, features=regions.features + 0.01)
    assert not regions.equals(nudged)
    assert regions.equals(nudged, tolerance=0.011)
    assert not regions.equals("regions")


def test_moving_to_a_device_keeps_the_values():
    assert labelled_regions().to("cpu").equals(labelled_regions())
    assert labelled_regions().to("meta").device.type == "meta"


def test_tensors_of_two_devices_are_rejected():
    with pytest.raises(RegionsError, match="one device"):
        make_regions(object_ids=torch.zeros(3, dtype=torch.int64, device="meta"))


def test_pad_regions_fills_with_zeros_and_masks_padding():
    first, second, third = make_regions(1), make_regions(3, size_hw=(50, 100)), make_regions(2)
    batch = pad_regions([first, second, third])
    assert batch["visual_feats"].shape == (3, 3, 5)
    assert batch["visual_attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]
    assert batch["visual_attention_mask"].dtype == torch.int64
    assert torch.equal(batch["visual_feats"][1], second.features)
    assert torch.equal(batch["visual_pos"][1, 2], torch.tensor([0.02, 0.08, 0.12, 0.16]))
    assert batch["visual_feats"][0, 1:].abs().sum() == 0
    assert batch["visual_pos"][2, 2:].abs().sum() == 0


def test_pad_regions_without_objects_gives_one_masked_row():
    batch = pad_regions([make_regions(0), make_regions(0)])
    assert batch["visual_feats"].shape == (2, 1, 5)
    assert batch["visual_attention_mask"].sum() == 0


def test_padding_rejects_mixed_feature_widths_and_empty_batches():
    with pytest.raises(RegionsError, match="image 1 has 6 features"):
        pad_regions([make_regions(1, 5), make_regions(1, 6)])
    with pytest.raises(RegionsError, match="at least one image"):
        pad_regions([])


def test_padding_rejects_regions_of_different_extractors():
    first = make_regions(1)
    other = dataclasses.replace(make_regions(2), extractor="other")
    with pytest.raises(RegionsError, match=f"image 1 .* by other and image 0 by {first.extractor}"):
        pad_regions([first, other])


@pytest.mark.parametrize(
    "size", ["[" * 100_000, "[1e999, 5]", f"[{10**400}, 5]", "[NaN, 1]", "[4294967296, 1]"]
)
def test_load_rejects_impossible_size_hw(tmp_path, size):
    metadata = {"format": "lxmert-regions-1", "size_hw": size, "extractor": "x"}
    tensors = {"boxes_xyxy_px": torch.zeros(0, 4), "features": torch.zeros(0, 4)}
    save_file(tensors, tmp_path / "regions", metadata)
    with pytest.raises(RegionsError, match="size_hw is"):
        Regions.load(tmp_path / "regions")
