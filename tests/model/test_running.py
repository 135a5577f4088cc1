"""The ways to run and train a model: precision, checkpointing, compilation, export, Trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from lxmert.model import LxmertForPreTraining, LxmertForQuestionAnswering, LxmertModel
from tests.model.small import BATCH, enable_checkpointing, inputs, small_config, targets

ONE_LAYER = {"l_layers": 1, "x_layers": 1, "r_layers": 1}  # compiling takes seconds per layer
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def _gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_and_losses_are_float32(dtype: torch.dtype) -> None:
    model = LxmertForPreTraining(small_config()).eval()
    exact = model(**inputs(), **targets())
    output = model.to(dtype)(**inputs(), **targets())
    assert output.prediction_logits.dtype == dtype
    torch.testing.assert_close(
        output.prediction_logits.float(), exact.prediction_logits, atol=2e-2, rtol=2e-2
    )
    assert {loss.dtype for loss in output.losses.values()} == {output.loss.dtype} == {torch.float32}
    torch.testing.assert_close(output.losses, exact.losses, atol=2e-2, rtol=2e-2)


def test_double_precision_stays_double() -> None:
    output = (
        LxmertForPreTraining(small_config()).double().eval()(**inputs(), **targets(), output_attentions=True)
    )
    assert output.loss.dtype == output.cross_encoder_attentions[0].dtype == torch.float64


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("maps", [True, False])
def test_checkpointing_gives_the_same_gradients(reentrant: bool, maps: bool) -> None:
    plain = LxmertForPreTraining(small_config(**NO_DROPOUT))
    saving = LxmertForPreTraining(small_config(**NO_DROPOUT))
    saving.load_state_dict(plain.state_dict())
    enable_checkpointing(saving, {"use_reentrant": reentrant})
    runs = []
    layer = saving.lxmert.encoder.layer[0].attention
    layer.register_forward_hook(lambda *_: runs.append(1) and None)
    for model in (plain, saving):
        model(**inputs(), **targets(), output_attentions=maps).loss.backward()
    assert len(runs) == 2  # once forward, once again for the backward pass
    torch.testing.assert_close(_gradients(saving), _gradients(plain))


@pytest.mark.parametrize(
    ("model_class", "attention"),
    [(LxmertModel, "eager"), (LxmertForPreTraining, "sdpa"), (LxmertForQuestionAnswering, "sdpa")],
)
def test_compiling_needs_no_graph_break(model_class: type, attention: str) -> None:
    torch._dynamo.reset()
    model = model_class(small_config(**ONE_LAYER, attn_implementation=attention)).eval()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    batch = inputs() | (targets() if model_class is LxmertForPreTraining else {})
    torch.testing.assert_close(compiled(**batch).to_tuple(), model(**batch).to_tuple())


def test_compiled_training_gives_the_same_gradients() -> None:
    torch._dynamo.reset()
    model = LxmertForQuestionAnswering(small_config(**ONE_LAYER, **NO_DROPOUT))
    batch = inputs() | {"labels": torch.tensor([4, -1, 8])}
    model(**batch).loss.backward()
    expected = {name: grad.clone() for name, grad in _gradients(model).items()}
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(**batch).loss.backward()
    torch.testing.assert_close(_gradients(model), expected, atol=1e-5, rtol=1e-4)


def test_dynamic_compiled_model_handles_other_sizes() -> None:
    torch._dynamo.reset()
    model = LxmertForQuestionAnswering(small_config(**ONE_LAYER)).eval()
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    for count in (2, 5):
        batch = {
            "input_ids": torch.ones(count, count + 3).long(),
            "visual_feats": torch.randn(count, count + 1, 13),
            "visual_pos": torch.rand(count, count + 1, 4),
        }
        torch.testing.assert_close(compiled(**batch).to_tuple(), model(**batch).to_tuple())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_torch_export_gives_same_scores(attention: str) -> None:
    model = LxmertForQuestionAnswering(small_config(**ONE_LAYER, attn_implementation=attention)).eval()
    program = torch.export.export(model, (), inputs())
    torch.testing.assert_close(
        program.module()(**inputs()).question_answering_score, model(**inputs()).question_answering_score
    )


def test_make_fx_gives_same_scores() -> None:
    model = LxmertForQuestionAnswering(small_config(**ONE_LAYER)).eval()
    batch = tuple(inputs()[name] for name in ("input_ids", "visual_feats", "visual_pos", "attention_mask"))
    graph = make_fx(lambda *given: model(*given)[0])(*batch)
    torch.testing.assert_close(graph(*batch), model(*batch)[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_jit_trace_with_or_without_grad_gives_same_gradients(attention: str, with_gradients: bool) -> None:
    settings = ONE_LAYER | NO_DROPOUT | {"attn_implementation": attention}
    model = LxmertForQuestionAnswering(small_config(**settings, return_dict=False)).eval()
    batch = inputs() | {"attention_mask": torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [0] * 7])}
    names = ("input_ids", "visual_feats", "visual_pos", "attention_mask", "visual_attention_mask")
    given = tuple(batch[name] for name in names)
    with torch.set_grad_enabled(with_gradients):
        traced = torch.jit.trace(model, given)  # looks whether it makes the same graph again
    traced(*given)[0].sum().backward()
    got = _gradients(traced)
    model.zero_grad()
    model(*given)[0].sum().backward()
    torch.testing.assert_close(got, _gradients(model))


def test_vmap_per_example_gradients_equal_single_backward_passes() -> None:
    model = LxmertForQuestionAnswering(small_config(**ONE_LAYER, **NO_DROPOUT, attn_implementation="eager"))
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    batch, labels = inputs(), torch.tensor([4, 0, 8])

    def loss(weights: dict[str, torch.Tensor], one: dict[str, torch.Tensor], label: torch.Tensor) -> Any:
        given = {name: value[None] for name, value in one.items()} | {"labels": label[None]}
        return torch.func.functional_call(model, weights, kwargs=given).loss

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, batch, labels)
    for row in range(BATCH):
        model.zero_grad()
        model(
            **{name: value[row, None] for name, value in batch.items()}, labels=labels[row, None]
        ).loss.backward()
        for name, gradient in _gradients(model).items():
            torch.testing.assert_close(together[name][row], gradient, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("model_class", [LxmertModel, LxmertForPreTraining, LxmertForQuestionAnswering])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_layers_quantised_by_torch_are_close(model_class: type, dtype: torch.dtype) -> None:
    model = model_class(small_config()).eval()
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    batch = inputs()
    batch["visual_feats"] = batch["visual_feats"].to(dtype)
    got, expected = quantised(**batch)[0], model(**batch)[0]
    assert not torch.equal(got, expected)
    torch.testing.assert_close(got, expected, atol=0.1, rtol=0)


class _Questions(torch.utils.data.Dataset):
    """The small batch, example by example, with a target."""

    def __init__(self, name: str, values: Any) -> None:
        self.name, self.values = name, values

    def __len__(self) -> int:
        return 2 * BATCH

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        example = {name: tensor[index % BATCH] for name, tensor in inputs().items()}
        return example | {self.name: self.values[index % BATCH]}


@pytest.mark.parametrize("target", [torch.tensor([1, 2, 3]), torch.eye(9)[:3]])
def test_trainer_trains_and_evaluates_question_answering(target: torch.Tensor, tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    model = LxmertForQuestionAnswering(small_config(**NO_DROPOUT))
    questions = _Questions("labels", target)
    settings = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=3,
        per_device_eval_batch_size=4,
        gradient_accumulation_steps=2,
        num_train_epochs=20,
        learning_rate=5e-3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
    )
    trainer = Trainer(model=model, args=settings, train_dataset=questions, eval_dataset=questions)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.4 * before
    predictions = trainer.predict(questions)
    assert predictions.predictions.shape == (6, 9)


def test_trainer_trains_pretraining_with_all_targets(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    class Batches(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> dict[str, Any]:
            return inputs() | targets()

    settings = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=1,
        max_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    model = LxmertForPreTraining(small_config())
    trainer = Trainer(model=model, args=settings, train_dataset=Batches(), data_collator=lambda rows: rows[0])
    assert trainer.train().training_loss > 0


class Wrapper(nn.Module):
    """A module around another, as adapters and tools that look into models put them in."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


@pytest.mark.parametrize("model_class", [LxmertModel, LxmertForPreTraining, LxmertForQuestionAnswering])
def test_wrapping_every_encoder_submodule_keeps_outputs(model_class: type) -> None:
    model = model_class(small_config()).eval()
    before = model(**inputs())[0]
    wrapped = 0
    for parent in list(model.base_model.encoder.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, nn.ModuleList):
                setattr(parent, name, Wrapper(child))
                wrapped += 1
    assert wrapped > 100
    torch.testing.assert_close(model(**inputs())[0], before)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_forward_hooks_run_on_every_submodule_of_pretraining_model(attention: str) -> None:
    model = LxmertForPreTraining(small_config(attn_implementation=attention)).eval()
    called = set()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    model(**inputs(), **targets())
    lists = {
        name for name, module in model.named_modules() if isinstance(module, nn.ModuleList | nn.ModuleDict)
    }
    not_called = {name for name, _ in model.named_modules()} - called
    if attention == "sdpa":  # drops the weights itself
        not_called = {name for name in not_called if not name.endswith((".self.dropout", ".att.dropout"))}
    assert not_called == lists
