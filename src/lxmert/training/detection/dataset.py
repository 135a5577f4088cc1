"""Training examples of a detector, read from disk on demand.

The variation of an image is a pure function of seed, epoch and image, so that neither resuming nor loader
processes affect it.
"""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

from lxmert.data.box_annotations import AnnotatedImage, check_annotated_size
from lxmert.training.detection.augmentation import mirror, sample_augmentation
from lxmert.training.detection.collation import DetectionExample
from lxmert.training.detection.losses import NO_ATTRIBUTE
from lxmert.training.sampling import ShuffledSampler
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.preprocessing import scale_xyxy, to_network_pixels
from lxmert.vision.images import load_image


class EpochSampler(Sampler[tuple[int, int]]):
    """The order of a `ShuffledSampler`, each index with its epoch: (epoch, index)."""

    def __init__(self, sampler: ShuffledSampler) -> None:
        self._sampler = sampler
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self._epoch = epoch
        self._sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self._epoch, index) for index in self._sampler)


class DetectionDataset(Dataset[DetectionExample]):
    """Pictures with boxes as the network's inputs, indexed by (epoch, index).

    Args:
        images: the annotated images.
        config: determines how pictures are resized and normalised.
        seed: determines the random variations together with epoch and index.
        mirror_share: probability of exchanging left and right.
        min_sizes_px: shorter sides to choose from; empty keeps the configuration's.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        config: FasterRcnnConfig,
        *,
        seed: int = 0,
        mirror_share: float = 0.0,
        min_sizes_px: Sequence[int] = (),
    ) -> None:
        self.images = images
        self._seed = seed
        self._mirror_share = mirror_share
        self._min_sizes_px = tuple(min_sizes_px)
        self._configs = {None: config} | {size: _with_min_size(config, size) for size in self._min_sizes_px}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: tuple[int, int]) -> DetectionExample:
        """Read and vary one picture.

        Raises:
            ImageError: it cannot be read.
            DataError: its size is not that in its annotations.
        """
        epoch, index = position
        annotated = self.images[index]
        generator = _generator(self._seed, epoch, index)
        augmentation = sample_augmentation(
            generator, mirror_share=self._mirror_share, min_sizes_px=self._min_sizes_px
        )
        image, boxes = load_annotated(annotated), annotated.boxes_xyxy_px
        if augmentation.is_mirrored:
            image, boxes = mirror(image, boxes)
        pixels = to_network_pixels(image, self._configs[augmentation.min_size_px])
        height, width = pixels.shape[1:]
        return DetectionExample(
            pixel_values=pixels,
            boxes_xyxy=boxes / scale_xyxy(annotated.size_hw, (height, width)),
            object_ids=annotated.object_ids,
            attribute_ids=_sample_attributes(annotated.attribute_ids, generator),
        )


def load_annotated(annotated: AnnotatedImage) -> Image.Image:
    """Read the picture of an annotated image.

    Raises:
        ImageError: it cannot be read.
        DataError: its size is not that in its annotations, so that its boxes would be misplaced.
    """
    image = load_image(annotated.path)
    check_annotated_size(annotated.path, (image.height, image.width), annotated.size_hw)
    return image


def _generator(seed: int, epoch: int, index: int) -> torch.Generator:
    # SeedSequence mixes well and is guaranteed to be stable.
    mixed = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))


def _sample_attributes(attribute_ids: Sequence[Sequence[int]], generator: torch.Generator) -> torch.Tensor:
    """Draw one attribute of each box at random: (N,)."""
    chosen = [
        ids[int(torch.randint(len(ids), (), generator=generator))] if ids else NO_ATTRIBUTE
        for ids in attribute_ids
    ]
    return torch.tensor(chosen, dtype=torch.int64)


def _with_min_size(config: FasterRcnnConfig, min_size_px: int) -> FasterRcnnConfig:
    changed = copy.copy(config)
    changed.min_size_px = min_size_px
    changed.max_size_px = max(config.max_size_px, min_size_px)
    return changed
