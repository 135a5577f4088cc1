import contextlib
import copy
import io
import json
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ProcessorMixin

from lxmert.answers import Answer
from lxmert.downloads import PublishedFile
from lxmert.errors import (
    ConfigurationError,
    DownloadError,
    ImageError,
    InputError,
    MissingExtraError,
    RegionsError,
    TensorError,
    TextError,
    VocabularyError,
    WeightsError,
)
from lxmert.inference.extractors import extractor_spec
from lxmert.processing import LxmertProcessor
from lxmert.tokenization import LxmertTokenizer, LxmertTokenizerFast
from lxmert.vision import BackboneEncoder, GivenBoxes, PooledPixels, Regions, RegularGrid
from lxmert.vision.faster_rcnn.extractor import FasterRcnnExtractor
from lxmert.vision.saved_extractor import as_found, as_kept
from lxmert.weights.published import PublishedDetector
from tests.pictures import noise
from tests.sites import Sites, serving
from tests.vision.faster_rcnn.random_detectors import random_detector

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "what",
    "is",
    "this",
    "colour",
    "the",
    "red",
    "?",
    "cat",
    "a",
    "##s",
]
PAD, UNK, CLS, SEP, MASK, WHAT, IS, THIS, COLOUR, THE, RED, ASK, CAT, A, PLURAL = range(len(WORDS))
VISUAL = {"visual_feats", "visual_pos", "visual_attention_mask"}
TEXTUAL = {"input_ids", "attention_mask", "token_type_ids"}
BOXES = [[0.0, 0.0, 15.0, 10.0], [3.0, 2.0, 9.0, 8.0]]


def tokenizer():
    return LxmertTokenizerFast(vocab={word: index for index, word in enumerate(WORDS)})


def make(extractor="boxes", **settings):
    extractors = {
        "boxes": GivenBoxes(PooledPixels(4)),
        "grid": RegularGrid(2, 3, PooledPixels(2)),
        None: None,
    }
    return LxmertProcessor(tokenizer(), extractors[extractor], **settings)


def picture(width=30, height=20, seed=0):
    return noise(height, width, seed)


def some_regions(objects=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(objects, 2, generator=generator) * 10
    return Regions(
        boxes_xyxy_px=torch.cat([corners, corners + 5], dim=1),
        features=torch.rand(objects, 5, generator=generator),
        size_hw=(20, 30),
        extractor="by-hand",
    )


def test_image_and_text_become_the_inputs_of_a_model():
    batch = make()(images=picture(), text="What is this?", boxes=BOXES)
    assert set(batch) == TEXTUAL | VISUAL
    assert batch["input_ids"].tolist() == [[CLS, WHAT, IS, THIS, ASK, SEP]]
    assert batch["attention_mask"].tolist() == [[1] * 6]
    assert batch["token_type_ids"].tolist() == [[0] * 6]
    assert batch["visual_feats"].shape == (1, 2, 48)
    assert torch.allclose(batch["visual_pos"][0], torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.1, 0.1, 0.3, 0.4]]))
    assert batch["visual_attention_mask"].tolist() == [[1, 1]]


def test_a_batch_pads_words_and_objects():
    processor = make()
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


def test_ready_regions_take_the_place_of_images():
    regions = [some_regions(3), some_regions(1, seed=1)]
    batch = make(None)(regions=regions, text=["the cat", "a cat"])
    assert batch["visual_feats"].shape == (2, 3, 5)
    assert torch.equal(batch["visual_feats"][0], regions[0].features)
    assert make(None)(regions=regions[0], text=["the cat", "a cat"])["visual_feats"].shape == (2, 3, 5)


def test_text_alone_and_images_alone():
    assert set(make()(text="the cat")) == TEXTUAL
    assert set(make("grid")(images=[picture(), picture()])) == VISUAL


def test_positional_order_is_images_then_text():
    assert set(make("grid")(picture(), "the cat", "a cat")) == TEXTUAL | VISUAL


