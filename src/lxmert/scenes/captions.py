"""Five captions of a scene, as in COCO: true sentences about parts of the picture."""

import random
from typing import Final

from lxmert.scenes.lexicon import NUMBER_WORDS, PLACES, RELATIONS
from lxmert.scenes.object_descriptions import Description, SceneView, describe, is_nested, phrase
from lxmert.scenes.programs import RELATION_MARGIN, offset
from lxmert.scenes.questions.family import fill_template
from lxmert.scenes.questions.generation import WORDS_MAX, split_words
from lxmert.scenes.world import Scene

CAPTIONS: Final = 5

TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "pair": ("{a} and {a2}.", "there is {a} and also {a2}.", "a picture with {a} and {a2}."),
    "group": ("{number} {many}.", "there are {number} {many}.", "the picture shows {number} {many}."),
    "one": ("there is {number} {one}.", "the picture shows exactly {number} {one}."),
    "two_groups": (
        "{number} {many} and {number2} {many2}.",
        "there are {number} {many} and {number2} {many2}.",
    ),
    "side": ("{a} is {side} {a2}.", "{a} lies {side} {a2}.", "you can see {a} {side} {a2}."),
    "place": ("{a} at the {place}.", "there is {a} at the {place} of the picture.", "at the {place} is {a}."),
}
_PLACE_SHARE: Final = 0.35
"""An object is "at the left" if its centre is within this fraction of the picture."""
_MAX_ATTEMPTS: Final = 40
_FULL_ATTRIBUTES: Final = (
    ("color", "shape"),
    ("color", "shape"),
    ("size", "color", "shape"),
    ("fill", "color", "shape"),
)
_PARTIAL_ATTRIBUTES: Final = (("color",), ("shape",), ("color", "shape"), ("size", "shape"), ("fill",))


def generate_captions(scene: Scene, rng: random.Random) -> list[str]:
    """Five different captions, each at most 18 words and punctuation marks."""
    view = SceneView(scene)
    texts: dict[str, None] = {}
    generators = (_pair, _group, _group, _two_groups, _side, _place)
    for _ in range(_MAX_ATTEMPTS):
        text = rng.choice(generators)(view, rng)
        if text is not None and len(split_words(text)) <= WORDS_MAX:
            texts.setdefault(text)
        if len(texts) == CAPTIONS:
            return list(texts)
    # A pair of objects can be worded in a great many ways, so this terminates.
    while len(texts) < CAPTIONS:
        text = _pair(view, rng)
        if text is not None:
            texts.setdefault(text)
    return list(texts)


def _pair(view: SceneView, rng: random.Random) -> str | None:
    first, second = rng.sample(view.scene.objects, 2)
    one, two = describe(first, rng.choice(_FULL_ATTRIBUTES)), describe(second, rng.choice(_FULL_ATTRIBUTES))
    if is_nested(one, two):
        return None
    return fill_template(rng.choice(TEMPLATES["pair"]), rng, a=one, a2=two)


def _group(view: SceneView, rng: random.Random) -> str:
    names = rng.choice(((), *_PARTIAL_ATTRIBUTES))
    group = view.sample_present(rng, names)
    count = view.count(group)
    template = rng.choice(TEMPLATES["one" if count == 1 else "group"])
    return fill_template(template, rng, number=NUMBER_WORDS[count], one=group, many=group)


def _two_groups(view: SceneView, rng: random.Random) -> str | None:
    names = rng.choice(_PARTIAL_ATTRIBUTES)
    first, second = view.sample_present(rng, names), view.sample_present(rng, names)
    if first == second:
        return None
    count, count2 = view.count(first), view.count(second)
    template = TEMPLATES["two_groups"][count > 1]
    words: dict[str, Description | str] = {"number": NUMBER_WORDS[count], "number2": NUMBER_WORDS[count2]}
    words["many"] = phrase(first, rng, plural=count > 1)
    words["many2"] = phrase(second, rng, plural=count2 > 1)
    return fill_template(template, rng, **words)


def _side(view: SceneView, rng: random.Random) -> str | None:
    first, second = rng.sample(view.scene.objects, 2)
    direction = rng.choice(list(RELATIONS))
    if offset(view.scene, direction, first, second) < RELATION_MARGIN:
        return None
    one, two = describe(first, rng.choice(_FULL_ATTRIBUTES)), describe(second, rng.choice(_FULL_ATTRIBUTES))
    if is_nested(one, two):
        return None
    side = rng.choice(RELATIONS[direction])
    return fill_template(rng.choice(TEMPLATES["side"]), rng, a=one, a2=two, side=side)


def _place(view: SceneView, rng: random.Random) -> str | None:
    obj = rng.choice(view.scene.objects)
    place = rng.choice(PLACES)
    axis = 0 if place in ("left", "right") else 1
    fraction = obj.center_px[axis] / view.scene.size_hw[1 - axis]
    if (fraction if place in ("left", "top") else 1 - fraction) > _PLACE_SHARE:
        return None
    described = describe(obj, rng.choice(_FULL_ATTRIBUTES))
    return fill_template(rng.choice(TEMPLATES["place"]), rng, a=described, place=place)
