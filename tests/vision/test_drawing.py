import numpy as np
import pytest
import torch
from PIL import Image

from lxmert.errors import RegionsError
from lxmert.vision.drawing import draw_regions

BLUE, VERMILION = np.array([0, 114, 178]), np.array([213, 94, 0])
BOXES = torch.tensor([[100.0, 120.0, 300.0, 260.0], [400.0, 60.0, 560.0, 330.0]])


def grey(width=640, height=400):
    return Image.new("RGB", (width, height), (120, 120, 120))


def painted(picture, colour):
    """Rows and columns where the picture has exactly this colour."""
    rows, columns = np.where((np.asarray(picture) == colour).all(axis=2))
    return rows, columns


def test_each_box_is_outlined_in_its_colour_where_it_lies():
    drawn = draw_regions(grey(), BOXES)
    assert drawn.size == (640, 400)
    for box, colour in zip(BOXES.tolist(), (BLUE, VERMILION), strict=True):
        rows, columns = painted(drawn, colour)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.allclose(found, box, atol=3)
    assert (np.asarray(drawn)[200, 200] == 120).all()
    assert (np.asarray(drawn)[10, 10] == 120).all()


def test_the_given_picture_is_left_as_it_was():
    picture = grey()
    draw_regions(picture, BOXES, ["a", "b"], title="q")
    assert (np.asarray(picture) == 120).all()


def test_a_small_picture_is_enlarged_with_its_boxes():
    drawn = draw_regions(grey(64, 40), BOXES / 10, least_side_px=640)
    assert drawn.size == (640, 400)
    rows, columns = painted(drawn, BLUE)
    assert np.allclose([columns.min(), rows.min()], [100, 120], atol=3)


def test_tags_add_colour_and_letters_and_stay_inside_the_picture():
    plain = (np.asarray(draw_regions(grey(), BOXES)) != 120).sum()
    tagged = (np.asarray(draw_regions(grey(), BOXES, ["cat", "dog"])) != 120).sum()
    scored = (np.asarray(draw_regions(grey(), BOXES, ["cat", "dog"], torch.tensor([0.5, 0.25]))) != 120).sum()
    assert plain < tagged < scored
    whole = torch.tensor([[0.0, 0.0, 640.0, 400.0]])
    assert len(painted(draw_regions(grey(), whole, ["everything there is"]), BLUE)[0]) > 2000


def test_tags_of_equal_boxes_do_not_cover_one_another():
    boxes = torch.tensor([[200.0, 150.0, 400.0, 300.0]] * 2)
    drawn = draw_regions(grey(), boxes, ["first name", "second name"])
    for colour in (BLUE, VERMILION):
        assert len(painted(drawn, colour)[0]) > 500


def test_words_below_are_wrapped_to_the_width():
    one = draw_regions(grey(), BOXES, title="What is it?")
    more = draw_regions(grey(), BOXES, title="What is it? " * 12)
    both = draw_regions(grey(), BOXES, title="What is it?", caption="a cat (98 %)")
    assert one.width == more.width == both.width == 640
    assert 400 < one.height < both.height
    assert one.height < more.height
    bar = np.asarray(draw_regions(grey(), BOXES, title="W" * 300))[400:]
    assert (bar[:, -6:] == bar[0, 0]).all()  # nothing runs out of the sheet


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ["one"]}, "1 labels for 2 boxes"),
        ({"scores": [0.1, 0.2, 0.3]}, "3 scores for 2 boxes"),
        ({"boxes_xyxy_px": BOXES * 10}, "beyond the"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(RegionsError, match=words):
        draw_regions(**({"image": grey(), "boxes_xyxy_px": BOXES} | changes))


def test_a_picture_without_boxes_and_a_strip_can_be_drawn():
    assert draw_regions(grey(), torch.zeros(0, 4), [], title="nothing").width == 640
    assert draw_regions(grey(2000, 1), torch.tensor([[5.0, 0.0, 90.0, 1.0]]), ["strip"]).size == (2000, 1)