def test_a_grid_needs_no_boxes():
    batch = make("grid")(images=picture(), text="the cat")
    assert batch["visual_feats"].shape == (1, 6, 12)


def test_pairs_get_segments():
    batch = make()(text=["the cat", "cat"], text_pair=["red", "a red cat"])
    assert batch["input_ids"].tolist() == [
        [CLS, THE, CAT, SEP, RED, SEP, PAD],
        [CLS, CAT, SEP, A, RED, CAT, SEP],
    ]
    assert batch["token_type_ids"].tolist()[1] == [0, 0, 0, 1, 1, 1, 1]


def test_text_is_cut_at_twenty_tokens_and_the_length_can_be_changed():
    long = "cat " * 40
    assert make()(text=long)["input_ids"].shape == (1, 20)
    assert make()(text=long)["input_ids"][0, -1] == SEP
    assert make()(text=long, max_length=7)["input_ids"].shape == (1, 7)
    assert make(max_text_length=11)(text=long)["input_ids"].shape == (1, 11)
    assert make()(text=long, truncation=False)["input_ids"].shape == (1, 42)
    assert make()(text="cat", padding="max_length")["input_ids"].shape == (1, 20)


def test_arrays_and_lists_on_request():
    arrays = make()(images=picture(), text="the cat", boxes=BOXES, return_tensors="np")
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    lists = make()(text=["the cat", "cat"], padding=False, return_tensors=None)
    assert lists["input_ids"] == [[CLS, THE, CAT, SEP], [CLS, CAT, SEP]]
    assert isinstance(make()(images=picture(), boxes=BOXES, return_tensors=None)["visual_pos"], list)
    with pytest.raises(InputError, match="return_tensors is 'mlx'"):
        make()(text="cat", return_tensors="mlx")
    with pytest.raises(InputError, match="different lengths"):
        make()(text=["the cat", "cat"], padding=False)


def test_tensors_of_tensorflow_on_request(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    given = {"images": [picture(), picture(40, 40, 1)], "text": ["the cat", "cat"]}
    arrays = make("grid")(**given, return_tensors="np")
    tensors = make("grid")(**given, return_tensors="tf")
    assert set(tensors) == TEXTUAL | VISUAL
    for name, tensor in tensors.items():
        assert tf.is_tensor(tensor)
        assert tensor.dtype == (tf.float32 if name in ("visual_feats", "visual_pos") else tf.int32)
        np.testing.assert_array_equal(tensor.numpy(), arrays[name])
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "lxmert\[tf-cpu\]"'):
        make()(text="cat", return_tensors="tf")


def test_words_stand_first_whatever_side_the_tokenizer_pads():
    left = LxmertTokenizerFast(vocab={word: index for index, word in enumerate(WORDS)}, padding_side="left")
    batch = LxmertProcessor(left)(text=["the red cat", "cat"])
    assert batch["input_ids"].tolist() == [[CLS, THE, RED, CAT, SEP], [CLS, CAT, SEP, PAD, PAD]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]


def in_two_threads(one, other):
    with ThreadPoolExecutor(2) as threads:
        return [each.result() for each in [threads.submit(one), threads.submit(other)]]


def test_threads_with_different_settings_do_not_change_one_anothers(monkeypatch):
    processor = make(None)
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
    padded, bare = in_two_threads(
        lambda: processor(text=texts, return_tensors=None)["input_ids"],
        lambda: processor(text=texts, padding=False, return_tensors=None)["input_ids"],
    )
    assert padded == [short + [PAD] * 3, long]
    assert bare == [short, long]
    cut, whole_one = in_two_threads(
        lambda: processor(text=texts, max_length=4, return_tensors=None)["input_ids"],
        lambda: processor(text=texts, return_tensors=None)["input_ids"],
    )
    assert cut == [short, [CLS, WHAT, COLOUR, SEP]]
    assert whole_one == [short + [PAD] * 3, long]


def test_why_a_text_has_no_word_is_found_undisturbed_by_other_threads(monkeypatch):
    processor = make(None)
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

    def refused():
        with pytest.raises(TextError, match="no word that the model knows"):
            processor(text="xyz")

    in_two_threads(refused, refused)
    assert most == [1, 1, 1, 1]


def test_a_processor_is_copied_and_pickled():
    processor = make("boxes")
    for other in (copy.deepcopy(processor), pickle.loads(pickle.dumps(processor))):  # noqa: S301 - made here
        assert other(text="the cat")["input_ids"].tolist() == [[CLS, THE, CAT, SEP]]


def test_a_batch_moves_to_a_device():
    batch = make()(images=picture(), text="the cat", boxes=BOXES).to("meta")
    assert {value.device.type for value in batch.values()} == {"meta"}


def test_a_model_takes_a_batch_as_it_is():
    model_module = pytest.importorskip("lxmert.model", exc_type=ImportError)
    from lxmert.configuration import LxmertConfig

    config = LxmertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=16,
        l_layers=1,
        x_layers=1,
        r_layers=1,
        visual_feat_dim=48,
        num_qa_labels=3,
    )
    model = model_module.LxmertForQuestionAnswering(config).eval()
    processor = make(answers=["yes", "no", "red"])
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


