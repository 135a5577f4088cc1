"""The vocabulary and the answers of a model: their layers and sizes.

Shapes: V vocabulary, H hidden.
"""

from typing import TYPE_CHECKING, Any

import keras

from lxmert.configuration import LxmertConfig
from lxmert.errors import ConfigurationError
from lxmert.faults import as_plain_int, count_fault, pad_token_fault
from lxmert.model_keras.layers import OpenSublayerMixin
from lxmert.model_keras.resizing import replace_variable, resized
from lxmert.model_settings import ConfigValue


class VocabularyMixin(OpenSublayerMixin):
    """Access to and resizing of the layers of the vocabulary; for all models."""

    config: LxmertConfig
    base_model_prefix: str

    if TYPE_CHECKING:

        def get_base_model(self) -> Any:
            """Return the TFLxmertModel inside a model with a head, or a TFLxmertModel itself."""

    def get_input_embeddings(self) -> keras.layers.Layer:
        """Return the layer of the word embedding."""
        return self.get_base_model().embeddings.word_embeddings

    def set_input_embeddings(self, value: Any) -> None:
        """Replace the word vectors, resizing them if necessary; see `resize_token_embeddings`.

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
        """Return the layer whose matrix scores words, the word embedding if tied; None without that head."""
        head = getattr(getattr(self, "cls", None), "predictions", None)
        if head is None:
            return None
        decoder: keras.layers.Layer | None = getattr(head, "decoder", None)
        return self.get_input_embeddings() if decoder is None else decoder

    def get_bias(self) -> dict[str, keras.Variable] | None:
        """Return the bias (V,) of the masked-word head as {"bias": variable}; None without that head."""
        entry = self.torch_variables().get("cls.predictions.bias")
        return None if entry is None else {"bias": entry.variable}

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> keras.layers.Layer:
        """Resize the vocabulary of the word embedding and of the masked-word head with its bias.

        The first rows are kept; new ones are initialised as in a new model. A compiled model keeps its
        settings, but its optimizer is reset.

        Args:
            new_num_tokens: the new number of word pieces; None keeps the current one.

        Returns:
            The layer of the word embedding.

        Raises:
            ConfigurationError: `new_num_tokens` is not a positive integer, or not above `pad_token_id`.
        """
        if new_num_tokens is not None and new_num_tokens != self.config.vocab_size:
            new_num_tokens = _plain_count("new_num_tokens", new_num_tokens)
            if fault := pad_token_fault(new_num_tokens, new_num_tokens, self.config.pad_token_id):
                raise ConfigurationError(fault)
            self._resize("embeddings.word_embeddings.weight", new_num_tokens)
            self._resize("cls.predictions.decoder.weight", new_num_tokens)
            self._resize("cls.predictions.bias", new_num_tokens, deviation=0.0)
            for model in (self, self.get_base_model()):  # A derived class may have its own copy.
                model.config.vocab_size = new_num_tokens
        return self.get_input_embeddings()

    def _resize(self, name: str, size: int, deviation: float | None = None) -> None:
        """Resize the first axis of the variable that the PyTorch class names `name`, if the model has it."""
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
    """Access to and resizing of the layer that scores answers; for models with an `answer_head`."""

    config: LxmertConfig
    num_qa_labels = ConfigValue()

    def get_qa_logit_layer(self) -> keras.layers.Layer | None:
        """Return the layer whose outputs are the answer scores; None if the model has no answer head."""
        head = getattr(self, "answer_head", None)
        return None if head is None else head.logit_fc[-1]

    def resize_num_qa_labels(self, num_labels: int | None = None) -> keras.layers.Layer | None:
        """Change the number of answers.

        The first answers keep their weights; answers beyond them are dropped, new ones are initialised.

        Args:
            num_labels: the new number of answers; None keeps the current one.

        Returns:
            The layer that scores the answers; None if the model has no answer head.

        Raises:
            ConfigurationError: `num_labels` is not a positive integer.
        """
        layer = self.get_qa_logit_layer()
        if layer is None or num_labels is None:
            return layer
        num_labels = _plain_count("num_labels", num_labels)
        if num_labels != self.config.num_qa_labels:
            self._resize("answer_head.logit_fc.3.weight", num_labels)  # type: ignore[attr-defined]
            self._resize("answer_head.logit_fc.3.bias", num_labels, 0.0)  # type: ignore[attr-defined]
            self.config.num_qa_labels = num_labels
        return layer


def _plain_count(name: str, count: Any) -> int:
    """Return a positive integer, also one of NumPy, as Python's; raise a ConfigurationError for others."""
    plain: int = as_plain_int(count)
    if faults := count_fault(name, plain, minimum=1):
        raise ConfigurationError(faults[0])
    return plain
