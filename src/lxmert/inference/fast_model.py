"""A trained model set up for answering alone: fast kernels, and nothing computed but class scores.

Shapes: B examples, N images, W words, O objects, H hidden, C classes, D width of features, P of positions.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lxmert.errors import ConfigurationError
from lxmert.model import LxmertForQuestionAnswering, LxmertForVisualReasoning
from lxmert.model.attention import CPU_ATTENTION, LxmertAttention

TaskModel = LxmertForQuestionAnswering | LxmertForVisualReasoning

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTO = "auto"


class FastModel:
    """A model of a task, which computes class scores and nothing else.

    Args:
        model: set up in place: put into evaluation mode, converted where `dtype` is another than its own,
            and on a CPU set to plain attention.
        dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 where the device has units for it.
            None leaves the model's own.
        compiled: run through `torch.compile`, which needs a C++ compiler. The first batches then take a
            minute, or seconds where torch still has the code in its cache; all later ones are faster. The
            weights are copied in the order in which the processor reads them, and may not change any more.

    Raises:
        ConfigurationError: there is no such dtype.
    """

    def __init__(self, model: TaskModel, *, dtype: str | None = "float32", compiled: bool = False) -> None:
        known = {None: model.dtype, AUTO: fast_dtype(model.device)} | DTYPES
        if dtype not in known:
            raise ConfigurationError(f"dtype is {dtype!r}, expected {AUTO}, {', '.join(DTYPES)}")
        self.model = model.eval().to(known[dtype])
        self.compiled = compiled
        self._attention = model.config._attn_implementation
        self.to(model.device)
        self._encode: Callable[..., Tensor] = _ObjectEncoder(self.model)
        self._score: Callable[..., Tensor] = _Scorer(self.model)
        if compiled:
            for part in self.model.modules():
                if isinstance(part, LxmertAttention):
                    part.joins_projections = True
            self._encode = torch.compile(self._encode, dynamic=True)
            self._score = torch.compile(self._score, dynamic=True)

    def to(self, device: str | torch.device) -> None:
        """Move the model to a device, whose attention kernel it takes; a dtype stays as it is."""
        self.model.to(device)
        attention = CPU_ATTENTION if self.device.type == "cpu" else self._attention
        self.model.set_attn_implementation(attention)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    @torch.no_grad()
    def encode_objects(
        self, visual_feats: Tensor, visual_pos: Tensor, visual_attention_mask: Tensor | None = None
    ) -> Tensor:
        """What the object-relationship layers make of images.

        Args:
            visual_feats: (N, O, D) numbers.
            visual_pos: (N, O, P) numbers.
            visual_attention_mask: (N, O), 1 for an object, 0 for padding; or None.

        Returns:
            (N, O, H) in the model's dtype.

        Raises:
            TensorError: an input has a wrong shape or dtype.
        """
        dtype = self.model.dtype
        with self._frozen_weights():
            return self._encode(visual_feats.to(dtype), visual_pos.to(dtype), visual_attention_mask)

    @torch.no_grad()
    def scores(self, **inputs: Any) -> Tensor:
        """Class scores (B, C), float32, of what the model's `forward` takes, `object_states` among it.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
        """
        with self._frozen_weights():
            return self._score(**inputs)

    def _frozen_weights(self) -> AbstractContextManager[None]:
        """Let the compiler, when a call wakes it, treat weights as constants and put them into its order."""
        if not self.compiled:
            return nullcontext()
        from torch._inductor import config

        # Not an option of `torch.compile`: its front end looks at the global setting alone (torch 2.13).
        return config.patch(freezing=True)


class _ObjectEncoder(nn.Module):
    """`encode_objects` as a module: only a module's weights can be frozen."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, visual_feats: Tensor, visual_pos: Tensor, mask: Tensor | None) -> Tensor:
        return self.model.lxmert.encode_objects(visual_feats, visual_pos, mask)


class _Scorer(nn.Module):
    """The class scores of a model's `forward`."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Any) -> Tensor:
        # Every task's model has its class scores first.
        scores: Tensor = self.model(**inputs, return_dict=False)[0]
        return scores.float()


def fast_dtype(device: torch.device) -> torch.dtype:
    """The fastest dtype of a device that has the range of float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return torch.bfloat16
    return torch.float32
