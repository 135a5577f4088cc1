"""LXMERT: questions about pictures, answered by three Transformer encoders.

The public names are imported when first used, so that `import lxmert` costs neither torch nor transformers.
Keras is needed by those that begin with TF alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lxmert._version import __version__

if TYPE_CHECKING:
    from lxmert.configuration import LxmertConfig
    from lxmert.inference.predictor import LxmertPredictor
    from lxmert.model import (
        LxmertEncoder,
        LxmertForPreTraining,
        LxmertForPreTrainingOutput,
        LxmertForQuestionAnswering,
        LxmertForQuestionAnsweringOutput,
        LxmertForVisualReasoning,
        LxmertForVisualReasoningOutput,
        LxmertModel,
        LxmertModelOutput,
        LxmertPreTrainedModel,
        LxmertVisualFeatureEncoder,
        LxmertXLayer,
    )
    from lxmert.model_keras import (
        TFLxmertForPreTraining,
        TFLxmertForPreTrainingOutput,
        TFLxmertForQuestionAnswering,
        TFLxmertForQuestionAnsweringOutput,
        TFLxmertForVisualReasoning,
        TFLxmertForVisualReasoningOutput,
        TFLxmertModel,
        TFLxmertModelOutput,
        TFLxmertPreTrainedModel,
    )
    from lxmert.processing import LxmertProcessor
    from lxmert.tokenization import LxmertTokenizer, LxmertTokenizerFast
    from lxmert.vision.regions import Regions

__all__ = [
    "LxmertConfig",
    "LxmertEncoder",
    "LxmertForPreTraining",
    "LxmertForPreTrainingOutput",
    "LxmertForQuestionAnswering",
    "LxmertForQuestionAnsweringOutput",
    "LxmertForVisualReasoning",
    "LxmertForVisualReasoningOutput",
    "LxmertModel",
    "LxmertModelOutput",
    "LxmertPreTrainedModel",
    "LxmertPredictor",
    "LxmertProcessor",
    "LxmertTokenizer",
    "LxmertTokenizerFast",
    "LxmertVisualFeatureEncoder",
    "LxmertXLayer",
    "Regions",
    "TFLxmertForPreTraining",
    "TFLxmertForPreTrainingOutput",
    "TFLxmertForQuestionAnswering",
    "TFLxmertForQuestionAnsweringOutput",
    "TFLxmertForVisualReasoning",
    "TFLxmertForVisualReasoningOutput",
    "TFLxmertModel",
    "TFLxmertModelOutput",
    "TFLxmertPreTrainedModel",
    "__version__",
]

_HOMES = {
    "LxmertConfig": "lxmert.configuration",
    "LxmertPredictor": "lxmert.inference.predictor",
    "LxmertProcessor": "lxmert.processing",
    "LxmertTokenizer": "lxmert.tokenization",
    "LxmertTokenizerFast": "lxmert.tokenization",
    "Regions": "lxmert.vision.regions",
}
_KERAS_PREFIX = "TF"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'lxmert' has no attribute {name!r}")
    home = "lxmert.model_keras" if name.startswith(_KERAS_PREFIX) else _HOMES.get(name, "lxmert.model")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
