import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lxmert.errors import ImageError
from lxmert.vision.faster_rcnn import FasterRcnnConfig
from lxmert.vision.faster_rcnn.preprocessing import (
    MIN_NETWORK_SIDE_PX,
    network_size,
    to_image_boxes,
    to_network_pixels,
)
from tests.synthetic_images import noise_image


def config_without_normalisation(min_size, max_size):
    """A configuration whose normalisation changes nothing."""
    return FasterRcnnConfig(min_size_px=min_size, max_size_px=max_size, pixel_mean_bgr=[0.0, 0.0, 0.0])


def bilinear_by_hand(values, height, width):
    """Each output pixel from the four around its place in the source, in double precision."""
    rows, columns = values.shape[:2]
    result = np.zeros((3, height, width))
    for y in range(height):
        for x in range(width):
            down = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            across = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            top, left = int(down), int(across)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            v, u = down - top, across - left
            upper = (1 - u) * values[top, left] + u * values[top, right]
            lower = (1 - u) * values[bottom, left] + u * values[bottom, right]
            result[:, y, x] = (1 - v) * upper + v * lower
    return result


def test_network_size_equals_golden_sizes(shared_specs):
    table = np.load(shared_specs / "faster_rcnn" / "units" / "resize.npz")["table_min_max_h_w_newh_neww"]
    assert len(table) == 40
    for low, high, height, width, new_height, new_width in table.tolist():
        assert network_size((height, width), low, high) == (new_height, new_width)


def test_network_size_rounds_half_a_pixel_up():
    assert network_size((4, 3), 6, 100) == (8, 6)
    # 1.5 times 3 is 4.5, which Python's round would make 4.
    assert network_size((2, 3), 3, 100) == (3, 5)
    assert network_size((3, 2), 3, 100) == (5, 3)


def test_network_pixels_equal_golden_pixels(shared_specs):
    golden = np.load(shared_specs / "faster_rcnn" / "units" / "resize.npz")
    for case in range(5):
        bgr = golden[f"in_{case}"]
        image = Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1].astype(np.uint8)))
        low, high = golden[f"minmax_{case}"].tolist()
        pixels = to_network_pixels(image, config_without_normalisation(low, high))
        torch.testing.assert_close(pixels, torch.from_numpy(golden[f"out_{case}"]), rtol=0, atol=1e-4)


def test_normalised_network_pixels_equal_golden_pixels(shared_specs):
    golden = np.load(shared_specs / "faster_rcnn" / "small" / "inputs_A.npz")
    image = Image.fromarray(np.ascontiguousarray(golden["raw_A"][:, :, ::-1]))
    pixels = to_network_pixels(image, FasterRcnnConfig(min_size_px=200, max_size_px=333))
    torch.testing.assert_close(pixels, torch.from_numpy(golden["pixels_A"][0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("size_hw", "limits"), [((13, 17), (31, 50)), ((40, 23), (11, 99)), ((7, 90), (20, 64))]
)
def test_resampling_equals_bilinear_interpolation_by_hand(size_hw, limits):
    image = noise_image(*size_hw)
    pixels = to_network_pixels(image, config_without_normalisation(*limits), channel_order="rgb")
    expected = bilinear_by_hand(np.asarray(image).astype(float), *network_size(size_hw, *limits))
    np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-3)


def test_blue_comes_first_and_each_channel_has_its_own_mean_and_deviation():
    image = Image.new("RGB", (40, 30), (200, 100, 50))
    config = FasterRcnnConfig(
        min_size_px=15, max_size_px=99, pixel_mean_bgr=[10.0, 20.0, 30.0], pixel_std_bgr=[1.0, 2.0, 4.0]
    )
    pixels = to_network_pixels(image, config)
    assert pixels.shape == (3, 15, 20)
    assert [plane.unique().tolist() for plane in pixels] == [[40.0], [40.0], [42.5]]


def test_rgb_order_exchanges_red_and_blue_and_keeps_the_means_in_place():
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    config = FasterRcnnConfig(min_size_px=4, max_size_px=4, pixel_mean_bgr=[10.0, 20.0, 30.0])
    pixels = to_network_pixels(image, config, channel_order="rgb")
    assert pixels[:, 0, 0].tolist() == [190.0, 80.0, 20.0]


def test_grey_image_is_converted_to_rgb():
    grey = Image.new("L", (6, 5), 77)
    pixels = to_network_pixels(grey, config_without_normalisation(5, 9))
    assert pixels.unique().tolist() == [77.0]


def test_to_network_pixels_does_not_modify_image():
    image = noise_image(5, 7)
    before = np.array(image)
    to_network_pixels(image, config_without_normalisation(20, 40))
    assert (np.array(image) == before).all()


@pytest.mark.parametrize("size_hw", [(1, 5000), (5000, 1), (2, 3000), (1, 1), (1, 2)])
def test_network_size_of_thin_or_tiny_image_keeps_minimum_side(size_hw):
    height, width = network_size(size_hw, 800, 1333)
    assert min(height, width) >= MIN_NETWORK_SIDE_PX
    assert max(height, width) <= 1333


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    low=st.integers(16, 900),
    room=st.integers(0, 900),
)
def test_network_size_stays_in_bounds_and_keeps_aspect_ratio(height, width, low, room):
    high = low + room
    new_height, new_width = network_size((height, width), low, high)
    assert network_size((width, height), low, high) == (new_width, new_height)
    assert max(new_height, new_width) <= high
    assert min(new_height, new_width) <= low
    if min(new_height, new_width) > MIN_NETWORK_SIDE_PX:
        scale = min(low / min(height, width), high / max(height, width))
        assert abs(new_height - scale * height) <= 0.5 + 1e-6
        assert abs(new_width - scale * width) <= 0.5 + 1e-6


def test_image_without_pixels_raises_image_error():
    with pytest.raises(ImageError, match="0×7"):
        network_size((7, 0), 800, 1333)


def test_to_image_boxes_scales_each_axis_separately():
    boxes = torch.tensor([[0.0, 0, 267, 200], [26.7, 20, 133.5, 50], [-3, -4, 300, 210]])
    found = to_image_boxes(boxes, (200, 267), (120, 160))
    expected = torch.tensor([[0.0, 0, 160, 120], [16, 12, 80, 30], [0, 0, 160, 120]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size_hw", [(120, 160), (1, 5000), (5000, 1), (1, 1), (3, 80_000_000)])
def test_empty_boxes_are_widened_to_a_sliver_inside_image(size_hw):
    network_hw = network_size(size_hw, 800, 1333)
    height, width = network_hw
    empty = torch.tensor(
        [
            [width, 0, width, height],
            [0, 0, 0, height],
            [0, height, width, height],
            [width, height] * 2,
            [0, 0, 0, 0],
        ]
    ).float()
    boxes = to_image_boxes(empty, network_hw, size_hw)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= torch.tensor([size_hw[1], size_hw[0]])).all()
    assert (boxes[:, 2:] - boxes[:, :2])[0, 0] <= max(0.02, size_hw[1] * 2e-6)


def test_non_empty_boxes_are_not_widened():
    thin = torch.tensor([[5.0, 5, 5.001, 9]])
    assert torch.equal(to_image_boxes(thin, (20, 20), (20, 20)), thin)
