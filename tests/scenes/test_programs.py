"""Programs: every operation on a scene worked out by hand, and the cases it must refuse."""

import json

import pytest

from lxmert.errors import InputError
from lxmert.scenes import Scene, SceneObject, execute
from lxmert.scenes.programs import OPERATIONS, AmbiguousProgramError, Step, program_from_json
from lxmert.scenes.world import Background

PLAIN = Background("plain", (240, 240, 240), (230, 230, 230), 10, 0.0, 3, 0)


def scene_object(
    shape: str, color: str, size: str, fill: str, center_xy: tuple[int, int], side: int
) -> SceneObject:
    x, y = center_xy
    half = side // 2
    return SceneObject(shape, color, size, fill, (x - half, y - half, x + half, y + half))


STAR = scene_object("star", "red", "large", "solid", (40, 30), 40)
HEART = scene_object("heart", "red", "small", "hollow", (160, 40), 24)
CIRCLE = scene_object("circle", "blue", "large", "striped", (150, 120), 50)
SQUARE = scene_object("square", "blue", "small", "solid", (30, 80), 20)
SCENE = Scene((150, 200), (STAR, HEART, CIRCLE, SQUARE), PLAIN)
"""Distances from the star: square 51, heart 120, circle 142."""


def select_unique(shape: str) -> list[Step]:
    return [Step("select", (), {"shape": shape}), Step("unique", (0,))]


def select_two_unique(first: str, second: str) -> list[Step]:
    return [*select_unique(first), Step("select", (), {"shape": second}), Step("unique", (2,))]


EVERYTHING = Step("select", (), {})
RED = Step("select", (), {"color": "red"})
BLUE = Step("select", (), {"color": "blue"})

