"""LxmertProcessor: images and texts to batches, scores to answers."""

import contextlib
import io
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lxmert import LxmertForQuestionAnswering
from lxmert.answers import Answer
from lxmert.errors import (
    ConfigurationError,
    ImageError,
    InputError,
    MissingExtraError,
    RegionsError,
    TensorError,
    TextError,
    VocabularyError,
)
from lxmert.processing import LxmertProcessor
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.vision import GivenBoxes, PooledPixels
from lxmert.vision.faster_rcnn.extractor import FasterRcnnExtractor
from tests.local_server import LocalServer, serving
from tests.model.small import small_config
from tests.processing.builders import (
    ASK,
    BOXES,
    CAT,
    CLS,
    COLOUR,
    IS,
    PAD,
    PLURAL,
    RED,
    SEP,
    TEXTUAL,
    THE,
    THIS,
    VISUAL,
    WHAT,
    WORDS,
    A,
    assert_raises_one_line,
    build_processor,
    picture,
    random_regions,
    tokenizer,
)
from tests.vision.faster_rcnn.random_detectors import random_detector


def test_image_and_text_become_the_inputs_of_a_model():
    batch = build_processor()(images=picture(), text="What is this?", boxes=BOXES)
    assert set(batch) == TEXTUAL | VISUAL
    assert batch["input_ids"].tolist() == [[CLS, WHAT, IS, THIS, ASK, SEP]]
    assert batch["attention_mask"].tolist() == [[1] * 6]
    assert batch["token_type_ids"].tolist() == [[0] * 6]
    assert batch["visual_feats"].shape == (1, 2, 48)
    assert torch.allclose(batch["visual_pos"][0], torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.1, 0.1, 0.3, 0.4]]))
    assert batch["visual_attention_mask"].tolist() == [[1, 1]]


def test_batch_pads_words_and_objects():
    processor = build_processor()
    images = [picture(), picture(40, 40, 1), picture(50, 25, 2)]
    boxes = [BOXES, [[1.0, 1.0, 4.0, 4.0]], BOXES + BOXES]
    texts = ["what is this colour ?", "cats", "the red cat"]
    batch = processor(images=images, text=texts, boxes=boxes)
    assert batch["input_ids"].tolist()[1] == [CLS, CAT, PLURAL, SEP, PAD, PAD, PAD]
    assert batch["attention_mask"].sum(dim=1).tolist() == [7, 4, 5]
    assert batch["visual_attention_mask"].sum(dim=1).tolist() == [2, 1, 4]
    for index in range(3):
        alone = processor(images=images[index], text=texts[index], boxes=boxes[index])
        objects, words = len(boxes[index]), int(alone["attention_mask"].sum())
        assert torch.equal(batch["visual_feats"][index, :objects], alone["visual_feats"][0])
        assert torch.equal(batch["visual_pos"][index, :objects], alone["visual_pos"][0])
        assert torch.equal(batch["input_ids"][index, :words], alone["input_ids"][0])


def test_one_image_serves_many_texts_and_is_encoded_once():
    calls = []

    class Counting(GivenBoxes):
        def __call__(self, images, boxes_xyxy_px=None):
            calls.append(len(images))
            return super().__call__(images, boxes_xyxy_px)

    processor = LxmertProcessor(tokenizer(), Counting(PooledPixels(2)))
    batch = processor(images=picture(), text=["what is this", "the cat", "a cat"], boxes=BOXES)
    assert calls == [1]
    assert batch["visual_feats"].shape == (3, 2, 12)
    assert batch["visual_attention_mask"].shape == (3, 2)
    assert torch.equal(batch["visual_feats"][2], batch["visual_feats"][0])
    batch["visual_feats"][0].zero_()  # the copies are separate
    assert batch["visual_feats"][1].abs().sum() > 0


def test_given_regions_replace_images():
    regions = [random_regions(3), random_regions(1, seed=1)]
    batch = build_processor(None)(regions=regions, text=["the cat", "a cat"])
    assert batch["visual_feats"].shape == (2, 3, 5)
    assert torch.equal(batch["visual_feats"][0], regions[0].features)
    assert build_processor(None)(regions=regions[0], text=["the cat", "a cat"])["visual_feats"].shape == (
        2,
        3,
        5,
    )


