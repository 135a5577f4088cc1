"""LXMERT: questions about pictures, answered by three Transformer encoders.

The public names are imported when first used, so that `import lxmert` costs neither torch nor transformers.
Keras is needed by those that begin with TF alone: without it they are left out of `from lxmert import *`, and
asking for one of them raises an error that names the `pip install`.
"""

from importlib import import_module
from importlib.util import find_spec
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
_KERAS_NAMES = frozenset(name for name in __all__ if name.startswith("TF"))
if find_spec("keras") is None:
    __all__[:] = [name for name in __all__ if name not in _KERAS_NAMES]

_MODULES = {
    "LxmertConfig": "lxmert.configuration",
    "LxmertPredictor": "lxmert.inference.predictor",
    "LxmertProcessor": "lxmert.processing",
    "LxmertTokenizer": "lxmert.tokenization",
    "LxmertTokenizerFast": "lxmert.tokenization",
    "Regions": "lxmert.vision.regions",
}


def __getattr__(name: str) -> object:
    if name in _KERAS_NAMES:
        module = "lxmert.model_keras"
    elif name in __all__:
        module = _MODULES.get(name, "lxmert.model")
    else:
        raise AttributeError(f"module 'lxmert' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