def one_line(error, words, call):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
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
        ({"text": "cat", "text_pair": ["cat", "cat"]}, InputError, "2 text_pair for 1 text"),
        ({"text_pair": "cat", "images": picture(), "boxes": BOXES}, InputError, "1 text_pair for 0 text"),
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
        ({"text": "cat", "images": picture()}, RegionsError, "give boxes="),
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
        ({"images": picture(), "regions": some_regions()}, InputError, "not both"),
        ({"regions": [], "text": "cat"}, RegionsError, "list of them"),
        ({"regions": [torch.zeros(3)], "text": "cat"}, RegionsError, "list of them"),
        ({"text": "cat", "max_length": 2}, ConfigurationError, "at least 3"),
        ({"text": "cat", "text_pair": "red", "max_length": 3}, TextError, "no room left by max_length=3"),
        ({"text": "zebra cat", "max_length": 3}, TextError, "no room left by max_length=3"),
        ({"text": "zebra gnu", "max_length": 3}, TextError, "no word that the model knows"),
        ({"text": ["cat", "what \udcff"]}, TextError, "text 1 is no valid Unicode at character 5"),
        ({"text": "cat", "images": picture()}, RegionsError, "--boxes FILE"),
    ],
)
def test_bad_input_is_refused_in_one_clear_line(arguments, error, words):
    one_line(error, words, lambda: make()(**arguments))


