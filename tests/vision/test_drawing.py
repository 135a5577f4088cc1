import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lxmert.errors import RegionsError
from lxmert.vision.drawing import draw_regions, draw_weighted, regions
from lxmert.vision.drawing.frames import frame_for_box
from lxmert.vision.drawing.style import PALETTE, Scale, text_colour_on
from lxmert.vision.drawing.tag_placement import hidden_share, overlap_share, place_tags

BLUE, VERMILION = np.array([0, 114, 178]), np.array([213, 94, 0])
BOXES = torch.tensor([[100.0, 120.0, 300.0, 260.0], [400.0, 60.0, 560.0, 330.0]])


def grey_image(width=640, height=400):
    return Image.new("RGB", (width, height), (120, 120, 120))


def pixels_of_colour(picture, colour):
    """Rows and columns where the picture has exactly this colour."""
    rows, columns = np.where((np.asarray(picture) == colour).all(axis=2))
    return rows, columns


def test_each_box_is_outlined_in_its_colour_where_it_lies():
    drawn = draw_regions(grey_image(), BOXES)
    assert drawn.size == (640, 400)
    for box, colour in zip(BOXES.tolist(), (BLUE, VERMILION), strict=True):
        rows, columns = pixels_of_colour(drawn, colour)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.allclose(found, box, atol=3)
    assert (np.asarray(drawn)[200, 200] == 120).all()
    assert (np.asarray(drawn)[10, 10] == 120).all()


def test_draw_regions_does_not_modify_input_image():
    picture = grey_image()
    draw_regions(picture, BOXES, ["a", "b"], title="q")
    assert (np.asarray(picture) == 120).all()


def test_small_image_is_enlarged_with_its_boxes():
    drawn = draw_regions(grey_image(64, 40), BOXES / 10, min_side_px=640)
    assert drawn.size == (640, 400)
    rows, columns = pixels_of_colour(drawn, BLUE)
    assert np.allclose([columns.min(), rows.min()], [100, 120], atol=3)


def test_tags_add_colour_and_letters_and_stay_inside_image():
    plain = (np.asarray(draw_regions(grey_image(), BOXES)) != 120).sum()
    tagged = (np.asarray(draw_regions(grey_image(), BOXES, ["cat", "dog"])) != 120).sum()
    scored = (
        np.asarray(draw_regions(grey_image(), BOXES, ["cat", "dog"], torch.tensor([0.5, 0.25]))) != 120
    ).sum()
    assert plain < tagged < scored
    whole = torch.tensor([[0.0, 0.0, 640.0, 400.0]])
    assert len(pixels_of_colour(draw_regions(grey_image(), whole, ["everything there is"]), BLUE)[0]) > 2000


def test_tags_of_equal_boxes_do_not_cover_one_another():
    boxes = torch.tensor([[200.0, 150.0, 400.0, 300.0]] * 2)
    drawn = draw_regions(grey_image(), boxes, ["first name", "second name"])
    for colour in (BLUE, VERMILION):
        assert len(pixels_of_colour(drawn, colour)[0]) > 500


def test_title_and_caption_are_wrapped_to_image_width():
    one = draw_regions(grey_image(), BOXES, title="What is it?")
    more = draw_regions(grey_image(), BOXES, title="What is it? " * 12)
    both = draw_regions(grey_image(), BOXES, title="What is it?", caption="a cat (98 %)")
    assert one.width == more.width == both.width == 640
    assert 400 < one.height < both.height
    assert one.height < more.height
    bar = np.asarray(draw_regions(grey_image(), BOXES, title="W" * 300))[400:]
    assert (bar[:, -6:] == bar[0, 0]).all()  # nothing runs out of the sheet


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ["one"]}, "1 labels for 2 boxes"),
        ({"scores": [0.1, 0.2, 0.3]}, "3 scores for 2 boxes"),
        ({"boxes_xyxy_px": BOXES * 10}, "beyond the"),
    ],
)
def test_wrong_label_or_score_counts_and_boxes_outside_image_are_rejected(changes, words):
    with pytest.raises(RegionsError, match=words):
        draw_regions(**({"image": grey_image(), "boxes_xyxy_px": BOXES} | changes))


