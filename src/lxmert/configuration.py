"""LxmertConfig: every number that defines an LXMERT model, validated on construction.

Source: Tan & Bansal 2019 (arXiv 1908.07490), section 3 and appendix; names and defaults are those of
`transformers`' LxmertConfig. The class is a `transformers.PreTrainedConfig`, so hub loading and saving
work as everywhere else.
"""

import difflib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from transformers import PreTrainedConfig
from transformers.utils import logging

from lxmert.errors import ConfigurationError
from lxmert.faults import (
    as_plain_int,
    count_fault,
    format_faults,
    hub_attention_fault,
    is_int_in_range,
    number_fault,
)

VISUAL_TASKS = ("obj", "attr", "feat")
"""What may be predicted of objects: class, attribute, feature vector; see the `visual_*_loss` flags."""
IMAGES_PER_SENTENCE = 2
"""For visual reasoning: the left and the right image, in this order."""
STATE_AND_ATTENTION_FIELDS = (
    "language_hidden_states",
    "vision_hidden_states",
    "language_attentions",
    "vision_attentions",
    "cross_encoder_attentions",
    "vision_to_language_attentions",
    "cross_language_self_attentions",
    "cross_vision_self_attentions",
)
"""Fields of the outputs that models with heads pass on unchanged from the model without a head."""

logger = logging.get_logger(__name__)

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_attention_heads",
    "num_qa_labels",
    "num_object_labels",
    "num_attr_labels",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "visual_feat_dim",
    "visual_pos_dim",
)
_LAYER_COUNTS = ("l_layers", "x_layers", "r_layers")
_PROBABILITIES = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_FLAGS = (
    "task_matched",
    "task_mask_lm",
    "task_obj_predict",
    "task_qa",
    "visual_obj_loss",
    "visual_attr_loss",
    "visual_feat_loss",
    "tie_word_embeddings",
)
_FRACTIONS = ("initializer_range", "layer_norm_eps", "visual_loss_normalizer")
_TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
_OTHERS = ("hidden_act", *_TOKEN_IDS)
_PARAMETERS = (*_SIZES, *_LAYER_COUNTS, *_PROBABILITIES, *_FLAGS, *_FRACTIONS, *_OTHERS)

# Keys of published config.json files that resemble a parameter but are not misspelt.
_LEGACY_KEYS = frozenset({"max_2d_position_embeddings"})

_DTYPES = ("torch_dtype", "dtype")  # the former name, and the name

_LAYERS_OF_ENCODER = {"vision": "r_layers", "cross_encoder": "x_layers", "language": "l_layers"}


class _DerivedParameterError(ConfigurationError, NotImplementedError):
    """A derived parameter was set; `transformers` expects NotImplementedError from such an attribute."""


