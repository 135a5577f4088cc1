"""Objects of images, encoded once for all questions about them.

The object-relationship layers do not depend on words (paper section 3.2), so their result for an image
serves every question about it. Shapes: O objects of the image, H hidden.
"""

from collections.abc import Iterator
from threading import Lock
from typing import NamedTuple, Self
from weakref import ref

from torch import Tensor

from lxmert.inference.fast_model import FastModel
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

DEFAULT_CACHE_BYTES = 64 * 2**20
"""About 600 images of 36 objects at full size."""

_Inputs = dict[str, Tensor]
_Fingerprint = tuple[object, ...]


class ObjectStateCache:
    """A cache of encoded objects of images; safe to use from several threads.

    The most recently used are cached, as long as their `Regions` live and neither these nor the weights
    change.

    Args:
        fast: the model that encodes the objects.
        max_bytes: size of the cache in bytes; 0 for none.
    """

    def __init__(self, fast: FastModel, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._fast = fast
        self._max_bytes = max_bytes
        self._weights_fingerprint: _Fingerprint = ()
        self._entries: dict[ref[Regions], _CacheEntry] = {}  # least recently used first
        self._lock = Lock()
        self_ref = ref(self)

        def evict_freed(freed: ref[Regions]) -> None:
            # Called when `Regions` are freed, at any time and in any thread: it must neither block nor fail.
            if (cache := self_ref()) is not None:
                cache._entries.pop(freed, None)

        self._evict_freed = evict_freed

    def __reduce__(self) -> tuple[type[Self], tuple[FastModel, int]]:
        # A copy starts empty: entries are keyed by `Regions` objects, and a lock cannot be copied.
        return type(self), (self._fast, self._max_bytes)

    def get(self, regions: Regions) -> _Inputs:
        """Return the arguments of the model's `forward` for the objects of one image.

        Returns:
            `object_states` (1, O, H) and `visual_attention_mask` (1, O), on the model's device.

        Raises:
            TensorError: regions of another feature width than the model's.
        """
        weights = tuple(self._fingerprint())
        source = _tensor_version(regions.features), _tensor_version(regions.boxes_xyxy_px)
        key = ref(regions, self._evict_freed)
        with self._lock:
            if weights != self._weights_fingerprint:
                self._entries.clear()
                self._weights_fingerprint = weights
            entry = self._entries.pop(key, None)
            if entry is not None and entry.source == source:
                self._entries[key] = entry
                return entry.inputs
        inputs = self._encode(regions)  # Outside the lock, so that other threads need not wait.
        with self._lock:
            if weights == self._weights_fingerprint:
                size = sum(values.nbytes for values in inputs.values())
                self._entries[key] = _CacheEntry(inputs, size, source)
                self._evict_least_recent()
        return inputs

    @property
    def cached_bytes(self) -> int:
        """Memory of the cached objects, in bytes."""
        # Regions may be freed meanwhile, but not while the list is made.
        return sum(entry.size for entry in list(self._entries.values()))

    def _evict_least_recent(self) -> None:
        size = self.cached_bytes
        for key in list(self._entries):
            if size <= self._max_bytes:
                break
            if (entry := self._entries.pop(key, None)) is not None:
                size -= entry.size

    def _encode(self, regions: Regions) -> _Inputs:
        batch = {name: values.to(self._fast.device) for name, values in pad_regions([regions]).items()}
        return {
            "object_states": self._fast.encode_objects(**batch),
            "visual_attention_mask": batch["visual_attention_mask"],
        }

    def _fingerprint(self) -> Iterator[object]:
        """Yield values that change if the weights that encode objects are replaced, moved or modified."""
        encoder = self._fast.model.lxmert.encoder
        for part in (encoder.visn_fc, encoder.r_layers):
            yield from map(_tensor_version, part.parameters())


def _tensor_version(tensor: Tensor) -> _Fingerprint:
    """Return values that change if a tensor is moved or modified in place."""
    # Tensors made in inference mode cannot be modified outside it, and have no version counter.
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tensor.dtype, tensor.device


class _CacheEntry(NamedTuple):
    """The cache entry of one image.

    Attributes:
        inputs: see `ObjectStateCache.get`.
        size: its memory in bytes.
        source: state of the features and boxes that it was computed from.
    """

    inputs: _Inputs
    size: int
    source: _Fingerprint
