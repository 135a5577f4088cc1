"""`LxmertPredictor`: consistency checks, questions and answers, detectors, answer tables, devices, dtypes."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers.models.lxmert import modeling_lxmert as theirs

from lxmert import LxmertForQuestionAnswering, LxmertForVisualReasoning, LxmertPredictor, LxmertProcessor
from lxmert.answers import Answer
from lxmert.data.feature_store import FeatureStoreWriter, StoreManifest
from lxmert.downloads import PublishedFile
from lxmert.errors import DataError, InputError, TextError, VocabularyError, WeightsError
from lxmert.inference.bulk_questions import Question
from lxmert.inference.compiling import CompiledPart
from lxmert.inference.model_setup import ModelSetup
from lxmert.inference.models import answer_table, embedded_model_folder
from lxmert.scenes import sample
from lxmert.vision import BackboneEncoder, GivenBoxes, PooledPixels
from tests.small_checkpoints import write_small_model_with_detector, write_small_published_model


def picture(seed: int = 0) -> Image.Image:
    """A noisy picture that is not square."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 91, 3), dtype=np.uint8))


def pickle_round_trip(predictor: LxmertPredictor) -> LxmertPredictor:
    copied: LxmertPredictor = pickle.loads(pickle.dumps(predictor))  # noqa: S301
    return copied


@pytest.fixture(scope="module")
def predictor() -> LxmertPredictor:
    return LxmertPredictor.from_pretrained("scenes", device="cpu")


def test_answers_equal_those_of_model_and_processor(predictor: LxmertPredictor) -> None:
    picture, scene, questions = sample(11, 0, questions=5)
    texts = [question.text for question in questions]
    answers = predictor.answer(predictor.regions(picture, scene.boxes_xyxy_px()), texts, top_k=2)
    for text, (best, second) in zip(texts, answers, strict=True):
        inputs = predictor.processor(images=picture, text=text, boxes=scene.boxes_xyxy_px())
        with torch.inference_mode():
            scores = predictor.model(**inputs).question_answering_score[0].softmax(dim=0)
        assert best.label == int(scores.argmax())
        assert best.probability == pytest.approx(float(scores.max()), abs=1e-5)
        assert best.probability >= second.probability


def test_empty_question_list_returns_empty_list(predictor: LxmertPredictor) -> None:
    picture, scene, _ = sample(11, 0, questions=1)
    assert predictor.answer(predictor.regions(picture, scene.boxes_xyxy_px()), []) == []


def test_check_rejects_empty_text_and_missing_answers_without_image(
    predictor: LxmertPredictor,
) -> None:
    predictor.check(["how many stars are there?", "what is red?"])
    with pytest.raises(TextError, match="text 1 is empty"):
        predictor.check(["how many stars are there?", " "])
    folder = embedded_model_folder()
    processor = LxmertProcessor.from_pretrained(folder)
    processor._answers = None
    with pytest.raises(VocabularyError, match="no answers"):
        LxmertPredictor(predictor.model, processor).check(["what is red?"])


def test_answer_rejects_single_text_instead_of_list(predictor: LxmertPredictor) -> None:
    picture, scene, _ = sample(11, 0, questions=1)
    with pytest.raises(InputError, match="list"):
        predictor.answer(predictor.regions(picture, scene.boxes_xyxy_px()), "how many stars are there?")


def test_answer_accepts_tuple_generator_and_array_of_questions(predictor: LxmertPredictor) -> None:
    regions = predictor.regions(sample(11, 0, questions=1)[0])
    texts = ["how many stars are there?", "what is red?", "is there a circle?"]
    answers = predictor.answer(regions, texts)
    assert len(answers) == 3
    for collection in (tuple(texts), (text for text in texts), np.array(texts)):
        assert predictor.answer(regions, collection) == answers


def test_questions_or_regions_of_wrong_type_are_rejected(predictor: LxmertPredictor) -> None:
    regions = predictor.regions(sample(11, 0, questions=1)[0])
    with pytest.raises(InputError, match="questions is a single text, expected a list"):
        predictor.check("what is red?")
    for questions in (None, 7):
        with pytest.raises(InputError, match=f"questions is a {type(questions).__name__}, expected a list"):
            predictor.answer(regions, questions)  # type: ignore[arg-type]
    for image in ("white.png", [regions], picture()):
        with pytest.raises(InputError, match=rf"regions is a {type(image).__name__}, .*predictor\.regions"):
            predictor.answer(image, ["what is red?"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extractor": GivenBoxes(PooledPixels(3))}, "features per object, the extractor makes 27"),
        ({"answers": ["yes", "no"]}, "the table has 2"),
        ({"max_text_length": 99}, "the processor makes up to 99"),
    ],
)
def test_processor_that_does_not_match_model_is_rejected(changes: dict[str, object], message: str) -> None:
    folder = embedded_model_folder()
    model = LxmertForQuestionAnswering.from_pretrained(folder, dtype=torch.float32)
    with pytest.raises(InputError, match=message):
        LxmertPredictor(model, LxmertProcessor.from_pretrained(folder, **changes))


