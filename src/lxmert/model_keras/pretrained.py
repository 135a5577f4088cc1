"""TFLxmertPreTrainedModel: what the Keras models share: configuration, loading, saving, resizing.

The counterpart of `model/pretrained.py`. Weights travel under the names of the PyTorch classes, so that a
folder saved by either half is a folder of the other.

Shapes: V vocabulary, H hidden, C answers, D feature width, P position width.
"""

import copy
from collections.abc import Mapping
from os import PathLike
from typing import Any, ClassVar

import keras
import numpy as np
from transformers import PreTrainedConfig

from lxmert.configuration import LxmertConfig, as_lxmert_config
from lxmert.errors import ConfigurationError, WeightsError
from lxmert.faults import count_fault, padding_word_fault
from lxmert.model_keras.layers import OpenParts, TorchVariable, refuse_quantized
from lxmert.model_keras.loading import announce, load_model, loading_info
from lxmert.model_keras.resizing import replace_variable, resized
from lxmert.model_keras.saving import refuse_options, save_model, serving_signature
from lxmert.model_keras.training import Trainable
from lxmert.weights.report import LoadReport


class TFLxmertPreTrainedModel(Trainable, OpenParts, keras.Model):
    """Base of the LXMERT models in Keras 3.

    A model owns a copy of the configuration it is given, so that resizing never changes the caller's.

    Args:
        config: an LxmertConfig.
        **kwargs: arguments of `keras.Model`: `name`, `dtype` (a Keras dtype or policy), `trainable`.

    Raises:
        ConfigurationError: the configuration breaks its rules, or is none of LXMERT.
    """

    config_class = LxmertConfig
    base_model_prefix = "lxmert"
    main_input_name = "input_ids"
    image_axes: ClassVar[tuple[int, ...]] = ()
    """Axes of objects between batch and objects: the images of an example, where there are several."""

    config: LxmertConfig

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let Keras find the class again when it reads a `.keras` file."""
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package=cls.__module__.partition(".")[0])(cls)

    def __init__(self, config: LxmertConfig, **kwargs: Any) -> None:
        config = as_lxmert_config(config)
        config.validate()
        super().__init__(**kwargs)
        self.config = copy.deepcopy(config)

    def post_init(self) -> None:
        """Create all variables; the last line of the constructor of every model.

        Layers that a derived class adds later get theirs at the first call, as in Keras, or where a file is
        read or written; then its own `build` runs, too.
        """
        self.get_base_model().config = self.config  # one for the whole model, so that a change reaches all
        if type(self).build is OpenParts.build:
            self.build()
        else:  # one of the user's wants the shapes of inputs, and layers that are not made yet
            with self._open_name_scope():
                OpenParts.build(self)
        self._tracker.unlock()  # Keras locks a layer that is built.

    def torch_variables(self) -> dict[str, TorchVariable]:
        """State-dict name of the PyTorch class -> variable; a tied decoder is left out.

        Raises:
            WeightsError: a layer is quantized, holds a variable where it has no name, or has none yet and the
                model does not run on its `dummy_inputs`.
        """
        self._build_all()
        return super().torch_variables()

    def _build_all(self) -> None:
        """Create the variables of layers that have none yet, by a run on `dummy_inputs`."""
        if not all(layer.built for layer in self._flatten_layers()):
            try:
                self(self.dummy_inputs)
            except Exception as error:  # whatever the user's `call` raises
                raise WeightsError(
                    f"{type(self).__name__} has layers without variables, and does not run on its "
                    f"dummy_inputs ({type(error).__name__}): have these give what it takes, or call it once"
                ) from error

    def get_base_model(self) -> "TFLxmertPreTrainedModel":
        """The TFLxmertModel inside a model with a head; a TFLxmertModel itself."""
        # No property: Keras, which saves what it finds under attributes, would find the model in itself.
        inner = getattr(self, self.base_model_prefix, None)
        return inner if isinstance(inner, TFLxmertPreTrainedModel) else self

    @property
    def dummy_inputs(self) -> dict[str, np.ndarray]:
        """A small valid batch: ids (2, 3), features (2, 10, D) and positions (2, 10, P) in 0..1."""
        random = np.random.default_rng(0)
        ids = np.array([[3, 5, 6], [3, 4, 6]], np.int32) % self.config.vocab_size
        objects = (2, *self.image_axes, 10)
        return {
            "input_ids": ids[:, : self.config.max_position_embeddings],
            "visual_feats": random.random((*objects, self.config.visual_feat_dim), np.float32),
            "visual_pos": random.random((*objects, self.config.visual_pos_dim), np.float32),
        }

    def export(self, filepath: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Write the model for serving, as `keras.Model.export` does, by default as a TensorFlow SavedModel.

        Unless `input_signature` says otherwise, what is written takes one dictionary of input_ids,
        attention_mask and token_type_ids (B, W), visual_attention_mask (B, O), all int32, visual_feats
        (B, O, D) and visual_pos (B, O, P), float32, as far as the model takes them; B, W and O are free.

        Raises:
            WeightsError: the model has layers without variables, see `torch_variables`.
        """
        self._build_all()
        if not args[2:]:
            kwargs.setdefault("input_signature", serving_signature(self))
        super().export(filepath, *args, **kwargs)

    def save(self, filepath: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Write a `.keras` file, as `keras.Model.save` does.

        Raises:
            WeightsError: the model is quantized, or has layers without variables, see `torch_variables`.
        """
        self._build_all()  # Keras would find out when it reads the file, here as there.
        for layer in self._flatten_layers():
            refuse_quantized(layer)
        super().save(filepath, *args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """See `keras.Model.save_weights`; layers added get their variables first, not to be left out.

        Raises:
            WeightsError: the model has layers without variables, see `torch_variables`.
        """
        self._build_all()
        super().save_weights(*args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """See `keras.Model.load_weights`; as `save_weights`."""
        self._build_all()
        super().load_weights(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to make the model again."""
        return {
            "config": self.config.to_dict(),
            "name": self.name,
            "trainable": self.trainable,
            "trainable_parts": self.trainable_parts(),
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any] | PreTrainedConfig, custom_objects: Any = None
    ) -> "TFLxmertPreTrainedModel":
        """Make a model from its configuration, or from what `get_config` gave; its weights are new."""
        if isinstance(config, PreTrainedConfig):
            return cls(config)
        arguments = dict(config)
        arguments["config"] = cls.config_class.from_dict(arguments["config"])
        arguments["dtype"] = keras.dtype_policies.deserialize(arguments["dtype"])
        trainable_parts = arguments.pop("trainable_parts", {})
        model = cls(**arguments)
        model._build_all()  # Keras fills only variables that are there.
        model.set_trainable_parts(trainable_parts)
        return model

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        config: PreTrainedConfig | str | PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Make a model from a folder or from the hub.

        Read are the folders of the PyTorch classes (`model.safetensors` or `pytorch_model.bin`) and those of
        the former TensorFlow classes of `transformers` (`tf_model.h5`, or safetensors under TensorFlow's
        names), of a model with heads or without. What is missing there is left at random values, and what
        is not used is left out; a warning says so.

        Args:
            pretrained_model_name_or_path: a local model folder or a hub name.
            config: the configuration, also `transformers`' own of LXMERT, or where it lies; None takes that
                of the checkpoint.
            ignore_mismatched_sizes: True leaves variables of another shape than in the checkpoint at random
                values; False makes them an error.
            output_loading_info: True returns the model and a dict of `missing_keys`, `unexpected_keys`,
                `mismatched_keys` and `error_msgs`.
            **kwargs: `name`, `dtype` (a Keras dtype or policy, or "auto": that of the checkpoint; also under
                its former name `torch_dtype`) and `trainable` of the model; `revision`, `token`, `subfolder`,
                `cache_dir`, `force_download`, `local_files_only` for the hub; values of the configuration
                that override the checkpoint's. `from_pt` and `use_safetensors` are allowed and not needed.

        Raises:
            WeightsError: there is no checkpoint, it cannot be read, or a shape differs.
            ConfigurationError: `config` is none of LXMERT.
            TypeError: an argument is none of these.
        """
        model, report = load_model(cls, pretrained_model_name_or_path, config=config, **kwargs)
        if report.reshaped and not ignore_mismatched_sizes:
            raise WeightsError(
                f"{report.summary()}. Give a configuration that fits, or ignore_mismatched_sizes=True "
                "to leave these at random values"
            )
        announce(report)
        return (model, loading_info(report)) if output_loading_info else model

    @classmethod
    def load_reported(
        cls, name_or_folder: str | PathLike[str], **kwargs: Any
    ) -> "tuple[TFLxmertPreTrainedModel, LoadReport]":
        """As `from_pretrained`, silent about gaps and other shapes, which the report tells."""
        return load_model(cls, name_or_folder, **kwargs)

    def save_pretrained(self, save_directory: str | PathLike[str], **kwargs: Any) -> None:
        """Write a model folder: config.json and model.safetensors under the names of the PyTorch class.

        The PyTorch class of the same name without "TF" loads it with nothing missing and nothing left over.

        Args:
            save_directory: made where there is none.
            **kwargs: `safe_serialization=True`, `max_shard_size` (the file is not split), `token`,
                `create_pr` and `version` are allowed as in `transformers`, and not needed.

        Raises:
            WeightsError: `save_directory` is a file, or the model cannot be saved, see `torch_variables`.
            ConfigurationError: an option of `transformers` for what is done by other means here.
            TypeError: an argument is none of these.
        """
        refuse_options(kwargs)
        save_model(self, save_directory)

    def get_input_embeddings(self) -> keras.layers.Layer:
        """The layer of the word embedding."""
        return self.get_base_model().embeddings.word_embeddings

    def set_input_embeddings(self, value: Any) -> None:
        """Replace the vectors of the words; the number of words follows, see `resize_token_embeddings`.

        Args:
            value: (V, H) numbers, or a Keras layer Embedding that holds them.

        Raises:
            ConfigurationError: the vectors are not (V, H), or V is not above `pad_token_id`.
        """
        vectors = keras.ops.convert_to_numpy(getattr(value, "embeddings", value))
        if vectors.ndim != 2 or vectors.shape[1] != self.config.hidden_size:
            raise ConfigurationError(
                f"the word embedding has shape {vectors.shape}, expected (words, {self.config.hidden_size})"
            )
        self.resize_token_embeddings(len(vectors)).embeddings.assign(vectors)

    def get_output_embeddings(self) -> keras.layers.Layer | None:
        """The layer whose matrix scores the words: the word embedding, unless not tied; None without such."""
        head = getattr(getattr(self, "cls", None), "predictions", None)
        if head is None:
            return None
        decoder: keras.layers.Layer | None = getattr(head, "decoder", None)
        return self.get_input_embeddings() if decoder is None else decoder

    def get_bias(self) -> dict[str, keras.Variable] | None:
        """The bias (V,) of the masked-word head as {"bias": variable}; None for a model without that head."""
        entry = self.torch_variables().get("cls.predictions.bias")
        return None if entry is None else {"bias": entry.variable}

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> keras.layers.Layer:
        """Change the number of word pieces of the word embedding and of the masked-word head with its bias.

        The first rows stay; new ones are drawn as in a new model. A compiled model keeps its settings, and
        its optimizer begins anew.

        Args:
            new_num_tokens: the new number; None keeps it.

        Returns:
            the layer of the word embedding.

        Raises:
            ConfigurationError: `new_num_tokens` is not a positive integer, or not above `pad_token_id`.
        """
        if new_num_tokens is not None and new_num_tokens != self.config.vocab_size:
            _check_count("new_num_tokens", new_num_tokens)
            if fault := padding_word_fault(new_num_tokens, new_num_tokens, self.config.pad_token_id):
                raise ConfigurationError(fault)
            self._resize("embeddings.word_embeddings.weight", new_num_tokens)
            self._resize("cls.predictions.decoder.weight", new_num_tokens)
            self._resize("cls.predictions.bias", new_num_tokens, deviation=0.0)
            for model in (self, self.get_base_model()):  # that of a derived class may have a copy of its own
                model.config.vocab_size = new_num_tokens
        return self.get_input_embeddings()

    def _resize(self, name: str, size: int, deviation: float | None = None) -> None:
        """Resize the first axis of what the PyTorch class calls `name`, where this model has it."""
        variables = self.torch_variables()
        entry = variables.get(name) or variables.get(f"{self.base_model_prefix}.{name}")
        if entry is None:
            return
        variable, axis = entry.variable, -1 if entry.transposed else 0
        shape = list(variable.shape)
        shape[axis] = size
        deviation = self.config.initializer_range if deviation is None else deviation
        new = keras.initializers.RandomNormal(stddev=deviation)(shape, dtype="float32")
        values = keras.ops.convert_to_numpy(variable)
        replace_variable(self, variable, resized(values, size, axis, keras.ops.convert_to_numpy(new)))


class TFQuestionAnsweringMixin:
    """Reading and resizing the layer that scores the answers; for models with an `answer_head`."""

    config: LxmertConfig

    @property
    def num_qa_labels(self) -> int:
        """Number of answers that the model chooses from."""
        return self.config.num_qa_labels

    def get_qa_logit_layer(self) -> keras.layers.Layer | None:
        """The layer whose outputs are the answer scores; None when the model has no answer head."""
        head = getattr(self, "answer_head", None)
        return None if head is None else head.logit_fc[-1]

    def resize_num_qa_labels(self, num_labels: int | None = None) -> keras.layers.Layer | None:
        """Change the number of answers.

        The first answers keep their weights; answers beyond them are dropped, new ones are initialised.

        Args:
            num_labels: the new number of answers; None changes nothing.

        Returns:
            the layer that scores the answers; None when the model has no answer head.

        Raises:
            ConfigurationError: `num_labels` is not a positive integer.
        """
        layer = self.get_qa_logit_layer()
        if layer is None or num_labels is None:
            return layer
        _check_count("num_labels", num_labels)
        if num_labels != self.config.num_qa_labels:
            self._resize("answer_head.logit_fc.3.weight", num_labels)  # type: ignore[attr-defined]
            self._resize("answer_head.logit_fc.3.bias", num_labels, 0.0)  # type: ignore[attr-defined]
            self.config.num_qa_labels = num_labels
        return layer


def _check_count(name: str, count: object) -> None:
    if faults := count_fault(name, count, least=1):
        raise ConfigurationError(faults[0])