class LxmertConfig(PreTrainedConfig):
    """The architecture and the pre-training tasks of an LXMERT model.

    The defaults are those of `unc-nlp/lxmert-base-uncased`. Unknown keys (published configurations carry
    some) are kept as attributes and saved again.

    Args:
        vocab_size: number of word pieces, i.e. rows of the word embedding.
        hidden_size: width H of every hidden state; a multiple of `num_attention_heads`.
        num_attention_heads: heads of each attention.
        num_qa_labels: number of answers that the question answering head chooses from.
        num_object_labels: number of object classes of the object prediction task.
        num_attr_labels: number of attribute classes of the object prediction task.
        intermediate_size: width of the feed-forward layers.
        hidden_act: name of the activation of feed-forward layers and prediction heads, for example
            "gelu", "relu", "silu"; not a function, which could not be saved.
        hidden_dropout_prob: dropout after embeddings and linear layers, 0..1.
        attention_probs_dropout_prob: dropout on attention weights, 0..1.
        max_position_embeddings: longest text in word pieces.
        type_vocab_size: number of text segments.
        initializer_range: standard deviation of the normal distribution of new weights.
        layer_norm_eps: the small constant in every layer normalisation.
        l_layers: layers of the language encoder.
        x_layers: layers of the cross-modality encoder.
        r_layers: layers of the object relationship (vision) encoder.
        visual_feat_dim: width of an object's feature vector.
        visual_pos_dim: width of an object's position; 4 for a box x1, y1, x2, y2.
        visual_loss_normalizer: factor of each of the three object losses; about 1 / 0.15, because a
            share of 0.15 of the objects is masked.
        task_matched: learn whether text and image belong together.
        task_mask_lm: learn to fill in masked words.
        task_obj_predict: learn to predict masked objects (see the three `visual_*_loss`).
        task_qa: learn to answer questions; without it LxmertForPreTraining has no answer head.
        visual_obj_loss: predict the class of an object.
        visual_attr_loss: predict the attribute of an object.
        visual_feat_loss: regress the feature vector of an object.
        pad_token_id: id of [PAD]; its word embedding learns nothing from texts. In pre-training the
            masked-word head trains it where it shares the matrix (`tie_word_embeddings`). None means 0.
        bos_token_id: not used by LXMERT, nor is `eos_token_id`.
        eos_token_id: see `bos_token_id`.
        tie_word_embeddings: whether the masked-word head shares its matrix with the word embedding.
        **kwargs: parameters of `PreTrainedConfig`, and further keys to keep.

    Raises:
        ConfigurationError: naming every fault at once.
    """

    model_type = "lxmert"
    attribute_map: ClassVar[dict[str, str]] = {}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["losses", "object_scores"]

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_attention_heads: int = 12,
        num_qa_labels: int = 9500,
        num_object_labels: int = 1600,
        num_attr_labels: int = 400,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        l_layers: int = 9,
        x_layers: int = 5,
        r_layers: int = 5,
        visual_feat_dim: int = 2048,
        visual_pos_dim: int = 4,
        visual_loss_normalizer: float = 6.67,
        task_matched: bool = True,
        task_mask_lm: bool = True,
        task_obj_predict: bool = True,
        task_qa: bool = True,
        visual_obj_loss: bool = True,
        visual_attr_loss: bool = True,
        visual_feat_loss: bool = True,
        pad_token_id: int | None = None,
        bos_token_id: int | None = None,
        eos_token_id: int | list[int] | None = None,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        derived = kwargs.pop("num_hidden_layers", None)
        # PreTrainedConfig refuses output_attentions under any attention but eager; here a call that
        # asks for the maps runs eagerly by itself, so they may be asked for under every setting.
        output_attentions = kwargs.pop("output_attentions", False)
        _warn_about_misspelt(kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.num_qa_labels = num_qa_labels
        self.num_object_labels = num_object_labels
        self.num_attr_labels = num_attr_labels
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.l_layers = l_layers
        self.x_layers = x_layers
        self.r_layers = r_layers
        self.visual_feat_dim = visual_feat_dim
        self.visual_pos_dim = visual_pos_dim
        self.visual_loss_normalizer = visual_loss_normalizer
        self.task_matched = task_matched
        self.task_mask_lm = task_mask_lm
        self.task_obj_predict = task_obj_predict
        self.task_qa = task_qa
        self.visual_obj_loss = visual_obj_loss
        self.visual_attr_loss = visual_attr_loss
        self.visual_feat_loss = visual_feat_loss
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        self.tie_word_embeddings = tie_word_embeddings
        for name in (*_SIZES, *_LAYER_COUNTS, *_TOKEN_IDS):
            setattr(self, name, as_plain_int(getattr(self, name)))
        # The base class looks the name up in torch and raises an error of its own.
        wrong_dtypes = {name: kwargs.pop(name) for name in _DTYPES if not _is_dtype(kwargs.get(name))}
        # Errors of the base class about its own arguments quote the configuration, which must be set by then.
        super().__init__(**kwargs)
        for dtype in wrong_dtypes.values():
            self.dtype = dtype
        self._output_attentions = output_attentions
        self._check(derived)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Have subclasses inherit `__init__` and `__eq__`.

        The base class makes each a dataclass, whose generated methods know only the base's own fields.
        """
        inherited = {"__init__", "__eq__"} - cls.__dict__.keys()
        super().__init_subclass__(**kwargs)
        for name in inherited & cls.__dict__.keys():
            delattr(cls, name)

    @property
    def num_hidden_layers(self) -> dict[str, int]:
        """Number of layers of each encoder, derived from `l_layers`, `x_layers` and `r_layers`."""
        return {encoder: getattr(self, name) for encoder, name in _LAYERS_OF_ENCODER.items()}

    @num_hidden_layers.setter
    def num_hidden_layers(self, layers: Any) -> None:
        self._check(layers)
        is_known = set(layers) == set(_LAYERS_OF_ENCODER)
        if not is_known or not all(is_int_in_range(count, minimum=0) for count in layers.values()):
            expected = f"{list(_LAYERS_OF_ENCODER)}, integers of at least 0"
            raise ConfigurationError(f"num_hidden_layers needs {expected}, got {layers!r}")
        for encoder, name in _LAYERS_OF_ENCODER.items():
            setattr(self, name, layers[encoder])

    @property
    def output_attentions(self) -> bool:
        """Whether models return attention maps by default, under every `attn_implementation`."""
        return bool(self._output_attentions)

    @output_attentions.setter
    def output_attentions(self, value: bool) -> None:
        self._output_attentions = value

    def to_dict(self) -> dict[str, Any]:
        """All values as plain data, the derived `num_hidden_layers` included for other readers."""
        values = {**super().to_dict(), "num_hidden_layers": self.num_hidden_layers}
        # `transformers` refuses a file in which one of these is an integer, such as 1.
        return values | {name: float(values[name]) for name in _FRACTIONS if type(values[name]) is int}

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Validate, then write config.json into `save_directory`."""
        self.validate()
        super().save_pretrained(save_directory, *args, **kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """See `PreTrainedConfig.from_pretrained`.

        Raises:
            ConfigurationError: as `from_dict`; or the file is nested too deeply.
        """
        try:
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        except RecursionError:
            raise ConfigurationError(
                f"the configuration of {str(pretrained_model_name_or_path)!r} is nested too deeply"
            ) from None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "LxmertConfig":
        """Make a configuration from plain data; parameters in `kwargs` override it, and are checked too.

        Raises:
            ConfigurationError: as the constructor; or the data name attention that may be code of the hub.
        """
        overrides = {name: value for name, value in kwargs.items() if name in _PARAMETERS}
        loaded = super().from_dict({**config_dict, **overrides}, **kwargs)
        if fault := hub_attention_fault(loaded, kwargs.get("attn_implementation")):
            raise ConfigurationError(fault)
        return loaded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LxmertConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def validate(self) -> None:
        """Raise a ConfigurationError naming all faults; also runs before building a model and saving."""
        self._check(None)

    def _check(self, derived: Any) -> None:
        """Raise one error for all faults, including those of `derived`, the value of `num_hidden_layers`."""
        faults = list(self._faults())
        kind = ConfigurationError
        # Published files carry the mapping, which only repeats l_layers, x_layers and r_layers.
        if derived is not None and not isinstance(derived, Mapping):
            kind = _DerivedParameterError
            faults.append(
                f"num_hidden_layers is derived and cannot be {derived!r}: set l_layers, x_layers and r_layers"
            )
        if faults:
            raise kind(format_faults("LxmertConfig", faults))

    def _faults(self) -> Iterator[str]:
        for name in (*_SIZES, *_LAYER_COUNTS):
            yield from count_fault(name, getattr(self, name), minimum=1 if name in _SIZES else 0)
        heads, hidden = self.num_attention_heads, self.hidden_size
        if is_int_in_range(heads, 1) and is_int_in_range(hidden, 1) and hidden % heads:
            yield f"hidden_size {hidden} is not a multiple of num_attention_heads {heads}: change one of them"
        for name in _PROBABILITIES:
            yield from number_fault(name, getattr(self, name), 0, 1)
        for name in ("initializer_range", "visual_loss_normalizer"):
            yield from number_fault(name, getattr(self, name), 0, math.inf)
        yield from number_fault("layer_norm_eps", self.layer_norm_eps, 0, 1)
        for name in _FLAGS:
            if not isinstance(value := getattr(self, name), bool):
                yield f"{name} must be True or False, got {value!r}"
        if not _is_dtype(self.dtype):
            yield f"dtype {self.dtype!r} is not a dtype of torch: use its name, such as 'float32'"
        yield from self._activation_fault()
        yield from self._padding_fault()

    def _activation_fault(self) -> Iterator[str]:
        from transformers.activations import ACT2FN

        if callable(self.hidden_act):
            yield "hidden_act is a function, which cannot be saved: use its name, such as 'gelu'"
        elif not isinstance(self.hidden_act, str) or self.hidden_act not in ACT2FN:
            near = difflib.get_close_matches(str(self.hidden_act), ACT2FN, n=3, cutoff=0)
            yield f"hidden_act {self.hidden_act!r} is not a known activation: try {', '.join(near)}"

    def _padding_fault(self) -> Iterator[str]:
        pad, size = self.pad_token_id, self.vocab_size
        if pad is not None and is_int_in_range(size, 1) and not is_int_in_range(pad, 0, size - 1):
            yield f"pad_token_id must be None or lie in 0..{size - 1} (vocab_size - 1), got {pad!r}"


def _is_dtype(value: Any) -> bool:
    """Whether a value is None, a dtype of torch or the name of one."""
    if value is None:
        return True
    import torch

    return isinstance(getattr(torch, value, None) if isinstance(value, str) else value, torch.dtype)


def as_lxmert_config(config: PreTrainedConfig) -> LxmertConfig:
    """Return `config` as our LxmertConfig; `transformers`' own, which lacks `layer_norm_eps`, is converted.

    Raises:
        ConfigurationError: `config` is not the configuration of an LXMERT model.
    """
    if isinstance(config, LxmertConfig):
        return config
    if getattr(config, "model_type", None) != "lxmert":
        raise ConfigurationError(f"the configuration is a {type(config).__name__}, expected an LxmertConfig")
    ours = LxmertConfig.from_dict(config.to_dict())
    ours._attn_implementation = config._attn_implementation
    return ours


def _warn_about_misspelt(kwargs: Mapping[str, Any]) -> None:
    for name in kwargs:
        near = difflib.get_close_matches(name, _PARAMETERS, n=1, cutoff=0.9)
        if near and name not in _LEGACY_KEYS:
            logger.warning(
                "LxmertConfig keeps the unknown key %r and does not use it; did you mean %r?", name, near[0]
            )
