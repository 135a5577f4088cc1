import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert import LxmertConfig
from lxmert.errors import WeightsError
from lxmert.weights.names import Architecture, canonical_original_name, from_original, to_original
from lxmert.weights.shapes import parameter_shapes

# Read off the original code's modules by hand: (class, original name, our name).
GOLDEN = [
    ("LxmertForPreTraining", "bert.embeddings.LayerNorm.weight", "lxmert.embeddings.LayerNorm.weight"),
    ("LxmertForPreTraining", "bert.encoder.visn_fc.visn_fc.bias", "lxmert.encoder.visn_fc.visn_fc.bias"),
    (
        "LxmertForPreTraining",
        "bert.encoder.x_layers.4.visual_attention.att.query.weight",
        "lxmert.encoder.x_layers.4.visual_attention.att.query.weight",
    ),
    (
        "LxmertForPreTraining",
        "bert.encoder.r_layers.0.attention.self.key.bias",
        "lxmert.encoder.r_layers.0.attention.self.key.bias",
    ),
    ("LxmertForPreTraining", "cls.predictions.decoder.weight", "cls.predictions.decoder.weight"),
    ("LxmertForPreTraining", "cls.seq_relationship.bias", "cls.seq_relationship.bias"),
    (
        "LxmertForPreTraining",
        "obj_predict_head.decoder_dict.feat.weight",
        "obj_predict_head.decoder_dict.feat.weight",
    ),
    ("LxmertForPreTraining", "answer_head.logit_fc.3.weight", "answer_head.logit_fc.3.weight"),
    ("LxmertForQuestionAnswering", "logit_fc.2.bias", "answer_head.logit_fc.2.bias"),
    (
        "LxmertForQuestionAnswering",
        "lxrt_encoder.model.bert.pooler.dense.weight",
        "lxmert.pooler.dense.weight",
    ),
    ("LxmertModel", "bert.encoder.layer.8.output.dense.weight", "encoder.layer.8.output.dense.weight"),
]

configurations = st.builds(
    LxmertConfig,
    l_layers=st.integers(0, 3),
    x_layers=st.integers(0, 2),
    r_layers=st.integers(0, 2),
    task_qa=st.booleans(),
    task_obj_predict=st.booleans(),
    visual_attr_loss=st.booleans(),
)


@pytest.mark.parametrize(("architecture", "original", "ours"), GOLDEN)
def test_names_translate_as_in_original_code_both_ways(architecture: str, original: str, ours: str) -> None:
    assert from_original(original, Architecture(architecture)) == ours
    assert to_original(ours, Architecture(architecture)) == original


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("module.bert.pooler.dense.weight", "bert.pooler.dense.weight"),
        ("lxrt_encoder.model.module.bert.pooler.dense.bias", "lxrt_encoder.model.bert.pooler.dense.bias"),
        ("module.lxrt_encoder.model.module.bert.x", "lxrt_encoder.model.bert.x"),
        ("bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"),
        ("module.bert.embeddings.LayerNorm.beta", "bert.embeddings.LayerNorm.bias"),
        ("bert.embeddings.LayerNorm.bias", "bert.embeddings.LayerNorm.bias"),
        ("module", ""),
    ],
)
def test_canonical_names_drop_module_prefix_and_tensorflow_suffixes(written: str, canonical: str) -> None:
    assert canonical_original_name(written) == canonical


@settings(deadline=None, max_examples=60)
@given(configurations, st.sampled_from(Architecture), st.booleans())
def test_to_original_and_from_original_are_inverse(
    config: LxmertConfig, architecture: Architecture, data_parallel: bool
) -> None:
    ours = list(parameter_shapes(config, architecture))
    originals = [to_original(name, architecture, data_parallel=data_parallel) for name in ours]
    assert len(set(originals)) == len(originals)
    canonical = [canonical_original_name(name) for name in originals]
    assert [from_original(name, architecture) for name in canonical] == ours
    assert [to_original(name, architecture) for name in ours] == canonical


def test_data_parallel_names_are_those_the_original_loaders_ask_for() -> None:
    assert (
        to_original("pooler.dense.bias", Architecture.ENCODER, data_parallel=True)
        == "module.bert.pooler.dense.bias"
    )
    assert (
        to_original("cls.predictions.bias", Architecture.PRETRAINING, data_parallel=True)
        == "module.cls.predictions.bias"
    )
    qa = Architecture.QUESTION_ANSWERING
    assert (
        to_original("lxmert.pooler.dense.bias", qa, data_parallel=True)
        == "lxrt_encoder.model.module.bert.pooler.dense.bias"
    )
    assert to_original("answer_head.logit_fc.0.bias", qa, data_parallel=True) == "logit_fc.0.bias"


def test_foreign_names_have_no_translation() -> None:
    assert from_original("optimizer.step", Architecture.PRETRAINING) is None
    assert from_original("logit_fc.0.weight", Architecture.ENCODER) is None
    with pytest.raises(WeightsError, match=r"cls\.predictions\.bias"):
        to_original("cls.predictions.bias", Architecture.QUESTION_ANSWERING)
