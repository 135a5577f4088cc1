"""The device that is named, or the one that suits."""

import pytest
import torch

from lxmert import LxmertPredictor
from lxmert.devices import process_device, resolve_device
from lxmert.errors import ConfigurationError
from lxmert.inference.extractors import load_extractor


def test_a_device_that_is_there_is_taken() -> None:
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("cpu:0").type == "cpu"
    assert resolve_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "toaster", "cpu:x"])
def test_a_device_that_is_not_there_is_told_in_a_line(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"device '{name}' cannot be used: ") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_a_missing_device_is_told_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigurationError, match="cuda:99"):
        LxmertPredictor.from_pretrained("no/such-model", device="cuda:99")
    with pytest.raises(ConfigurationError, match="cuda:99"):
        load_extractor("no/such-detector", device="cuda:99")


def test_processes_share_the_gpus_of_a_machine_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [process_device(rank) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert process_device(1) == "cpu"
