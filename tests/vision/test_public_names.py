"""Public names of `lxmert.vision`: their list, imports on first use, none that imports more than it needs."""

import importlib
import subprocess
import sys

import pytest

import lxmert.vision

PUBLIC_NAMES = {
    "BackboneEncoder",
    "BackboneGrid",
    "BoxEncoder",
    "FasterRcnn",
    "FasterRcnnConfig",
    "FasterRcnnExtractor",
    "GivenBoxes",
    "ImageSource",
    "PooledPixels",
    "RegionExtractor",
    "Regions",
    "RegularGrid",
    "TransformersDetector",
    "build_encoder",
    "build_extractor",
    "load_image",
    "pad_regions",
}

LIGHT_IMPORTS = """
import sys
import lxmert.vision
print(sorted({"torch", "transformers", "numpy", "PIL"} & sys.modules.keys()))
import lxmert.vision.regions
print(sorted({"transformers"} & sys.modules.keys()))
from lxmert.vision import GivenBoxes, PooledPixels, Regions, RegularGrid, load_image, pad_regions
lxmert.vision.build_extractor({"kind": "given_boxes", "encoder": {"kind": "pooled_pixels"}})
print(sorted({"transformers"} & sys.modules.keys()))
"""


def test_public_names_are_locked() -> None:
    assert set(lxmert.vision.__all__) == PUBLIC_NAMES
    assert set(dir(lxmert.vision)) == PUBLIC_NAMES


@pytest.mark.parametrize("name", sorted(PUBLIC_NAMES))
def test_every_public_name_is_object_of_its_defining_module(name: str) -> None:
    value = getattr(lxmert.vision, name)
    home = getattr(value, "__module__", None)
    if home is not None and home.startswith("lxmert."):
        assert getattr(importlib.import_module(home), name) is value
        assert home.startswith("lxmert.vision.")


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'lxmert.vision' has no attribute 'FastRcnn'"):
        lxmert.vision.FastRcnn  # noqa: B018


def test_reading_features_does_not_import_transformers() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT_IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]"] * 3
