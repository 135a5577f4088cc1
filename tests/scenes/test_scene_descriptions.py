"""Descriptions of whole pictures: every object once, with all that it is and the ninth in which it lies."""

import hashlib
import random
import re
from collections import Counter
from pathlib import Path

import yaml

from lxmert.data.captions import read_captions
from lxmert.scenes import Scene, make_scene
from lxmert.scenes.questions.generation import split_words
from lxmert.scenes.scene_descriptions import DESCRIPTIONS, generate_descriptions
from tests.scenes.conftest import SPLITS, DatasetOnDisk, answerer
from tests.scenes.english import NP, Answerer, constraints

ROOT = Path(__file__).parents[2]
OPENING = re.compile(r"(?:there is|you see|look at|picture with) ")
PLACE = r"(?:(?:at|on) the (?:very )?(?:(top|bottom)\b ?)?(left|right)?|away from (?:every|each) side)"

Told = tuple[dict[str, str], str, str]


def told(text: str) -> list[Told]:
    """Attributes, row and column of each object; AssertionError where a sentence is not understood."""
    sentence = text.lower().removesuffix(".")
    assert sentence != text.lower()
    objects = []
    for part in re.split(r", |; | and ", OPENING.sub("", sentence, count=1)):
        found = re.fullmatch(rf"an? {NP} {PLACE}", part)
        assert found, part
        phrase, row, column = found.groups()
        assert phrase[0] not in "aeiou" or part.startswith("an ")
        objects.append((constraints(phrase), row or "", column or ""))
    return objects


def seen(reader: Answerer) -> list[Told]:
    """The same from the boxes of the instances."""
    rows, columns = ("top", "", "bottom"), ("left", "", "right")
    found = []
    for thing in reader.things:
        x, y = (place / side for place, side in zip(thing["xy"], reader.side, strict=True))
        what = {name: thing[name] for name in ("size", "fill", "color", "shape")}
        row = rows[(y >= 1 / 3) + (y >= 2 / 3)]
        found.append((what, row, columns[(x >= 1 / 3) + (x >= 2 / 3)]))
    return found


def in_order(objects: list[Told]) -> list[tuple[object, ...]]:
    return sorted((sorted(what.items()), row, column) for what, row, column in objects)


def test_every_object_is_told_once_with_all_that_it_is_and_its_place() -> None:
    places: Counter[tuple[str, str]] = Counter()
    for number in range(200):
        scene = make_scene(random.Random(number))
        truth = in_order(seen(answerer(scene)))
        for text in generate_descriptions(scene, random.Random(-number)):
            assert in_order(told(text)) == truth, text
        places.update((row, column) for _, row, column in truth)
    assert len(places) == 9


def scenes_of_ten() -> list[Scene]:
    scenes = (make_scene(random.Random(number)) for number in range(400))
    return [scene for scene in scenes if len(scene.objects) == 10]


def test_each_object_takes_ten_words_and_the_longest_fit_the_recipe() -> None:
    lengths: Counter[int] = Counter()
    for number in range(200):
        scene = make_scene(random.Random(number))
        for text in generate_descriptions(scene, random.Random(number)):
            words = split_words(text)
            assert len(words) == 2 + 10 * len(scene.objects)
            lengths[len(words)] += 1
            assert set(words[2::10]) <= {"a", "an"}
    recipe = yaml.safe_load((ROOT / "configs" / "scenes_pretrain_features.yaml").read_text(encoding="utf-8"))
    # Two are the special tokens.
    assert recipe["text"]["max_length"] == max(lengths) + 2 == 104
    assert recipe["model"]["config"]["max_position_embeddings"] == 104


def test_order_and_words_differ() -> None:
    scene = scenes_of_ten()[0]
    texts = [text for number in range(30) for text in generate_descriptions(scene, random.Random(number))]
    assert len(set(texts)) == 30 * DESCRIPTIONS
    first = Counter(repr(told(text)[0]) for text in texts)
    assert len(first) == 10
    openings = {OPENING.match(text.lower()).group() for text in texts}  # type: ignore[union-attr]
    assert len(openings) == 4
    assert all(text[0].isupper() for text in texts)


def test_they_stand_in_a_file_of_captions(made: DatasetOnDisk) -> None:
    ids = []
    for split in SPLITS:
        data = made.read(f"descriptions_{split}")
        assert data["images"] == made.read(f"captions_{split}")["images"]
        captions = read_captions(made.path(f"descriptions_{split}"))
        times = Counter(caption.image_id for caption in captions)
        assert times == dict.fromkeys((image["id"] for image in data["images"]), DESCRIPTIONS)
        ids += [one["id"] for one in data["annotations"]]
    assert len(set(ids)) == len(ids) == 60 * DESCRIPTIONS


def test_they_do_not_change_between_versions(made: DatasetOnDisk) -> None:
    content = b"".join(made.path(f"descriptions_{split}").read_bytes() for split in SPLITS)
    assert hashlib.sha256(content).hexdigest()[:16] == "acbad1c0776af62e"
