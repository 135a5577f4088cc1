"""Settings of a processor; saving and loading it with its answers and its detector."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest
import torch
from transformers import ProcessorMixin

from lxmert.downloads import PublishedFile
from lxmert.errors import (
    ConfigurationError,
    DownloadError,
    InputError,
    VocabularyError,
    WeightsError,
)
from lxmert.inference.extractors import extractor_spec
from lxmert.processing import LxmertProcessor
from lxmert.tokenization import LxmertTokenizer
from lxmert.vision import BackboneEncoder, GivenBoxes, PooledPixels, RegularGrid
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.faster_rcnn.extractor import FasterRcnnExtractor
from lxmert.vision.saved_extractor import SavedExtractor, from_stored_model_paths, to_stored_model_paths
from lxmert.weights.published import PublishedDetector
from tests.processing.builders import (
    BOXES,
    CAT,
    CLS,
    PLURAL,
    SEP,
    TEXTUAL,
    THE,
    WORDS,
    assert_raises_one_line,
    build_processor,
    picture,
    tokenizer,
)
from tests.vision.faster_rcnn.random_detectors import random_detector
from tests.vision.small_backbones import small_vit


def test_processor_can_be_copied_and_pickled():
    processor = build_processor("boxes")
    for other in (copy.deepcopy(processor), pickle.loads(pickle.dumps(processor))):  # noqa: S301 - made here
        assert other(text="the cat")["input_ids"].tolist() == [[CLS, THE, CAT, SEP]]


def test_invalid_settings_raise_configuration_or_vocabulary_error():
    assert_raises_one_line(ConfigurationError, "extractor is a int", lambda: LxmertProcessor(tokenizer(), 7))
    assert_raises_one_line(
        ConfigurationError, "'magic'", lambda: LxmertProcessor(tokenizer(), {"kind": "magic"})
    )
    assert_raises_one_line(ConfigurationError, "at least 3", lambda: build_processor(max_text_length=0))
    assert_raises_one_line(
        VocabularyError, "'no' is listed twice", lambda: build_processor(answers=["yes", "no", "no"])
    )
    assert_raises_one_line(VocabularyError, "answer 1 is a int", lambda: build_processor(answers=["yes", 7]))
    assert_raises_one_line(VocabularyError, "at least one", lambda: build_processor(answers=[]))


@pytest.mark.parametrize("kind", ["boxes", "grid", None])
def test_saved_processor_loads_with_equal_settings(kind, tmp_path):
    processor = build_processor(kind, answers=["ja", "né", "red"], max_text_length=9)
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


def test_saving_without_answers_removes_answers_of_folder(tmp_path):
    build_processor(answers=["yes", "no"]).save_pretrained(tmp_path)
    build_processor().save_pretrained(tmp_path)
    assert LxmertProcessor.from_pretrained(tmp_path).answers is None


def test_folder_with_vocab_only_loads_default_settings(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    processor = LxmertProcessor.from_pretrained(tmp_path)
    assert (processor.extractor, processor.answers, processor.max_text_length) == (None, None, 20)
    assert processor(text="the cats")["input_ids"].tolist() == [[CLS, THE, CAT, PLURAL, SEP]]
    (tmp_path / "answers.json").write_text('["yes", "no"]')
    assert LxmertProcessor.from_pretrained(str(tmp_path)).answers == ["yes", "no"]


def test_stored_settings_can_be_replaced_while_loading(tmp_path):
    build_processor(answers=["yes", "no"]).save_pretrained(tmp_path)
    loaded = LxmertProcessor.from_pretrained(
        tmp_path, extractor=RegularGrid(1, 1, PooledPixels(1)), answers=None, max_text_length=5
    )
    assert loaded.extractor.identity == "regular-grid-1x1/pooled-pixels-1"
    assert (loaded.answers, loaded.max_text_length) == (None, 5)
    own = LxmertTokenizer(vocab={word: index for index, word in enumerate(WORDS)})
    assert LxmertProcessor.from_pretrained(tmp_path, tokenizer=own).tokenizer is own
    assert LxmertProcessor.from_pretrained(tmp_path, cls_token="[MASK]").tokenizer.cls_token == "[MASK]"


@pytest.mark.parametrize(
    ("files", "error", "pattern"),
    [
        ({"answers.json": "{not json"}, VocabularyError, "answers.json"),
        ({"answers.json": '{"yes": 0}'}, VocabularyError, "answers.json"),
        ({"answers.json": '["yes", "yes"]'}, VocabularyError, "twice"),
        (
            {"processor_config.json": "{not json"},
            ConfigurationError,
            "processor_config.json: not a valid JSON",
        ),
        ({"processor_config.json": "[]"}, ConfigurationError, "processor_config.json: contains a list"),
        ({"processor_config.json": b"\xff{}"}, ConfigurationError, "processor_config.json: not a valid JSON"),
        ({"processor_config.json": '{"max_txt_length": 9}'}, ConfigurationError, "unknown .* max_txt_length"),
        ({"processor_config.json": '{"tokenizer": 9}'}, ConfigurationError, "unknown settings tokenizer"),
        ({"tokenizer_config.json": "{"}, ConfigurationError, "tokenizer_config.json: not a valid JSON"),
        ({"tokenizer_config.json": "[]"}, ConfigurationError, "tokenizer_config.json: contains a list"),
        ({"processor_config.json": '{"extractor": {"kind": "magic"}}'}, ConfigurationError, "'magic'"),
        ({"processor_config.json": '{"max_text_length": "long"}'}, ConfigurationError, "'long'"),
        ({"vocab.txt": None}, InputError, "vocab"),
    ],
)
def test_invalid_folder_raises_one_line_error(files, error, pattern, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    for name, text in files.items():
        if text is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_raises_one_line(error, pattern, lambda: LxmertProcessor.from_pretrained(tmp_path))


def test_file_instead_of_folder_raises_one_line_error(tmp_path, monkeypatch):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/tokenizer.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for name in ("proc/tokenizer.json", tmp_path / "proc/tokenizer.json"):
        assert_raises_one_line(
            InputError,
            "is a file, expected a model folder",
            lambda name=name: LxmertProcessor.from_pretrained(name),
        )


def test_absent_folder_raises_one_line_error(tmp_path):
    assert_raises_one_line(
        InputError,
        "neither a model folder nor a hub name",
        lambda: LxmertProcessor.from_pretrained(tmp_path / "absent"),
    )
    assert_raises_one_line(
        WeightsError,
        "some/absent-model on the hub: its cache has no complete copy.*or use a local folder",
        lambda: LxmertProcessor.from_pretrained(
            "some/absent-model", local_files_only=True, cache_dir=str(tmp_path)
        ),
    )


def test_saving_in_memory_extractor_raises_before_writing(tmp_path):
    processor = LxmertProcessor(tokenizer(), GivenBoxes(BackboneEncoder(small_vit(width=8))), answers=["yes"])
    assert "backbone" in repr(processor)
    assert processor(images=picture(), boxes=BOXES)["visual_feats"].shape == (1, 2, 8)
    with pytest.raises(ConfigurationError, match="created in memory"):
        processor.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


class DeviceRecordingExtractor(GivenBoxes):
    """Remembers the device it was moved to."""

    def __init__(self, encoder):
        super().__init__(encoder)
        self.device = None

    def to(self, device):
        self.device = device


class DeviceRecordingEncoder(PooledPixels):
    device = None

    def to(self, device):
        self.device = device


def test_extractor_or_encoder_move_with_the_processor():
    processor = LxmertProcessor(tokenizer(), DeviceRecordingExtractor(PooledPixels(2)))
    assert processor.to("meta") is processor
    assert processor.extractor.device == "meta"
    encoder = DeviceRecordingEncoder(2)
    LxmertProcessor(tokenizer(), RegularGrid(1, 2, encoder)).to("meta")
    assert encoder.device == "meta"
    assert build_processor("grid").to("meta").extractor is not None  # Pooled pixels have nothing to move.
    assert build_processor(None).to("meta").extractor is None


def processor_of_published_parts(tmp_path, monkeypatch, *, reachable):
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
    processor, detector = processor_of_published_parts(tmp_path, monkeypatch, reachable=False)
    assert set(processor(text="the cat")) == TEXTUAL  # Neither is needed for words.
    assert str(detector) in repr(processor)
    assert "answers.json" in repr(processor)
    assert processor.to_dict()["extractor"]["detector"] == str(detector)
    with pytest.raises(DownloadError):
        _ = processor.answers
    processor, _ = processor_of_published_parts(tmp_path, monkeypatch, reachable=True)
    assert processor.answers == ["yes", "no"]
    assert len(processor.regions(picture())[0]) == 7
    assert processor.decode_answers(torch.tensor([0.0, 1.0]))[0][0].text == "no"


def test_published_detector_moves_to_device_of_processor_when_loaded(tmp_path, monkeypatch):
    processor, _ = processor_of_published_parts(tmp_path, monkeypatch, reachable=True)
    sent = []
    monkeypatch.setattr(FasterRcnnExtractor, "to", lambda self, device: sent.append(device))
    processor.to("meta")
    assert sent == []
    assert processor.extractor is processor.extractor
    assert sent == ["meta"]


def test_processor_of_published_parts_saves_answers_and_detector(tmp_path, monkeypatch):
    processor, detector = processor_of_published_parts(tmp_path, monkeypatch, reachable=True)
    processor.save_pretrained(tmp_path / "saved")
    loaded = LxmertProcessor.from_pretrained(tmp_path / "saved")
    assert loaded.answers == ["yes", "no"]
    assert loaded.extractor.identity == processor.extractor.identity
    assert loaded.to_dict()["extractor"]["detector"] == str(detector)


def test_unknown_detector_error_names_processor_config(tmp_path: Path) -> None:
    LxmertProcessor(tokenizer()).save_pretrained(tmp_path / "moved")
    file = tmp_path / "moved" / "processor_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["extractor"] = {"kind": "faster_rcnn", "detector": "mine"}
    file.write_text(json.dumps(settings), encoding="utf-8")
    loaded = LxmertProcessor.from_pretrained(tmp_path / "moved")
    assert set(loaded(text="the cat")) == TEXTUAL  # Words need no detector.
    assert "extractor=faster_rcnn" in repr(loaded)
    with pytest.raises(
        WeightsError, match=r"unknown detector 'mine'.*processor_config.json of .*moved.*--detector"
    ):
        loaded.regions(picture())
    assert LxmertProcessor.from_pretrained(tmp_path / "moved", extractor=None).extractor is None


def save_processor_with_detector(folder: Path, detector: Path) -> str:
    """A processor saved in `folder` whose detector is in `detector`; returns how the file names that."""
    random_detector().save_pretrained(detector)
    processor = LxmertProcessor(tokenizer(), FasterRcnnExtractor(detector, max_objects=7))
    processor.save_pretrained(folder)
    settings = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
    assert settings["extractor_identity"] == processor.extractor.identity
    return settings["extractor"]["detector"]


def test_push_to_hub_with_local_detector_raises_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(ProcessorMixin, "push_to_hub", lambda self, name, **kwargs: sent.append(name))
    for place in (tmp_path / "model" / "eyes", tmp_path / "eyes"):
        save_processor_with_detector(tmp_path / "model", place)
        processor = LxmertProcessor.from_pretrained(tmp_path / "model")
        with pytest.raises(ConfigurationError, match=r"eyes, a folder on this machine.*upload_folder"):
            processor.push_to_hub("someone/model")
        with pytest.raises(ConfigurationError, match="a folder on this machine"):
            processor.save_pretrained(tmp_path / "other", push_to_hub=True)
        assert not (tmp_path / "other").exists()
        with pytest.raises(ConfigurationError, match="a folder on this machine"):
            processor.save_pretrained(tmp_path / "model", push_to_hub=True)  # The mixin sends no folders.
    assert sent == []
    for extractor in (None, FasterRcnnExtractor("scenes"), GivenBoxes(PooledPixels(2))):
        LxmertProcessor(tokenizer(), extractor).push_to_hub("someone/model", private=True)
    assert len(sent) == 3


def test_save_pretrained_with_push_to_hub_calls_push_to_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mixin's own way would leave out answers.json, which it has not written."""
    sent: list[object] = []
    monkeypatch.setattr(ProcessorMixin, "push_to_hub", lambda self, name, **how: sent.append((name, how)))
    processor = build_processor(None, answers=["yes", "no"])
    processor.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="someone/model", private=True)
    processor.save_pretrained(str(tmp_path / "mine"), push_to_hub=True)
    processor.save_pretrained(tmp_path / "mine")
    assert sent == [("someone/model", {"private": True}), ("mine", {})]
    assert LxmertProcessor.from_pretrained(tmp_path / "mine").answers == ["yes", "no"]


