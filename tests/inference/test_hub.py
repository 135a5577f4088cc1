"""Hub names: model, processor and detector come from the hub, here a small local server."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lxmert import LxmertPredictor, LxmertProcessor
from lxmert.errors import InputError, LxmertError, WeightsError
from lxmert.inference.extractors import load_extractor
from lxmert.inference.models import embedded_model_folder
from lxmert.vision import FasterRcnnExtractor
from lxmert.vision.faster_rcnn.extractor import detector_folder
from tests.command_line import exit_status
from tests.inference.test_predictor import picture
from tests.local_server import COMMIT, LocalServer, serving
from tests.small_checkpoints import (
    DETECTOR_NAME,
    FEATURE_DIM,
    MODEL_NAME,
    write_small_published_detector,
    write_small_published_model,
)

PUBLISHED_FILES = {
    "airsplay/lxmert/master/data/vqa/trainval_label2ans.json": "answers/vqa_trainval_label2ans.json",
    "airsplay/py-bottom-up-attention/master/demo/data/genome/1600-400-20/objects_vocab.txt": (
        "vg/objects_vocab.txt"
    ),
    "airsplay/py-bottom-up-attention/master/demo/data/genome/1600-400-20/attributes_vocab.txt": (
        "vg/attributes_vocab.txt"
    ),
}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small stand-ins for the published model and detector."""
    folder = tmp_path_factory.mktemp("repositories")
    write_small_published_model(folder / "model", answers=3129)
    write_small_published_detector(folder / "detector")
    return {MODEL_NAME: folder / "model", DETECTOR_NAME: folder / "detector"}


@pytest.fixture(scope="module")
def published_files(shared_data: Path) -> dict[str, bytes]:
    return {path: (shared_data / copy).read_bytes() for path, copy in PUBLISHED_FILES.items()}


def test_hub_address_and_cache_folder_come_from_environment(tmp_path: Path) -> None:
    program = (
        "from lxmert import LxmertPredictor\n"
        "one = LxmertPredictor.from_pretrained('someone/scenes-model', device='cpu')\n"
        "print(one.model.config.num_qa_labels, len(one.processor.answers), one.processor.max_text_length)\n"
    )
    with serving(LocalServer({"someone/scenes-model": embedded_model_folder()})) as server:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=server.environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["36", "36", "20"]
    assert list((tmp_path / "hub").rglob("answers.json"))


