"""Random streams: one for each seed, image and purpose; draws in proportion to weights."""

import itertools
import random
from collections import Counter

from lxmert.scenes.randomness import random_stream, weighted_choice


def test_each_seed_image_and_purpose_has_its_own_stream():
    keys = list(itertools.product((1, 11, 111), (1, 11, 111), ("scene", "1scene")))
    firsts = {key: random_stream(*key).random() for key in keys}
    assert len(set(firsts.values())) == len(keys)
    assert firsts == {key: random_stream(*key).random() for key in keys}


def test_weighted_choice_follows_weights():
    rng = random.Random(0)
    counted = Counter(weighted_choice(rng, {"often": 3.0, "rarely": 1.0, "never": 0.0}) for _ in range(4000))
    assert set(counted) == {"often", "rarely"}
    # Four standard deviations.
    assert abs(counted["often"] - 3000) < 4 * (4000 * 0.75 * 0.25) ** 0.5