@pytest.mark.parametrize(
    ("without_numbers", "words"),
    [
        (lambda tensor: tensor.to("meta"), "is on the meta device, where tensors hold no numbers"),
        (lambda tensor: tensor.to_sparse(), "is a sparse_coo tensor; expected a dense one"),
        (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.quint8), "is a quantized tensor"),
        (lambda tensor: torch.nested.nested_tensor([tensor[0], tensor[1]]), "is a nested tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:The PyTorch API of nested tensors")
def test_tensors_whose_numbers_cannot_be_read_are_refused(without_numbers, words):
    image = without_numbers(torch.rand(3, 8, 8))
    one_line(ImageError, f"image tensor {words}", lambda: make()(images=image, boxes=BOXES))
    boxes = without_numbers(torch.tensor([[0.0, 0.0, 5.0, 5.0], [1.0, 1.0, 4.0, 4.0]]))
    for given in (boxes, [boxes]):
        one_line(RegionsError, f"set of boxes {words}", lambda at=given: make()(images=picture(), boxes=at))


def test_images_without_an_extractor_are_refused():
    one_line(InputError, "no extractor", lambda: make(None)(images=picture(), text="cat"))


def test_settings_that_are_none_are_refused():
    one_line(ConfigurationError, "extractor is a int", lambda: LxmertProcessor(tokenizer(), 7))
    one_line(ConfigurationError, "'magic'", lambda: LxmertProcessor(tokenizer(), {"kind": "magic"}))
    one_line(ConfigurationError, "at least 3", lambda: make(max_text_length=0))
    one_line(VocabularyError, "'no' is listed twice", lambda: make(answers=["yes", "no", "no"]))
    one_line(VocabularyError, "answer 1 is a int", lambda: make(answers=["yes", 7]))
    one_line(VocabularyError, "at least one", lambda: make(answers=[]))


def test_regions_of_images():
    processor = make()
    first, second = processor.regions([picture(), picture(40, 40)], [BOXES, BOXES[:1]])
    assert (len(first), len(second)) == (2, 1)
    assert first.extractor == "given-boxes/pooled-pixels-4"
    assert second.size_hw == (40, 40)


def test_scores_become_answers_with_softmax_probabilities():
    processor = make(answers=["yes", "no", "red"])
    scores = torch.tensor([[0.0, 2.0, 1.0], [5.0, 5.0, -100.0], [-1.0, -2.0, -3.0]])
    best = processor.decode_answers(scores)
    assert [one[0].text for one in best] == ["no", best[1][0].text, "yes"]
    whole = 1 + np.e + np.e**2
    top = processor.decode_answers(scores[0], top_k=9)[0]
    assert [(answer.text, answer.label) for answer in top] == [("no", 1), ("red", 2), ("yes", 0)]
    assert [answer.probability for answer in top] == pytest.approx([np.e**2 / whole, np.e / whole, 1 / whole])
    assert isinstance(top[0], Answer)


@pytest.mark.parametrize(
    ("answers", "scores", "top_k", "error", "words"),
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
def test_scores_that_cannot_be_decoded_are_refused(answers, scores, top_k, error, words):
    one_line(error, words, lambda: make(answers=answers).decode_answers(scores, top_k))


@pytest.mark.parametrize("kind", ["boxes", "grid", None])
def test_a_saved_processor_comes_back_equal(kind, tmp_path):
    processor = make(kind, answers=["ja", "né", "red"], max_text_length=9)
    processor.save_pretrained(tmp_path)
    loaded = LxmertProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    assert loaded.answers == ["ja", "né", "red"]
    assert loaded.max_text_length == 9
    assert (loaded.extractor and loaded.extractor.identity) == (
        processor.extractor and processor.extractor.identity
    )
    arguments = {"text": ["the cats", "what is zebra"], "text_pair": ["cat", "red"]}
    assert torch.equal(loaded(**arguments)["input_ids"], processor(**arguments)["input_ids"])
    stored = json.loads((tmp_path / "processor_config.json").read_text())
    assert stored["processor_class"] == "LxmertProcessor"
    assert json.loads((tmp_path / "answers.json").read_text(encoding="utf-8")) == ["ja", "né", "red"]


def test_a_processor_saved_without_answers_forgets_those_of_the_folder(tmp_path):
    make(answers=["yes", "no"]).save_pretrained(tmp_path)
    make().save_pretrained(tmp_path)
    assert LxmertProcessor.from_pretrained(tmp_path).answers is None


def test_a_published_folder_with_words_only_gives_the_defaults(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    processor = LxmertProcessor.from_pretrained(tmp_path)
    assert (processor.extractor, processor.answers, processor.max_text_length) == (None, None, 20)
    assert processor(text="the cats")["input_ids"].tolist() == [[CLS, THE, CAT, PLURAL, SEP]]
    (tmp_path / "answers.json").write_text('["yes", "no"]')
    assert LxmertProcessor.from_pretrained(str(tmp_path)).answers == ["yes", "no"]


def test_stored_settings_can_be_replaced_while_loading(tmp_path):
    make(answers=["yes", "no"]).save_pretrained(tmp_path)
    loaded = LxmertProcessor.from_pretrained(
        tmp_path, extractor=RegularGrid(1, 1, PooledPixels(1)), answers=None, max_text_length=5
    )
    assert loaded.extractor.identity == "regular-grid-1x1/pooled-pixels-1"
    assert (loaded.answers, loaded.max_text_length) == (None, 5)
    own = LxmertTokenizer(vocab={word: index for index, word in enumerate(WORDS)})
    assert LxmertProcessor.from_pretrained(tmp_path, tokenizer=own).tokenizer is own
    assert LxmertProcessor.from_pretrained(tmp_path, cls_token="[MASK]").tokenizer.cls_token == "[MASK]"


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"answers.json": "{not json"}, VocabularyError, "answers.json"),
        ({"answers.json": '{"yes": 0}'}, VocabularyError, "answers.json"),
        ({"answers.json": '["yes", "yes"]'}, VocabularyError, "twice"),
        (
            {"processor_config.json": "{not json"},
            ConfigurationError,
            "processor_config.json: not a valid JSON",
        ),
        ({"processor_config.json": "[]"}, ConfigurationError, "processor_config.json: holds a list"),
        ({"processor_config.json": b"\xff{}"}, ConfigurationError, "processor_config.json: not a valid JSON"),
        ({"processor_config.json": '{"max_txt_length": 9}'}, ConfigurationError, "unknown .* max_txt_length"),
        ({"processor_config.json": '{"tokenizer": 9}'}, ConfigurationError, "unknown settings tokenizer"),
        ({"tokenizer_config.json": "{"}, ConfigurationError, "tokenizer_config.json: not a valid JSON"),
        ({"tokenizer_config.json": "[]"}, ConfigurationError, "tokenizer_config.json: holds a list"),
        ({"processor_config.json": '{"extractor": {"kind": "magic"}}'}, ConfigurationError, "'magic'"),
        ({"processor_config.json": '{"max_text_length": "long"}'}, ConfigurationError, "'long'"),
        ({"vocab.txt": None}, InputError, "vocab"),
    ],
)
def test_folders_with_faults_are_refused_in_one_line(files, error, words, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    for name, text in files.items():
        if text is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    one_line(error, words, lambda: LxmertProcessor.from_pretrained(tmp_path))


def test_a_folder_that_is_not_there_is_refused_at_once(tmp_path):
    one_line(InputError, "no such model folder", lambda: LxmertProcessor.from_pretrained(tmp_path / "absent"))
    one_line(
        WeightsError,
        "some/absent-model on the hub: its cache holds no whole copy.*or give a folder",
        lambda: LxmertProcessor.from_pretrained(
            "some/absent-model", local_files_only=True, cache_dir=str(tmp_path)
        ),
    )


def test_an_extractor_of_memory_stops_saving_before_anything_is_written(tmp_path):
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
    )
    processor = LxmertProcessor(tokenizer(), GivenBoxes(BackboneEncoder(ViTModel(config))), answers=["yes"])
    assert "backbone" in repr(processor)
    assert processor(images=picture(), boxes=BOXES)["visual_feats"].shape == (1, 2, 8)
    with pytest.raises(ConfigurationError, match="made in memory"):
        processor.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_names_of_model_inputs_and_words_back():
    processor = make("grid")
    assert set(processor(images=picture(), text="cat")) == set(processor.model_input_names)
    assert processor.batch_decode(processor(text="the red cat")["input_ids"]) == ["[CLS] the red cat [SEP]"]


