"""All sentence patterns of the GQA-style questions: kind of question, paraphrases.

The names are GQA's own for `types.detailed` if it has such questions; the part after a dot is not stored.
Placeholders: {the}, {the2} an object with "the"; {a}, {a2} a description with its indefinite article;
{many}, {many2} in the plural; {origin} what a relation refers to, with "the"; {side} a spatial relation;
{attribute}, {attributes} an attribute's name, {quality} that of one which a thing is rather than has (not the
fill); {value}, {value2} values as predicates ("red", "a star"), {values} one in the plural ("stars").
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    Attributes:
        structural: "query", "verify", "logical", "choose" or "compare".
        semantic: "attr", "rel", "obj", "cat" or "global".
        templates: Paraphrases.
        negative: Suffix of the name if the answer is no.
    """

    structural: str
    semantic: str
    templates: tuple[str, ...]
    negative: str = "C"


_WHAT: Final = (
    "what {quality} is {the}?",
    "what is the {attribute} of {the}?",
)
_IS: Final = ("is {the} {value}?", "is it true that {the} is {value}?")
_LOOKS: Final = (*_IS, "does {the} look {value}?")
_THERE: Final = (
    "is there {a}?",
    "are there any {many}?",
    "do you see {a}?",
    "does the picture show {a}?",
    "is there {a} in the picture?",
)

KINDS: Final[dict[str, Kind]] = {
    "directOf": Kind("query", "attr", _WHAT),
    "directWhich": Kind("query", "attr", ("which {quality} is {the}?", "which {attribute} does {the} have?")),
    "how.size": Kind("query", "attr", ("how big is {the}?", "how large is {the}?")),
    "how.fill": Kind("query", "attr", ("how is {the} filled?",)),
    "positionQuery": Kind(
        "query",
        "attr",
        ("on which side of the picture is {the}?", "on what side of the picture is {the}?"),
    ),
    "categoryThat": Kind(
        "query",
        "cat",
        ("what is {the}?", "what kind of object is {the}?", "what is {the} called?"),
    ),
    "relS": Kind("query", "rel", ("what is {side} {origin}?", "which object is {side} {origin}?")),
    "categoryRelS": Kind("query", "rel", ("what kind of object is {the}?", "what shape is {the}?")),
    "sameRelate": Kind(
        "query",
        "rel",
        (
            "what has the same {attribute} as {origin}?",
            "which object has the same {attribute} as {origin}?",
            "what is the same {quality} as {origin}?",
        ),
    ),
    "mainQuery": Kind(
        "query",
        "global",
        ("what is the most common {attribute} in the picture?", "which {attribute} is the most common?"),
    ),
    "verifyAttr": Kind("verify", "attr", _LOOKS),
    "verifyAttrK": Kind("verify", "attr", _LOOKS),
    "categoryVerify": Kind("verify", "cat", _IS),
    "positionVerify.hposition": Kind(
        "verify",
        "attr",
        ("is {the} on the {value} side of the picture?", "is {the} in the {value} half of the picture?"),
    ),
    "positionVerify.vposition": Kind(
        "verify",
        "attr",
        ("is {the} at the {value} of the picture?", "is {the} in the {value} half of the picture?"),
    ),
    "mainVerify": Kind(
        "verify",
        "global",
        ("is {value} the most common {attribute}?", "is the most common {attribute} {value}?"),
    ),
    "exist": Kind("verify", "obj", _THERE),
    "existAttr": Kind("verify", "obj", _THERE),
    "existThat": Kind(
        "verify",
        "obj",
        ("is there {a} that is {value}?", "do you see any {many} that are {value}?"),
    ),
    "existAttrNot": Kind(
        "verify",
        "obj",
        (
            "is there {a} that is not {value}?",
            "do you see {a} that is not {value}?",
            "are there any {many} that are not {values}?",
        ),
    ),
    "existRelS": Kind(
        "verify",
        "rel",
        (
            "is there {a} {side} {origin}?",
            "are there any {many} {side} {origin}?",
            "do you see {a} {side} {origin}?",
        ),
    ),
    "relVerify": Kind(
        "verify",
        "rel",
        ("is {the} {side} {the2}?", "is it true that {the} is {side} {the2}?"),
        negative="Cr",
    ),
    "verifyAttrs": Kind(
        "logical",
        "attr",
        (
            "is {the} {value} and {value2}?",
            "is {the} both {value} and {value2}?",
            "does {the} look {value} and {value2}?",
        ),
    ),
    "verifyAttrAnd": Kind("logical", "obj", ("are both {the} and {the2} {value}?",)),
    "existAnd": Kind(
        "logical",
        "obj",
        (
            "are there both {many} and {many2}?",
            "is there {a} and also {a2}?",
            "does the picture show both {a} and {a2}?",
        ),
    ),
    "existOr": Kind(
        "logical",
        "obj",
        (
            "are there {many} or {many2}?",
            "is there either {a} or {a2}?",
            "do you see {a} or {a2}?",
        ),
    ),
    "chooseAttr": Kind(
        "choose",
        "attr",
        ("is {the} {value} or {value2}?", "what {quality} is {the}, {value} or {value2}?"),
    ),
    "positionChoose.hposition": Kind(
        "choose",
        "attr",
        (
            "is {the} on the {value} or on the {value2}?",
            "on which side of the picture is {the}, the {value} or the {value2}?",
        ),
    ),
    "positionChoose.vposition": Kind(
        "choose",
        "attr",
        (
            "is {the} at the {value} or at the {value2} of the picture?",
            "in which half of the picture is {the}, the {value} or the {value2}?",
        ),
    ),
    "categoryThatChoose": Kind(
        "choose", "cat", ("what is {the}, {value} or {value2}?", "is {the} {value} or {value2}?")
    ),
    "categoryRelSChoose": Kind(
        "choose",
        "rel",
        ("what kind of object is {the}, {value} or {value2}?", "is {the} {value} or {value2}?"),
    ),
    "mainChoose": Kind(
        "choose",
        "global",
        (
            "which {attribute} is the most common, {value} or {value2}?",
            "is the most common {attribute} {value} or {value2}?",
        ),
    ),
    "relChooser": Kind(
        "choose",
        "rel",
        (
            "is {the} to the {value} or to the {value2} of {the2}?",
            "on which side of {the2} is {the}, {value} or {value2}?",
        ),
    ),
    "twoSame": Kind(
        "compare",
        "attr",
        (
            "do {the} and {the2} have the same {attribute}?",
            "does {the} have the same {attribute} as {the2}?",
            "are both {the} and {the2} the same {quality}?",
        ),
    ),
    "twoDifferent": Kind(
        "compare",
        "attr",
        (
            "do {the} and {the2} have different {attributes}?",
            "does {the} have a different {attribute} than {the2}?",
        ),
    ),
    "sameAll": Kind(
        "compare",
        "attr",
        ("do all the {many} have the same {attribute}?", "are all the {many} the same {quality}?"),
    ),
    "differentAll": Kind(
        "compare",
        "attr",
        ("do the {many} have different {attributes}?", "do the {many} differ in {attribute}?"),
    ),
    "comparativeChoose": Kind(
        "compare",
        "attr",
        ("which is larger, {the} or {the2}?", "which one is bigger, {the} or {the2}?"),
    ),
}
