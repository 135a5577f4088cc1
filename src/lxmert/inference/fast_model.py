"""A trained model set up for answering only: fast kernels, and nothing computed but class scores.

Shapes: B examples, N images, W words, O objects, H hidden, C classes, D feature width, P position width.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lxmert.configuration import IMAGES_PER_SENTENCE
from lxmert.cpu import fast_linear_layers, has_amx, has_bfloat16
from lxmert.errors import ConfigurationError
from lxmert.inference.compiling import TYPICAL_SIZES, CompiledPart
from lxmert.inference.fused_products import fuse_projections, split_products
from lxmert.inference.int8 import check_int8, is_int8, quantize
from lxmert.model import LxmertForQuestionAnswering, LxmertForVisualReasoning
from lxmert.model.attention import CPU_ATTENTION
from lxmert.model.checks import check_encoded_states, check_objects, check_words
from lxmert.weights.dtypes import dtype_name
from lxmert.weights.fingerprint import digest_weights

TaskModel = LxmertForQuestionAnswering | LxmertForVisualReasoning

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTO = "auto"
INT8 = "int8"

_Shape = tuple[int | str, ...]

_OBJECT_INPUTS: dict[str, _Shape] = {
    "visual_feats": ("N", "O", "D"), "visual_pos": ("N", "O", "P"), "mask": ("N", "O")
}  # fmt: skip
_WORD_INPUTS: dict[str, _Shape] = {"input_ids": ("B", "W"), "mask": ("B", "W"), "segments": ("B", "W")}


class FastModel:
    """A model of a task, which computes class scores and nothing else.

    Args:
        model: changed in place: put into evaluation mode, converted to `dtype`, set to plain attention on a
            CPU, and with `compiled` given layers that are meant for compiled code only.
        dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 where the device has units for it. None
            keeps the model's own. "int8" permanently rounds the linear layers of the encoders to 8 bits, with
            states in the dtype of "auto"; it requires `compiled` and a CPU with AMX or AVX512-VNNI.
        compiled: compile for this model and device, which needs a C++ compiler and takes two minutes. The
            weights are copied, and must not change any more. On a CPU code and weights are kept in a file,
            which later processes load in seconds; loaded code stays in memory until the process ends.

    Raises:
        ConfigurationError: the dtype does not exist, or not here, or the model is in 8 bits already.
    """

    def __init__(self, model: TaskModel, *, dtype: str | None = "float32", compiled: bool = False) -> None:
        fastest = fast_dtype(model.device)
        known = {None: model.dtype, AUTO: fastest, INT8: fastest} | DTYPES
        if dtype not in known:
            raise ConfigurationError(f"dtype is {dtype!r}, expected {AUTO}, {INT8}, {', '.join(DTYPES)}")
        if dtype is not None and is_int8(model):
            raise ConfigurationError("the model is already in 8 bits, which cannot be undone; load it again")
        if dtype == INT8:
            check_int8_setup(model.device, compiled=compiled)
        self.model = model.eval()
        if dtype == INT8:
            quantize(model, fastest)
        elif dtype is not None:
            self.model.to(known[dtype])
        self.compiled = compiled
        self._attention = model.config._attn_implementation
        self.to(model.device)
        objects, words, scorer = _ObjectEncoder(model), _WordEncoder(model), _Scorer(model)
        self._encode_objects: Callable[..., Tensor] = objects
        self._encode_words: Callable[..., Tensor] = words
        self._score: Callable[..., Tensor] = scorer
        self._cache_key = _ModelCacheKey(model)  # Shared by all parts: each holds the whole model.
        if compiled:
            fuse_projections(model)
            if self.device.type == "cpu" and model.dtype == torch.bfloat16 and has_amx():
                split_products(model)
            self._encode_objects = self._compile(objects, "object encoder", _OBJECT_INPUTS)
            self._encode_words = self._compile(words, "word encoder", _WORD_INPUTS)
            self._score = self._compile(scorer, "scorer", _scorer_inputs(model))

    def to(self, device: str | torch.device) -> None:
        """Move the model to a device and set the attention kernel for it; the dtype does not change.

        Raises:
            ConfigurationError: the model is in 8 bits, and the device is not a CPU.
        """
        if is_int8(self.model):
            check_int8_setup(torch.device(device), compiled=True)
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
        """Run the object-relationship layers on images.

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
        mask = visual_attention_mask
        if self.compiled:
            check_objects(self.model.config, None, visual_feats, visual_pos, mask)
            mask = _float_mask(mask, visual_feats)
        with self._product_context():
            return self._encode_objects(visual_feats.to(dtype), visual_pos.to(dtype), mask)

    @torch.no_grad()
    def encode_words(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Run the language layers on sentences.

        Args:
            input_ids: (B, W) integers.
            attention_mask: (B, W), 1 for a word piece, 0 for padding; or None.
            token_type_ids: (B, W) integers, or None.

        Returns:
            (B, W, H) in the model's dtype.

        Raises:
            TensorError: an input has a wrong shape, dtype or value.
        """
        mask, segments = attention_mask, token_type_ids
        if self.compiled:
            embedding = self.model.lxmert.get_input_embeddings()
            check_words(self.model.config, embedding, input_ids, None, mask, segments)
            mask = _float_mask(mask, input_ids[..., None])
            input_ids = input_ids.long()
            segments = torch.zeros_like(input_ids) if segments is None else segments.long()
        with self._product_context():
            return self._encode_words(input_ids, mask, segments)

    @torch.no_grad()
    def scores(
        self,
        word_states: Tensor,
        attention_mask: Tensor | None,
        object_states: Tensor,
        visual_attention_mask: Tensor | None,
    ) -> Tensor:
        """Compute class scores of encoded sentences about encoded images.

        Args:
            word_states: (B, W, H).
            attention_mask: (B, W), or None.
            object_states: (B, O, H), or for pairs of images (B, 2, O, H).
            visual_attention_mask: (B, O) or (B, 2, O), or None.

        Returns:
            (B, C) float32.

        Raises:
            TensorError: an input has a wrong shape or dtype.
        """
        words_mask, objects_mask = attention_mask, visual_attention_mask
        words, objects = (word_states, words_mask), (object_states, objects_mask)
        check_encoded_states(self.model.config, self.model.dtype, words, objects, _images_axis(self.model))
        if self.compiled:
            words_mask, objects_mask = (
                _float_mask(words_mask, word_states),
                _float_mask(objects_mask, object_states),
            )
        with self._product_context():
            return self._score(word_states, words_mask, object_states, objects_mask)

    def warm_up(self, advance: Callable[[int], None] = lambda parts: None) -> None:
        """Run each of the three parts once, on zeros, which compiles those of a compiled model.

        Args:
            advance: called with 1 for each part.

        Raises:
            ConfigurationError: the model cannot be compiled here.
        """
        config, device = self.model.config, self.device
        questions, images, words, objects = (TYPICAL_SIZES[size] for size in "BNWO")
        words = min(words, config.max_position_embeddings)
        self.encode_objects(
            torch.zeros(images, objects, config.visual_feat_dim, device=device),
            torch.zeros(images, objects, config.visual_pos_dim, device=device),
        )
        advance(1)
        word_states = self.encode_words(torch.zeros(questions, words, dtype=torch.int64, device=device))
        advance(1)
        per_question = (questions, *_images_axis(self.model), objects, config.hidden_size)
        self.scores(word_states, None, word_states.new_zeros(per_question), None)
        advance(1)

    def _product_context(self) -> AbstractContextManager[None]:
        """Return the context to compute in; compiled code has its own products."""
        return nullcontext() if self.compiled else fast_linear_layers(self.model)

    def _compile(self, part: nn.Module, name: str, inputs: Mapping[str, _Shape]) -> CompiledPart:
        config = self.model.config
        widths = {
            "H": config.hidden_size, "D": config.visual_feat_dim, "P": config.visual_pos_dim
        }  # fmt: skip
        shapes = {
            tensor: tuple(widths.get(size, size) if isinstance(size, str) else size for size in shape)
            for tensor, shape in inputs.items()
        }
        max_sizes = {"W": config.max_position_embeddings}
        return CompiledPart(part, name, self._cache_key, shapes, max_sizes)


def check_int8_setup(device: torch.device, *, compiled: bool) -> None:
    """Raise a ConfigurationError unless models can answer in 8 bits."""
    if not (compiled and device.type == "cpu"):
        raise ConfigurationError(
            "int8 can only be used with compiled models on a CPU (--compile, and no GPU); bfloat16 can be "
            "used with all models"
        )
    check_int8()


def _float_mask(mask: Tensor | None, states: Tensor) -> Tensor:
    """Return the mask of states (..., L, H): compiled models always get one, so that they are compiled once.

    As float32: it is added to scores, and converting integers for each score takes as long as the softmax.
    """
    if mask is None:
        return torch.ones(states.shape[:-1], device=states.device)
    return mask.float()


class _ModelCacheKey:
    """What a model's code depends on, as text, computed once on first use."""

    def __init__(self, model: TaskModel) -> None:
        self._model = model
        self._text: str | None = None

    def __call__(self) -> str:
        if self._text is None:
            model = self._model
            self._text = f"{type(model).__name__} {model.config.to_json_string()} {digest_weights(model)}"
        return self._text


def _images_axis(model: TaskModel) -> tuple[int, ...]:
    """Return the size of the axis of images between batch and objects, if the model has one."""
    return (IMAGES_PER_SENTENCE,) if isinstance(model, LxmertForVisualReasoning) else ()


def _scorer_inputs(model: TaskModel) -> dict[str, _Shape]:
    images = _images_axis(model)
    return {
        "words": ("B", "W", "H"),
        "words_mask": ("B", "W"),
        "objects": ("B", *images, "O", "H"),
        "objects_mask": ("B", *images, "O"),
    }


class _ObjectEncoder(nn.Module):
    """`encode_objects` as a module: only a module's weights can be frozen."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, visual_feats: Tensor, visual_pos: Tensor, mask: Tensor | None) -> Tensor:
        return self.model.lxmert.encode_objects(visual_feats, visual_pos, mask)


class _WordEncoder(nn.Module):
    """`encode_words` as a module."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
        return self.model.lxmert.encode_words(input_ids, mask, segments)


class _Scorer(nn.Module):
    """The class scores of a model's `forward`."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, words: Tensor, words_mask: Tensor | None, objects: Tensor, objects_mask: Tensor | None
    ) -> Tensor:
        # The class scores come first in the outputs of every task's model.
        scores: Tensor = self.model(
            word_states=words,
            attention_mask=words_mask,
            object_states=objects,
            visual_attention_mask=objects_mask,
            # Explicit: a configuration may ask for outputs that are not available from encoded states.
            output_attentions=False,
            output_hidden_states=False,
            return_dict=False,
        )[0]
        return scores.float()


def answering_dtype(model: PreTrainedModel) -> str:
    """Return the dtype that a model set up by `FastModel` answers in, by the name that it accepts."""
    return INT8 if is_int8(model) else dtype_name(model.dtype)


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the fastest dtype of a device among those with the range of float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    if device.type == "cpu" and has_bfloat16():
        return torch.bfloat16
    return torch.float32
