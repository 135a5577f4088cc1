"""Descriptions drawn from a scene: references fit one object, absent ones nothing, words in English order."""

import random

from lxmert.scenes import make_scene
from lxmert.scenes.lexicon import ATTRIBUTES
from lxmert.scenes.object_descriptions import SceneView, phrase, to_description
from tests.scenes.conftest import answerer

VIEWS = [SceneView(make_scene(random.Random(k))) for k in range(60)]


def test_reference_fits_one_object_and_avoids_attribute_and_object():
    rng = random.Random(0)
    for view in VIEWS:
        reader = answerer(view.scene)
        for avoided in ATTRIBUTES:
            other = rng.choice(view.scene.objects)
            sampled = view.sample_reference(rng, (avoided,), other)
            if sampled is None:
                continue
            thing, description = sampled
            assert thing is not other
            assert avoided not in dict(description)
            index = view.scene.objects.index(thing)
            assert reader.fitting(phrase(description, rng)) == [reader.things[index]]


def test_absent_description_fits_nothing_but_differs_in_one_value_from_an_object():
    rng = random.Random(0)
    found = 0
    for view in VIEWS:
        for names in (("color",), ("color", "shape"), ("size", "fill", "shape")):
            description = view.sample_absent(rng, names)
            if description is None:
                continue
            found += 1
            wrong = [
                sum(thing.attribute(name) != value for name, value in description)
                for thing in view.scene.objects
            ]
            assert min(wrong) == 1
    assert found > 100


def test_description_has_order_of_english_adjectives():
    values = {"shape": "star", "color": "red", "fill": "striped", "size": "large"}
    description = to_description(values)
    assert description == (("size", "large"), ("fill", "striped"), ("color", "red"), ("shape", "star"))
    assert phrase(description[1:], random.Random(0), plural=True) == "striped red stars"
