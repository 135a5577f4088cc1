"""Splits, ids and names of made images, determined by the image's index alone.

So a larger data set of the same seed extends a smaller one.
"""

from typing import Final

SPLITS: Final = ("train", "val", "test")
OBJECT_ID_STEP: Final = 100
"""Object k of an image has id image_id * 100 + k."""
QUESTION_ID_STEP: Final = 1000
"""Question k of an image has id image_id * 1000 + k, as in VQA v2, where the ids have the same step."""
_SPLIT_OF_LAST_DIGIT: Final = {8: "val", 9: "test"}


def split_of(index: int) -> str:
    """The split of an image: of every ten, eight are for training, one for validation, one for testing."""
    return _SPLIT_OF_LAST_DIGIT.get(index % 10, "train")


def earlier_images_of_split(index: int, limit: int) -> list[int]:
    """The images of the same split before an image, the nearest first, at most `limit` of them."""
    split = split_of(index)
    found: list[int] = []
    for earlier in range(index - 1, -1, -1):
        if len(found) == limit:
            break
        if split_of(earlier) == split:
            found.append(earlier)
    return found


def image_id_of(index: int) -> int:
    """The id of an image; ids start at 1."""
    return index + 1


def image_name(index: int) -> str:
    """The name of an image, its file name without extension."""
    return f"scenes_{split_of(index)}_{image_id_of(index):012d}"


def image_path(index: int) -> str:
    """Path of the image in the data set's directory."""
    return f"images/{split_of(index)}/{image_name(index)}.png"
