"""The heads on top of the encoder (paper section 3.3).

Shapes: B batch, W words, O objects, H hidden, V vocabulary, C classes, D feature width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from lxmert.configuration import LxmertConfig


class LxmertPooler(nn.Module):
    """The cross-modality output: the state of the first word ([CLS]) through a linear layer and tanh."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, W, H) -> (B, H) in -1..1."""
        return self.activation(self.dense(hidden_states[:, 0]))


class LxmertPredictionHeadTransform(nn.Module):
    """Linear layer, activation and normalisation before a prediction."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, N, H) -> (B, N, H)."""
        return self.LayerNorm(self.transform_act_fn(self.dense(hidden_states)))


class LxmertLMPredictionHead(nn.Module):
    """Scores of all word pieces at every position; the decoder shares the word embedding, not the bias."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.transform = LxmertPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., H) -> (..., V)."""
        return self.decoder(self.transform(hidden_states)) + self.bias

    def resize_bias(self) -> None:
        """Resize the bias to the vocabulary of the decoder; new word pieces get the bias 0.

        Its dtype, device and `requires_grad` do not change.
        """
        size = self.decoder.weight.shape[0]
        if len(self.bias) != size:
            new = torch.zeros(size, dtype=self.bias.dtype, device=self.bias.device)
            self.bias = _resize_rows(self.bias, new)


class LxmertPreTrainingHeads(nn.Module):
    """The masked-word head and the head that says whether text and image match."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.predictions = LxmertLMPredictionHead(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, sequence_output: Tensor, pooled_output: Tensor) -> tuple[Tensor, Tensor]:
        """Words (..., H) and pooled state (B, H) -> (..., V), and (B, 2): 0 no match, 1 match."""
        return self.predictions(sequence_output), self.seq_relationship(pooled_output)


class _Classifier(nn.Module):
    """Linear layer, GELU, normalisation and linear layer."""

    def __init__(self, config: LxmertConfig, inputs: int, classes: int) -> None:
        super().__init__()
        inner = 2 * config.hidden_size
        self.logit_fc = nn.Sequential(
            nn.Linear(inputs, inner),
            nn.GELU(),
            nn.LayerNorm(inner, eps=config.layer_norm_eps),
            nn.Linear(inner, classes),
        )

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, inputs) -> (B, classes)."""
        return self.logit_fc(hidden_states)


class LxmertVisualAnswerHead(_Classifier):
    """Scores of all answers (B, C), from the pooled state (B, H)."""

    def __init__(self, config: LxmertConfig, num_labels: int) -> None:
        super().__init__(config, config.hidden_size, num_labels)


class LxmertPairHead(_Classifier):
    """Scores of "false" and "true" (B, 2), from the pooled states (B, 2H) of two images, left image first."""

    classes = 2

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__(config, 2 * config.hidden_size, self.classes)


class LxmertVisualObjHead(nn.Module):
    """Predictions about objects: class (obj), attribute (attr) and feature vector (feat), as configured."""

    def __init__(self, config: LxmertConfig) -> None:
        super().__init__()
        self.transform = LxmertPredictionHeadTransform(config)
        widths = {}
        if config.visual_obj_loss:
            widths["obj"] = config.num_object_labels
        if config.visual_attr_loss:
            widths["attr"] = config.num_attr_labels
        if config.visual_feat_loss:
            widths["feat"] = config.visual_feat_dim
        self.decoder_dict = nn.ModuleDict(
            {task: nn.Linear(config.hidden_size, width) for task, width in widths.items()}
        )

    def forward(self, hidden_states: Tensor) -> dict[str, Tensor]:
        """Objects (B, O, H) -> by task, obj and attr (B, O, C), feat (B, O, D)."""
        states = self.transform(hidden_states)
        return {task: decoder(states) for task, decoder in self.decoder_dict.items()}

    def forward_selected(self, hidden_states: Tensor, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predict for selected objects only.

        Args:
            hidden_states: (B, O, H).
            rows: by task, the objects to predict, (B, O) bool; tasks that are not in it are left out.

        Returns:
            By task, obj and attr (L, C), feat (L, D), for the L objects of its rows.
        """
        masks = {task: rows[task] for task in self.decoder_dict if task in rows}
        if not masks:
            return {}
        selected = torch.stack(list(masks.values())).any(dim=0)  # (B, O)
        states = self.transform(hidden_states[selected])
        return {task: self.decoder_dict[task](states[mask[selected]]) for task, mask in masks.items()}


def _resize_rows(old: Tensor, new: Tensor) -> nn.Parameter:
    """Copy the rows of `old` that fit into `new`, and return it as a parameter, trained if `old` is."""
    common = min(len(old), len(new))
    with torch.no_grad():
        new[:common] = old[:common]
    return nn.Parameter(new, requires_grad=old.requires_grad)


def resize_linear(layer: nn.Linear, initialised: nn.Linear) -> None:
    """Resize the outputs of `layer` to those of `initialised`, in place.

    The first outputs keep their weights, further ones get those of `initialised`. Dtype, device and
    `requires_grad` do not change.

    Args:
        layer: the layer to change.
        initialised: a new layer with the target number of outputs, with dtype and device of `layer`.
    """
    layer.weight = _resize_rows(layer.weight, initialised.weight.detach())
    if layer.bias is not None:
        layer.bias = _resize_rows(layer.bias, initialised.bias.detach())
    layer.out_features = initialised.out_features
