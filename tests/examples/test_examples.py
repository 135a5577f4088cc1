"""Every example runs as written; a small local folder stands in for the hub's checkpoint."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lxmert import LxmertConfig, LxmertForPreTraining, LxmertTokenizer

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def hub_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which "unc-nlp/lxmert-base-uncased" is a small local checkpoint."""
    folder = tmp_path_factory.mktemp("hub") / "unc-nlp" / "lxmert-base-uncased"
    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{c}" for c in letters),
        "?",
        ".",
        ",",
    ]
    vocabulary = folder.parent / "vocab.txt"
    vocabulary.write_text("\n".join(tokens) + "\n")
    LxmertTokenizer(str(vocabulary)).save_pretrained(folder)
    torch.manual_seed(0)
    config = LxmertConfig(
        vocab_size=len(tokens),
        hidden_size=24,
        num_attention_heads=4,
        intermediate_size=48,
        l_layers=2,
        x_layers=1,
        r_layers=1,
        num_qa_labels=11,
        num_object_labels=7,
        num_attr_labels=5,
    )
    LxmertForPreTraining(config).save_pretrained(folder)
    return folder.parents[1]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_as_written(example: Path, hub_stand_in: Path) -> None:
    command = [sys.executable, str(example)]
    done = subprocess.run(command, cwd=hub_stand_in, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