def test_published_model_answers_from_pixels_then_offline_from_cache(
    repositories: dict[str, Path],
    published_files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(LocalServer(repositories, published_files)) as server:
        server.redirect_downloads(monkeypatch, tmp_path)
        predictor = LxmertPredictor.from_pretrained(MODEL_NAME, device="cpu")
        assert len(predictor.processor.answers or ()) == 3129
        assert not any(DETECTOR_NAME in path for path in server.requests)
        regions = predictor.regions(picture())
        assert (len(regions), regions.feature_dim) == (36, FEATURE_DIM)
        described = predictor.names().describe(regions)
        answered = predictor.answer(regions, ["what is left of the star?"], top_k=3)
        assert not any("tf_model" in path for path in server.requests)
    fetched = [path.partition("/raw/")[2] for path in server.requests if "/raw/" in path]
    assert sorted(fetched) == sorted(PUBLISHED_FILES)  # Each once.
    assert described is not None
    objects = published_files[list(PUBLISHED_FILES)[1]].decode().splitlines()
    attributes = published_files[list(PUBLISHED_FILES)[2]].decode().splitlines()
    for name, kind, look in zip(
        described, regions.object_ids.tolist(), regions.attribute_ids.tolist(), strict=True
    ):
        assert name == f"{attributes[look].split(',')[0]} {objects[kind].split(',')[0]}"

    # The server is gone now.
    again = LxmertPredictor.from_pretrained(MODEL_NAME, device="cpu")
    assert again.regions(picture()).equals(regions, tolerance=1e-5)
    assert again.names().describe(regions) == described
    assert [a.text for a in again.answer(regions, ["what is left of the star?"], top_k=3)[0]] == [
        a.text for a in answered[0]
    ]


def test_processor_loads_alone_and_fetches_detector_only_for_images(
    repositories: dict[str, Path],
    published_files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(LocalServer(repositories, published_files)) as server:
        server.redirect_downloads(monkeypatch, tmp_path)
        processor = LxmertProcessor.from_pretrained(MODEL_NAME)
        assert set(processor(text="what is this?")) == {"input_ids", "attention_mask", "token_type_ids"}
        assert not any(DETECTOR_NAME in path or "/raw/" in path or "bin" in path for path in server.requests)
        batch = processor(images=picture(), text="what is this?")
        assert batch["visual_feats"].shape == (1, 36, FEATURE_DIM)
        assert len(processor.answers or ()) == 3129
        assert LxmertProcessor.from_pretrained(MODEL_NAME, extractor=None, answers=None).extractor is None


def test_answers_in_repository_take_precedence_over_published_table(
    repositories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    write_small_published_model(own, answers=2)
    (own / "answers.json").write_text('["yes", "no"]')
    with serving(LocalServer({MODEL_NAME: own, DETECTOR_NAME: repositories[DETECTOR_NAME]})) as server:
        server.redirect_downloads(monkeypatch, tmp_path / "home")
        predictor = LxmertPredictor.from_pretrained(MODEL_NAME, device="cpu")
        assert predictor.processor.answers == ["yes", "no"]
        assert not any("/raw/" in path for path in server.requests)
        server.requests.clear()
        LxmertPredictor.from_pretrained(MODEL_NAME, device="cpu")
        assert [path for path in server.requests if MODEL_NAME in path] == [f"GET /api/models/{MODEL_NAME}"]


def test_detector_in_folder_of_model_repository_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(embedded_model_folder(), tmp_path / "own"))
    shutil.copytree(detector_folder("scenes"), own / "eyes")
    settings = LxmertProcessor.from_pretrained(own)
    LxmertProcessor(settings.tokenizer, FasterRcnnExtractor(own / "eyes"), settings.answers).save_pretrained(
        own
    )
    by_name = tmp_path / "home"
    with serving(LocalServer({"someone/model": own})) as server:
        server.redirect_downloads(monkeypatch, by_name)
        regions = LxmertPredictor.from_pretrained("someone/model", device="cpu").regions(picture())
        assert regions.equals(LxmertPredictor.from_pretrained(own, device="cpu").regions(picture()))
        tagged = LxmertProcessor.from_pretrained("someone/model", revision=COMMIT, cache_dir=tmp_path / "c")
        assert tagged.regions(picture())[0].equals(regions)
    # The server is gone now.
    again = LxmertPredictor.from_pretrained("someone/model", device="cpu")
    assert again.regions(picture()).equals(regions)
    assert load_extractor("someone/model", device="cpu").identity == regions.extractor


def test_local_folder_with_published_name_takes_precedence_over_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(LocalServer()) as server:
        server.redirect_downloads(monkeypatch, tmp_path / "home")
    write_small_published_model(tmp_path / MODEL_NAME, answers=2)
    monkeypatch.chdir(tmp_path)
    predictor = LxmertPredictor.from_pretrained(MODEL_NAME, device="cpu")
    assert (predictor.processor.answers, predictor.processor.extractor) == (None, None)
    with pytest.raises(InputError, match="--detector"):
        predictor.regions(picture())
    chosen = LxmertPredictor.from_pretrained(MODEL_NAME, device="cpu", answers=["yes", "no"])
    assert chosen.processor.answers == ["yes", "no"]


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    status = exit_status(*words)
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    # Bars of files that were fetched before may stand above.
    last = err.splitlines()[-1]
    assert last.startswith("lxmert: error: ")
    assert "Traceback" not in err
    return last


def test_ask_without_network_names_missing_part_in_one_line(
    repositories: dict[str, Path],
    published_files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = tmp_path / "picture.png"
    picture().save(image)
    ask = ["ask", str(image), "what is this?", "--model", MODEL_NAME]
    with serving(LocalServer()) as server:
        server.redirect_downloads(monkeypatch, tmp_path / "nothing")
        assert "no such repository" in error_of(capsys, *ask)
    message = error_of(capsys, *ask)
    assert MODEL_NAME in message
    assert "cannot be reached" in message
    with serving(LocalServer({MODEL_NAME: repositories[MODEL_NAME]}, published_files)) as server:
        server.redirect_downloads(monkeypatch, tmp_path / "model")
        assert DETECTOR_NAME in error_of(capsys, *ask)
    with serving(LocalServer(repositories)) as server:
        server.redirect_downloads(monkeypatch, tmp_path / "hub alone")
        assert "trainval_label2ans.json" in error_of(capsys, *ask)


@pytest.mark.parametrize("name", ["unc-nlp/absent", "absent/detector"])
def test_unknown_hub_name_raises_lxmert_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(LocalServer()) as server:
        server.redirect_downloads(monkeypatch, tmp_path)
        with pytest.raises(WeightsError, match=name):
            LxmertPredictor.from_pretrained("scenes", detector=name)
        with pytest.raises(LxmertError, match=name):
            LxmertProcessor.from_pretrained(name)
