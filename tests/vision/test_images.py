import contextlib
import io
import os
import re
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from lxmert.errors import ImageError
from lxmert.vision import jpeg_scans
from lxmert.vision.images import as_image_list, as_rgb, expand_user_path, load_image, load_images
from tests.error_assertions import error_message
from tests.local_server import LocalServer, serving
from tests.synthetic_images import png_header_only

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def two_colour_image(width=6, height=4):
    """Left half red, right half blue."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def encode(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_is_two_colour_image(picture):
    assert (picture.mode, picture.size) == ("RGB", (6, 4))
    assert picture.getpixel((0, 3)) == RED
    assert picture.getpixel((5, 0)) == BLUE


def test_every_kind_of_source_gives_the_same_pixels(tmp_path):
    picture = two_colour_image()
    path = tmp_path / "picture.png"
    picture.save(path)
    array = np.asarray(picture)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    for source in (
        path,
        str(path),
        path.read_bytes(),
        picture,
        array,
        tensor,
        tensor / 255.0,
        tensor.double() / 255,
        (tensor / 255.0).requires_grad_(),
    ):
        assert_is_two_colour_image(load_image(source))


def test_pillow_image_is_copied_and_not_modified():
    picture = two_colour_image()
    loaded = load_image(picture)
    loaded.putpixel((0, 0), GREEN)
    assert picture.getpixel((0, 0)) == RED


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation):
    """Each stored picture is one that, shown as its EXIF tag asks, is the upright one."""
    upright = two_colour_image()
    upright.putpixel((0, 0), GREEN)
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],  # the camera turned, the viewer must turn 90 degrees clockwise
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(encode(stored, exif=exif))
    assert np.array_equal(np.asarray(loaded), np.asarray(upright))
    assert np.array_equal(np.asarray(load_image(loaded)), np.asarray(upright))


def test_damaged_exif_is_ignored_without_warning():
    data = encode(two_colour_image(), exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff garbage")
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        assert_is_two_colour_image(load_image(data))
    assert not caught_warnings


def test_grey_and_bilevel_become_three_equal_channels():
    grey = Image.new("L", (3, 2), 77)
    assert load_image(encode(grey)).getpixel((1, 1)) == (77, 77, 77)
    assert load_image(np.full((2, 3), 77, np.uint8)).getpixel((1, 1)) == (77, 77, 77)
    assert load_image(np.full((2, 3, 1), 77, np.uint8)).getpixel((1, 1)) == (77, 77, 77)
    assert load_image(torch.full((1, 2, 3), 77, dtype=torch.uint8)).getpixel((1, 1)) == (77, 77, 77)
    assert load_image(encode(Image.new("1", (3, 2), 1))).getpixel((0, 0)) == WHITE


def test_transparent_pixels_are_laid_on_white():
    clear = Image.new("RGBA", (3, 2), (*RED, 0))
    clear.putpixel((1, 1), (*RED, 255))
    clear.putpixel((2, 1), (0, 0, 0, 51))
    for source in (encode(clear), clear, np.asarray(clear)):
        loaded = load_image(source)
        assert loaded.getpixel((0, 0)) == WHITE
        assert loaded.getpixel((1, 1)) == RED
        assert loaded.getpixel((2, 1)) == (204, 204, 204)
    assert load_image(Image.new("LA", (3, 2), (0, 0))).getpixel((0, 0)) == WHITE


def test_palettes_give_their_colours_and_their_transparency():
    picture = Image.new("P", (3, 2), 1)
    picture.putpalette([*GREEN, *RED, *BLUE])
    picture.putpixel((2, 1), 2)
    assert load_image(encode(picture)).getpixel((0, 0)) == RED
    assert load_image(encode(picture, "GIF")).getpixel((2, 1)) == BLUE
    assert load_image(encode(picture, transparency=1)).getpixel((0, 0)) == WHITE
    assert load_image(encode(picture, transparency=1)).getpixel((2, 1)) == BLUE


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 257 * 100, 65535], [128, 129, 257 * 254]], np.uint16)
    expected = [[0, 100, 255], [0, 1, 254]]
    stored = Image.fromarray(values)
    for source in (values, stored, encode(stored), encode(stored, "TIFF"), stored.convert("I")):
        assert np.asarray(load_image(source))[:, :, 1].tolist() == expected


@pytest.mark.parametrize("file_format", [None, "TIFF"])
def test_8_bit_values_in_32_bit_pixels_are_rejected(file_format):
    picture = Image.fromarray(np.array([[0, 100, 255], [1, 2, 3]], np.int32))
    load_error(encode(picture, file_format) if file_format else picture, "reach only 255; expected 16 bits")
    black = Image.fromarray(np.zeros((2, 3), np.int32))
    assert np.asarray(load_image(black)).max() == 0
    dark = Image.fromarray(np.array([[0, 256], [3, 4]], np.int32))
    assert np.asarray(load_image(dark))[:, :, 0].tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("turned", [False, True])
def test_transparent_level_of_16_bit_grey_image_is_laid_on_white(turned):
    values = np.array([[0, 40_000, 65_535], [40_000, 39_999, 257 * 254]], np.uint16)
    expected = [[0, 255, 255], [255, 156, 254]]
    exif = Image.Exif()
    if turned:
        exif[0x0112], expected = 3, [row[::-1] for row in expected[::-1]]
    data = encode(Image.fromarray(values), transparency=40_000, exif=exif)
    assert np.asarray(load_image(data))[:, :, 1].tolist() == expected


def test_transparency_that_does_not_match_mode_raises_one_line_error():
    picture = two_colour_image()
    picture.info["transparency"] = b"\0\1"
    load_error(picture, "mode RGB cannot become RGB")


def test_float_pixels_must_lie_in_0_to_1():
    values = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert np.asarray(load_image(Image.fromarray(values)))[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(ImageError, match=r"0 to 200; expected 0..1"):
        load_image(Image.fromarray(values * 200))


def test_cmyk_becomes_rgb():
    loaded = load_image(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(np.asarray(loaded).astype(int) - np.array(RED)).max() <= 3
    loaded = load_image(encode(Image.new("CMYK", (16, 16), (255, 255, 0, 0)), "TIFF"))
    assert loaded.getpixel((3, 3)) == BLUE


def test_first_frame_of_animation_is_loaded():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_image(data).getpixel((0, 0)) == RED


def load_error(source, words, **options):
    """The one-line message of the ImageError of load_image, which has to match `words`."""
    message = error_message(ImageError, lambda: load_image(source, **options))
    assert re.search(words, message)
    return message


def test_files_and_bytes_that_are_no_image_are_rejected(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("these are words, not pixels")
    assert "notes.txt" in load_error(text, "not an image")
    load_error(b"\x00\x01\x02 some bytes", "not an image")
    load_error(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_truncated_file_is_rejected(kind, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    load_image(data)
    path = tmp_path / "half"
    path.write_bytes(data[: len(data) // 2])
    assert str(path) in load_error(path, "truncated or broken|broken|not an image")
    lazily = None
    try:
        lazily = Image.open(path)
    except OSError:
        return
    load_error(lazily, "truncated or broken")


@pytest.mark.parametrize(
    "step", ["PIL.Image.open", "PIL.ImageFile.ImageFile.load", "PIL.ImageOps.exif_transpose"]
)
def test_memory_error_is_not_reported_as_broken_image(step, monkeypatch):
    def fail(*args, **settings):
        raise MemoryError

    monkeypatch.setattr(step, fail)
    with pytest.raises(MemoryError):
        load_image(encode(two_colour_image()))


def test_png_truncated_at_any_byte_is_rejected():
    data = encode(two_colour_image())
    for length in range(1, data.index(b"IEND") - 12):  # up to the last byte of the pixels
        load_error(data[:length], "image")


def test_empty_file_missing_file_and_folder_are_rejected(tmp_path):
    (tmp_path / "empty.jpg").touch()
    load_error(tmp_path / "empty.jpg", "empty")
    load_error(b"", "empty")
    load_error(tmp_path / "absent.jpg", "no such image file")
    load_error(str(tmp_path), "a folder")
    for name in ("a\0b.png", "a" * 300 + ".png"):
        load_error(name, "no such image file|cannot be read")
    load_error(" ", "the name of the image is empty")


def test_pipe_is_rejected_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    load_error(tmp_path / "pipe.jpg", "neither a file nor a link to one")


def add_scans(data, count):
    """A progressive JPEG whose last scan is repeated `count` times."""
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def test_jpeg_with_more_than_100_scans_is_rejected():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    data = encode(noise, "JPEG", progressive=True, quality=95)
    usual = data.count(b"\xff\xda")
    assert usual > 5
    load_image(add_scans(data, 100 - usual))
    load_error(add_scans(data, 101 - usual), "too slow to decode: it has more than 100 scans")
    # One that seems to end before, in a comment.
    ended = add_scans(data[:2] + b"\xff\xfe\x00\x04\xff\xd9" + data[2:], 101 - usual)
    load_error(ended, "too slow to decode")
    load_error(data[:2] + b"\xff\xfe\x00\x02" * 10_001 + data[2:], "too slow to decode")


def test_scan_markers_in_comment_or_after_end_of_jpeg_are_not_counted():
    data = encode(two_colour_image(), "JPEG", comment=b"\xff\xda" * 101)
    load_image(data + b"\0\2" + b"\xff\xda\0\2" * 101)


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 1000])
def test_scans_are_counted_in_chunks_and_trailing_data_is_not_read(chunk_bytes, monkeypatch):
    monkeypatch.setattr(jpeg_scans, "_CHUNK_BYTES", chunk_bytes)
    data = encode(two_colour_image(), "JPEG", progressive=True)
    usual = data.count(b"\xff\xda")
    jpeg_with_trailing_data = io.BytesIO(add_scans(data, 100 - usual) + bytes(100_000))
    assert not jpeg_scans.has_too_many_scans(jpeg_with_trailing_data)
    assert jpeg_with_trailing_data.tell() < 50_000
    assert jpeg_scans.has_too_many_scans(io.BytesIO(add_scans(data, 101 - usual)))


def test_url_is_downloaded_and_loaded_like_a_file():
    with serving(LocalServer(raw_files={"a/cat.png": encode(two_colour_image())})) as server:
        assert_is_two_colour_image(load_image(f"{server.url}/raw/a/cat.png"))
        assert_is_two_colour_image(
            load_image(f"{server.url}/raw/a/cat.png?size=large".replace("http", "HTTP"))
        )
        load_error(f"{server.url}/raw/a/cat.png", "too large", max_pixels=23)


def test_url_without_image_is_rejected():
    files = {"notes.txt": b"these are words", "bomb.png": png_header_only(60_000, 60_000), "empty.png": b""}
    with serving(LocalServer(raw_files=files)) as server:
        for name, words in (
            ("notes.txt", "not an image"),
            ("bomb.png", "too large to decode"),
            ("empty.png", "the file is empty"),
            ("absent.png", "404"),
        ):
            assert f"/raw/{name}" in load_error(f"{server.url}/raw/{name}", words)
    load_error(f"{server.url}/raw/notes.txt", "cannot be downloaded")


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1/cat.png", "file:///etc/hostname", "s3://bucket/cat.png"]
)
def test_url_schemes_other_than_http_and_https_are_rejected(address):
    load_error(address, "only http:// and https://")


def test_decompression_bomb_is_rejected_from_header_in_little_memory(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header_only(60_000, 60_000))
    load_image(two_colour_image())
    tracemalloc.start()
    message = load_error(path, "too large to decode safely")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "3,600,000,000 pixels" in message
    assert peak < 2_000_000


def test_images_over_max_pixels_are_rejected_with_their_size_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = load_error(png_header_only(10_000, 9_000), "too large")
    assert "10000×9000, 90,000,000 pixels; the limit is 89,478,485" in message
    load_error(encode(two_colour_image()), "too large", max_pixels=23)
    load_image(encode(two_colour_image()), max_pixels=24)
    load_error(two_colour_image(), "too large", max_pixels=23)
    load_error(np.zeros((5, 5, 3), np.uint8), "too large", max_pixels=24)


# Pillow's reader of WebP has a limit of its own since version 13.
_KINDS_WITH_LIMITS_OF_THEIR_OWN = ["TIFF", "WEBP"] if int(PIL.__version__.split(".")[0]) >= 13 else ["TIFF"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "JPEG2000"])
def test_max_pixels_above_limit_of_pillow_takes_effect(kind, monkeypatch):
    data = encode(two_colour_image(), kind)
    usual = load_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(load_image(data, max_pixels=10**9), usual)
    assert Image.MAX_IMAGE_PIXELS == 10
    # One that was not raised leaves both limits, and the lower one is reported.
    assert "24 pixels; the limit is 20" in load_error(data, "too large")
    assert "the limit is 9" in load_error(data, "too large", max_pixels=9)


@pytest.mark.parametrize("kind", _KINDS_WITH_LIMITS_OF_THEIR_OWN)
def test_limit_enforced_by_pillow_reader_itself_is_reported(kind, monkeypatch):
    data = encode(two_colour_image(), kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert "24 pixels; the limit is 20" in load_error(data, "too large", max_pixels=10**9)


def test_bad_files_are_rejected_with_max_pixels_above_limit_of_pillow():
    bomb = png_header_only(60_000, 60_000)
    assert "the limit is 3,599,999,999" in load_error(bomb, "too large", max_pixels=3_599_999_999)
    load_error(bomb[:30], "broken|not an image", max_pixels=10**10)


def test_no_setting_of_pillow_is_changed():
    from PIL import ImageFile

    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    for source in (
        png_header_only(60_000, 60_000),
        encode(two_colour_image())[:80],
        encode(two_colour_image()),
    ):
        with contextlib.suppress(ImageError):
            load_image(source)
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "dtype float32"),
        (np.zeros((3, 5, 6), np.uint8), r"shape \(3, 5, 6\)"),
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4,), np.uint8), "shape"),
        (torch.zeros(5, 4, 3), r"\(5, 4, 3\); expected \(3, height, width\)"),
        (torch.zeros(4, 4), r"\(4, 4\); expected \(3, height, width\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "dtype torch.int64"),
        (torch.full((3, 4, 4), 255.0), "255 to 255; expected 0..1"),
        (torch.full((3, 4, 4), -0.5), "-0.5 to -0.5; expected 0..1"),
        (Image.new("I", (4, 4), -3), "-3 to -3; expected 16 bits"),
        (torch.full((3, 4, 4), float("nan")), "NaN"),
        (7, "cannot be a int"),
        (None, "cannot be a NoneType"),
    ],
)
def test_invalid_arrays_and_objects_are_rejected(source, words):
    load_error(source, words)


def test_as_image_list_distinguishes_one_image_from_several():
    array = np.zeros((2, 4, 4, 3), np.uint8)
    assert len(as_image_list(array)) == 2
    assert len(as_image_list(array[0])) == 1
    assert len(as_image_list("a.png")) == 1
    assert len(as_image_list(b"123")) == 1
    assert len(as_image_list(("a.png", two_colour_image()))) == 2
    with pytest.raises(ImageError, match="empty"):
        as_image_list([])


def test_load_images_error_names_index_of_broken_image():
    with pytest.raises(ImageError, match=r"image 1 of 3: .*empty"):
        load_images([two_colour_image(), b"", two_colour_image()])


def test_as_rgb_returns_plain_rgb_image_itself_and_loads_any_other_source(tmp_path):
    picture = two_colour_image()
    assert as_rgb(picture) is picture
    loaded = load_image(encode(picture, "JPEG", exif=exif_with_orientation(1)))
    assert as_rgb(loaded) is loaded
    picture.save(tmp_path / "picture.png")
    for source in (tmp_path / "picture.png", str(tmp_path / "picture.png"), np.asarray(picture)):
        assert_is_two_colour_image(as_rgb(source))
    lying = Image.open(
        io.BytesIO(encode(picture.transpose(Image.Transpose.ROTATE_90), exif=exif_with_orientation(6)))
    )
    for turned in (lying, lying.copy()):
        assert turned.mode == "RGB"
        assert_is_two_colour_image(as_rgb(turned))
    clear = Image.open(io.BytesIO(encode(picture, transparency=RED)))
    assert clear.mode == "RGB"
    for source in (clear, clear.copy()):
        assert as_rgb(source).getpixel((0, 0)) == WHITE
    assert as_rgb(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)
    truncated = Image.open(io.BytesIO(encode(picture, "BMP")[:-9]))
    with pytest.raises(ImageError, match="truncated or broken"):
        as_rgb(truncated)


def exif_with_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_expand_user_path_expands_tilde_only_if_path_exists_at_home_alone(tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home / "pictures", here / "~"):
        folder.mkdir(parents=True)
    (home / "a.png").touch()
    (here / "~" / "b.png").touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    for text, path in (
        ("~/a.png", home / "a.png"),
        (Path("~/a.png"), home / "a.png"),
        ("~/pictures", home / "pictures"),
        ("~/b.png", Path("~/b.png")),  # here, and not at home
        ("~/absent.png", Path("~/absent.png")),
        ("~a.png", Path("~a.png")),
        ("~", Path("~")),
        ("~nobody-of-this-name/a.png", Path("~nobody-of-this-name/a.png")),
        ("x/~/a.png", Path("x/~/a.png")),
    ):
        assert expand_user_path(text) == path
    (home / "b.png").write_text("other")
    assert expand_user_path("~/b.png") == Path("~/b.png")
    (here / "~" / "a.png").symlink_to("nowhere")
    assert expand_user_path("~/a.png") == Path("~/a.png")


def test_file_names_beginning_with_tilde_are_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_colour_image().save("~picture.png")
    for source in ("~picture.png", Path("~picture.png"), tmp_path / "~picture.png"):
        assert_is_two_colour_image(load_image(source))
    load_error("~absent.png", "no such image file")
    load_error("~nobody-of-this-name/absent.png", "no such image file")
