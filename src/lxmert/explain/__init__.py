"""Why a model answered as it did: which words and which objects its answer rests on.

    explanation = explain(predictor, predictor.regions(picture), "What color is the big circle?")
    explanation.draw(picture).save("why.png")

One file per method; `METHODS` names them. `faithfulness` measures what an explanation is worth.
"""

from lxmert.explain.explanation import Explanation
from lxmert.explain.methods import METHODS, explain

__all__ = ["METHODS", "Explanation", "explain"]
