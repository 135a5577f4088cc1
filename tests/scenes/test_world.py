"""Scenes: objects are apart, inside the image, clearly large or small, clearly of one colour."""

import random
from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from lxmert.scenes import make_scene
from lxmert.scenes.lexicon import COLORS_RGB, FILLS, SHAPES
from lxmert.scenes.shapes import extent_wh


@given(seed=st.integers(0, 2**40))
def test_objects_lie_apart_and_inside_image(seed: int):
    scene = make_scene(random.Random(seed))
    height, width = scene.size_hw
    assert 160 <= min(height, width) <= max(height, width) <= 224
    assert max(height, width) <= 1.3 * min(height, width)
    assert 2 <= len(scene.objects) <= 10
    for thing in scene.objects:
        x1, y1, x2, y2 = thing.box_xyxy_px
        assert 2 <= x1 < x2 <= width - 2
        assert 2 <= y1 < y2 <= height - 2
        longer = max(x2 - x1, y2 - y1)
        assert (longer <= 28) if thing.size == "small" else (longer >= 40)
    for a, b in combinations(scene.objects, 2):
        ax1, ay1, ax2, ay2 = a.box_xyxy_px
        bx1, by1, bx2, by2 = b.box_xyxy_px
        assert max(bx1 - ax2, ax1 - bx2, by1 - ay2, ay1 - by2) >= 4


def test_longer_side_of_turned_shape_is_exactly_its_diameter():
    for shape in SHAPES:
        for tenths in range(-90, 91):
            assert max(extent_wh(shape, tenths / 10, 28)) == 28


@given(seed=st.integers(0, 2**40))
def test_colors_stay_nearest_to_their_own_prototype(seed: int):
    for thing in make_scene(random.Random(seed)).objects:
        distances = {
            name: sum((a - b) ** 2 for a, b in zip(thing.color_rgb, prototype, strict=True))
            for name, prototype in COLORS_RGB.items()
        }
        first, second = sorted(distances, key=distances.__getitem__)[:2]
        assert first == thing.color
        assert distances[second] > 4 * distances[first]


def test_attributes_and_numbers_of_objects_are_spread_evenly():
    scenes = [make_scene(random.Random(k)) for k in range(2000)]
    numbers = Counter(len(scene.objects) for scene in scenes)
    assert set(numbers) == set(range(2, 11))
    assert min(numbers.values()) > 0.04 * len(scenes)
    things = [thing for scene in scenes for thing in scene.objects]
    for name, values in (("shape", SHAPES), ("fill", FILLS), ("color", tuple(COLORS_RGB))):
        counted = Counter(thing.attribute(name) for thing in things)
        assert set(counted) == set(values)
        assert max(counted.values()) < 1.15 * len(things) / len(values)
    assert {thing.stripes_deg for thing in things} == {0.0, 45.0, 90.0, 135.0}
    large = sum(thing.size == "large" for thing in things) / len(things)
    assert 0.4 < large < 0.6


def test_some_images_are_portrait_and_some_landscape():
    sizes = [make_scene(random.Random(k)).size_hw for k in range(50)]
    assert any(height > width for height, width in sizes)
    assert any(height < width for height, width in sizes)


def test_boxes_xyxy_px_is_float_tensor_of_object_boxes():
    scene = make_scene(random.Random(0))
    boxes = scene.boxes_xyxy_px()
    assert boxes.dtype.is_floating_point
    assert boxes.tolist() == [list(map(float, thing.box_xyxy_px)) for thing in scene.objects]