@pytest.fixture(scope="module")
def detecting():
    """A processor whose extractor finds ten objects in any picture."""
    return LxmertProcessor(tokenizer(), FasterRcnnExtractor(random_detector()))


def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_detector_finds_the_objects_in_one_call_whatever_the_source(detecting, tmp_path):
    image = picture(70, 50)
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(image))
    expected = detecting(images=image, text="the cat")
    assert set(expected) == TEXTUAL | VISUAL
    assert expected["visual_feats"].shape == (1, 10, 128)
    assert expected["visual_attention_mask"].tolist() == [[1] * 10]
    boxes = expected["visual_pos"]
    assert bool(((boxes >= 0) & (boxes <= 1)).all())
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    with serving(Sites(raw={"picture.png": path.read_bytes()})) as sites:
        address = f"{sites.address}/raw/picture.png"
        for source in (path, str(path), path.read_bytes(), array, tensor, address):
            batch = detecting(images=source, text="the cat")
            for name in VISUAL:
                assert torch.equal(batch[name], expected[name]), (name, type(source))


def test_a_detector_describes_given_boxes(detecting):
    batch = detecting(images=picture(), text="the cat", boxes=BOXES)
    assert batch["visual_feats"].shape == (1, 2, 128)
    assert torch.allclose(batch["visual_pos"][0], torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.1, 0.1, 0.3, 0.4]]))


