"""Equal weights and inputs give equal outputs, losses and gradients in PyTorch and Keras."""

from typing import Any

import numpy as np
import pytest
import torch

from lxmert.configuration import LxmertConfig
from tests.model.small import BATCH, small_config
from tests.model_keras.paired_models import as_numpy, assert_same_outputs, gradients, pair

ACTIVATIONS = (
    "gelu",
    "relu",
    "silu",
    "gelu_new",
    "quick_gelu",
    "tanh",
    "gelu_10",
    "mish",
    "relu2",
    "laplace",
)


def random_config(seed: int) -> LxmertConfig:
    chooser = np.random.default_rng(seed)
    heads = int(chooser.integers(1, 4))
    tasks = {name: bool(chooser.random() < 0.8) for name in ("task_matched", "task_mask_lm", "task_qa")}
    losses = {name: bool(chooser.random() < 0.8) for name in ("visual_obj_loss", "visual_attr_loss")}
    return LxmertConfig(
        vocab_size=int(chooser.integers(20, 60)),
        hidden_size=heads * int(chooser.integers(4, 8)),
        num_attention_heads=heads,
        num_qa_labels=int(chooser.integers(2, 9)),
        num_object_labels=int(chooser.integers(2, 9)),
        num_attr_labels=int(chooser.integers(2, 9)),
        intermediate_size=int(chooser.integers(8, 30)),
        hidden_act=ACTIVATIONS[seed % len(ACTIVATIONS)],
        max_position_embeddings=9,
        type_vocab_size=int(chooser.integers(1, 4)),
        layer_norm_eps=float(chooser.choice([1e-12, 1e-5])),
        l_layers=int(chooser.integers(0, 3)),
        x_layers=int(chooser.integers(0, 3)),
        r_layers=int(chooser.integers(0, 3)),
        visual_feat_dim=int(chooser.integers(3, 14)),
        visual_pos_dim=int(chooser.integers(2, 6)),
        visual_loss_normalizer=float(chooser.uniform(1, 8)),
        pad_token_id=[None, 0, 3][seed % 3],
        tie_word_embeddings=seed % 5 != 4,
        **tasks,
        **losses,
    )


def random_batch(config: LxmertConfig, seed: int) -> dict[str, Any]:
    """Inputs with both masks, more objects than words or fewer, and one text whose words are all hidden."""
    torch.manual_seed(seed)
    words, objects = 4 + seed % 4, 3 + seed % 5
    visible = (torch.rand(BATCH, words) < 0.7).long()
    visible[seed % BATCH] = 0
    return {
        "input_ids": torch.randint(0, config.vocab_size, (BATCH, words)),
        "visual_feats": torch.randn(BATCH, objects, config.visual_feat_dim),
        "visual_pos": torch.rand(BATCH, objects, config.visual_pos_dim),
        "attention_mask": visible,
        "visual_attention_mask": (torch.rand(BATCH, objects) < 0.8).long(),
        "token_type_ids": torch.randint(0, config.type_vocab_size, (BATCH, words)),
    }


def random_targets(config: LxmertConfig, batch: dict[str, Any], seed: int) -> dict[str, Any]:
    shape = batch["visual_feats"].shape[:2]
    words = torch.randint(0, config.vocab_size, batch["input_ids"].shape)
    words[torch.rand(words.shape) < 0.5] = -100 if seed % 2 else -1
    by_class = torch.randint(0, config.num_qa_labels, (BATCH,))
    soft = torch.rand(BATCH, config.num_qa_labels)
    return {
        "labels": words,
        "obj_labels": {
            "obj": (torch.randint(-1, config.num_object_labels, shape), torch.rand(shape)),
            "attr": (torch.randint(-1, config.num_attr_labels, shape), torch.rand(shape)),
            "feat": (2 * torch.randn(batch["visual_feats"].shape), torch.randint(0, 2, shape).float()),
        },
        "matched_label": torch.randint(-1, 2, (BATCH,)),
        "ans": soft if seed % 3 == 0 else by_class,
    }


