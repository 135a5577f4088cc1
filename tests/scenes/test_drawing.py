"""Scene drawing: boxes, colours, fills and noise, checked in the pixels."""

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lxmert.scenes import Scene, SceneObject, draw_scene, make_scene
from lxmert.scenes.drawing import draw_object
from lxmert.scenes.lexicon import COLORS_RGB, FILLS, SHAPES
from lxmert.scenes.shapes import area, outline
from lxmert.scenes.world import BACKGROUNDS, Background

seeds = st.integers(0, 2**40)


def drawn_alone(thing: SceneObject, size_hw: tuple[int, int]) -> np.ndarray:
    """The object on white, (height, width, 3)."""
    image = Image.new("RGB", (size_hw[1], size_hw[0]), "white")
    draw_object(image, thing)
    return np.asarray(image).astype(int)


def nearest_color(pixel: np.ndarray) -> str:
    return min(COLORS_RGB, key=lambda name: float(((pixel - np.array(COLORS_RGB[name])) ** 2).sum()))


@settings(max_examples=80, deadline=None)
@given(seed=seeds)
def test_boxes_are_tight_around_the_drawn_pixels(seed: int):
    scene = make_scene(random.Random(seed))
    for thing in scene.objects:
        rows, columns = np.nonzero((drawn_alone(thing, scene.size_hw) < 250).any(axis=2))
        drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        off = np.array(thing.box_xyxy_px) - drawn
        # Within a pixel on each side, the tip of a star or triangle fading out; and never beyond the box.
        assert (off[:2] <= 0).all()
        assert (off[2:] >= 0).all()
        assert np.abs(off).max() <= 1, (thing, drawn)


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_area_is_that_of_the_drawn_silhouette(seed: int):
    scene = make_scene(random.Random(seed))
    for thing in scene.objects:
        solid = dataclasses.replace(thing, fill="solid", color_rgb=(0, 0, 0))
        covered = (255 - drawn_alone(solid, scene.size_hw)[..., 0]).sum() / 255
        expected = area(thing.shape, thing.turn_deg, thing.diameter_px)
        # A quarter pixel at most, all along the outline; a small star has much of it.
        assert abs(covered - expected) < (0.15 if thing.size == "small" else 0.08) * expected


@pytest.mark.parametrize(
    ("shape", "share_of_box"), [("circle", np.pi / 4), ("square", 1.0), ("triangle", 0.5), ("cross", 0.5904)]
)
def test_area_of_known_shapes(shape: str, share_of_box: float):
    # An equilateral triangle is lower than it is wide: half of its own box, sqrt(3)/2 of the square's.
    height = 3**0.5 / 2 if shape == "triangle" else 1.0
    assert area(shape, 0.0, 100) == pytest.approx(share_of_box * height * 10_000, rel=0.005)


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_color_and_fill_can_be_read_from_noisy_image(seed: int):
    scene = make_scene(random.Random(seed))
    pixels = np.asarray(draw_scene(scene)).astype(int)
    for thing in scene.objects:
        alone = drawn_alone(thing, scene.size_hw)
        # Where the pure colour of the object was drawn, the picture still shows it.
        pure = (alone == np.array(thing.color_rgb)).all(axis=2)
        assert pure.sum() >= 8, thing
        assert nearest_color(np.median(pixels[pure], axis=0)) == thing.color
        silhouette = drawn_alone(dataclasses.replace(thing, fill="solid"), scene.size_hw)
        inside = (silhouette == np.array(thing.color_rgb)).all(axis=2)
        share = (pure & inside).sum() / inside.sum()
        # Of 1,203 small striped objects, whose outline takes much of them, the shares were 0.19 to 0.54.
        low, high = {"solid": (0.99, 1.0), "striped": (0.15, 0.75), "hollow": (0.0, 0.85)}[thing.fill]
        assert low <= share <= high, (thing, share)
        if thing.fill == "hollow":
            hole = inside & (alone == 255).all(axis=2)
            assert hole.sum() >= 5, thing


