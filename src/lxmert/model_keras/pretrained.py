"""TFLxmertPreTrainedModel, the base of the Keras models: configuration, loading, saving.

The counterpart of `model/pretrained.py`. Weights are saved under the names of the PyTorch classes, so that
either can load folders of the other.

Shapes: D feature width, P position width.
"""

import copy
from collections.abc import Mapping
from os import PathLike
from typing import Any, ClassVar

import keras
import numpy as np
from transformers import PreTrainedConfig

from lxmert.configuration import LxmertConfig, as_lxmert_config
from lxmert.errors import WeightsError
from lxmert.model_keras.layers import OpenParts, TorchVariable, refuse_quantized
from lxmert.model_keras.loading import announce, load_model, loading_info
from lxmert.model_keras.saving import refuse_options, save_model, serving_signature
from lxmert.model_keras.training import Trainable
from lxmert.model_keras.vocabulary import WithWords
from lxmert.weights.report import LoadReport


class TFLxmertPreTrainedModel(Trainable, WithWords, keras.Model):
    """Base of the LXMERT models in Keras 3.

    A model owns a copy of the configuration it is given, so that resizing never changes the caller's.

    Args:
        config: an LxmertConfig.
        **kwargs: arguments of `keras.Model`: `name`, `dtype` (a Keras dtype or policy), `trainable`.

    Raises:
        ConfigurationError: the configuration breaks its rules, or is not that of an LXMERT model.
    """

    config_class = LxmertConfig
    base_model_prefix = "lxmert"
    main_input_name = "input_ids"
    image_axes: ClassVar[tuple[int, ...]] = ()
    """Axes of objects between batch and objects: the images of an example, where there are several."""

    config: LxmertConfig

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the class, so that Keras finds it when it reads a `.keras` file."""
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
                    f"dummy_inputs ({type(error).__name__}): make these return the inputs that it takes, "
                    "or call it once"
                ) from error

    def get_base_model(self) -> "TFLxmertPreTrainedModel":
        """The TFLxmertModel inside a model with a head; a TFLxmertModel itself."""
        # Not a property: Keras saves what it finds under attributes, and would find the model in itself.
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
        """Return the arguments that Keras needs to make the model again."""
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
        """Make a model with new weights from its configuration, or from the result of `get_config`."""
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
                f"{report.summary()}. Use a configuration that fits, or ignore_mismatched_sizes=True to "
                "leave these at random values"
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