def test_image_without_boxes_and_one_pixel_high_image_can_be_drawn():
    assert draw_regions(grey_image(), torch.zeros(0, 4), [], title="nothing").width == 640
    strip = torch.tensor([[5.0, 0.0, 90.0, 1.0]])
    assert draw_regions(grey_image(2000, 1), strip, ["strip"], legend=False).size == (2000, 1)
    width, height = draw_regions(grey_image(2000, 1), strip, ["strip"]).size
    assert (width, height > 20) == (2000, True)  # the name would hide the picture, so it stands below


def crowded_boxes(count, width=640, height=400, seed=3):
    """Boxes that overlap as those of a detector do."""
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(dim=1).values
    boxes = corners * torch.tensor([width - 40.0, height - 40.0])
    boxes[:, 1] += 40
    return boxes.flatten(1)


def legend_pixels(drawn, size):
    """Pixels of a sheet that lie beside or below its picture of (width, height)."""
    pixels = np.asarray(drawn).astype(int)
    return np.concatenate([pixels[: size[1], size[0] :].reshape(-1, 3), pixels[size[1] :].reshape(-1, 3)])


def test_many_boxes_are_numbered_and_listed_in_legend():
    names = [f"object number {index}" for index in range(36)]
    drawn = draw_regions(grey_image(), crowded_boxes(36), names, torch.linspace(0.9, 0.1, 36))
    size = (900, 562)  # enlarged for the crowd
    legend = legend_pixels(drawn, size)
    assert len(legend) > 36 * 100 * 14
    for colour in PALETTE:  # 36 badges in seven colours
        assert (legend == colour).all(axis=1).sum() > 36 / 7 * 100
    bare = legend_pixels(draw_regions(grey_image(), crowded_boxes(36), ["."] * 36, legend=True), size)
    assert (legend.sum(axis=1) < 200).sum() > 3 * (bare.sum(axis=1) < 200).sum()


def test_more_than_16_labels_go_into_legend_even_if_they_fit():
    cells = [
        [x * 100.0 + 30, y * 60.0 + 30, x * 100.0 + 60, y * 60.0 + 45] for y in range(6) for x in range(6)
    ]
    for count, size in ((16, (640, 400)), (17, (900, 562))):
        drawn = draw_regions(grey_image(), torch.tensor(cells[:count]), ["a"] * count)
        assert (drawn.width >= size[0], drawn.height >= size[1]) == (True, True)
        assert (drawn.size == (640, 400)) == (count == 16)


def test_few_labels_are_drawn_at_boxes_and_image_keeps_its_size():
    assert draw_regions(grey_image(), BOXES, ["cat", "dog"]).size == (640, 400)


def test_overlapping_labels_go_into_legend():
    stacked = torch.tensor([[300.0, 190.0, 330.0, 200.0]]).repeat(14, 1)
    long_names = [f"a rather long name {index}" for index in range(14)]
    assert draw_regions(grey_image(), stacked, long_names).size != (640, 400)
    assert draw_regions(grey_image(), stacked, long_names, legend=False).size == (640, 400)


@pytest.mark.parametrize(("size", "beside"), [((640, 400), True), ((300, 900), True), ((1200, 150), False)])
def test_legend_side_depends_on_image_aspect_ratio(size, beside):
    drawn = draw_regions(grey_image(*size), crowded_boxes(20, *size), ["name"] * 20, legend=True)
    factor = max(1.0, 900 / max(size))
    enlarge = tuple(round(side * factor) for side in size)
    assert (drawn.width > enlarge[0], drawn.height > enlarge[1]) == (beside, not beside)


def test_legend_can_be_forced_for_one_box_or_none():
    one = draw_regions(grey_image(), BOXES[:1], ["a cat"], [0.5], legend=True)
    assert (legend_pixels(one, (900, 562)) == BLUE).all(axis=1).sum() > 100
    assert draw_regions(grey_image(), torch.zeros(0, 4), [], legend=True).size == (900, 562)
    long = draw_regions(
        grey_image(60, 400), BOXES[:0].new_tensor([[5, 5, 50, 90.0]]), ["W" * 200], legend=True
    )
    assert long.width < 2000


