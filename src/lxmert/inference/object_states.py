"""Objects of images, encoded once for all questions about them.

In the object-relationship layers no word has a part (paper section 3.2), so what these make of an image
serves every question about it. Shapes: O objects of the image, H hidden.
"""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from torch import Tensor

from lxmert.model import LxmertForQuestionAnswering
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

DEFAULT_CACHE_BYTES = 64 * 2**20
"""About 600 images of 36 objects at full size."""

_Inputs = dict[str, Tensor]
_Fingerprint = tuple[object, ...]


class ObjectStates:
    """What a model makes of the objects of the images asked about last.

    Kept is what was used last, as long as its `Regions` live and the weights stay as they are.

    Args:
        model: whose layers look at the objects.
        most_bytes: how much is kept, in bytes; 0 keeps nothing.
    """

    def __init__(self, model: LxmertForQuestionAnswering, most_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._model = model.lxmert
        self._most_bytes = most_bytes
        self._weights: _Fingerprint = ()
        self._kept: WeakKeyDictionary[Regions, _Inputs] = WeakKeyDictionary()

    def of(self, regions: Regions) -> _Inputs:
        """What the model's `forward` takes for the objects of one image.

        Returns:
            `object_states` (1, O, H) and `visual_attention_mask` (1, O), on the model's device.

        Raises:
            TensorError: regions of another width than the model reads.
        """
        weights = tuple(self._fingerprint())
        if weights != self._weights:
            self._kept.clear()
            self._weights = weights
        inputs = self._kept.pop(regions, None)
        if inputs is None:
            inputs = self._encoded(regions)
        self._kept[regions] = inputs  # the last in line is the last to go
        while self._kept and self.kept_bytes > self._most_bytes:
            del self._kept[next(iter(self._kept))]
        return inputs

    @property
    def kept_bytes(self) -> int:
        """Memory of what is kept, in bytes."""
        return sum(values.nbytes for inputs in self._kept.values() for values in inputs.values())

    def _encoded(self, regions: Regions) -> _Inputs:
        batch = {name: values.to(self._model.device) for name, values in pad_regions([regions]).items()}
        return {
            "object_states": self._model.encode_objects(**batch),
            "visual_attention_mask": batch["visual_attention_mask"],
        }

    def _fingerprint(self) -> Iterator[object]:
        """Changes with the weights that look at objects: other ones, moved, or changed in place."""
        encoder = self._model.encoder
        for part in (encoder.visn_fc, encoder.r_layers):
            for weights in part.parameters():
                # Tensors made in inference mode cannot be changed in place outside it, and count no changes.
                changes = None if weights.is_inference() else weights._version
                yield (weights.data_ptr(), changes, weights.dtype, weights.device)
