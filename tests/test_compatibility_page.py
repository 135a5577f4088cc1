"""docs/compatibility.md: its Python runs as written, and its statements about transformers and hooks hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lxmert import LxmertForQuestionAnswering, LxmertProcessor, LxmertTokenizer
from tests.model.small import inputs, small_config

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
[SNIPPET] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
LOAD = """
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoProcessor, AutoTokenizer
for auto in (AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer, AutoProcessor):
    made = type(auto.from_pretrained("folder"))
    print(made.__module__.partition(".")[0], made.__name__)
"""


@pytest.mark.parametrize("registered", [True, False])
def test_auto_classes_return_lxmert_classes_once_registered(registered: bool, tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red"]
    LxmertForQuestionAnswering(small_config()).save_pretrained(tmp_path / "folder")
    LxmertProcessor(LxmertTokenizer(vocab=words)).save_pretrained(tmp_path / "folder")
    program = (SNIPPET if registered else "import lxmert") + LOAD
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    config, model, tokenizer, processor = done.stdout.splitlines()
    if registered:
        assert (config, model) == ("lxmert LxmertConfig", "lxmert LxmertForQuestionAnswering")
        assert (tokenizer, processor) == ("lxmert LxmertTokenizer", "lxmert LxmertProcessor")
    else:
        assert (config, model) == ("transformers LxmertConfig", "transformers LxmertForQuestionAnswering")
        assert tokenizer == processor
        assert processor.startswith("transformers ")


def test_second_derivatives_exist_with_eager_attention() -> None:
    model = LxmertForQuestionAnswering(small_config(attn_implementation="eager")).eval()
    batch = inputs()
    batch["visual_feats"].requires_grad_()
    [slope] = torch.autograd.grad(model(**batch)[0].square().sum(), batch["visual_feats"], create_graph=True)
    slope.square().sum().backward()
    assert batch["visual_feats"].grad is not None


def test_hook_on_last_visual_self_attention_runs_only_with_hidden_states() -> None:
    model = LxmertForQuestionAnswering(small_config()).eval()
    hook_calls = []
    part = model.lxmert.encoder.x_layers[-1].visn_self_att
    part.register_forward_hook(lambda *_: hook_calls.append(1))
    model(**inputs())
    assert not hook_calls
    model(**inputs(), output_hidden_states=True)
    assert hook_calls
