"""Random regions for tests of the feature store."""

from pathlib import Path

import torch

from lxmert.data.feature_store import FeatureStoreWriter, StoreManifest
from lxmert.vision.regions import Regions

EXTRACTOR = "test/7"
DIM = 7


def random_regions(
    seed: int, objects: int = 5, *, labels: bool = True, dim: int = DIM, extractor: str = EXTRACTOR
) -> Regions:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(objects, 2, generator=generator) * 40
    sides = torch.rand(objects, 2, generator=generator) * 20 + 1

    def scores() -> torch.Tensor | None:
        return torch.rand(objects, generator=generator) if labels else None

    def ids(most: int) -> torch.Tensor | None:
        return torch.randint(most, (objects,), generator=generator) if labels else None

    return Regions(
        boxes_xyxy_px=torch.cat([corners, corners + sides], dim=1),
        features=torch.randn(objects, dim, generator=generator),
        size_hw=(61 + seed % 3, 83),
        extractor=extractor,
        object_ids=ids(1600),
        object_scores=scores(),
        attribute_ids=ids(400),
        attribute_scores=scores(),
    )


def manifest(dtype: str = "float32") -> StoreManifest:
    return StoreManifest(DIM, dtype, EXTRACTOR)


def write_store(folder: Path, images: dict[str, Regions], dtype: str = "float32", rank: int = 0) -> Path:
    with FeatureStoreWriter(folder, manifest(dtype), rank=rank) as writer:
        for name, regions in images.items():
            writer.add(name, regions)
    return folder