def test_text_alone_or_images_alone_give_only_their_inputs():
    assert set(build_processor()(text="the cat")) == TEXTUAL
    assert set(build_processor("grid")(images=[picture(), picture()])) == VISUAL


def test_positional_order_is_images_then_text():
    assert set(build_processor("grid")(picture(), "the cat", "a cat")) == TEXTUAL | VISUAL


def test_grid_needs_no_boxes():
    batch = build_processor("grid")(images=picture(), text="the cat")
    assert batch["visual_feats"].shape == (1, 6, 12)


def test_text_pairs_get_token_type_ids():
    batch = build_processor()(text=["the cat", "cat"], text_pair=["red", "a red cat"])
    assert batch["input_ids"].tolist() == [
        [CLS, THE, CAT, SEP, RED, SEP, PAD],
        [CLS, CAT, SEP, A, RED, CAT, SEP],
    ]
    assert batch["token_type_ids"].tolist()[1] == [0, 0, 0, 1, 1, 1, 1]


def test_text_is_cut_at_twenty_tokens_and_the_length_can_be_changed():
    long = "cat " * 40
    assert build_processor()(text=long)["input_ids"].shape == (1, 20)
    assert build_processor()(text=long)["input_ids"][0, -1] == SEP
    assert build_processor()(text=long, max_length=7)["input_ids"].shape == (1, 7)
    assert build_processor(max_text_length=11)(text=long)["input_ids"].shape == (1, 11)
    assert build_processor()(text=long, truncation=False)["input_ids"].shape == (1, 42)
    assert build_processor()(text="cat", padding="max_length")["input_ids"].shape == (1, 20)


def test_return_tensors_selects_arrays_or_lists():
    arrays = build_processor()(images=picture(), text="the cat", boxes=BOXES, return_tensors="np")
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    lists = build_processor()(text=["the cat", "cat"], padding=False, return_tensors=None)
    assert lists["input_ids"] == [[CLS, THE, CAT, SEP], [CLS, CAT, SEP]]
    assert isinstance(
        build_processor()(images=picture(), boxes=BOXES, return_tensors=None)["visual_pos"], list
    )
    with pytest.raises(InputError, match="return_tensors is 'mlx'"):
        build_processor()(text="cat", return_tensors="mlx")
    with pytest.raises(InputError, match="different lengths"):
        build_processor()(text=["the cat", "cat"], padding=False)


