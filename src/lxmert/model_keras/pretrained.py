"""`TFLxmertPreTrainedModel`, the base of the Keras models: configuration, loading, saving.

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
from lxmert.model_keras.layers import OpenSublayerMixin, TorchVariable, reject_quantized
from lxmert.model_keras.loading import load_model, loading_info, log_report
from lxmert.model_keras.saving import reject_options, save_model, serving_signature
from lxmert.model_keras.training import TrainingMixin
from lxmert.model_keras.vocabulary import VocabularyMixin
from lxmert.weights.report import LoadReport


class TFLxmertPreTrainedModel(TrainingMixin, VocabularyMixin, keras.Model):
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
    """Sizes of axes between the batch and object axes: the images of an example, if there are several."""

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

        Layers that a derived class adds later get theirs at the first call, as in Keras, or when a file is
        read or written; then the derived class's own `build` runs, too.
        """
        self.get_base_model().config = self.config  # one for the whole model, so that a change affects all
        if type(self).build is OpenSublayerMixin.build:
            self.build()
        else:  # A user's `build` needs the shapes of inputs, and layers that do not exist yet.
            with self._open_name_scope():
                OpenSublayerMixin.build(self)
        self._tracker.unlock()  # Keras locks a layer that is built.

    def torch_variables(self) -> dict[str, TorchVariable]:
        """Return variables by state-dict name of the PyTorch class, without a tied decoder.

        Raises:
            WeightsError: a layer is quantized, a variable is nested too deeply to have a name, or a layer has
                no variables yet and the model does not run on its `dummy_inputs`.
        """
        self._build_all()
        return super().torch_variables()

    def _build_all(self) -> None:
        """Create the variables of layers that have none yet, by running on `dummy_inputs`."""
        if not all(layer.built for layer in self._flatten_layers()):
            try:
                self(self.dummy_inputs)
            except Exception as error:  # The user's `call` may raise anything.
                raise WeightsError(
                    f"{type(self).__name__} has layers without variables, and does not run on its "
                    f"dummy_inputs ({type(error).__name__}): make these return the inputs that it takes, "
                    "or call it once"
                ) from error

    def get_base_model(self) -> "TFLxmertPreTrainedModel":
        """Return the TFLxmertModel inside a model with a head, or a TFLxmertModel itself."""
        # Not a property: Keras saves the objects in attributes, and would find the model inside itself.
        inner = getattr(self, self.base_model_prefix, None)
        return inner if isinstance(inner, TFLxmertPreTrainedModel) else self

    @property
    def dummy_inputs(self) -> dict[str, np.ndarray]:
        """Small valid inputs: ids (2, 3), features (2, 10, D) and positions (2, 10, P) in 0..1."""
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

        Without an `input_signature`, the exported model takes one dictionary of input_ids, attention_mask and
        token_type_ids (B, W), visual_attention_mask (B, O), all int32, visual_feats (B, O, D) and visual_pos
        (B, O, P), float32, except for those that the model lacks; B, W and O are variable.

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
        self._build_all()  # Otherwise the error would be raised only when the file is read.
        for layer in self._flatten_layers():
            reject_quantized(layer)
        super().save(filepath, *args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """See `keras.Model.save_weights`; first creates the variables of added layers, to include them.

        Raises:
            WeightsError: the model has layers without variables, see `torch_variables`.
        """
        self._build_all()
        super().save_weights(*args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """See `keras.Model.load_weights`; creates variables as `save_weights` does."""
        self._build_all()
        super().load_weights(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that Keras needs to make the model again."""
        return {
            "config": self.config.to_dict(),
            "name": self.name,
            "trainable": self.trainable,
            "trainable_parts": self.trainable_flags(),
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
        trainable_flags = arguments.pop("trainable_parts", {})
        model = cls(**arguments)
        model._build_all()  # Keras loads only into existing variables.
        model.set_trainable_flags(trainable_flags)
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
        """Load a model from a folder or the hub.

        Supported are folders of the PyTorch classes (`model.safetensors` or `pytorch_model.bin`) and of the
        former TensorFlow classes of `transformers` (`tf_model.h5`, or safetensors under TensorFlow's names),
        of a model with or without heads. Missing weights are left at random values, and unused ones are
        ignored; both are reported by a warning.

        Args:
            pretrained_model_name_or_path: a local model folder or a hub name.
            config: the configuration (ours or `transformers`' own of LXMERT) or its path; None for that of
                the checkpoint.
            ignore_mismatched_sizes: True leaves variables whose shape differs from the checkpoint's at random
                values; False makes them an error.
            output_loading_info: True also returns a dict of `missing_keys`, `unexpected_keys`,
                `mismatched_keys` and `error_msgs`.
            **kwargs: `name`, `dtype` (a Keras dtype or policy, or "auto": that of the checkpoint; also under
                its former name `torch_dtype`) and `trainable` of the model; `revision`, `token`, `subfolder`,
                `cache_dir`, `force_download`, `local_files_only` for the hub; configuration values that
                override the checkpoint's. `from_pt` and `use_safetensors` are accepted but not needed.

        Raises:
            WeightsError: there is no checkpoint, it cannot be read, or a shape differs.
            ConfigurationError: `config` is not the configuration of an LXMERT model.
            TypeError: an unknown argument.
        """
        model, report = load_model(cls, pretrained_model_name_or_path, config=config, **kwargs)
        if report.reshaped and not ignore_mismatched_sizes:
            raise WeightsError(
                f"{report.summary()}. Use a configuration that fits, or ignore_mismatched_sizes=True to "
                "leave these at random values"
            )
        log_report(report)
        return (model, loading_info(report)) if output_loading_info else model

    @classmethod
    def load_reported(
        cls, name_or_folder: str | PathLike[str], **kwargs: Any
    ) -> "tuple[TFLxmertPreTrainedModel, LoadReport]":
        """Load like `from_pretrained`; gaps and mismatched shapes are returned, not raised or logged."""
        return load_model(cls, name_or_folder, **kwargs)

    def save_pretrained(self, save_directory: str | PathLike[str], **kwargs: Any) -> None:
        """Write a model folder: config.json and model.safetensors under the names of the PyTorch class.

        The PyTorch class of the same name without "TF" loads it with no missing or unexpected weights.

        Args:
            save_directory: created if it does not exist.
            **kwargs: `safe_serialization=True`, `max_shard_size` (the file is not split), `token`,
                `create_pr` and `version` are accepted as in `transformers`, but have no effect.

        Raises:
            WeightsError: `save_directory` is a file, or the model cannot be saved; see `torch_variables`.
            ConfigurationError: an option of `transformers` for what is done by other means here.
            TypeError: an unknown argument.
        """
        reject_options(kwargs)
        save_model(self, save_directory)
