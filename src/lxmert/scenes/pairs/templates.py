"""All patterns of the NLVR2-style sentences: kind, paraphrases.

Placeholders: {a} a description with its indefinite article, {one} and {one2} without, {many} in the plural;
{number} a number word; {side} and {other} left and right in either order; {attribute} an attribute's name;
{value} a value after "are".
"""

from typing import Final

TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "same_number": (
        "there are as many {many} in the left image as in the right image.",
        "both images contain the same number of {many}.",
        "the number of {many} is the same in both images.",
    ),
    "total": (
        "there are exactly {number} {many} in the two images together.",
        "the two images contain a total of {number} {many}.",
        "there are {number} {many} in total.",
    ),
    "twice": (
        "the {side} image contains twice as many {many} as the {other} image.",
        "there are twice as many {many} in the {side} image as in the {other} image.",
    ),
    "one_more": (
        "the {side} image contains exactly one more {one} than the {other} image.",
        "there is exactly one {one} more in the {side} image than in the {other} image.",
    ),
    "two_more": (
        "the {side} image contains exactly two more {many} than the {other} image.",
        "there are exactly two more {many} in the {side} image than in the {other} image.",
    ),
    "exactly_one": (
        "exactly one of the images contains {a}.",
        "only one of the two images contains {a}.",
        "one image contains {a} and the other does not.",
    ),
    "both_or_neither": (
        "either both images contain {a} or neither of them does.",
        "both images contain {a}, or neither of them does.",
    ),
    "same_attribute": (
        "the {one} in the left image has the same {attribute} as the {one2} in the right image.",
        "the {one} in the left image and the {one2} in the right image have the same {attribute}.",
    ),
    "different_attribute": (
        "the {one} in the left image has a different {attribute} than the {one2} in the right image.",
        "the {one} in the left image and the {one2} in the right image have different {attribute}s.",
    ),
    "same_main": (
        "the most common {attribute} is the same in both images.",
        "both images have the same most common {attribute}.",
    ),
    "both": (
        "both images contain {a}.",
        "there is {a} in each image.",
        "each of the two images shows at least one {one}.",
    ),
    "neither": (
        "neither image contains {a}.",
        "there is no {one} in either image.",
        "neither of the images shows any {many}.",
    ),
    "at_least_one": (
        "at least one of the images contains {a}.",
        "there is {a} in at least one of the images.",
    ),
    "more": (
        "the {side} image contains more {many} than the {other} image.",
        "there are more {many} in the {side} image than in the {other} image.",
    ),
    "fewer": (
        "the {side} image contains fewer {many} than the {other} image.",
        "there are fewer {many} in the {side} image than in the {other} image.",
    ),
    "each_number": (
        "each image contains exactly {number} {many}.",
        "there are exactly {number} {many} in each image.",
    ),
    "at_least": (
        "there are at least {number} {many} in the two images together.",
        "the two images contain a total of at least {number} {many}.",
    ),
    "all": (
        "all of the {many} in both images are {value}.",
        "in both images every one of the {many} is {value}.",
    ),
}