def test_stored_features_are_answered_without_loading_detector(
    predictor: LxmertPredictor, tmp_path: Path
) -> None:
    write_small_model_with_detector(tmp_path / "model")
    found = LxmertProcessor.from_pretrained(tmp_path / "model").regions(picture())[0]
    manifest = StoreManifest(found.feature_dim, "float32", found.extractor)
    with FeatureStoreWriter(tmp_path / "features", manifest) as writer:
        writer.add("noise.png", found)
    (tmp_path / "model" / "detector").rename(tmp_path / "gone")
    without = LxmertPredictor.from_pretrained(tmp_path / "model", device="cpu")
    [[answer]] = without.answer(found, ["what is red?"])
    [(_, [stored])] = without.predict([Question("noise.png", "what is red?")], features=tmp_path / "features")
    assert stored.label == answer.label
    with pytest.raises(WeightsError, match="detector"):
        without.regions(picture())


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle_round_trip])
@pytest.mark.parametrize("compiled", [False, True])
def test_copied_and_pickled_predictors_give_same_answers(
    predictor: LxmertPredictor,
    copied: Callable[[LxmertPredictor], LxmertPredictor],
    compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def code(part: CompiledPart, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        def run(*given: Tensor) -> Tensor:  # As little to be copied as machine code.
            made: Tensor = part._part(*given)
            return made

        return run

    monkeypatch.setattr(CompiledPart, "_code_from_file", code)
    model = LxmertForQuestionAnswering(predictor.model.config)
    model.load_state_dict(predictor.model.state_dict())
    made = LxmertPredictor(model, predictor.processor, setup=ModelSetup("float32", compiled))
    regions, texts = predictor.regions(picture()), ["how many stars are there?", "what is red?"]
    wanted = made.answer(regions, texts)
    other = copied(made)
    assert other.answer(regions, texts) == wanted
    with torch.no_grad():
        other.model.answer_head.logit_fc[-1].bias.mul_(-3)
    assert other.answer(regions, texts) != wanted == made.answer(regions, texts)


def test_models_and_processors_of_other_classes_are_rejected(predictor: LxmertPredictor) -> None:
    config, processor = predictor.model.config, predictor.processor
    small = theirs.LxmertConfig(hidden_size=24, num_attention_heads=3, l_layers=1, x_layers=1, r_layers=1)
    averaged = torch.optim.swa_utils.AveragedModel(predictor.model)  # keeps the model in .module
    for other in (LxmertForVisualReasoning(config), theirs.LxmertForQuestionAnswering(small), averaged):
        with pytest.raises(InputError, match=r"model is a .*, expected lxmert.LxmertForQuestionAnswering; "):
            LxmertPredictor(other, processor)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"processor is a .*, expected an LxmertProcessor"):
        LxmertPredictor(predictor.model, processor.tokenizer)


@pytest.fixture(scope="module")
def detecting_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose processor finds objects."""
    folder = tmp_path_factory.mktemp("detecting_model") / "model"
    write_small_model_with_detector(folder)
    return folder


def test_model_with_detector_detects_objects_without_boxes(detecting_model: Path) -> None:
    predictor = LxmertPredictor.from_pretrained(detecting_model, device="cpu")
    assert not predictor.needs_boxes
    found = predictor.regions(picture())
    assert len(found) == 10
    described = predictor.names().describe(found)
    assert described is not None
    assert all(
        name.split()[-1] in {"circle", "square", "triangle", "star", "heart", "cross", "ring"}
        for name in described
    )
    answers = predictor.answer(found, ["how many stars are there?", "what is red?"], top_k=2)
    assert [[type(one) for one in best] for best in answers] == [[Answer] * 2] * 2


def test_detector_describes_given_boxes(detecting_model: Path) -> None:
    predictor = LxmertPredictor.from_pretrained(detecting_model, device="cpu")
    boxes = torch.tensor([[3.0, 4.0, 50.0, 40.0], [60.0, 10.0, 91.0, 60.0], [0.0, 0.0, 91.0, 60.0]])
    given = predictor.regions(picture(), boxes)
    assert torch.equal(given.boxes_xyxy_px, boxes)
    assert given.object_ids is not None
    assert len(predictor.answer(given, ["what is red?"])[0]) == 1


def test_detector_and_answers_arguments_replace_those_of_model(detecting_model: Path, tmp_path: Path) -> None:
    write_small_published_model(tmp_path / "bare", answers=3)
    (tmp_path / "answers.json").write_text('[{"ans": "yes"}, {"ans": "no"}, {"ans": ""}]')
    predictor = LxmertPredictor.from_pretrained(
        tmp_path / "bare",
        device="cpu",
        detector=detecting_model / "detector",
        answers=tmp_path / "answers.json",
    )
    assert predictor.processor.answers == ["yes", "no", ""]
    assert len(predictor.regions(picture())) == 10
    with pytest.raises(InputError, match="scores 3 answers, the table has 2"):
        LxmertPredictor.from_pretrained(tmp_path / "bare", answers=["yes", "no"])
    write_small_published_model(tmp_path / "narrow", answers=3, features=48)
    with pytest.raises(InputError, match="reads 48 features per object, the extractor makes 128"):
        LxmertPredictor.from_pretrained(tmp_path / "narrow", detector=detecting_model / "detector")


def test_invalid_answer_tables_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gqe"):
        answer_table("gqe")
    (tmp_path / "answers.json").write_text('["yes", "yes"]')
    with pytest.raises(VocabularyError, match="twice"):
        answer_table(tmp_path / "answers.json")
    with pytest.raises(VocabularyError, match="answer 1 is a int"):
        answer_table(["yes", 7])  # type: ignore[list-item]


def test_answer_table_resolves_vqa_and_gqa_to_published_files(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fetched(self: PublishedFile) -> Path:
        return shared_data / "answers" / f"{'vqa' if '/vqa/' in self.url else 'gqa'}_{self.name}"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PublishedFile, "fetch", fetched)
    assert (len(answer_table("vqa")), len(answer_table("gqa"))) == (3129, 1842)
    (tmp_path / "vqa").write_text('["yes", "no"]')  # A file of that name is the user's own.
    assert answer_table("vqa") == ["yes", "no"]


class SmallBackbone(torch.nn.Module):
    """The least that `BackboneEncoder` takes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 128, 4)

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.layer(pixel_values))


