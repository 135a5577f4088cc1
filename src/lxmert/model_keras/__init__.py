"""The LXMERT models in Keras 3, on TensorFlow by default, and on JAX and PyTorch."""

from lxmert.model_keras.requirements import require_keras

require_keras()

from lxmert.model_keras.base import TFLxmertModel  # noqa: E402
from lxmert.model_keras.layers import TorchVariable  # noqa: E402
from lxmert.model_keras.outputs import (  # noqa: E402
    TFLxmertForPreTrainingOutput,
    TFLxmertForQuestionAnsweringOutput,
    TFLxmertForVisualReasoningOutput,
    TFLxmertModelOutput,
)
from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel  # noqa: E402
from lxmert.model_keras.pretraining import TFLxmertForPreTraining  # noqa: E402
from lxmert.model_keras.question_answering import TFLxmertForQuestionAnswering  # noqa: E402
from lxmert.model_keras.visual_reasoning import TFLxmertForVisualReasoning  # noqa: E402

__all__ = [
    "TFLxmertForPreTraining",
    "TFLxmertForPreTrainingOutput",
    "TFLxmertForQuestionAnswering",
    "TFLxmertForQuestionAnsweringOutput",
    "TFLxmertForVisualReasoning",
    "TFLxmertForVisualReasoningOutput",
    "TFLxmertModel",
    "TFLxmertModelOutput",
    "TFLxmertPreTrainedModel",
    "TorchVariable",
]
