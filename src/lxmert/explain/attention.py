"""Where the first word looks: the attention of the last cross-modality layer, as it is.

The picture that papers print (Tan & Bansal 2019, appendix). It shows where information could come from, not
what it did to the answer.

Shapes: see `case`.
"""

from lxmert.errors import ConfigurationError
from lxmert.explain.case import Case, Weights


def attention(case: Case) -> Weights:
    """Attention of [CLS], of which all answers are read, to words and to objects, the mean of all heads.

    In 0..1; those of all objects sum to 1, those of words to what [CLS] and [SEP] leave of 1.

    Raises:
        ConfigurationError: a model without cross-modality layers.
    """
    output = case.forward().output
    if not output.cross_encoder_attentions:
        raise ConfigurationError("the model has no cross-modality layer, so no word looks at any object")
    to_words, to_objects = output.cross_language_self_attentions[-1], output.cross_encoder_attentions[-1]
    return case.weights(to_words[0, :, 0].mean(dim=0), to_objects[0, :, 0].mean(dim=0))
