"""Names of the types of numbers."""

import pytest
import torch

from lxmert.weights.dtypes import dtype_name


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "int64"])
def test_a_type_is_named_without_its_library(name: str) -> None:
    assert dtype_name(getattr(torch, name)) == name
