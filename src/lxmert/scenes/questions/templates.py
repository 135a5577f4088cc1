"""All sentence patterns of the questions: family, variant, paraphrases.

Placeholders: {a}, {a2} a description with its indefinite article; {the}, {the2} with "the"; {one} without
article; {many}, {many2} in the plural; {attribute} an attribute's name, {quality} that of one which a thing
is rather than has (not the fill); {value}, {value2} values as predicates ("red", "a star"); {side} a spatial
relation.
"""

from typing import Final

TEMPLATES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "exist": {
        "": (
            "is there {a}?",
            "are there any {many}?",
            "can you see {a}?",
            "does the picture show {a}?",
            "do you see any {many}?",
        )
    },
    "exist_and": {
        "": (
            "is there {a} and {a2}?",
            "does the picture show both {a} and {a2}?",
            "can you see {a} and also {a2}?",
            "are there {many} and also {many2}?",
        )
    },
    "exist_or": {
        "": (
            "is there {a} or {a2}?",
            "can you see either {a} or {a2}?",
            "does the picture show {a} or {a2}?",
            "are there any {many} or any {many2}?",
        )
    },
    "exist_not": {
        "": (
            "is there {a} that is not {value}?",
            "can you see {a} which is not {value}?",
            "does the picture show {a} that is not {value}?",
        )
    },
    "universal": {
        "": (
            "is every {one} {value}?",
            "is each {one} {value}?",
            "is it true that every {one} is {value}?",
        )
    },
    "count": {
        "": (
            "how many {many} are there?",
            "how many {many} can you see?",
            "what is the number of {many}?",
            "how many {many} does the picture show?",
            "count the {many}.",
        )
    },
    "count_or": {
        "": (
            "how many {many} are {value} or {value2}?",
            "how many {many} are either {value} or {value2}?",
            "count the {many} that are {value} or {value2}.",
        )
    },
    "count_not": {
        "": (
            "how many {many} are not {value}?",
            "how many {many} that are not {value} are there?",
            "count the {many} that are not {value}.",
        )
    },
    "query_color": {
        "": (
            "what color is {the}?",
            "what is the color of {the}?",
            "which color does {the} have?",
            "tell me the color of {the}.",
        )
    },
    "query_shape": {
        "": (
            "what shape is {the}?",
            "what is the shape of {the}?",
            "which shape does {the} have?",
            "tell me the shape of {the}.",
        )
    },
    "query_size": {
        "": (
            "what size is {the}?",
            "is {the} small or large?",
            "how big is {the}?",
            "what is the size of {the}?",
        )
    },
    "query_fill": {
        "": (
            "is {the} solid, hollow or striped?",
            "how is {the} filled?",
            "what is the fill of {the}?",
            "what kind of fill does {the} have?",
        )
    },
    "position": {
        "horizontal": (
            "is {the} on the left or on the right?",
            "is {the} in the left or the right half of the picture?",
            "on which side is {the}, left or right?",
        ),
        "vertical": (
            "is {the} at the top or at the bottom?",
            "is {the} in the top or the bottom half of the picture?",
            "in which half is {the}, top or bottom?",
        ),
    },
    "compare_count": {
        "more": (
            "are there more {many} than {many2}?",
            "do you see more {many} than {many2}?",
            "is the number of {many} greater than the number of {many2}?",
        ),
        "fewer": (
            "are there fewer {many} than {many2}?",
            "do you see fewer {many} than {many2}?",
            "is the number of {many} smaller than the number of {many2}?",
        ),
        "equal": (
            "are there as many {many} as {many2}?",
            "do you see as many {many} as {many2}?",
            "is the number of {many} the same as the number of {many2}?",
        ),
    },
    "compare_attribute": {
        "": (
            "do {the} and {the2} have the same {attribute}?",
            "does {the} have the same {attribute} as {the2}?",
            "are {the} and {the2} the same {quality}?",
            "is the {attribute} of {the} the same as that of {the2}?",
        )
    },
    "compare_size": {
        "larger": (
            "is {the} larger than {the2}?",
            "is {the} bigger than {the2}?",
            "does {the} look larger than {the2}?",
        ),
        "smaller": (
            "is {the} smaller than {the2}?",
            "does {the} look smaller than {the2}?",
            "is it true that {the} is smaller than {the2}?",
        ),
    },
    "relation": {
        "": (
            "is {the} {side} {the2}?",
            "does {the} lie {side} {the2}?",
            "is it true that {the} is {side} {the2}?",
        )
    },
    "relation_query": {
        "": (
            "what {quality} is the {one} {side} {the}?",
            "what is the {attribute} of the {one} {side} {the}?",
            "which {attribute} does the {one} {side} {the} have?",
        )
    },
    "relation_count": {
        "": (
            "how many {many} are {side} {the}?",
            "what is the number of {many} {side} {the}?",
            "count the {many} {side} {the}.",
        )
    },
    "nearest": {
        "": (
            "what {quality} is the {one} nearest to {the}?",
            "what is the {attribute} of the {one} closest to {the}?",
            "which {attribute} does the {one} closest to {the} have?",
        )
    },
    "farthest": {
        "": (
            "what {quality} is the {one} farthest from {the}?",
            "what is the {attribute} of the {one} furthest from {the}?",
            "which {attribute} does the {one} farthest away from {the} have?",
        )
    },
    "outermost": {
        "left": (
            "what {quality} is the leftmost {one}?",
            "what is the {attribute} of the {one} farthest to the left?",
            "which {attribute} does the leftmost {one} have?",
        ),
        "right": (
            "what {quality} is the rightmost {one}?",
            "what is the {attribute} of the {one} farthest to the right?",
            "which {attribute} does the rightmost {one} have?",
        ),
        "above": (
            "what {quality} is the topmost {one}?",
            "what is the {attribute} of the highest {one}?",
            "which {attribute} does the {one} at the very top have?",
        ),
        "below": (
            "what {quality} is the lowest {one}?",
            "what is the {attribute} of the {one} lowest in the picture?",
            "which {attribute} does the {one} at the very bottom have?",
        ),
    },
    "extreme": {
        "largest": (
            "what {quality} is the largest {one}?",
            "what is the {attribute} of the biggest {one}?",
            "which {attribute} does the largest {one} have?",
        ),
        "smallest": (
            "what {quality} is the smallest {one}?",
            "what is the {attribute} of the smallest {one}?",
            "which {attribute} does the smallest {one} have?",
        ),
    },
    "most_common": {
        "": (
            "which {attribute} is the most common?",
            "what is the most common {attribute}?",
            "which {attribute} appears most often?",
        )
    },
}