def test_images_of_a_batch_are_looked_at_as_if_alone(detecting):
    images = [picture(70, 50), picture(41, 63, 1), picture(50, 50, 2)]
    batch = detecting(images=images, text=["the cat", "cats", "what is this ?"])
    for index, image in enumerate(images):
        alone = detecting(images=image, text="cat")
        assert torch.allclose(batch["visual_feats"][index], alone["visual_feats"][0], atol=1e-4)
        assert torch.allclose(batch["visual_pos"][index], alone["visual_pos"][0], atol=1e-4)


def test_an_image_in_which_nothing_is_found_still_makes_a_batch():
    blind = FasterRcnnExtractor(random_detector(), min_objects=0, score_threshold=1.0)
    processor = LxmertProcessor(tokenizer(), blind)
    assert len(processor.regions(picture())[0]) == 0
    batch = processor(images=picture(), text="the cat")
    assert batch["visual_attention_mask"].tolist() == [[0]]
    assert batch["visual_feats"].shape == (1, 1, 128)


class Moving(GivenBoxes):
    """Remembers where it was sent."""

    def __init__(self, encoder):
        super().__init__(encoder)
        self.device = None

    def to(self, device):
        self.device = device


class MovingEncoder(PooledPixels):
    device = None

    def to(self, device):
        self.device = device


def test_extractor_or_encoder_move_with_the_processor():
    processor = LxmertProcessor(tokenizer(), Moving(PooledPixels(2)))
    assert processor.to("meta") is processor
    assert processor.extractor.device == "meta"
    encoder = MovingEncoder(2)
    LxmertProcessor(tokenizer(), RegularGrid(1, 2, encoder)).to("meta")
    assert encoder.device == "meta"
    assert make("grid").to("meta").extractor is not None  # Pooled pixels have nothing to move.
    assert make(None).to("meta").extractor is None


def published(tmp_path, monkeypatch, *, reachable):
    """A processor of published answers and detector, as `from_pretrained` makes it of a published name."""
    detector = tmp_path / "detector"
    random_detector().save_pretrained(detector)
    (tmp_path / "answers.json").write_text('["yes", "no"]')

    def fetch(self):
        if not reachable:
            raise DownloadError("out of reach")
        return tmp_path / "answers.json"

    monkeypatch.setattr(PublishedFile, "fetch", fetch)
    file = PublishedFile("https://example.org/answers.json", "0" * 64)
    known = PublishedDetector(str(detector), {"max_objects": 7}, file, file)
    return LxmertProcessor(tokenizer(), known, file), detector


def test_published_answers_and_detector_are_fetched_when_first_used(tmp_path, monkeypatch):
    processor, detector = published(tmp_path, monkeypatch, reachable=False)
    assert set(processor(text="the cat")) == TEXTUAL  # Neither is needed for words.
    assert str(detector) in repr(processor)
    assert "answers.json" in repr(processor)
    assert processor.to_dict()["extractor"]["detector"] == str(detector)
    with pytest.raises(DownloadError):
        _ = processor.answers
    processor, _ = published(tmp_path, monkeypatch, reachable=True)
    assert processor.answers == ["yes", "no"]
    assert len(processor.regions(picture())[0]) == 7
    assert processor.decode_answers(torch.tensor([0.0, 1.0]))[0][0].text == "no"


