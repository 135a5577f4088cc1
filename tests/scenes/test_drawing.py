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
from lxmert.scenes.shapes import area
from lxmert.scenes.world import BACKGROUNDS

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