@pytest.mark.parametrize(("shape", "tip_is_up"), [("triangle", True), ("star", True), ("heart", False)])
def test_shapes_stand_upright_and_turn_clockwise(shape: str, tip_is_up: bool):
    def tip_x(turn_deg: float) -> float:
        points = outline(shape, turn_deg, 100)
        return (min if tip_is_up else max)(points, key=lambda point: point[1])[0]

    assert tip_x(0.0) == pytest.approx(0.0, abs=1e-9)
    for turn_deg in (9.0, -9.0):
        assert tip_x(turn_deg) * turn_deg * (1 if tip_is_up else -1) > 0


WHITE, ORANGE, DARK, PALE = (255, 255, 255), (200, 100, 0), (144, 72, 0), (244, 224, 204)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        # The edge has 72 % of the brightness.
        ("solid", {(19, 45): WHITE, (20, 45): DARK, (20, 20): DARK, (45, 45): ORANGE}),
        # A ring of a tenth of 50 px.
        ("hollow", {(20, 45): ORANGE, (24, 45): ORANGE, (26, 45): WHITE, (45, 45): WHITE}),
        # Level stripes, one through the centre, a period of 50 / 3.5 px, half of it pale: 80 % white.
        ("striped", {(45, 45): ORANGE, (45, 52): PALE, (45, 59): ORANGE, (45, 38): PALE, (20, 45): DARK}),
    ],
)
def test_square_is_drawn_as_by_hand(fill: str, expected: dict[tuple[int, int], tuple[int, int, int]]):
    image = Image.new("RGB", (90, 90), "white")
    draw_object(image, SceneObject("square", "orange", "large", fill, (20, 20, 70, 70), ORANGE, 0.0, 0.0))
    assert {place: image.getpixel(place) for place in expected} == expected


def test_ring_of_heart_is_closed_at_its_notch():
    notch_y = min(y for x, y in outline("heart", 0.0, 50) if abs(x) < 1e-9)
    image = Image.new("RGB", (90, 90), "white")
    draw_object(image, SceneObject("heart", "orange", "large", "hollow", (20, 20, 70, 70), ORANGE))
    assert image.getpixel((45, round(45 + notch_y) + 2)) == ORANGE


def test_hollow_object_shows_background_and_striped_object_does_not():
    base = SceneObject("circle", "red", "large", "hollow", (20, 20, 70, 70), (210, 30, 40))
    image = Image.new("RGB", (90, 90), (10, 200, 30))
    draw_object(image, base)
    assert image.getpixel((45, 45)) == (10, 200, 30)
    draw_object(image, dataclasses.replace(base, fill="striped"))
    inside = np.asarray(image)[30:60, 30:60].reshape(-1, 3)
    assert not (inside == (10, 200, 30)).all(axis=1).any()


@pytest.mark.parametrize("degrees", [0.0, 45.0, 90.0, 135.0])
def test_stripes_run_in_their_direction(degrees: float):
    thing = SceneObject("square", "blue", "large", "striped", (0, 0, 52, 52), (30, 70, 210), 0.0, degrees)
    red = drawn_alone(thing, (52, 52))[8:44, 8:44, 0]
    step = {0.0: (0, 1), 45.0: (1, 1), 90.0: (1, 0), 135.0: (1, -1)}[degrees]
    along = np.abs(red[2:-2, 2:-2] - np.roll(red, step, axis=(0, 1))[2:-2, 2:-2]).mean()
    across = np.abs(red[2:-2, 2:-2] - np.roll(red, (step[1], -step[0]), axis=(0, 1))[2:-2, 2:-2]).mean()
    assert along < 0.35 * across


def test_noise_covers_objects_and_background_within_its_bound():
    scene = make_scene(random.Random(4))
    for noise in (2, 8):
        calm, noisy = (
            np.asarray(draw_scene(_with_background(scene, noise=level))).astype(int) for level in (0, noise)
        )
        difference = np.abs(noisy - calm)
        assert difference.max() <= noise
        x1, y1, x2, y2 = scene.objects[0].box_xyxy_px
        assert (difference[y1:y2, x1:x2] > 0).mean() > 0.3
        assert (difference > 0).mean() > 0.3


