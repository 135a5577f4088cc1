"""Objects of images, encoded once for all questions about them.

In the object-relationship layers no word has a part (paper section 3.2), so what these make of an image
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


class ObjectStates:
    """What a model makes of the objects of the images asked about last; for any number of threads.

    Kept is what was used last, as long as its `Regions` live, and these and the weights stay as they are.

    Args:
        fast: the model whose layers look at the objects.
        most_bytes: how much is kept, in bytes; 0 keeps nothing.
    """

    def __init__(self, fast: FastModel, most_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._fast = fast
        self._most_bytes = most_bytes
        self._weights: _Fingerprint = ()
        self._kept: dict[ref[Regions], _Kept] = {}  # the last in line is the last to go
        self._lock = Lock()
        itself = ref(self)

        def forget(gone: ref[Regions]) -> None:
            # Called when `Regions` end, at any moment and in any thread: it may neither wait nor fail.
            if (states := itself()) is not None:
                states._kept.pop(gone, None)

        self._forget = forget

    def __reduce__(self) -> tuple[type[Self], tuple[FastModel, int]]:
        # A copy begins with nothing: what is kept goes by the very `Regions`, and a lock cannot be copied.
        return type(self), (self._fast, self._most_bytes)

    def of(self, regions: Regions) -> _Inputs:
        """What the model's `forward` takes for the objects of one image.

        Returns:
            `object_states` (1, O, H) and `visual_attention_mask` (1, O), on the model's device.

        Raises:
            TensorError: regions of another width than the model reads.
        """
        weights = tuple(self._fingerprint())
        seen = _state(regions.features), _state(regions.boxes_xyxy_px)
        key = ref(regions, self._forget)
        with self._lock:
            if weights != self._weights:
                self._kept.clear()
                self._weights = weights
            kept = self._kept.pop(key, None)
            if kept is not None and kept.seen == seen:
                self._kept[key] = kept
                return kept.inputs
        inputs = self._encoded(regions)  # Others need not wait for it.
        with self._lock:
            if weights == self._weights:
                self._kept[key] = _Kept(inputs, sum(values.nbytes for values in inputs.values()), seen)
                self._make_room()
        return inputs

    @property
    def kept_bytes(self) -> int:
        """Memory of what is kept, in bytes."""
        # Regions may end meanwhile, but not while a list is made.
        return sum(kept.size for kept in list(self._kept.values()))

    def _make_room(self) -> None:
        size = self.kept_bytes
        for key in list(self._kept):
            if size <= self._most_bytes:
                break
            if (kept := self._kept.pop(key, None)) is not None:
                size -= kept.size

    def _encoded(self, regions: Regions) -> _Inputs:
        batch = {name: values.to(self._fast.device) for name, values in pad_regions([regions]).items()}
        return {
            "object_states": self._fast.encode_objects(**batch),
            "visual_attention_mask": batch["visual_attention_mask"],
        }

    def _fingerprint(self) -> Iterator[object]:
        """Changes with the weights that look at objects: other ones, moved, or changed in place."""
        encoder = self._fast.model.lxmert.encoder
        for part in (encoder.visn_fc, encoder.r_layers):
            yield from map(_state, part.parameters())


def _state(tensor: Tensor) -> _Fingerprint:
    """Changes when a tensor moves, or is changed in place."""
    # Tensors made in inference mode cannot be changed in place outside it, and count no changes.
    changes = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), changes, tensor.dtype, tensor.device


class _Kept(NamedTuple):
    """What is kept of one image.

    Attributes:
        inputs: see `ObjectStates.of`.
        size: its memory in bytes.
        seen: state of the features and boxes that it was made of.
    """

    inputs: _Inputs
    size: int
    seen: _Fingerprint