@pytest.mark.parametrize("kind", ["detector", "backbone"])
def test_to_device_moves_detector_or_backbone_with_model(detecting_model: Path, kind: str) -> None:
    """The meta device stands for a GPU: whatever lies there has been moved."""
    predictor = LxmertPredictor.from_pretrained(detecting_model, device="cpu")
    if kind == "backbone":
        backbone = SmallBackbone()
        predictor.processor = LxmertProcessor(
            predictor.processor.tokenizer, GivenBoxes(BackboneEncoder(backbone, size=8))
        )
    assert predictor.to("meta") is predictor
    extractor = predictor.processor.extractor
    network = extractor._detector if kind == "detector" else backbone
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert predictor.model.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_answers_on_gpu_equal_those_on_cpu(detecting_model: Path) -> None:
    questions = ["how many stars are there?", "what is red?"]
    answers_by_device = []
    for device in ("cpu", "cuda"):
        predictor = LxmertPredictor.from_pretrained(detecting_model, device=device)
        answers_by_device.append(predictor.answer(predictor.regions(picture()), questions))
        assert next(predictor.processor.extractor._detector.parameters()).device.type == device
    for cpu, cuda in zip(*answers_by_device, strict=True):
        assert cpu[0].text == cuda[0].text
        assert cpu[0].probability == pytest.approx(cuda[0].probability, abs=1e-3)


def test_half_precision_gives_the_same_answers(predictor: LxmertPredictor) -> None:
    picture, _, asked = sample(11, 0, questions=4)
    questions = [question.text for question in asked]
    regions = predictor.regions(picture)
    half = LxmertPredictor.from_pretrained("scenes", device="cpu", dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    for [exact], [near] in zip(
        predictor.answer(regions, questions), half.answer(regions, questions), strict=True
    ):
        assert near.text == exact.text
        assert near.probability == pytest.approx(exact.probability, abs=0.05)
        assert near.probability != exact.probability