@pytest.mark.parametrize(("place", "named"), [("model/eyes", "./eyes"), ("eyes", "../eyes")])
def test_relative_detector_path_loads_after_folders_moved(
    place: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert save_processor_with_detector(Path("model"), Path(place)) == named
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    loaded = LxmertProcessor.from_pretrained("there/model")
    assert len(loaded.regions(picture())[0]) == 7
    loaded.save_pretrained(tmp_path / "elsewhere" / "copy")
    copy_of_it = LxmertProcessor.from_pretrained(tmp_path / "elsewhere" / "copy")
    assert copy_of_it.to_dict()["extractor"]["detector"] == str(tmp_path / "there" / place)
    assert extractor_spec("there/model")["detector"] == str(tmp_path / "there" / place)


def test_detector_beside_folder_loads_through_symlink_to_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "links").mkdir()
    assert save_processor_with_detector(tmp_path / "runs" / "model", tmp_path / "runs" / "eyes") == "../eyes"
    (tmp_path / "links" / "model").symlink_to(tmp_path / "runs" / "model")
    assert len(LxmertProcessor.from_pretrained(tmp_path / "links" / "model").regions(picture())[0]) == 7


def test_stored_detector_path_is_independent_of_symlinks_used(tmp_path: Path) -> None:
    for folder in ("runs", "disk/model", "bench"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "short").symlink_to(tmp_path / "runs")
    assert save_processor_with_detector(tmp_path / "short" / "model", tmp_path / "runs" / "eyes") == "../eyes"
    # Beside the link is not beside the folder.
    (tmp_path / "bench" / "model").symlink_to(tmp_path / "disk" / "model")
    save_processor_with_detector(tmp_path / "bench" / "model", tmp_path / "bench" / "eyes")
    for place in ("bench/model", "disk/model"):
        assert len(LxmertProcessor.from_pretrained(tmp_path / place).regions(picture())[0]) == 7
    # A link beside the folder is: it may lead elsewhere tomorrow.
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "bench" / "eyes")
    spec = {"kind": "faster_rcnn", "detector": str(tmp_path / "runs" / "linked")}
    assert to_stored_model_paths(spec, tmp_path / "runs" / "model")["detector"] == "../linked"


