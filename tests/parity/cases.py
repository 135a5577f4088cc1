"""Random models, inputs and calls on which ours must compute what transformers' LXMERT computes.

One seed makes one case. What is excluded is what the peer cannot do (it raises) or does wrongly; each
exclusion says which. Everything is drawn from generators of the case, so a failing seed fails again.
"""

import random
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

import lxmert

CLASSES = ("LxmertModel", "LxmertForPreTraining", "LxmertForQuestionAnswering")

LABELS = ("labels", "obj_labels", "matched_label", "ans")

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One configuration, one batch, one way of calling.

    Attributes:
        seed: what everything below was drawn from.
        settings: keyword arguments of both LxmertConfig classes.
        inputs: tensors and labels for `LxmertForPreTraining`; the other classes take their share.
        flags: output_attentions, output_hidden_states, return_dict.
        attention: `attn_implementation` of ours; the peer knows eager alone.
        qa_labels: (B,) class ids for `LxmertForQuestionAnswering`.
        dtype: of the weights and of every real-valued input.
    """

    seed: int
    settings: dict[str, Any]
    inputs: Inputs
    flags: dict[str, bool | None]
    attention: str
    qa_labels: Tensor
    dtype: torch.dtype = torch.float32

    def arguments(self, class_name: str) -> Inputs:
        """The call's keyword arguments for a class, without those it has not."""
        arguments = {name: value for name, value in self.inputs.items() if name not in LABELS}
        if class_name == "LxmertForPreTraining":
            arguments |= {name: self.inputs[name] for name in LABELS if name in self.inputs}
        if class_name == "LxmertForQuestionAnswering":
            arguments["labels"] = self.qa_labels
        return {name: _as(self.dtype, value) for name, value in arguments.items()}


def _as(dtype: torch.dtype, value: Any) -> Any:
    """Real numbers, also inside the object labels, in another dtype."""
    if isinstance(value, dict):
        return {name: tuple(_as(dtype, part) for part in parts) for name, parts in value.items()}
    return value.to(dtype) if value.is_floating_point() else value


def draw_case(seed: int) -> Case:
    choose = random.Random(seed)
    numbers = torch.Generator().manual_seed(seed)
    settings = _settings(choose)
    flags = {
        # None defers to the configuration. Asked there and refused in the call, the peer raises IndexError.
        "output_attentions": choose.choice(
            [True, None] if settings["output_attentions"] else [True, False, None]
        ),
        "output_hidden_states": choose.choice([True, False, None]),
        "return_dict": choose.choice([True, False, None]),
    }
    inputs = _inputs(choose, numbers, settings)
    batch = inputs["visual_feats"].shape[0]
    return Case(
        seed=seed,
        settings=settings,
        inputs=inputs,
        flags=flags,
        attention=choose.choice(["eager", "sdpa"]),
        qa_labels=torch.randint(settings["num_qa_labels"], (batch,), generator=numbers),
    )


def _settings(choose: random.Random) -> dict[str, Any]:
    heads = choose.choice([1, 2, 3, 5])
    layers = {name: choose.randint(0, 2) for name in ("l_layers", "x_layers", "r_layers")}
    if not layers["x_layers"]:
        # With no layer at all on one side the peer raises an IndexError.
        layers |= {name: max(1, layers[name]) for name in ("l_layers", "r_layers")}
    visual = {f"visual_{name}_loss": choose.random() < 0.75 for name in ("obj", "attr", "feat")}
    if not any(visual.values()):
        visual["visual_feat_loss"] = True
    return {
        **layers,
        **visual,
        "num_attention_heads": heads,
        "hidden_size": heads * choose.choice([2, 4, 7]),
        "intermediate_size": choose.choice([3, 16, 33]),
        "vocab_size": choose.choice([12, 37]),
        "max_position_embeddings": choose.choice([11, 20]),
        "type_vocab_size": choose.choice([1, 2, 3]),
        "hidden_act": choose.choice(["gelu", "gelu", "relu", "silu", "gelu_new", "tanh"]),
        "visual_feat_dim": choose.choice([1, 6, 19]),
        "visual_pos_dim": choose.choice([4, 4, 2, 6]),
        "num_qa_labels": choose.choice([2, 9]),
        "num_object_labels": choose.choice([3, 8]),
        "num_attr_labels": choose.choice([2, 5]),
        "visual_loss_normalizer": choose.choice([6.67, 1.0]),
        "task_qa": choose.random() < 0.8,
        "task_obj_predict": choose.random() < 0.8,
        "task_matched": choose.random() < 0.8,
        "task_mask_lm": choose.random() < 0.8,
        "tie_word_embeddings": choose.random() < 0.8,
        "output_attentions": choose.random() < 0.2,
        "output_hidden_states": choose.random() < 0.2,
    }


