"""Fixtures shared by all tests: where the real data lies, and reproducible random numbers."""

import os
from pathlib import Path

import pytest
import torch


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


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)