CASES = [
    ([RED, Step("count", (0,))], "2"),
    ([EVERYTHING, Step("reject", (0,), {"fill": "solid"}), Step("count", (1,))], "2"),
    ([RED, Step("select", (), {"size": "small"}), Step("unite", (0, 1)), Step("count", (2,))], "3"),
    ([Step("select", (), {"color": "red", "size": "small"}), Step("exist", (0,))], "yes"),
    ([Step("select", (), {"color": "red", "shape": "circle"}), Step("exist", (0,))], "no"),
    ([RED, Step("exist", (0,)), Step("not", (1,))], "no"),
    ([RED, Step("exist", (0,)), Step("not", (1,)), Step("and", (1, 2))], "no"),
    ([RED, Step("exist", (0,)), Step("not", (1,)), Step("or", (1, 2))], "yes"),
    ([EVERYTHING, Step("count", (0,)), RED, Step("count", (2,)), Step("more", (1, 3))], "yes"),
    ([EVERYTHING, Step("count", (0,)), RED, Step("count", (2,)), Step("fewer", (1, 3))], "no"),
    ([BLUE, Step("count", (0,)), RED, Step("count", (2,)), Step("equal", (1, 3))], "yes"),
    ([*select_unique("heart"), Step("query", (1,), "fill")], "hollow"),
    ([*select_two_unique("star", "heart"), Step("same", (1, 3), "color")], "yes"),
    ([*select_two_unique("star", "heart"), Step("same", (1, 3), "size")], "no"),
    ([*select_two_unique("circle", "star"), Step("larger", (1, 3))], "yes"),
    ([*select_two_unique("circle", "star"), Step("smaller", (1, 3))], "no"),
    ([*select_unique("star"), EVERYTHING, Step("beside", (2, 1), "below"), Step("count", (3,))], None),
    ([*select_unique("star"), BLUE, Step("beside", (2, 1), "below"), Step("count", (3,))], "2"),
    ([*select_unique("square"), EVERYTHING, Step("beside", (2, 1), "above"), Step("count", (3,))], "2"),
    ([*select_unique("circle"), RED, Step("beside", (2, 1), "left"), Step("count", (3,))], None),
    ([*select_two_unique("star", "circle"), Step("is_beside", (1, 3), "left")], "yes"),
    ([*select_two_unique("star", "circle"), Step("is_beside", (1, 3), "right")], "no"),
    ([*select_two_unique("star", "circle"), Step("is_beside", (1, 3), "above")], "yes"),
    ([*select_two_unique("star", "heart"), Step("is_beside", (1, 3), "above")], None),
    ([*select_two_unique("star", "square"), Step("is_beside", (1, 3), "right")], None),
    ([*select_unique("star"), Step("half", (1,), "horizontal")], "left"),
    ([*select_unique("circle"), Step("half", (1,), "horizontal")], "right"),
    ([*select_unique("circle"), Step("half", (1,), "vertical")], "bottom"),
    ([*select_unique("heart"), Step("half", (1,), "vertical")], "top"),
    ([*select_unique("square"), Step("half", (1,), "vertical")], None),
    ([*select_unique("star"), Step("nearest", (1,)), Step("query", (2,), "shape")], "square"),
    ([*select_unique("star"), Step("farthest", (1,)), Step("query", (2,), "shape")], "circle"),
    ([*select_unique("heart"), Step("farthest", (1,)), Step("query", (2,), "shape")], None),
    ([EVERYTHING, Step("outermost", (0,), "below"), Step("query", (1,), "shape")], "circle"),
    ([EVERYTHING, Step("outermost", (0,), "right"), Step("query", (1,), "shape")], None),
    ([RED, Step("outermost", (0,), "right"), Step("query", (1,), "shape")], "heart"),
    ([BLUE, Step("outermost", (0,), "above"), Step("query", (1,), "shape")], "square"),
    ([BLUE, Step("outermost", (0,), "left"), Step("query", (1,), "shape")], "square"),
    ([EVERYTHING, Step("extreme", (0,), "largest"), Step("query", (1,), "shape")], "circle"),
    ([EVERYTHING, Step("extreme", (0,), "smallest"), Step("query", (1,), "shape")], "square"),
    ([*select_unique("star"), Step("extreme", (0,), "largest"), Step("query", (2,), "shape")], None),
    ([Step("most_common", (), "fill")], "solid"),
    ([Step("most_common", (), "color")], None),
    ([RED, Step("unique", (0,)), Step("query", (1,), "shape")], None),
    ([Step("select", (), {"color": "green"}), Step("unique", (0,)), Step("query", (1,), "shape")], None),
    ([*select_unique("star"), Step("same", (1, 1), "color")], None),
    ([*select_unique("star"), Step("larger", (1, 1))], None),
]


@pytest.mark.parametrize(("steps", "answer"), CASES)
def test_execute_gives_answer_by_hand_or_raises_ambiguous_program_error(
    steps: list[Step], answer: str | None
):
    if answer is None:
        with pytest.raises(AmbiguousProgramError):
            execute(steps, SCENE)
    else:
        assert execute(steps, SCENE) == answer


def test_cases_by_hand_use_every_operation():
    assert {step.operation for steps, _ in CASES for step in steps} == set(OPERATIONS)


def test_nearest_object_is_ambiguous_below_minimum_distance_ratio():
    def scene(near: int, far: int) -> Scene:
        things = (
            scene_object("star", "red", "small", "solid", (100, 100), 20),
            scene_object("heart", "red", "small", "solid", (100 + near, 100), 20),
            scene_object("cross", "red", "small", "solid", (100 - far, 100), 20),
        )
        return Scene((200, 200), things, PLAIN)

    program = [*select_unique("star"), Step("nearest", (1,)), Step("query", (2,), "shape")]
    assert execute(program, scene(40, 46)) == "heart"
    assert execute(program, scene(46, 40)) == "cross"
    with pytest.raises(AmbiguousProgramError, match="equally far"):
        execute(program, scene(40, 45))


