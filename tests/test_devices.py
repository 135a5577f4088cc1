"""resolve_device and process_device: named, default and unavailable devices."""

import pytest
import torch

from lxmert import LxmertPredictor
from lxmert.devices import process_device, resolve_device
from lxmert.errors import ConfigurationError
from lxmert.inference.extractors import load_extractor


def test_available_and_default_devices_are_resolved() -> None:
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("cpu:0").type == "cpu"
    assert resolve_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "toaster", "cpu:x"])
def test_unavailable_device_raises_single_line_error(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"device '{name}' cannot be used: ") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_unavailable_device_is_rejected_before_loading() -> None:
    with pytest.raises(ConfigurationError, match="cuda:99"):
        LxmertPredictor.from_pretrained("no/such-model", device="cuda:99")
    with pytest.raises(ConfigurationError, match="cuda:99"):
        load_extractor("no/such-detector", device="cuda:99")


def test_process_devices_cycle_through_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [process_device(rank) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert process_device(1) == "cpu"