def test_unlabelled_boxes_are_numbered_if_legend_is_forced():
    numbered = draw_regions(grey_image(), BOXES, legend=True)
    assert numbered.size == (900, 562)  # and no empty legend
    plain = draw_regions(grey_image(), BOXES, min_side_px=900)
    for colour in (BLUE, VERMILION):
        (rows, _), (bare_rows, _) = pixels_of_colour(numbered, colour), pixels_of_colour(plain, colour)
        assert len(rows) > 300
        assert len(bare_rows) > 300


def test_prefer_inside_places_tags_inside_frames_with_room():
    scale = Scale.for_image_size((640, 400), is_crowded=True)
    boxes = [(x * 80.0, y * 80.0, x * 80.0 + 80, y * 80.0 + 80) for y in range(5) for x in range(8)]
    cells = [frame_for_box(box, 1.0, (640, 400), scale) for box in boxes]
    inside = place_tags([(20.0, 18.0)] * len(cells), cells, (640, 400), scale, prefer_inside=True)
    for (left, top, right, bottom), (x1, y1, x2, y2) in zip(inside, cells, strict=True):
        middle = ((left + right) / 2, (top + bottom) / 2)
        assert x1 < middle[0] < x2
        assert y1 < middle[1] < y2
    ((_, top, _, _),) = place_tags([(20.0, 18.0)], cells[-1:], (640, 400), scale)
    assert top < cells[-1][1] - 10  # elsewhere a tag sits on top of its frame


def test_number_of_large_box_lies_inside_it():
    drawn = np.asarray(draw_regions(grey_image(900, 562), BOXES[:1], legend=True))
    blue = (drawn == BLUE).all(axis=2)
    assert blue[124:136, 104:112].sum() > 30  # behind the digit, below the line at 120
    assert blue[100:116, 96:130].sum() == 0  # where a name would stand


def test_overlap_share_of_tags_by_hand():
    assert overlap_share([]) == 0
    assert overlap_share([(0, 0, 10, 10), (10, 0, 20, 10)]) == 0
    assert overlap_share([(0, 0, 10, 10), (5, 5, 15, 15)]) == pytest.approx(25 / 200)


rectangles = st.tuples(st.floats(0, 500), st.floats(0, 300), st.floats(5, 200), st.floats(5, 100)).map(
    lambda one: (one[0], one[1], min(one[0] + one[2], 640.0), min(one[1] + one[3], 400.0))
)