def test_noise_goes_both_ways_and_never_beyond_white():
    for level, low, high in ((128, 124, 132), (255, 251, 255)):
        background = Background("plain", (level,) * 3, (level,) * 3, 12, 0.0, 8, 5)
        pixels = np.asarray(draw_scene(Scene((60, 60), (), background)))
        assert pixels.min() < low
        assert pixels.min() >= level - 8
        assert pixels.max() >= high


def test_noise_does_not_change_brightness_on_average():
    background = Background("plain", (128,) * 3, (128,) * 3, 12, 0.0, 8, 5)
    pixels = np.asarray(draw_scene(Scene((200, 200), (), background))).astype(float)
    # Of about 3.3 for each of 120,000 numbers: five standard deviations of the mean are 0.05.
    assert abs(pixels.mean() - 128) < 0.05


@pytest.mark.parametrize(
    ("kind", "angle_deg", "expected"),
    [
        ("checker", 0.0, {(0, 0): 240, (11, 11): 240, (12, 0): 200, (0, 12): 200, (12, 12): 240}),
        # A third of the period.
        ("lines", 0.0, {(0, 0): 240, (3, 20): 240, (4, 0): 200, (11, 5): 200, (12, 5): 240}),
        ("lines", 60.0, {(20, 3): 240, (5, 4): 200, (0, 11): 200, (9, 12): 240}),
        # Along the sum of the coordinates.
        ("lines", 165.0, {(0, 3): 240, (3, 1): 200, (11, 0): 200, (7, 5): 240}),
        # Of a quarter of the period as radius, in the middle of each square.
        ("dots", 0.0, {(6, 6): 240, (6, 3): 240, (6, 2): 200, (0, 0): 200, (18, 6): 240}),
        # Weights 45 across and 135 down: 45 * 35 of 45 * 35 + 135 * 23 in the upper right corner, a third.
        ("gradient", 45.0, {(0, 0): 200, (35, 0): 213, (35, 23): 240}),
    ],
)
def test_background_pattern_by_hand(kind: str, angle_deg: float, expected: dict[tuple[int, int], int]):
    background = Background(kind, (200, 200, 200), (240, 240, 240), 12, angle_deg, 0, 0)
    image = draw_scene(Scene((24, 36), (), background))
    assert {place: image.getpixel(place) for place in expected} == {
        place: (level,) * 3 for place, level in expected.items()
    }


def test_backgrounds_are_patterned_and_pale():
    scene = make_scene(random.Random(4))
    bare = dataclasses.replace(scene, objects=())
    for kind in BACKGROUNDS:
        pixels = np.asarray(draw_scene(_with_background(bare, kind=kind, noise=0)))
        assert pixels.shape == (*scene.size_hw, 3)
        assert (len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1) == (kind != "plain")
    for seed in range(40):
        bare = dataclasses.replace(make_scene(random.Random(seed)), objects=())
        assert np.asarray(draw_scene(bare)).min() > 140


def test_same_scene_gives_same_pixels_and_other_background_seed_does_not():
    scene = make_scene(random.Random(1))
    assert draw_scene(scene).tobytes() == draw_scene(scene).tobytes()
    other = _with_background(scene, seed=scene.background.seed + 1)
    assert draw_scene(scene).tobytes() != draw_scene(other).tobytes()


def test_each_shape_and_fill_looks_different():
    thing = make_scene(random.Random(1)).objects[0]
    looks = {
        drawn_alone(dataclasses.replace(thing, shape=shape, fill=fill), (224, 224)).tobytes()
        for shape in SHAPES
        for fill in FILLS
    }
    assert len(looks) == 18


def _with_background(scene: Scene, **changes: object) -> Scene:
    return dataclasses.replace(scene, background=dataclasses.replace(scene.background, **changes))
