"""The initial model of pre-training: sizes of a new one, and what is kept of a pre-trained one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lxmert.answers import ANSWERS_FILE
from lxmert.data.answers import AnswerVocabulary
from lxmert.errors import ConfigurationError, IncompleteWeightsError
from lxmert.model import LxmertForPreTraining
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.training.pretraining.initial_model import build_pretraining_model, retained_answers
from lxmert.training.pretraining.recipe import PretrainModelSection
from lxmert.training.pretraining.target_counts import TASKS
from tests.model.small import SIZES, small_config

ANSWERS = AnswerVocabulary([f"answer {number}" for number in range(SIZES["num_qa_labels"])])
WEIGHTS = dict.fromkeys(TASKS, 1.0) | {"places": 0.0}
WITHOUT_QA = WEIGHTS | {"qa": 0.0}
FEATURES = {"visual_feat_dim": SIZES["visual_feat_dim"]}


@pytest.fixture
def tokenizer() -> LxmertTokenizerFast:
    words = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "cat"]
    return LxmertTokenizerFast(vocab={word: number for number, word in enumerate(words)})


@pytest.fixture
def pretrained(tmp_path: Path) -> Callable[..., PretrainModelSection]:
    """Makes the section of a small pre-trained model, of which tensors may be left out by their prefixes."""

    def make(
        *left_out: str, dtype: torch.dtype = torch.float32, task_qa: bool = True
    ) -> PretrainModelSection:
        LxmertForPreTraining(small_config(task_qa=task_qa)).to(dtype).save_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
        kept = {name: value for name, value in load_file(file).items() if not name.startswith(left_out)}
        save_file(kept, file, metadata={"format": "pt"})
        (tmp_path / ANSWERS_FILE).write_text(json.dumps(list(ANSWERS)))
        return PretrainModelSection(from_pretrained=str(tmp_path))

    return make


def test_new_model_is_sized_by_tokenizer_answers_and_features_unless_config_differs(
    tokenizer: LxmertTokenizerFast,
) -> None:
    sizes = {name: SIZES[name] for name in ("hidden_size", "num_attention_heads", "intermediate_size")}
    for config, vocab_size in (({}, 6), ({"vocab_size": 8}, 8)):
        section = PretrainModelSection(vocabulary="scenes", config=sizes | config)
        model, origin = build_pretraining_model(section, tokenizer, ANSWERS, WEIGHTS, FEATURES)
        assert (model.config.vocab_size, model.config.pad_token_id) == (vocab_size, 3)
        assert (model.config.num_qa_labels, model.config.visual_feat_dim) == (9, 13)
        assert origin == {}


def test_pretrained_model_of_other_features_is_rejected(
    pretrained: Callable[..., PretrainModelSection], tokenizer: LxmertTokenizerFast
) -> None:
    with pytest.raises(ConfigurationError, match=r"takes 13 features per object, but the data have 12"):
        build_pretraining_model(pretrained(), tokenizer, ANSWERS, WEIGHTS, {"visual_feat_dim": 12})


def test_pretrained_model_may_lack_heads_but_not_encoder_weights(
    pretrained: Callable[..., PretrainModelSection], tokenizer: LxmertTokenizerFast
) -> None:
    heads = ("answer_head.", "cls.seq_relationship.", "obj_predict_head.")
    _, origin = build_pretraining_model(pretrained(*heads), tokenizer, ANSWERS, WEIGHTS, FEATURES)
    assert origin["begun_anew"] == ["answer_head", "cls", "obj_predict_head"]
    assert origin["answers_carried_over"] == 0
    with pytest.raises(IncompleteWeightsError, match="partly random encoder"):
        build_pretraining_model(pretrained("lxmert.pooler."), tokenizer, ANSWERS, WEIGHTS, FEATURES)


@pytest.mark.parametrize(("field", "head"), [("num_object_labels", "obj"), ("num_attr_labels", "attr")])
def test_pretrained_object_head_is_kept_unless_the_data_have_more_classes(
    pretrained: Callable[..., PretrainModelSection], tokenizer: LxmertTokenizerFast, field: str, head: str
) -> None:
    section = pretrained()
    name = f"obj_predict_head.decoder_dict.{head}.weight"
    weights = load_file(Path(section.from_pretrained or "") / "model.safetensors")[name]
    for classes, is_kept in ((SIZES[field] - 1, True), (SIZES[field], True), (SIZES[field] + 1, False)):
        sizes = FEATURES | {field: classes}
        model, origin = build_pretraining_model(section, tokenizer, ANSWERS, WEIGHTS, sizes)
        assert getattr(model.config, field) == max(classes, SIZES[field])
        assert origin["begun_anew"] == ([] if is_kept else ["obj_predict_head"])
        assert not is_kept or torch.equal(model.state_dict()[name], weights)


def test_pretrained_half_precision_weights_are_trained_in_float32(
    pretrained: Callable[..., PretrainModelSection], tokenizer: LxmertTokenizerFast
) -> None:
    section = pretrained(dtype=torch.float16)
    model, origin = build_pretraining_model(section, tokenizer, ANSWERS, WEIGHTS, FEATURES)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert origin["answers_carried_over"] == len(ANSWERS)


@pytest.mark.parametrize(
    ("left_out", "task_qa", "is_known"),
    [((), True, True), (("answer_head.",), True, False), ((), False, False)],
)
def test_answers_are_retained_only_with_pretrained_answer_head(
    pretrained: Callable[..., PretrainModelSection],
    tokenizer: LxmertTokenizerFast,
    left_out: tuple[str, ...],
    task_qa: bool,
    is_known: bool,
) -> None:
    section = pretrained(*left_out, task_qa=task_qa)
    model, origin = build_pretraining_model(section, tokenizer, None, WITHOUT_QA, FEATURES)
    assert retained_answers(section, model, origin) == (ANSWERS if is_known else None)