def test_a_published_detector_goes_where_the_processor_was_sent_before(tmp_path, monkeypatch):
    processor, _ = published(tmp_path, monkeypatch, reachable=True)
    sent = []
    monkeypatch.setattr(FasterRcnnExtractor, "to", lambda self, device: sent.append(device))
    processor.to("meta")
    assert sent == []
    assert processor.extractor is processor.extractor
    assert sent == ["meta"]


def test_a_processor_of_published_parts_is_saved_whole(tmp_path, monkeypatch):
    processor, detector = published(tmp_path, monkeypatch, reachable=True)
    processor.save_pretrained(tmp_path / "saved")
    loaded = LxmertProcessor.from_pretrained(tmp_path / "saved")
    assert loaded.answers == ["yes", "no"]
    assert loaded.extractor.identity == processor.extractor.identity
    assert loaded.to_dict()["extractor"]["detector"] == str(detector)


def test_a_folder_whose_detector_is_elsewhere_says_where_it_is_named(tmp_path: Path) -> None:
    LxmertProcessor(tokenizer()).save_pretrained(tmp_path / "moved")
    file = tmp_path / "moved" / "processor_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["extractor"] = {"kind": "faster_rcnn", "detector": "mine"}
    file.write_text(json.dumps(settings), encoding="utf-8")
    loaded = LxmertProcessor.from_pretrained(tmp_path / "moved")
    assert set(loaded(text="the cat")) == TEXTUAL  # Words need no detector.
    assert "extractor=faster_rcnn" in repr(loaded)
    with pytest.raises(
        WeightsError, match=r"no detector 'mine'.*processor_config.json of .*moved.*--detector"
    ):
        loaded.regions(picture())
    assert LxmertProcessor.from_pretrained(tmp_path / "moved", extractor=None).extractor is None


def saved_with_detector(folder: Path, detector: Path) -> str:
    """A processor saved in `folder` whose detector is in `detector`; returns how the file names that."""
    random_detector().save_pretrained(detector)
    processor = LxmertProcessor(tokenizer(), FasterRcnnExtractor(detector, max_objects=7))
    processor.save_pretrained(folder)
    settings = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
    assert settings["extractor_identity"] == processor.extractor.identity
    return settings["extractor"]["detector"]


def test_a_processor_whose_detector_stays_behind_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(ProcessorMixin, "push_to_hub", lambda self, name, **kwargs: sent.append(name))
    for place in (tmp_path / "model" / "eyes", tmp_path / "eyes"):
        saved_with_detector(tmp_path / "model", place)
        processor = LxmertProcessor.from_pretrained(tmp_path / "model")
        with pytest.raises(ConfigurationError, match=r"eyes, a folder of this machine.*upload_folder"):
            processor.push_to_hub("someone/model")
        with pytest.raises(ConfigurationError, match="a folder of this machine"):
            processor.save_pretrained(tmp_path / "other", push_to_hub=True)
        assert not (tmp_path / "other").exists()
    assert sent == []
    for extractor in (None, FasterRcnnExtractor("scenes"), GivenBoxes(PooledPixels(2))):
        LxmertProcessor(tokenizer(), extractor).push_to_hub("someone/model", private=True)
    assert len(sent) == 3


