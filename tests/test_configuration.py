"""LxmertConfig: defaults, validation, loading and saving."""

import inspect
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lxmert.configuration import LxmertConfig
from lxmert.errors import ConfigurationError

# Order and values as documented; layer_norm_eps stands where the older documentation has it.
DOCUMENTED = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "num_qa_labels": 9500,
    "num_object_labels": 1600,
    "num_attr_labels": 400,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "l_layers": 9,
    "x_layers": 5,
    "r_layers": 5,
    "visual_feat_dim": 2048,
    "visual_pos_dim": 4,
    "visual_loss_normalizer": 6.67,
    "task_matched": True,
    "task_mask_lm": True,
    "task_obj_predict": True,
    "task_qa": True,
    "visual_obj_loss": True,
    "visual_attr_loss": True,
    "visual_feat_loss": True,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "tie_word_embeddings": True,
}

# The keys of the published unc-nlp/lxmert-base-uncased, with values that differ from the defaults.
PUBLISHED = {
    "architectures": ["LxmertForPreTraining"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "l_layers": 9,
    "layer_norm_eps": 1e-12,
    "max_2d_position_embeddings": 1024,
    "max_position_embeddings": 512,
    "model_type": "lxmert",
    "n_gpu": 1,
    "num_attention_heads": 12,
    "num_attr_labels": 400,
    "num_hidden_layers": {"cross_encoder": 5, "language": 9, "vision": 5},
    "num_object_labels": 1600,
    "num_qa_labels": 3129,
    "output_attentions": False,
    "pad_token_id": 0,
    "r_layers": 5,
    "task_mask_lm": True,
    "task_matched": True,
    "task_obj_predict": True,
    "task_qa": True,
    "type_vocab_size": 2,
    "visual_attr_loss": True,
    "visual_feat_dim": 2048,
    "visual_feat_loss": True,
    "visual_loss_normalizer": 6.67,
    "visual_losses": ["obj", "attr", "feat"],
    "visual_obj_loss": True,
    "visual_pos_dim": 4,
    "vocab_size": 30522,
    "x_layers": 5,
}


def test_parameters_have_documented_order_and_defaults() -> None:
    parameters = inspect.signature(LxmertConfig).parameters
    known = {name: each.default for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
    assert list(known.items()) == list(DOCUMENTED.items())
    config = LxmertConfig()
    assert {name: getattr(config, name) for name in DOCUMENTED} == DOCUMENTED


def test_parameters_can_be_given_by_position() -> None:
    config = LxmertConfig(100, 36, 6)
    assert (config.vocab_size, config.hidden_size, config.num_attention_heads) == (100, 36, 6)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("num_attention_heads", 5, "hidden_size 768 is not a multiple of num_attention_heads 5"),
        ("num_attention_heads", 0, "num_attention_heads must be an integer of at least 1, got 0"),
        ("l_layers", -1, "l_layers must be an integer of at least 0, got -1"),
        ("x_layers", 1.5, "x_layers must be an integer of at least 0, got 1.5"),
        ("r_layers", True, "r_layers must be an integer of at least 0, got True"),
        ("hidden_dropout_prob", 1.1, "hidden_dropout_prob must be a number in 0..1, got 1.1"),
        (
            "attention_probs_dropout_prob",
            -0.1,
            "attention_probs_dropout_prob must be a number in 0..1, got -0.1",
        ),
        ("hidden_act", "gellu", "hidden_act 'gellu' is not a known activation"),
        ("hidden_act", None, "hidden_act None is not a known activation"),
        ("hidden_act", abs, "hidden_act is a function, which cannot be saved: use its name, such as 'gelu'"),
        ("layer_norm_eps", -1e-12, "layer_norm_eps must be a number in 0..1"),
        ("initializer_range", float("nan"), "initializer_range must be a number at least 0, got nan"),
        ("initializer_range", float("inf"), "initializer_range must be finite, got inf"),
        ("initializer_range", 10**400, "initializer_range must be finite, got 1000"),
        ("visual_loss_normalizer", "6", "visual_loss_normalizer must be a number at least 0, got '6'"),
        ("task_qa", 1, "task_qa must be True or False, got 1"),
        ("tie_word_embeddings", None, "tie_word_embeddings must be True or False, got None"),
        ("pad_token_id", 30522, "pad_token_id must be None or lie in 0..30521"),
        ("pad_token_id", -1, "pad_token_id must be None or lie in 0..30521"),
        *[
            (name, 0, f"{name} must be an integer of at least 1, got 0")
            for name in (
                "vocab_size",
                "hidden_size",
                "num_qa_labels",
                "num_object_labels",
                "num_attr_labels",
                "intermediate_size",
                "max_position_embeddings",
                "type_vocab_size",
                "visual_feat_dim",
                "visual_pos_dim",
            )
        ],
    ],
)
def test_invalid_parameter_raises_configuration_error(name: str, value: object, part: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        LxmertConfig(**{name: value})  # type: ignore[arg-type]
    assert part in str(raised.value)
    assert "\n" not in str(raised.value)


def test_all_invalid_parameters_are_listed_in_one_error() -> None:
    with pytest.raises(ConfigurationError) as raised:
        LxmertConfig(hidden_size=30, l_layers=-1, hidden_dropout_prob=2, hidden_act="?", num_hidden_layers=3)
    message = str(raised.value)
    assert "5 fault(s)" in message
    for part in ("hidden_size 30", "l_layers", "hidden_dropout_prob", "hidden_act", "num_hidden_layers"):
        assert part in message


def test_zero_layers_are_allowed() -> None:
    config = LxmertConfig(l_layers=0, x_layers=0, r_layers=0)
    assert config.num_hidden_layers == {"vision": 0, "cross_encoder": 0, "language": 0}


def test_published_config_loads_and_keeps_unknown_keys(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    config = LxmertConfig.from_pretrained(tmp_path)
    assert (config.num_qa_labels, config.pad_token_id) == (3129, 0)
    assert (config.max_2d_position_embeddings, config.n_gpu) == (1024, 1)
    config.save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {key: saved[key] for key in PUBLISHED if key != "output_attentions"} == {
        key: value for key, value in PUBLISHED.items() if key != "output_attentions"
    }


def test_saved_configuration_loads_equal(tmp_path: Path) -> None:
    config = LxmertConfig(
        hidden_size=36,
        x_layers=2,
        layer_norm_eps=1e-5,
        task_qa=False,
        output_attentions=True,
        mine={"a": [1]},
    )
    config.save_pretrained(tmp_path)
    again = LxmertConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert LxmertConfig.from_dict(config.to_dict()) == config
    assert again.output_attentions is True
    assert again != LxmertConfig(hidden_size=36)


def test_from_dict_does_not_modify_its_argument() -> None:
    data = LxmertConfig().to_dict()
    before = json.dumps(data, default=str)
    LxmertConfig.from_dict(data, l_layers=2)
    assert json.dumps(data, default=str) == before


def test_num_hidden_layers_follows_overrides_and_assignments(tmp_path: Path) -> None:
    LxmertConfig().save_pretrained(tmp_path)
    config = LxmertConfig.from_pretrained(tmp_path, l_layers=7)
    assert config.num_hidden_layers == {"vision": 5, "cross_encoder": 5, "language": 7}
    config.r_layers = 1
    assert config.num_hidden_layers["vision"] == 1
    assert config.to_dict()["num_hidden_layers"]["vision"] == 1
    config.num_hidden_layers = {"vision": 2, "cross_encoder": 3, "language": 4}
    assert (config.r_layers, config.x_layers, config.l_layers) == (2, 3, 4)


def test_stale_num_hidden_layers_is_overridden_by_layer_counts() -> None:
    stale = {"l_layers": 2, "num_hidden_layers": {"vision": 1, "cross_encoder": 1, "language": 9}}
    assert LxmertConfig(**stale).num_hidden_layers == {"vision": 5, "cross_encoder": 5, "language": 2}  # type: ignore[arg-type]


def test_integer_num_hidden_layers_raises_not_implemented_configuration_error() -> None:
    config = LxmertConfig()
    with pytest.raises(ConfigurationError, match="num_hidden_layers is derived") as raised:
        config.num_hidden_layers = 4
    assert isinstance(raised.value, NotImplementedError)


@pytest.mark.parametrize(
    "layers",
    [
        {"vision": 2, "cross_encoder": 3},
        {"vision": 2, "cross_encoder": 3, "language": 4, "audio": 1},
        {"vision": 2, "cross_encoder": 3, "language": -1},
        {"vision": 2, "cross_encoder": 1.5, "language": 4},
    ],
)
def test_invalid_num_hidden_layers_leaves_config_unchanged(layers: dict[str, object]) -> None:
    config = LxmertConfig()
    before = config.num_hidden_layers
    with pytest.raises(ConfigurationError, match="num_hidden_layers needs"):
        config.num_hidden_layers = layers
    assert config.num_hidden_layers == before


def test_from_dict_overrides_are_validated_and_can_repair_invalid_values() -> None:
    with pytest.raises(ConfigurationError, match="l_layers"):
        LxmertConfig.from_dict({}, l_layers=-3)
    assert LxmertConfig.from_dict({"l_layers": -3}, l_layers=3).l_layers == 3


def test_save_pretrained_rejects_invalid_assigned_value(tmp_path: Path) -> None:
    config = LxmertConfig()
    config.hidden_dropout_prob = 7
    with pytest.raises(ConfigurationError, match="hidden_dropout_prob"):
        config.save_pretrained(tmp_path)


def test_misspelt_parameter_is_kept_and_logs_suggestion(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("lxmert.configuration")
    logger.addHandler(caplog.handler)
    try:
        config = LxmertConfig(hiden_size=36)
    finally:
        logger.removeHandler(caplog.handler)
    assert config.hiden_size == 36
    assert "'hiden_size'" in caplog.text
    assert "'hidden_size'" in caplog.text


@pytest.mark.parametrize("attention", ["eager", "sdpa", None])
def test_output_attentions_is_allowed_with_every_attention_implementation(attention: str | None) -> None:
    config = LxmertConfig(output_attentions=True, attn_implementation=attention)
    assert config.output_attentions is True
    config.output_attentions = False
    config._attn_implementation = "sdpa"
    config.output_attentions = True
    assert config.output_attentions is True


@pytest.mark.usefixtures("usual_recursion_limit")
@pytest.mark.parametrize("depth", [600, 2000])
def test_file_nested_too_deeply_is_refused(depth: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "lxmert", "x": {"[" * depth}{"]" * depth}}}')
    with pytest.raises(ConfigurationError, match="is nested too deeply"):
        LxmertConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("field", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("name", ["kernels-community/any", "some/kernel@main:attend", "flash_attention_2"])
def test_attention_in_a_file_that_may_be_code_of_the_hub_is_refused(
    field: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lxmert", field: name}))
    with pytest.raises(ConfigurationError, match=f"sets attn_implementation to '{name}'"):
        LxmertConfig.from_pretrained(tmp_path)


def test_attention_given_as_an_argument_may_be_code_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "lxmert", "attn_implementation": "one/kernel"}')
    for name in ("another/kernel", "one/kernel", "sdpa"):
        config = LxmertConfig.from_pretrained(tmp_path, attn_implementation=name)
        assert config._attn_implementation == name


@pytest.mark.parametrize(
    "argument", [{"is_encoder_decoder": True}, {"return_dict": False}, {"num_labels": 3}]
)
def test_common_transformers_arguments_are_accepted_and_saved(
    argument: dict[str, object], tmp_path: Path
) -> None:
    config = LxmertConfig(**argument)  # type: ignore[arg-type]
    config.save_pretrained(tmp_path)
    again = LxmertConfig.from_pretrained(tmp_path)
    assert {name: getattr(again, name) for name in argument} == argument
    assert again == config


def test_read_only_argument_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="use_return_dict"):
        LxmertConfig(use_return_dict=False)


def test_subclasses_save_load_and_compare_every_parameter(tmp_path: Path) -> None:
    class Plain(LxmertConfig):
        model_type = "plain"

    class WithField(LxmertConfig):
        model_type = "with_field"
        mine: int = 5

    class WithInit(LxmertConfig):
        model_type = "with_init"

        def __init__(self, mine: int = 5, **kwargs: Any) -> None:
            self.mine = mine
            super().__init__(**kwargs)

    class SubclassOfWithInit(WithInit):
        model_type = "of_with_init"

    for kind in (Plain, WithField, WithInit, SubclassOfWithInit):
        config = kind(l_layers=2)
        assert config.num_hidden_layers == {"vision": 5, "cross_encoder": 5, "language": 2}
        assert config == kind(l_layers=2) != kind(l_layers=3)
        if kind is not Plain:
            assert config.mine == 5
            config = kind(l_layers=2, mine=7)
        config.save_pretrained(tmp_path / kind.model_type)
        again = kind.from_pretrained(tmp_path / kind.model_type)
        assert type(again) is kind
        assert again == config
        assert vars(again).get("mine") == (None if kind is Plain else 7)


def test_numpy_integers_are_stored_as_plain_ones(tmp_path: Path) -> None:
    given = {"num_qa_labels": np.int64(5), "l_layers": np.int32(0), "pad_token_id": np.uint8(3)}
    config = LxmertConfig(**given)
    assert config == LxmertConfig(num_qa_labels=5, l_layers=0, pad_token_id=3)
    assert all(type(getattr(config, name)) is int for name in given)
    config.save_pretrained(tmp_path)
    assert LxmertConfig.from_pretrained(tmp_path) == config
    for wrong in (np.int64(0), np.bool_(True), np.float64(5)):
        with pytest.raises(ConfigurationError, match="num_qa_labels must be an integer of at least 1"):
            LxmertConfig(num_qa_labels=wrong)


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("value", ["nonsense", "save", 5])
def test_unknown_dtype_is_fault(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"\(1\) hidden_size.*\(2\) dtype {value!r} is not a dtype"):
        LxmertConfig(**{name: value}, hidden_size=0)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lxmert", name: value}))
    with pytest.raises(ConfigurationError, match="is not a dtype of torch: use its name, such as 'float32'"):
        LxmertConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("value", [None, "bfloat16", torch.bfloat16])
def test_known_dtype_is_accepted_in_either_form(value: Any) -> None:
    assert LxmertConfig(dtype=value).dtype == (None if value is None else torch.bfloat16)
    assert LxmertConfig(torch_dtype=value).dtype == (None if value is None else torch.bfloat16)
