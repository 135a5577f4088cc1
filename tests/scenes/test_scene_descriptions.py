"""Scene descriptions: every object once, with all its attributes and its cell of a 3×3 grid."""

import hashlib
import random
import re
from collections import Counter

import yaml

from lxmert.data.captions import read_captions
from lxmert.scenes import Scene, make_scene
from lxmert.scenes.questions.generation import split_words
from lxmert.scenes.scene_descriptions import DESCRIPTIONS, generate_descriptions
from lxmert.training.included_recipes import included_recipes
from tests.scenes.conftest import SPLITS, DatasetOnDisk, answerer
from tests.scenes.english import NP, Answerer, constraints

OPENING = re.compile(r"(?:there is|you see|look at) ")
PLACE = r"(?:at the (?:very )?(?:(top|bottom)\b ?)?(left|right)?|away from (?:every|each) side)"

DescribedObject = tuple[dict[str, str], str, str]


def parse_description(text: str) -> list[DescribedObject]:
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


def objects_from_boxes(reader: Answerer) -> list[DescribedObject]:
    """Attributes, row and column of each object, from the boxes of the instances."""
    rows, columns = ("top", "", "bottom"), ("left", "", "right")
    found = []
    for thing in reader.things:
        x, y = (place / side for place, side in zip(thing["xy"], reader.side, strict=True))
        attributes = {name: thing[name] for name in ("size", "fill", "color", "shape")}
        row = rows[(y >= 1 / 3) + (y >= 2 / 3)]
        found.append((attributes, row, columns[(x >= 1 / 3) + (x >= 2 / 3)]))
    return found


def sorted_objects(objects: list[DescribedObject]) -> list[tuple[object, ...]]:
    return sorted((sorted(attributes.items()), row, column) for attributes, row, column in objects)


def test_description_names_each_object_once_with_attributes_and_place() -> None:
    places: Counter[tuple[str, str]] = Counter()
    for number in range(200):
        scene = make_scene(random.Random(number))
        truth = sorted_objects(objects_from_boxes(answerer(scene)))
        for text in generate_descriptions(scene, random.Random(-number)):
            assert sorted_objects(parse_description(text)) == truth, text
        places.update((row, column) for _, row, column in truth)
    assert len(places) == 9


def scenes_with_ten_objects() -> list[Scene]:
    scenes = (make_scene(random.Random(number)) for number in range(400))
    return [scene for scene in scenes if len(scene.objects) == 10]


def test_descriptions_have_ten_words_per_object_and_fit_recipe_max_length() -> None:
    lengths: Counter[int] = Counter()
    for number in range(200):
        scene = make_scene(random.Random(number))
        for text in generate_descriptions(scene, random.Random(number)):
            words = split_words(text)
            assert len(words) == 2 + 10 * len(scene.objects)
            lengths[len(words)] += 1
            assert set(words[2::10]) <= {"a", "an"}
    recipe = yaml.safe_load(included_recipes()["scenes_pretrain_features"].read_text(encoding="utf-8"))
    # Two are the special tokens.
    assert recipe["text"]["max_length"] == max(lengths) + 2 == 104
    assert recipe["model"]["config"]["max_position_embeddings"] == 104


def test_descriptions_differ_in_object_order_opening_words_and_joints() -> None:
    scene = scenes_with_ten_objects()[0]
    texts = [text for number in range(30) for text in generate_descriptions(scene, random.Random(number))]
    assert len(set(texts)) == 30 * DESCRIPTIONS
    first = Counter(repr(parse_description(text)[0]) for text in texts)
    assert len(first) == 10
    openings = {OPENING.match(text.lower()).group() for text in texts}  # type: ignore[union-attr]
    assert len(openings) == 3
    assert all(text[0].isupper() for text in texts)
    joints = [re.findall(r", |; | and ", text) for text in texts]
    assert all(len(set(several)) == 1 for *several, _ in joints)
    ends = {(first, last) for first, *_, last in joints}
    assert ends == {(", ", " and "), (" and ", " and "), ("; ", "; ")}


def test_descriptions_are_stored_as_caption_files(dataset_on_disk: DatasetOnDisk) -> None:
    ids = []
    for split in SPLITS:
        data = dataset_on_disk.read(f"descriptions_{split}")
        assert data["images"] == dataset_on_disk.read(f"captions_{split}")["images"]
        captions = read_captions(dataset_on_disk.path(f"descriptions_{split}"))
        times = Counter(caption.image_id for caption in captions)
        assert times == dict.fromkeys((image["id"] for image in data["images"]), DESCRIPTIONS)
        ids += [one["id"] for one in data["annotations"]]
    assert len(set(ids)) == len(ids) == 60 * DESCRIPTIONS


def test_descriptions_of_a_seed_do_not_change_between_versions(dataset_on_disk: DatasetOnDisk) -> None:
    content = b"".join(dataset_on_disk.path(f"descriptions_{split}").read_bytes() for split in SPLITS)
    assert hashlib.sha256(content).hexdigest()[:16] == "93473bac571a68b4"