@pytest.mark.parametrize(("place", "named"), [("model/eyes", "./eyes"), ("eyes", "../eyes")])
def test_a_detector_in_the_folder_or_beside_it_is_found_after_both_moved(
    place: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert saved_with_detector(Path("model"), Path(place)) == named
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    loaded = LxmertProcessor.from_pretrained("there/model")
    assert len(loaded.regions(picture())[0]) == 7
    loaded.save_pretrained(tmp_path / "elsewhere" / "copy")
    copy_of_it = LxmertProcessor.from_pretrained(tmp_path / "elsewhere" / "copy")
    assert copy_of_it.to_dict()["extractor"]["detector"] == str(tmp_path / "there" / place)
    assert extractor_spec("there/model")["detector"] == str(tmp_path / "there" / place)


def test_a_detector_beside_a_folder_is_found_when_a_link_leads_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "links").mkdir()
    assert saved_with_detector(tmp_path / "runs" / "model", tmp_path / "runs" / "eyes") == "../eyes"
    (tmp_path / "links" / "model").symlink_to(tmp_path / "runs" / "model")
    assert len(LxmertProcessor.from_pretrained(tmp_path / "links" / "model").regions(picture())[0]) == 7


def test_what_a_saved_folder_says_of_its_detector_holds_whatever_links_led_to_both(tmp_path: Path) -> None:
    for folder in ("runs", "disk/model", "bench"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "short").symlink_to(tmp_path / "runs")
    assert saved_with_detector(tmp_path / "short" / "model", tmp_path / "runs" / "eyes") == "../eyes"
    # Beside the link is not beside the folder.
    (tmp_path / "bench" / "model").symlink_to(tmp_path / "disk" / "model")
    saved_with_detector(tmp_path / "bench" / "model", tmp_path / "bench" / "eyes")
    for place in ("bench/model", "disk/model"):
        assert len(LxmertProcessor.from_pretrained(tmp_path / place).regions(picture())[0]) == 7
    # A link beside the folder is: it may lead elsewhere tomorrow.
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "bench" / "eyes")
    spec = {"kind": "faster_rcnn", "detector": str(tmp_path / "runs" / "linked")}
    assert as_kept(spec, tmp_path / "runs" / "model")["detector"] == "../linked"


def test_a_detector_elsewhere_is_kept_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert saved_with_detector(Path("runs/model"), Path("detectors/eyes")) == str(tmp_path / "detectors/eyes")
    monkeypatch.chdir("/")
    assert len(LxmertProcessor.from_pretrained(tmp_path / "runs/model").regions(picture())[0]) == 7


def test_a_detector_named_as_seen_from_the_command_is_still_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_with_detector(tmp_path / "model", tmp_path / "eyes")
    file = tmp_path / "model" / "processor_config.json"
    monkeypatch.chdir(tmp_path)
    for name in ("eyes", "./eyes"):
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings["extractor"]["detector"] = name
        file.write_text(json.dumps(settings), encoding="utf-8")
        assert len(LxmertProcessor.from_pretrained("model").regions(picture())[0]) == 7


def test_the_embedded_detector_is_kept_by_its_name_whatever_folders_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scenes").mkdir()
    monkeypatch.chdir(tmp_path)
    LxmertProcessor(tokenizer(), FasterRcnnExtractor("scenes")).save_pretrained("model")
    settings = json.loads(Path("model/processor_config.json").read_text(encoding="utf-8"))
    assert settings["extractor"]["detector"] == "scenes"


def test_the_model_of_an_encoder_is_kept_from_the_folder_too(tmp_path: Path) -> None:
    spec = {"kind": "given_boxes", "encoder": {"kind": "backbone", "model": str(tmp_path)}}
    assert as_kept(spec, tmp_path / "model") == spec
    beside = tmp_path.parent / "model"
    kept = as_kept(spec, beside)
    assert kept["encoder"]["model"] == f"../{tmp_path.name}"
    assert as_found(kept, beside) == spec


def test_what_made_features_is_known_without_loading_the_extractor(tmp_path: Path) -> None:
    saved_with_detector(tmp_path / "model", tmp_path / "eyes")
    identity = LxmertProcessor.from_pretrained(tmp_path / "model").extractor.identity
    (tmp_path / "eyes").rename(tmp_path / "gone")
    loaded = LxmertProcessor.from_pretrained(tmp_path / "model")
    assert loaded.extractor_unless(identity) is None
    with pytest.raises(WeightsError, match="eyes"):
        loaded.extractor_unless("another")
