"""Fixtures of all tests: folders of public data, a small local checkpoint, a fixed random seed."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lxmert import LxmertConfig, LxmertForPreTraining, LxmertTokenizer
from tests.command_line import CommandLine

# The duration of an example depends on the load of the machine: no deadline.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under pytest-xdist, files with slow tests run first, so that no worker idles at the end."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def usual_recursion_limit() -> Iterator[None]:
    """Python's own limit, which some packages raise for the whole process."""
    raised = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(raised)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data files named by LXMERT_TEST_DATA; tests that need it skip without it."""
    folder = os.environ.get("LXMERT_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LXMERT_TEST_DATA names no folder of public test data")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def shared_specs(shared_data: Path) -> Path:
    """The folder of specifications and golden vectors beside the public data."""
    folder = shared_data.parent / "specs"
    if not folder.is_dir():
        pytest.skip("no specs folder beside the public test data")
    return folder


@pytest.fixture(scope="session")
def folder_with_small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


@pytest.fixture
def lxmert(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture(autouse=True)
def _fixed_random_seed() -> None:
    torch.manual_seed(0)
