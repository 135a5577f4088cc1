"""Adapters of linear layers (LoRA), which show the weights of the layer that they add to as their own."""

from torch import Tensor, nn
from transformers import PreTrainedModel


class Adapter(nn.Module):
    """What a linear layer gives, and a small share of low rank."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = layer
        self.down = nn.Linear(layer.in_features, 2, bias=False)
        self.up = nn.Linear(2, layer.out_features, bias=False)

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor:
        return self.base_layer.bias

    def forward(self, states: Tensor) -> Tensor:
        added: Tensor = self.base_layer(states) + self.up(self.down(states))
        return added


def add_adapters(model: PreTrainedModel) -> None:
    """Put adapters over the queries and values of all attentions."""
    for name, layer in list(model.named_modules()):
        if name.endswith((".query", ".value")):
            model.set_submodule(name, Adapter(layer))
