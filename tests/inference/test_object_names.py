"""`ObjectNames`: labels from attribute and class names, the detector's own or the published vocabularies."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lxmert.downloads import PublishedFile
from lxmert.inference.object_names import ObjectNames
from lxmert.vision import GivenBoxes, PooledPixels, Regions


def regions(**labels: torch.Tensor) -> Regions:
    boxes = torch.tensor([[0.0, 0.0, 5.0, 5.0], [1.0, 1.0, 4.0, 9.0], [2.0, 2.0, 3.0, 3.0]])
    return Regions(boxes, torch.zeros(3, 2), (20, 30), "by-hand", **labels)


OBJECTS = torch.tensor([1, 0, 1])
ATTRIBUTES = torch.tensor([0, 2, 1])


def test_describe_puts_attribute_before_object_name() -> None:
    names = ObjectNames(["car", "dog"], ["red", "old", "wet"])
    both = regions(object_ids=OBJECTS, attribute_ids=ATTRIBUTES)
    assert names.describe(both) == ("red dog", "wet car", "old dog")
    assert names.describe(regions(object_ids=OBJECTS)) == ("dog", "car", "dog")
    assert ObjectNames(["car", "dog"]).describe(both) == ("dog", "car", "dog")
    assert names.describe(both.select([])) == ()


def test_describe_gives_class_numbers_without_names_and_none_without_ids() -> None:
    both = regions(object_ids=OBJECTS, attribute_ids=ATTRIBUTES)
    assert ObjectNames().describe(both) == ("class 1", "class 0", "class 1")
    assert ObjectNames(["car", "dog"]).describe(regions()) is None
    assert ObjectNames(["car", "dog"]).object_name(regions(), 0) is None


def test_from_extractor_uses_names_of_extractor() -> None:
    own = SimpleNamespace(object_names=("car",), attribute_names=None, name="unc-nlp/frcnn-vg-finetuned")
    assert ObjectNames.from_extractor(own) == ObjectNames(("car",), None)
    assert (
        ObjectNames.from_extractor(GivenBoxes(PooledPixels(2)))
        == ObjectNames.from_extractor(None)
        == ObjectNames()
    )
    assert ObjectNames.from_extractor(SimpleNamespace(object_names=None, name="some/other")) == ObjectNames()


def test_names_of_published_detector_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fetched(self: PublishedFile) -> Path:
        path = tmp_path / self.name
        path.write_text("car,automobile\ndog" if "objects" in self.name else "red\nold\nwet,damp")
        return path

    monkeypatch.setattr(PublishedFile, "fetch", fetched)
    names = ObjectNames.from_extractor(SimpleNamespace(object_names=None, name="unc-nlp/frcnn-vg-finetuned"))
    both = regions(object_ids=OBJECTS, attribute_ids=ATTRIBUTES)
    assert names.describe(both) == ("red dog", "wet car", "old dog")
