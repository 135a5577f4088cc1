"""Random numbers of the made world: one independent, reproducible stream for each use in each image.

`random.Random` is seeded from SHA-256, not from `hash()` (salted anew in every process), and no stream is
shared between images: image 7 of seed 1 is the same for any number of images or worker processes.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def random_stream(seed: int, index: int, purpose: str) -> random.Random:
    """The random numbers of image `index` of data set `seed` for one purpose, such as "questions"."""
    digest = hashlib.sha256(f"{seed}/{index}/{purpose}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))


def weighted_choice(rng: random.Random, weights: dict[T, float]) -> T:
    """Draw one key with a probability proportional to its weight."""
    return rng.choices(list(weights), weights=list(weights.values()))[0]


def shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """The items in random order; the argument is not changed."""
    return rng.sample(list(items), len(items))
