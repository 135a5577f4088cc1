"""`dtype_name`: names of torch dtypes."""

import pytest
import torch

from lxmert.weights.dtypes import dtype_name


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "int64"])
def test_dtype_name_omits_torch_prefix(name: str) -> None:
    assert dtype_name(getattr(torch, name)) == name
