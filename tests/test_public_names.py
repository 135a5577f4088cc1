"""Public names: locked, imported lazily, and without loading heavy dependencies."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

import lxmert

PUBLIC_NAMES = {
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
}


def test_public_names_are_locked() -> None:
    available = {name for name in PUBLIC_NAMES if find_spec("keras") or not name.startswith("TF")}
    assert set(lxmert.__all__) == available
    assert set(dir(lxmert)) == available


@pytest.mark.parametrize("name", sorted(name for name in PUBLIC_NAMES if not name.startswith("TF")))
def test_every_public_name_imports(name: str) -> None:
    assert getattr(lxmert, name) is getattr(lxmert, name)


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="TFLxmertForNothing"):
        lxmert.TFLxmertForNothing  # noqa: B018


@pytest.mark.parametrize("module", ["lxmert", "lxmert.cli.main"])
def test_import_loads_no_heavy_dependency(module: str) -> None:
    heavy = {"torch", "transformers", "numpy", "PIL", "keras"}
    probe = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
