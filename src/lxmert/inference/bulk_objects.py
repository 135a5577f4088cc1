"""The objects of many images, encoded once and assembled for each batch of questions.

Shapes: N images, B questions of a batch, O objects, H hidden.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lxmert.inference.bulk_packing import BatchLimits, pack
from lxmert.inference.bulk_padding import pad_states
from lxmert.inference.fast_model import FastModel

_IMAGES_PER_LOAD = 64
"""Images loaded in one call: 64 of 36 objects at full size take 19 MB before they are encoded."""


class _EncodedImage(NamedTuple):
    """The objects of one image.

    Attributes:
        states: (O, H), O at least 1, as models require.
        object_count: number of objects; 0 if the one in `states` is padding.
    """

    states: Tensor
    object_count: int


class EncodedObjects:
    """The images of a window, encoded by a model's object-relationship layers.

    Args:
        fast: the model.
        load: loads the visual model inputs of images; see `ObjectSource.load`.
        limits: of the images encoded at once.
        cache_bytes: memory that outlives a window; the least recently used images are dropped first.
    """

    def __init__(
        self,
        fast: FastModel,
        load: Callable[[Sequence[Hashable]], Mapping[str, Tensor]],
        limits: BatchLimits,
        cache_bytes: int = 0,
    ) -> None:
        self._fast = fast
        self._load = load
        self._limits = limits
        self._cache_bytes = cache_bytes
        self._encoded: dict[Hashable, _EncodedImage] = {}  # the least recently used first

    def count(self, image: Hashable) -> int:
        """Return the number of objects of an image; at least 1, as models require."""
        return len(self._encoded[image].states)

    def encode(self, images: Sequence[Hashable]) -> None:
        """Encode the images that are not cached; call `evict` before the next ones."""
        for image in images:  # Move to the end: the most recently used.
            if image in self._encoded:
                self._encoded[image] = self._encoded.pop(image)
        missing = [image for image in images if image not in self._encoded]
        for start in range(0, len(missing), _IMAGES_PER_LOAD):
            batch = missing[start : start + _IMAGES_PER_LOAD]
            self._encode(batch, self._load(batch))

    def evict(self) -> None:
        """Drop the least recently used images beyond `cache_bytes`."""
        size = sum(image.states.nbytes for image in self._encoded.values())
        for image in list(self._encoded):
            if size <= self._cache_bytes:
                break
            size -= self._encoded.pop(image).states.nbytes

    def batch(self, images: Sequence[tuple[Hashable, ...]]) -> tuple[Tensor, Tensor | None]:
        """Assemble the objects of the images of B questions.

        Returns:
            (B, O, H) and the mask (B, O), or for pairs (B, 2, O, H) and (B, 2, O). The mask is None if
            nothing is padded.
        """
        flat = [self._encoded[image] for of_question in images for image in of_question]
        shape = (len(images), len(images[0])) if len(images[0]) > 1 else (len(images),)
        counts = torch.tensor([image.object_count for image in flat])
        states, mask = pad_states([image.states for image in flat], counts)  # (N, O, H)
        return states.unflatten(0, shape), None if mask is None else mask.unflatten(0, shape)

    def _encode(self, images: Sequence[Hashable], inputs: Mapping[str, Tensor]) -> None:
        device = self._fast.device
        mask = inputs["visual_attention_mask"]
        counts: list[int] = mask.sum(dim=1).tolist()
        lengths = [max(count, 1) for count in counts]
        for rows in pack([0] * len(images), lengths, 1, self._limits):
            padded_length = max(lengths[row] for row in rows)
            is_padded = any(counts[row] < padded_length for row in rows)
            states = self._fast.encode_objects(
                inputs["visual_feats"][rows, :padded_length].to(device),
                inputs["visual_pos"][rows, :padded_length].to(device),
                mask[rows, :padded_length].to(device) if is_padded else None,
            )
            for row, image_states in zip(rows, states, strict=True):
                # A copy, so that one cached image does not keep the memory of its batch alive.
                states_copy = image_states[: lengths[row]].clone()
                self._encoded[images[row]] = _EncodedImage(states_copy, counts[row])
