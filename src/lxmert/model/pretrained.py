"""LxmertPreTrainedModel, the base of all models; loading and saving come from `transformers`."""

import inspect
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from lxmert.configuration import LxmertConfig, as_lxmert_config
from lxmert.errors import ConfigurationError
from lxmert.faults import as_plain_int, count_fault, pad_token_fault, raise_unknown_arguments
from lxmert.model.heads import LxmertLMPredictionHead, resize_linear
from lxmert.model_settings import ConfigValue


class LxmertPreTrainedModel(PreTrainedModel):
    """Base of the LXMERT models: initialisation, and the features that `transformers` may rely on."""

    config_class = LxmertConfig
    config: LxmertConfig
    base_model_prefix = "lxmert"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    # Trainer would otherwise pass num_items_in_batch, which the losses (means) do not use.
    accepts_loss_kwargs = False
    _no_split_modules: ClassVar[list[str]] = [
        "LxmertEmbeddings",
        "LxmertVisualFeatureEncoder",
        "LxmertLayer",
        "LxmertXLayer",
    ]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    def __init__(self, config: PreTrainedConfig, *inputs: Any, **kwargs: Any) -> None:
        config = as_lxmert_config(config)
        config.validate()
        super().__init__(config, *inputs, **kwargs)

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Embedding:
        """Resize the word embedding, and a masked-word head with its bias.

        Args:
            new_num_tokens: the new number of word pieces; None keeps it.
            pad_to_multiple_of: round the number up to a multiple of this.
            mean_resizing: draw new vectors from the distribution of the old ones.

        Returns:
            the word embedding.

        Raises:
            ConfigurationError: the new number is not above `pad_token_id`.
        """
        if new_num_tokens is not None:
            multiple = pad_to_multiple_of or 1
            size = -(-new_num_tokens // multiple) * multiple
            if fault := pad_token_fault(new_num_tokens, size, self.config.pad_token_id):
                raise ConfigurationError(fault)
        embedding: nn.Embedding = super().resize_token_embeddings(
            new_num_tokens, pad_to_multiple_of, mean_resizing
        )
        return embedding

    def tie_weights(self, *args: Any, **kwargs: Any) -> None:
        """Share tied weights, and resize the bias of a masked-word head to its matrix."""
        super().tie_weights(*args, **kwargs)
        for module in self.modules():
            if isinstance(module, LxmertLMPredictionHead):
                module.resize_bias()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights, zero biases, zero padding row, unit norms; see `initializer_range`."""
        super()._init_weights(module)
        if self.config.initializer_range == 0 and isinstance(module, nn.Linear | nn.Embedding):
            init.zeros_(module.weight)  # `transformers` treats 0 as not given, and uses 0.02.
        if isinstance(module, LxmertLMPredictionHead):
            init.zeros_(module.bias)

    def _reject_unknown_arguments(self, unknown: dict[str, Any]) -> None:
        """Raise a TypeError for the `unknown` arguments of `forward`.

        None counts as not given: modules that wrap a model pass on every argument they know.
        """
        given = {name: value for name, value in unknown.items() if value is not None}
        if given:
            raise_unknown_arguments(type(self).__name__, given, inspect.signature(self.forward).parameters)


class QuestionAnsweringMixin:
    """Access to the layer that scores the answers, and its resizing; for models with an `answer_head`."""

    config: LxmertConfig
    num_qa_labels = ConfigValue()

    def get_qa_logit_layer(self) -> nn.Linear | None:
        """The linear layer whose outputs are the answer scores; None when the model has no answer head."""
        head = getattr(self, "answer_head", None)
        return None if head is None else head.logit_fc[-1]

    def resize_num_qa_labels(self, num_labels: int | None = None) -> nn.Linear | None:
        """Change the number of answers.

        The first answers keep their weights; answers beyond them are dropped, new ones are initialised.
        Dtype, device and `requires_grad` do not change.

        Args:
            num_labels: the new number of answers; None changes nothing.

        Returns:
            the linear layer that scores the answers; None when the model has no answer head.

        Raises:
            ConfigurationError: `num_labels` is not a positive integer.
        """
        layer = self.get_qa_logit_layer()
        if layer is None or num_labels is None:
            return layer
        num_labels = as_plain_int(num_labels)
        if faults := count_fault("num_labels", num_labels, minimum=1):
            raise ConfigurationError(faults[0])
        if num_labels != layer.out_features:
            weight = layer.weight
            new = nn.Linear(
                layer.in_features,
                num_labels,
                layer.bias is not None,
                device=weight.device,
                dtype=weight.dtype,
            )
            self._init_weights(new)  # type: ignore[attr-defined]
            resize_linear(layer, new)
        self.config.num_qa_labels = num_labels
        return layer