def test_return_tensors_tf_equals_numpy_and_requires_tensorflow(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    given = {"images": [picture(), picture(40, 40, 1)], "text": ["the cat", "cat"]}
    arrays = build_processor("grid")(**given, return_tensors="np")
    tensors = build_processor("grid")(**given, return_tensors="tf")
    assert set(tensors) == TEXTUAL | VISUAL
    for name, tensor in tensors.items():
        assert tf.is_tensor(tensor)
        assert tensor.dtype == (tf.float32 if name in ("visual_feats", "visual_pos") else tf.int32)
        np.testing.assert_array_equal(tensor.numpy(), arrays[name])
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "lxmert\[tf-cpu\]"'):
        build_processor()(text="cat", return_tensors="tf")


def test_left_padding_tokenizer_still_pads_right():
    left = LxmertTokenizerFast(vocab={word: index for index, word in enumerate(WORDS)}, padding_side="left")
    batch = LxmertProcessor(left)(text=["the red cat", "cat"])
    assert batch["input_ids"].tolist() == [[CLS, THE, RED, CAT, SEP], [CLS, CAT, SEP, PAD, PAD]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]


def run_in_two_threads(one, other):
    with ThreadPoolExecutor(2) as threads:
        return [each.result() for each in [threads.submit(one), threads.submit(other)]]


def test_concurrent_calls_keep_own_truncation_and_padding(monkeypatch):
    processor = build_processor(None)
    both_set = threading.Barrier(2, timeout=0.5)
    whole = LxmertTokenizerFast.set_truncation_and_padding

    def setting(self, **settings):
        whole(self, **settings)
        # The other thread has every chance to bring its own settings in.
        with contextlib.suppress(threading.BrokenBarrierError):
            both_set.wait()

    monkeypatch.setattr(LxmertTokenizerFast, "set_truncation_and_padding", setting)
    texts = ["the cat", "what colour is the cat"]
    short, long = [CLS, THE, CAT, SEP], [CLS, WHAT, COLOUR, IS, THE, CAT, SEP]
    padded, bare = run_in_two_threads(
        lambda: processor(text=texts, return_tensors=None)["input_ids"],
        lambda: processor(text=texts, padding=False, return_tensors=None)["input_ids"],
    )
    assert padded == [short + [PAD] * 3, long]
    assert bare == [short, long]
    cut, whole_one = run_in_two_threads(
        lambda: processor(text=texts, max_length=4, return_tensors=None)["input_ids"],
        lambda: processor(text=texts, return_tensors=None)["input_ids"],
    )
    assert cut == [short, [CLS, WHAT, COLOUR, SEP]]
    assert whole_one == [short + [PAD] * 3, long]


def test_unknown_word_check_is_serialised_across_threads(monkeypatch):
    processor = build_processor(None)
    inside, most = [], []
    whole = LxmertTokenizerFast._encode_plus

    def encoding(self, *texts, **settings):
        inside.append(texts)
        time.sleep(0.05)
        most.append(len(inside))
        found = whole(self, *texts, **settings)
        inside.pop()
        return found

    monkeypatch.setattr(LxmertTokenizerFast, "_encode_plus", encoding)

    def expect_no_known_word():
        with pytest.raises(TextError, match="no word that the model knows"):
            processor(text="xyz")

    run_in_two_threads(expect_no_known_word, expect_no_known_word)
    assert most == [1, 1, 1, 1]


def test_batch_moves_to_device():
    batch = build_processor()(images=picture(), text="the cat", boxes=BOXES).to("meta")
    assert {value.device.type for value in batch.values()} == {"meta"}


def test_batch_of_processor_is_accepted_by_model_unchanged():
    config = small_config(vocab_size=len(WORDS), visual_feat_dim=48, num_qa_labels=3)
    model = LxmertForQuestionAnswering(config).eval()
    processor = build_processor(answers=["yes", "no", "red"])
    batch = processor(
        images=[picture(), picture(seed=1)], text=["what is this ?", "the cat"], boxes=[BOXES, BOXES[:1]]
    )
    scores = model(**batch).question_answering_score
    assert scores.shape == (2, 3)
    assert [len(answers) for answers in processor.decode_answers(scores, top_k=2)] == [2, 2]
    alone = model(
        **processor(images=picture(seed=1), text="the cat", boxes=BOXES[:1])
    ).question_answering_score
    assert torch.allclose(scores[1], alone[0], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "pattern"),
    [
        ({}, InputError, "nothing to process"),
        ({"text": ""}, TextError, "the text is empty"),
        ({"text": " \t\n"}, TextError, "the text is empty"),
        ({"text": ["cat", " "]}, TextError, "text 1 is empty"),
        ({"text": []}, TextError, "at least one text"),
        ({"text": 7}, TextError, "the text is a int"),
        ({"text": ["cat", None]}, TextError, "text 1 is a NoneType"),
        ({"text": "😀 😀"}, TextError, "no word that the model knows: '😀 😀'"),
        ({"text": ["cat", "zebra zebra"]}, TextError, "text 1 has no word"),
        ({"text": "\u200b\u0007"}, TextError, "no word"),
        ({"text": "cat", "text_pair": "zebra"}, TextError, "no word .* 'zebra'"),
        ({"text": "cat", "text_pair": ["cat", "cat"]}, InputError, "2 texts in text_pair for 1 in text"),
        (
            {"text_pair": "cat", "images": picture(), "boxes": BOXES},
            InputError,
            "1 texts in text_pair for 0 in text",
        ),
        (
            {"text": ["cat"] * 2, "images": [picture()] * 3, "boxes": [BOXES] * 3},
            InputError,
            "3 images for 2 texts",
        ),
        (
            {"text": "cat", "images": [picture()] * 2, "boxes": [BOXES] * 2},
            InputError,
            "2 images for 1 texts",
        ),
        ({"text": "cat", "images": picture()}, RegionsError, "pass boxes="),
        ({"text": "cat", "boxes": BOXES}, InputError, "boxes were given without images"),
        ({"images": [picture()] * 2, "boxes": BOXES}, RegionsError, "1 sets of boxes for 2 images"),
        ({"images": picture(), "boxes": [[0, 0, 90, 10]]}, RegionsError, "60 px beyond the right edge"),
        ({"images": picture(), "boxes": [[8, 0, 3, 10]]}, RegionsError, "x2 = 3 is not greater than x1 = 8"),
        (
            {"images": [picture(), b"rubbish"], "boxes": [BOXES] * 2},
            ImageError,
            "image 1 of 2: .*not an image",
        ),
        ({"images": [], "text": "cat"}, ImageError, "empty"),
        ({"images": picture(), "regions": random_regions()}, InputError, "not both"),
        ({"regions": [], "text": "cat"}, RegionsError, "list of them"),
        ({"regions": [torch.zeros(3)], "text": "cat"}, RegionsError, "list of them"),
        ({"text": "cat", "max_length": 2}, ConfigurationError, "at least 3"),
        (
            {"text": "cat", "text_pair": "red", "max_length": 3},
            TextError,
            "no word that the model knows within max_length=3",
        ),
        (
            {"text": "zebra cat", "max_length": 3},
            TextError,
            "no word that the model knows within max_length=3",
        ),
        ({"text": "zebra gnu", "max_length": 3}, TextError, "no word that the model knows"),
        ({"text": ["cat", "what \udcff"]}, TextError, "text 1 is not valid Unicode at character 5"),
        ({"text": "cat", "images": picture()}, RegionsError, "--boxes FILE"),
    ],
)
def test_invalid_input_raises_one_line_error(arguments, error, pattern):
    assert_raises_one_line(error, pattern, lambda: build_processor()(**arguments))