@pytest.mark.parametrize(("side_px", "answer"), [(30, "cross"), (34, None)])
def test_nearest_object_that_changes_between_centres_and_outlines_is_ambiguous(
    side_px: int, answer: str | None
):
    """The cross is 46 px from the star's centre and 26 from its outline, the heart 54 and 29 or 27."""
    things = (
        scene_object("star", "red", "small", "solid", (100, 100), 20),
        scene_object("cross", "red", "small", "solid", (100, 146), 20),
        scene_object("heart", "red", "small", "solid", (100, 46), side_px),
    )
    program = [*select_unique("star"), Step("nearest", (1,)), Step("query", (2,), "shape")]
    scene = Scene((200, 200), things, PLAIN)
    if answer is None:
        with pytest.raises(AmbiguousProgramError, match="equally far"):
            execute(program, scene)
    else:
        assert execute(program, scene) == answer


@pytest.mark.parametrize(
    ("others", "answer"),
    [
        # 48 px down of 110 against 60 px right of 220: nearer in pixels, farther in shares of the sides.
        ({"heart": (100, 108), "cross": (160, 60)}, None),
        # In shares of the sides 0.4 against 0.409, and against 0.423: the ratio must be 1.05.
        ({"heart": (100, 104), "cross": (190, 60)}, None),
        ({"heart": (100, 104), "cross": (193, 60)}, "heart"),
        # The heart is clearly nearer than the second nearest, 48 px up, but not than the third, 70 px right.
        ({"heart": (100, 98), "cross": (100, 12), "circle": (170, 60)}, None),
        ({"heart": (100, 98), "cross": (100, 12), "circle": (190, 60)}, "heart"),
    ],
)
def test_nearest_object_that_changes_with_aspect_ratio_is_ambiguous(
    others: dict[str, tuple[int, int]], answer: str | None
):
    places = {"star": (100, 60), **others}
    things = tuple(scene_object(shape, "red", "small", "solid", at, 20) for shape, at in places.items())
    scene = Scene((110, 220), things, PLAIN)
    program = [*select_unique("star"), Step("nearest", (1,)), Step("query", (2,), "shape")]
    if answer is None:
        with pytest.raises(AmbiguousProgramError, match="equally far"):
            execute(program, scene)
    else:
        assert execute(program, scene) == answer


@pytest.mark.parametrize(
    ("step", "heart", "answer"),
    [
        # The star's centre is (100, 100) of 200 by 200, its side 40.
        (Step("is_beside", (1, 3), "right"), ((83, 20), 40), "yes"),
        (Step("is_beside", (1, 3), "right"), ((85, 20), 40), None),
        (Step("half", (3,), "horizontal"), ((113, 20), 40), "right"),
        (Step("half", (3,), "horizontal"), ((111, 20), 40), None),
        (Step("larger", (3, 1)), ((20, 20), 48), "yes"),
        (Step("larger", (3, 1)), ((20, 20), 46), None),
    ],
)
def test_margins_of_relation_half_and_size(
    step: Step, heart: tuple[tuple[int, int], int], answer: str | None
):
    things = (
        scene_object("star", "red", "large", "solid", (100, 100), 40),
        scene_object("heart", "red", "large", "solid", *heart),
    )
    program = [*select_two_unique("star", "heart"), step]
    if answer is None:
        with pytest.raises(AmbiguousProgramError):
            execute(program, Scene((200, 200), things, PLAIN))
    else:
        assert execute(program, Scene((200, 200), things, PLAIN)) == answer


def test_programs_survive_json():
    for steps, _ in CASES:
        stored = json.loads(json.dumps([step.to_dict() for step in steps]))
        assert program_from_json(stored) == tuple(steps)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Step("guess")],
        [Step("count", (0,))],
        [RED, Step("count", (1,))],
        [RED, Step("count", (-1,))],
        [RED],
    ],
)
def test_malformed_program_raises_input_error(steps: list[Step]):
    with pytest.raises(InputError) as caught:
        execute(steps, SCENE)
    assert not isinstance(caught.value, AmbiguousProgramError)


@pytest.mark.parametrize(
    "step", [{"operation": "count"}, {"operation": "count", "inputs": None, "argument": None}, "count"]
)
def test_malformed_stored_steps_raise_input_error(step: object):
    with pytest.raises(InputError, match="malformed program"):
        program_from_json([step])
