"""What tests of `lxmert predict` share: the type of the fixture that runs it, stores, recorded progress."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from lxmert import LxmertProcessor
from lxmert.data.feature_store import FeatureStoreWriter, StoreManifest
from lxmert.training.evaluation import load_regions
from lxmert.training.task_registry import get_task
from lxmert.vision.regions import Regions

Predict = Callable[..., tuple[int, str, str]]
"""Runs `lxmert predict` with words: status, output, errors."""


def write_stores(
    folder: Path, data: Path, model: Path, scales: Sequence[float] = (1.0,), split: str = "test"
) -> list[Path]:
    """Feature stores of a split's images, their features multiplied by a scale each."""
    examples = get_task("vqa").split(data, split).read()
    found = load_regions(examples, LxmertProcessor.from_pretrained(model), None)
    batch = found.batch(torch.arange(len(found.rows)))
    stores = []
    for number, scale in enumerate(scales):
        stores.append(folder / f"store-{number}")
        manifest = StoreManifest(found.feature_dim, "float32", found.extractor)
        with FeatureStoreWriter(stores[-1], manifest) as writer:
            for name, row in found.rows.items():
                count = int(batch["visual_attention_mask"][row].sum())
                boxes, features = (batch[key][row, :count] for key in ("visual_pos", "visual_feats"))
                writer.add(str(name), Regions(boxes * 90, features * scale, (90, 90), found.extractor))
    return stores


class RecordedProgress:
    """Records progress: what was started, with its total, and how much of it was done."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.done: Counter[str] = Counter()

    def __call__(self, description: str, total: int) -> Callable[[int], None]:
        self.started.append((description, total))
        return lambda count: self.done.update({description: count})
