"""Raw attention: that of the first word in the last cross-modality layer.

The picture shown in papers (Tan & Bansal 2019, appendix). It shows where information could come from, not
how it affected the answer.

Shapes: see `case`.
"""

from lxmert.errors import ConfigurationError
from lxmert.explain.case import Case, Weights


def attention(case: Case) -> Weights:
    """Attention of [CLS], which all answers are read from, to words and to objects, averaged over heads.

    In 0..1; those of all objects sum to 1, those of words to 1 less that of [CLS] and [SEP].

    Raises:
        ConfigurationError: a model without cross-modality layers.
    """
    output = case.forward().output
    if not output.cross_encoder_attentions:
        raise ConfigurationError("the model has no cross-modality layer, so no word attends to any object")
    to_words, to_objects = output.cross_language_self_attentions[-1], output.cross_encoder_attentions[-1]
    return case.weights(to_words[0, :, 0].mean(dim=0), to_objects[0, :, 0].mean(dim=0))