@pytest.mark.parametrize(
    ("unreadable", "pattern"),
    [
        (lambda tensor: tensor.to("meta"), "is on the meta device, where tensors have no values"),
        (lambda tensor: tensor.to_sparse(), "is a sparse_coo tensor; expected a dense one"),
        (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.quint8), "is a quantized tensor"),
        (lambda tensor: torch.nested.nested_tensor([tensor[0], tensor[1]]), "is a nested tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:The PyTorch API of nested tensors")
def test_meta_sparse_quantized_or_nested_tensor_raises_one_line_error(unreadable, pattern):
    image = unreadable(torch.rand(3, 8, 8))
    assert_raises_one_line(
        ImageError, f"image tensor {pattern}", lambda: build_processor()(images=image, boxes=BOXES)
    )
    boxes = unreadable(torch.tensor([[0.0, 0.0, 5.0, 5.0], [1.0, 1.0, 4.0, 4.0]]))
    for given in (boxes, [boxes]):
        assert_raises_one_line(
            RegionsError,
            f"set of boxes {pattern}",
            lambda at=given: build_processor()(images=picture(), boxes=at),
        )


def test_images_without_an_extractor_are_rejected():
    assert_raises_one_line(
        InputError, "no extractor", lambda: build_processor(None)(images=picture(), text="cat")
    )


def test_regions_returns_one_entry_per_image():
    processor = build_processor()
    first, second = processor.regions([picture(), picture(40, 40)], [BOXES, BOXES[:1]])
    assert (len(first), len(second)) == (2, 1)
    assert first.extractor == "given-boxes/pooled-pixels-4"
    assert second.size_hw == (40, 40)


def test_scores_become_answers_with_softmax_probabilities():
    processor = build_processor(answers=["yes", "no", "red"])
    scores = torch.tensor([[0.0, 2.0, 1.0], [5.0, 5.0, -100.0], [-1.0, -2.0, -3.0]])
    best = processor.decode_answers(scores)
    assert [one[0].text for one in best] == ["no", best[1][0].text, "yes"]
    whole = 1 + np.e + np.e**2
    top = processor.decode_answers(scores[0], top_k=9)[0]
    assert [(answer.text, answer.label) for answer in top] == [("no", 1), ("red", 2), ("yes", 0)]
    assert [answer.probability for answer in top] == pytest.approx([np.e**2 / whole, np.e / whole, 1 / whole])
    assert isinstance(top[0], Answer)


@pytest.mark.parametrize(
    ("answers", "scores", "top_k", "error", "pattern"),
    [
        (None, torch.zeros(1, 3), 1, VocabularyError, "has no answers"),
        (["a", "b"], torch.zeros(1, 3), 1, VocabularyError, "3 scores per item for 2 answers"),
        (["a", "b"], torch.zeros(1, 2, 2), 1, TensorError, "shape"),
        (["a", "b"], torch.tensor([[float("nan"), 0.0]]), 1, TensorError, "NaN"),
        (["a", "b"], torch.tensor([[float("inf"), 0.0]]), 1, TensorError, "infinite"),
        (["a", "b"], torch.zeros(1, 2, device="meta"), 1, TensorError, "on the meta device"),
        (["a", "b"], torch.eye(2).to_sparse(), 1, TensorError, "a sparse_coo tensor; expected a dense one"),
        (["a", "b"], torch.zeros(1, 2, dtype=torch.complex64), 1, TensorError, "complex64; expected real"),
        (["a", "b"], "yes", 1, TensorError, "cannot be read as numbers"),
        (["a", "b"], None, 1, TensorError, "cannot be read as numbers"),
        (["a", "b"], torch.zeros(1, 2), 0, InputError, "top_k is 0"),
        (["a", "b"], torch.zeros(1, 2), 1.5, InputError, "top_k is 1.5"),
        (["a", "b"], torch.zeros(1, 2), True, InputError, "top_k is True"),
        (["a", "b"], torch.zeros(1, 2), "2", InputError, "top_k is '2'"),
    ],
)
def test_scores_that_cannot_be_decoded_are_rejected(answers, scores, top_k, error, pattern):
    assert_raises_one_line(
        error, pattern, lambda: build_processor(answers=answers).decode_answers(scores, top_k)
    )


def test_model_input_names_equal_batch_keys_and_batch_decode_restores_text():
    processor = build_processor("grid")
    assert set(processor(images=picture(), text="cat")) == set(processor.model_input_names)
    assert processor.batch_decode(processor(text="the red cat")["input_ids"]) == ["[CLS] the red cat [SEP]"]


@pytest.fixture(scope="module")
def detector_processor():
    """A processor whose extractor finds ten objects in any picture."""
    return LxmertProcessor(tokenizer(), FasterRcnnExtractor(random_detector()))


def png_bytes(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_detector_gives_same_objects_for_every_image_source(detector_processor, tmp_path):
    image = picture(70, 50)
    path = tmp_path / "picture.png"
    path.write_bytes(png_bytes(image))
    expected = detector_processor(images=image, text="the cat")
    assert set(expected) == TEXTUAL | VISUAL
    assert expected["visual_feats"].shape == (1, 10, 128)
    assert expected["visual_attention_mask"].tolist() == [[1] * 10]
    boxes = expected["visual_pos"]
    assert bool(((boxes >= 0) & (boxes <= 1)).all())
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    with serving(LocalServer(raw_files={"picture.png": path.read_bytes()})) as server:
        address = f"{server.url}/raw/picture.png"
        for source in (path, str(path), path.read_bytes(), array, tensor, address):
            batch = detector_processor(images=source, text="the cat")
            for name in VISUAL:
                assert torch.equal(batch[name], expected[name]), (name, type(source))


def test_detector_describes_given_boxes(detector_processor):
    batch = detector_processor(images=picture(), text="the cat", boxes=BOXES)
    assert batch["visual_feats"].shape == (1, 2, 128)
    assert torch.allclose(batch["visual_pos"][0], torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.1, 0.1, 0.3, 0.4]]))


def test_batched_images_give_same_regions_as_single_images(detector_processor):
    images = [picture(70, 50), picture(41, 63, 1), picture(50, 50, 2)]
    batch = detector_processor(images=images, text=["the cat", "cats", "what is this ?"])
    for index, image in enumerate(images):
        alone = detector_processor(images=image, text="cat")
        assert torch.allclose(batch["visual_feats"][index], alone["visual_feats"][0], atol=1e-4)
        assert torch.allclose(batch["visual_pos"][index], alone["visual_pos"][0], atol=1e-4)


def test_image_without_detections_gives_one_masked_object():
    blind = FasterRcnnExtractor(random_detector(), min_objects=0, score_threshold=1.0)
    processor = LxmertProcessor(tokenizer(), blind)
    assert len(processor.regions(picture())[0]) == 0
    batch = processor(images=picture(), text="the cat")
    assert batch["visual_attention_mask"].tolist() == [[0]]
    assert batch["visual_feats"].shape == (1, 1, 128)
