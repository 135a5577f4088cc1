"""The LXMERT models in PyTorch."""

from lxmert.model.base import LxmertModel
from lxmert.model.embeddings import LxmertVisualFeatureEncoder
from lxmert.model.encoder import LxmertEncoder, LxmertXLayer
from lxmert.model.outputs import (
    LxmertForPreTrainingOutput,
    LxmertForQuestionAnsweringOutput,
    LxmertForVisualReasoningOutput,
    LxmertModelOutput,
)
from lxmert.model.pretrained import LxmertPreTrainedModel
from lxmert.model.pretraining import LxmertForPreTraining
from lxmert.model.question_answering import LxmertForQuestionAnswering
from lxmert.model.visual_reasoning import LxmertForVisualReasoning

__all__ = [
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
    "LxmertVisualFeatureEncoder",
    "LxmertXLayer",
]