def _inputs(choose: random.Random, numbers: torch.Generator, settings: dict[str, Any]) -> Inputs:
    batch, words, objects = choose.choice([1, 3, 4]), choose.randint(1, 11), choose.choice([1, 2, 7])
    inputs: Inputs = {
        "visual_feats": 2 * torch.randn(batch, objects, settings["visual_feat_dim"], generator=numbers),
        "visual_pos": torch.rand(batch, objects, settings["visual_pos_dim"], generator=numbers),
    }
    by_embedding = choose.random() < 0.25
    if by_embedding:
        inputs["inputs_embeds"] = torch.randn(batch, words, settings["hidden_size"], generator=numbers)
    else:
        inputs["input_ids"] = torch.randint(settings["vocab_size"], (batch, words), generator=numbers)
    if choose.random() < 0.7:
        inputs["attention_mask"] = _mask(choose, numbers, batch, words)
    if choose.random() < 0.6:
        inputs["visual_attention_mask"] = _mask(choose, numbers, batch, objects)
    if choose.random() < 0.7:
        inputs["token_type_ids"] = torch.randint(
            settings["type_vocab_size"], (batch, words), generator=numbers
        )
    # Labels of a task that is switched off give the peer a loss without gradient, and its backward raises.
    if settings["task_mask_lm"] and choose.random() < 0.7:
        inputs["labels"] = _class_ids(numbers, settings["vocab_size"], (batch, words), ignored=0.6)
    if settings["task_matched"] and choose.random() < 0.7:
        inputs["matched_label"] = torch.randint(2, (batch,), generator=numbers)
    if settings["task_qa"] and choose.random() < 0.7:
        inputs["ans"] = _class_ids(numbers, settings["num_qa_labels"], (batch,), ignored=0.3)
    # With inputs_embeds the peer's object losses raise an AttributeError.
    if settings["task_obj_predict"] and not by_embedding and choose.random() < 0.7:
        inputs["obj_labels"] = _object_labels(numbers, settings, inputs["visual_feats"])
    return inputs


def _mask(choose: random.Random, numbers: torch.Generator, batch: int, length: int) -> Tensor:
    """At least one position of every row stays; int, bool or float, as people pass it."""
    mask = torch.rand(batch, length, generator=numbers) < 0.6
    mask[:, 0] = True
    return mask.to(choose.choice([torch.int64, torch.float32]))


def _class_ids(numbers: torch.Generator, classes: int, shape: tuple[int, ...], ignored: float) -> Tensor:
    """Class ids, some of them -100 (ignored), the first never: a mean over nothing is NaN in the peer."""
    ids = torch.randint(classes, shape, generator=numbers)
    ids[torch.rand(shape, generator=numbers) < ignored] = -100
    ids.view(-1)[0] = 0
    return ids


def _object_labels(numbers: torch.Generator, settings: dict[str, Any], features: Tensor) -> dict[str, Any]:
    batch_and_objects = tuple(features.shape[:2])
    labels = {
        "obj": _class_ids(numbers, settings["num_object_labels"], batch_and_objects, ignored=0.2),
        "attr": _class_ids(numbers, settings["num_attr_labels"], batch_and_objects, ignored=0.2),
        "feat": features + torch.randn(features.shape, generator=numbers),
    }
    return {name: (label, torch.rand(batch_and_objects, generator=numbers)) for name, label in labels.items()}


def build_pair(case: Case, class_name: str) -> tuple[Any, Any]:
    """(ours, the peer) with equal weights, none of them at an initial constant, in evaluation mode."""
    numbers = torch.Generator().manual_seed(case.seed)
    peer = getattr(transformers, class_name)(
        transformers.LxmertConfig(**case.settings, attn_implementation="eager")
    )
    for name, parameter in peer.named_parameters():
        nn.init.normal_(
            parameter, mean=float("norm" in name.lower() and "weight" in name), std=0.2, generator=numbers
        )
    ours = getattr(lxmert, class_name)(
        lxmert.LxmertConfig(**case.settings, attn_implementation=case.attention)
    )
    ours.load_state_dict(peer.state_dict(), strict=True)
    return ours.to(case.dtype).eval(), peer.to(case.dtype).eval()