@given(st.lists(rectangles, max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_tag_lies_inside_image_and_near_its_frame(frames):
    scale = Scale.for_image_size((640, 400))
    tags = [(60.0, 20.0)] * len(frames)
    places = place_tags(tags, frames, (640, 400), scale)
    assert len(places) == len(frames)
    for (left, top, right, bottom), (x1, y1, x2, y2) in zip(places, frames, strict=True):
        assert 0 <= left < right <= 640
        assert 0 <= top < bottom <= 400
        assert (right - left, bottom - top) == pytest.approx((60, 20))
        reach = 2 * (scale.line + scale.edge)
        assert left <= x2 + reach
        assert right >= x1 - 60 - reach
        assert top <= y2 + reach
        assert bottom >= y1 - 20 - reach


def test_hidden_share_of_frames_by_hand():
    assert hidden_share([], []) == hidden_share([(0, 0, 9, 9)], []) == 0
    frames = [(0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 40.0, 10.0)]
    tags = [(5.0, 5.0, 25.0, 15.0), (30.0, 8.0, 50.0, 18.0)]
    # 25 of 100 in the first; 25 and 20 of 200 in the second
    assert hidden_share(tags, frames) == pytest.approx(0.25)
    assert hidden_share(tags, frames[1:]) == pytest.approx(45 / 200)


def test_tag_does_not_hide_its_own_small_object():
    scale = Scale.for_image_size((640, 400))
    own, above = (300.0, 100.0, 340.0, 140.0), (290.0, 60.0, 360.0, 98.0)
    places = place_tags([(90.0, 20.0)] * 2, [own, above], (640, 400), scale)
    assert hidden_share(places, [own]) < 0.1


def test_labels_that_would_hide_their_objects_go_into_legend():
    # Side by side in a row, each between two others above and below: every place for a long name is taken.
    boxes = [[x, y, x + 46.0, y + 46.0] for y in (100.0, 150.0, 200.0) for x in (300.0, 350.0, 400.0)]
    names = ["a name for it"] * 9
    drawn = draw_regions(grey_image(), torch.tensor(boxes), names)
    assert drawn.size != (640, 400)
    assert draw_regions(grey_image(), torch.tensor(boxes[4:5]), names[:1]).size == (640, 400)


def test_tag_does_not_hide_small_object_of_another_frame():
    scale = Scale.for_image_size((640, 400))
    below = (200.0, 100.0, 400.0, 300.0)
    small = (195.0, 78.0, 262.0, 99.0)  # where the tag of the large frame usually sits
    free, _ = place_tags([(60.0, 20.0)] * 2, [below, (500.0, 10.0, 620.0, 60.0)], (640, 400), scale)
    assert overlap_share([free, small]) > 0.2
    held, _ = place_tags([(60.0, 20.0)] * 2, [below, small], (640, 400), scale)
    assert overlap_share([held, small]) < 0.02


def test_more_than_200_tags_are_placed_at_their_frames_without_a_search():
    scale = Scale.for_image_size((640, 400))
    for count, is_separated in ((200, True), (201, False)):
        places = place_tags([(60.0, 20.0)] * count, [(300.0, 190.0, 330.0, 200.0)] * count, (640, 400), scale)
        assert (len(set(places)) > 1) == is_separated
    alone = place_tags([(60.0, 20.0)], [(300.0, 190.0, 330.0, 200.0)], (640, 400), scale)
    assert places == alone * 201


def test_names_that_are_too_many_are_not_placed(monkeypatch):
    placed = []

    def recorded(tags, *others, **options):
        placed.append(len(tags))
        return place_tags(tags, *others, **options)

    monkeypatch.setattr(regions, "place_tags", recorded)
    draw_regions(grey_image(), crowded_boxes(17), ["a"] * 17)
    assert placed == [17]  # the numbers
    draw_regions(grey_image(), crowded_boxes(17), ["a"] * 17, legend=False)
    assert placed == [17, 17]


def test_text_colour_contrasts_with_every_palette_colour():
    def luminance(colour):
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for ground in PALETTE:
        lighter, darker = sorted((luminance(ground), luminance(text_colour_on(ground))), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) > 3.4  # WCAG 2 asks for 3 of large letters


def test_draw_weighted_brightens_boxes_by_weight():
    picture = Image.new("RGB", (1000, 600), (200, 200, 200))
    boxes = torch.tensor(
        [[100.0, 100.0, 300.0, 300.0], [500.0, 100.0, 700.0, 300.0], [100.0, 400.0, 300.0, 550.0]]
    )
    drawn = np.asarray(draw_weighted(picture, boxes, [1.0, 0.5, -1.0]))
    assert drawn.shape == (600, 1000, 3)
    outside, full, half, against = drawn[350, 850], drawn[200, 200], drawn[200, 600], drawn[480, 200]
    assert full.tolist() == [200] * 3
    assert half.tolist() == [125] * 3  # Halfway from a quarter of the brightness to all of it.
    assert outside.tolist() == against.tolist() == [50] * 3


def test_draw_weighted_overlap_takes_brightness_of_higher_weight():
    picture = Image.new("RGB", (1000, 600), (200, 200, 200))
    boxes = torch.tensor([[400.0, 200.0, 600.0, 400.0], [100.0, 50.0, 900.0, 550.0]])
    drawn = np.asarray(draw_weighted(picture, boxes, [1.0, 0.2]))
    assert drawn[300, 500].tolist() == [200] * 3
    assert drawn[300, 800].tolist() == [80] * 3


@pytest.mark.parametrize("size", [(3, 333), (533, 401), (401, 533), (489, 367)])
@pytest.mark.parametrize("thickness", [0.01, 2**-14])
def test_draw_weighted_accepts_boxes_within_last_pixel(size, thickness):
    """Where the enlarged image is narrower or lower by part of a pixel, and where rounding is coarser."""
    width, height = size
    boxes = torch.tensor([[width - thickness, 0, width, height], [0, height - thickness, width, height]])
    assert max(draw_weighted(grey_image(width, height), boxes, [1.0, 0.5]).size) >= 560


def test_draw_weighted_frames_no_box_of_low_weight_and_accepts_no_boxes():
    picture = Image.new("RGB", (600, 400), (200, 200, 200))
    dark = np.asarray(draw_weighted(picture, BOXES, [0.0, 0.05]))
    assert not pixels_of_colour(Image.fromarray(dark), BLUE)[0].size
    assert (np.asarray(draw_weighted(picture, torch.zeros(0, 4), [])) == 50).all()


def test_weighted_words_are_drawn_below_image_on_coloured_backgrounds():
    picture = Image.new("RGB", (600, 400), (200, 200, 200))
    plain = draw_weighted(picture, torch.zeros(0, 4), [])
    drawn = draw_weighted(
        picture, torch.zeros(0, 4), [], words=[("for", 1.0), ("against", -1.0), ("no", 0.0)]
    )
    assert drawn.width == plain.width
    assert drawn.height > plain.height
    below = Image.fromarray(np.asarray(drawn)[plain.height :])
    assert pixels_of_colour(below, (213, 94, 0))[0].size > 300
    assert pixels_of_colour(below, BLUE)[0].size > 300
    longer = draw_weighted(picture, torch.zeros(0, 4), [], words=[("word", 0.5)] * 40, caption="answer")
    assert longer.width == plain.width
    assert longer.height > drawn.height + 60


def test_wrong_number_of_weights_is_rejected():
    with pytest.raises(RegionsError, match="1 weights for 2 boxes"):
        draw_weighted(grey_image(), BOXES, [1.0])


def test_draw_weighted_accepts_images_of_any_mode_and_paths(tmp_path):
    coloured = grey_image(1000, 600)
    coloured.save(tmp_path / "saved.png")
    expected = np.asarray(draw_weighted(coloured, BOXES, [1.0, 0.5]))
    for image in (coloured.convert("L"), coloured.convert("RGBA"), tmp_path / "saved.png"):
        assert (np.asarray(draw_weighted(image, BOXES, [1.0, 0.5])) == expected).all()


@pytest.mark.parametrize("weight", [1.5, -2.0, float("nan")])
def test_weights_outside_minus_one_to_one_are_rejected(weight):
    with pytest.raises(RegionsError, match=f"a weight is {weight:g}; expected -1..1"):
        draw_weighted(grey_image(), BOXES, [weight, 0.5])
    with pytest.raises(RegionsError, match=r"expected -1\.\.1"):
        draw_weighted(grey_image(), BOXES, [0.5, 0.5], words=[("word", weight)])


def test_word_wider_than_narrow_image_is_not_cut_off():
    picture = Image.new("RGB", (40, 600), (200, 200, 200))
    drawn = np.asarray(draw_weighted(picture, torch.zeros(0, 4), [], words=[("counterrevolution", 1.0)]))
    ground = pixels_of_colour(Image.fromarray(drawn), VERMILION)[1]
    # The word's ground ends before the sheet does, as it begins.
    assert 0 < ground.min() < ground.max() < drawn.shape[1] - 1


def test_labels_of_crowded_weighted_boxes_go_into_legend():
    boxes = torch.tensor([[10.0, 10.0, 60.0, 30.0]] * 4)
    alone = draw_weighted(grey_image(), boxes[:1], [1.0], ["a name of some length"])
    crowded = draw_weighted(grey_image(), boxes, [1.0, 0.9, 0.8, 0.7], ["a name of some length"] * 4)
    assert alone.size == (640, 400)
    assert crowded.width >= 900