def assert_same_gradients(ours: Any, keras_model: Any, arguments: dict[str, Any]) -> None:
    loss = ours(**arguments).loss
    loss.backward()
    found_loss, found = gradients(keras_model, as_numpy(arguments))
    assert found_loss == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-5)
    parameters = dict(ours.named_parameters())
    assert set(found) == set(parameters)
    for name, array in found.items():
        wanted = parameters[name].grad
        wanted = np.zeros_like(array) if wanted is None else wanted.numpy()
        np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("seed", range(30))
def test_pretraining_outputs_and_gradients_equal_pytorch(seed: int) -> None:
    config = random_config(seed)
    ours, keras_model = pair("LxmertForPreTraining", config)
    batch = random_batch(config, seed)
    arguments = batch | random_targets(config, batch, seed)
    more = {"output_hidden_states": True, "output_all_attentions": True}
    assert_same_outputs(ours(**arguments, **more), keras_model(as_numpy(arguments), **more))
    assert_same_gradients(ours, keras_model, arguments)


@pytest.mark.parametrize("seed", range(4))
def test_question_answering_outputs_and_gradients_equal_pytorch(seed: int) -> None:
    config = random_config(100 + seed)
    ours, keras_model = pair("LxmertForQuestionAnswering", config)
    batch = random_batch(config, seed)
    arguments = batch | {"labels": random_targets(config, batch, seed)["ans"]}
    more = {"output_hidden_states": True, "output_attentions": True}
    assert_same_outputs(ours(**arguments, **more), keras_model(**as_numpy(arguments), **more))
    assert_same_gradients(ours, keras_model, arguments)


@pytest.mark.parametrize("seed", range(4))
def test_visual_reasoning_outputs_and_gradients_equal_pytorch(seed: int) -> None:
    config = random_config(200 + seed)
    ours, keras_model = pair("LxmertForVisualReasoning", config)
    batch = random_batch(config, seed)
    for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
        batch[name] = torch.stack([batch[name], batch[name].flip(1)], dim=1)
    batch["visual_feats"][:, 1] += 0.5
    arguments = batch | {"labels": torch.tensor([1, 0, -1])}
    more = {"output_hidden_states": True, "output_attentions": True}
    assert_same_outputs(ours(**arguments, **more), keras_model(**as_numpy(arguments), **more))
    assert_same_gradients(ours, keras_model, arguments)


def test_inputs_embeds_without_masks_give_same_outputs_as_pytorch() -> None:
    config = random_config(7)
    ours, keras_model = pair("LxmertModel", config)
    batch = random_batch(config, 7)
    arguments = {
        "inputs_embeds": torch.randn(BATCH, 5, config.hidden_size),
        "visual_feats": batch["visual_feats"].double(),
        "visual_pos": batch["visual_pos"],
    }
    assert_same_outputs(ours(**arguments), keras_model(**as_numpy(arguments)))


def test_padding_word_gets_no_gradient_from_texts_containing_it() -> None:
    config = small_config(l_layers=1, x_layers=1, pad_token_id=3)
    ours, keras_model = pair("LxmertForQuestionAnswering", config)
    arguments = random_batch(config, 1) | {"labels": torch.tensor([4, 0, 8])}
    arguments["input_ids"][:, 1] = 3
    arguments["attention_mask"][:, 1] = 1
    rows = gradients(keras_model, as_numpy(arguments))[1]["lxmert.embeddings.word_embeddings.weight"]
    assert not rows[3].any()
    assert rows[int(arguments["input_ids"][0, 0])].any()
    assert_same_gradients(ours, keras_model, arguments)


@pytest.mark.slow
def test_full_size_pretraining_outputs_and_gradients_equal_pytorch() -> None:
    config = LxmertConfig(vocab_size=2000, num_qa_labels=300)
    ours, keras_model = pair("LxmertForPreTraining", config)
    copied = dict(keras_model.torch_variables())
    assert len(copied) == len(dict(ours.named_parameters()))
    batch = random_batch(small_config(visual_feat_dim=2048), 1)
    arguments = batch | random_targets(config, batch, 1)
    more = {"output_hidden_states": True}
    assert_same_outputs(ours(**arguments, **more), keras_model(as_numpy(arguments), **more))
    assert_same_gradients(ours, keras_model, arguments)
