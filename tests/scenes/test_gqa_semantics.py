"""GQA's programs: every operation on a scene worked out by hand, and the cases it must refuse."""

import json

import pytest

from lxmert.errors import InputError
from lxmert.scenes.gqa.semantics import SemanticStep, execute_semantic, semantic_string
from lxmert.scenes.programs import AmbiguousProgramError
from tests.scenes.test_programs import SCENE


def steps_from_text(text: str) -> list[SemanticStep]:
    """Steps from a semanticStr."""
    steps = []
    for part in text.split("->"):
        used = []
        if part.endswith("]"):
            part, _, numbers = part[:-1].rpartition(" [")
            used = [int(number) for number in numbers.split(",")]
        operation, _, argument = part.partition(": ")
        steps.append(SemanticStep(operation, argument, tuple(used)))
    return steps


# The scene: a large solid red star, a small hollow red heart, a large striped blue circle, a small solid blue
# square; star and heart are on one level, circle and square lie below them, star and square at the left.
CASES = [
    ("select: heart (2)->query: fill [0]", "hollow"),
    ("select: object (1)->filter color: red [0]->filter size: small [1]->query: name [2]", "heart"),
    ("select: star->query: hposition [0]", "left"),
    ("select: circle->query: vposition [0]", "bottom"),
    ("select: square->query: vposition [0]", None),
    ("select: scene->query: main fill [0]", "solid"),
    ("select: scene->query: main color [0]", None),
    ("select: object->query: color [0]", None),
    ("select: cross (-)->query: color [0]", None),
    ("select: circle->relate: square,to the left of,s (4) [0]->query: color [1]", "blue"),
    ("select: heart->relate: square,below,s [0]->filter fill: solid [1]->query: name [2]", "square"),
    ("select: heart->relate: _,below,s [0]->query: name [1]", None),
    ("select: star->relate: _,above,s [0]->exist: ? [1]", None),
    ("select: star->relate: _,same color,_ [0]->query: name [1]", "heart"),
    ("select: star->relate: square,same fill,_ [0]->query: name [1]", "square"),
    ("select: star->verify color: red [0]", "yes"),
    ("select: star->verify color: blue [0]", "no"),
    ("select: star->verify hposition: right [0]", "no"),
    ("select: object->filter fill: striped [0]->verify name: circle [1]", "yes"),
    ("select: scene->verify main fill: solid [0]", "yes"),
    ("select: star->verify rel: circle,to the right of,s (3) [0]", "yes"),
    ("select: star->verify rel: circle,to the left of,s (3) [0]", "no"),
    ("select: star->verify rel: heart,below,s (2) [0]", None),
    ("select: star->verify rel: object,below,s [0]", None),
    ("select: star->choose color: blue|red [0]", "red"),
    ("select: star->choose color: blue|green [0]", None),
    ("select: object->filter fill: hollow [0]->choose name: heart|star [1]", "heart"),
    ("select: star->choose rel: circle,to the left of|to the right of,s (3) [0]", "right"),
    ("select: circle->choose rel: star,to the left of|to the right of,s (1) [0]", "left"),
    ("select: square->exist: ? [0]", "yes"),
    ("select: cross (-)->exist: ? [0]", "no"),
    ("select: object->filter color: not(red) [0]->filter color: not(blue) [1]->exist: ? [2]", "no"),
    ("select: object->filter color: not(red) [0]->filter size: large [1]->exist: ? [2]", "yes"),
    ("select: object->filter color: not(red) [0]->filter fill: hollow [1]->exist: ? [2]", "no"),
    ("select: star->verify color: red [0]->verify size: small [0]->and:  [1, 2]", "no"),
    ("select: star->verify color: red [0]->verify size: large [0]->and:  [1, 2]", "yes"),
    ("select: cross->exist: ? [0]->select: star->exist: ? [2]->or:  [1, 3]", "yes"),
    ("select: cross->exist: ? [0]->or:  [1, 1]", "no"),
    ("select: star->select: heart->same color:  [0, 1]", "yes"),
    ("select: star->select: heart->different color:  [0, 1]", "no"),
    ("select: star->select: heart->different fill:  [0, 1]", "yes"),
    ("select: star->select: star->same color:  [0, 1]", None),
    ("select: object->filter color: red [0]->same: color [1]", "yes"),
    ("select: object->same: color [0]", "no"),
    ("select: object->different: color [0]", "yes"),
    ("select: star->same: color [0]", None),
    ("select: star->select: heart->choose larger:  [0, 1]", "star"),
    ("select: heart->select: circle->choose larger:  [0, 1]", "circle"),
    ("select: heart->select: square->choose larger:  [0, 1]", "heart"),
]


@pytest.mark.parametrize(("text", "answer"), CASES)
def test_execute_semantic_gives_answer_by_hand_or_raises_ambiguous_program_error(
    text: str, answer: str | None
):
    if answer is None:
        with pytest.raises(AmbiguousProgramError):
            execute_semantic(steps_from_text(text), SCENE)
    else:
        assert execute_semantic(steps_from_text(text), SCENE) == answer


@pytest.mark.parametrize(
    "text", ["guess: star", "exist: ? [0]", "select: star->exist: ? [2]", "select: star"]
)
def test_malformed_program_raises_input_error(text: str):
    with pytest.raises(InputError) as caught:
        execute_semantic(steps_from_text(text), SCENE)
    assert not isinstance(caught.value, AmbiguousProgramError)


def test_program_without_steps_raises_input_error():
    with pytest.raises(InputError, match="no step"):
        execute_semantic([], SCENE)


def test_semantic_string_equals_semantic_str_of_real_gqa(shared_data):
    real = json.loads((shared_data / "gqa" / "testdev_balanced_questions.json").read_text())
    for record in real.values():
        steps = [
            SemanticStep(step["operation"], step["argument"], tuple(step["dependencies"]))
            for step in record["semantic"]
        ]
        assert semantic_string(steps) == record["semanticStr"]
        assert [step.to_dict() for step in steps] == record["semantic"]