def test_detector_elsewhere_is_stored_as_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert save_processor_with_detector(Path("runs/model"), Path("detectors/eyes")) == str(
        tmp_path / "detectors/eyes"
    )
    monkeypatch.chdir("/")
    assert len(LxmertProcessor.from_pretrained(tmp_path / "runs/model").regions(picture())[0]) == 7


def test_detector_path_relative_to_working_directory_still_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_processor_with_detector(tmp_path / "model", tmp_path / "eyes")
    file = tmp_path / "model" / "processor_config.json"
    monkeypatch.chdir(tmp_path)
    for name in ("eyes", "./eyes"):
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings["extractor"]["detector"] = name
        file.write_text(json.dumps(settings), encoding="utf-8")
        assert len(LxmertProcessor.from_pretrained("model").regions(picture())[0]) == 7


def test_embedded_detector_is_stored_by_name_despite_folder_of_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scenes").mkdir()
    monkeypatch.chdir(tmp_path)
    LxmertProcessor(tokenizer(), FasterRcnnExtractor("scenes")).save_pretrained("model")
    settings = json.loads(Path("model/processor_config.json").read_text(encoding="utf-8"))
    assert settings["extractor"]["detector"] == "scenes"


def test_encoder_model_path_is_stored_relative_to_folder(tmp_path: Path) -> None:
    spec = {"kind": "given_boxes", "encoder": {"kind": "backbone", "model": str(tmp_path)}}
    assert to_stored_model_paths(spec, tmp_path / "model") == spec
    beside = tmp_path.parent / "model"
    kept = to_stored_model_paths(spec, beside)
    assert kept["encoder"]["model"] == f"../{tmp_path.name}"
    assert from_stored_model_paths(kept, beside) == spec


def test_extractor_unless_same_identity_does_not_load_extractor(tmp_path: Path) -> None:
    save_processor_with_detector(tmp_path / "model", tmp_path / "eyes")
    identity = LxmertProcessor.from_pretrained(tmp_path / "model").extractor.identity
    (tmp_path / "eyes").rename(tmp_path / "gone")
    loaded = LxmertProcessor.from_pretrained(tmp_path / "model")
    assert loaded.extractor_unless(identity) is None
    with pytest.raises(WeightsError, match="eyes"):
        loaded.extractor_unless("another")


def test_concurrent_threads_share_one_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_processor_with_detector(tmp_path / "model", tmp_path / "eyes")
    processor = LxmertProcessor.from_pretrained(tmp_path / "model")
    build, both = SavedExtractor.build, Barrier(2, timeout=1)

    def slowly(stored: SavedExtractor) -> RegionExtractor:
        with suppress(BrokenBarrierError):
            both.wait()  # Until the other thread builds as well, or long enough for it to.
        return build(stored)

    monkeypatch.setattr(SavedExtractor, "build", slowly)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: processor.extractor, range(2))
    assert first is second
