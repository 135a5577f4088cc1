"""What objects are called: the ids of `Regions` in words, as "small red solid circle".

Shapes: N objects of one image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lxmert.data.boxes import NameList
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.regions import Regions
from lxmert.weights.published import published_detector


@dataclass(frozen=True)
class ObjectNames:
    """The vocabularies behind the ids of an extractor.

    Attributes:
        objects: names of the object ids, or None where they are not known.
        attributes: names of the attribute ids, or None likewise.
    """

    objects: Sequence[str] | None = None
    attributes: Sequence[str] | None = None

    @classmethod
    def of(cls, extractor: RegionExtractor | None) -> "ObjectNames":
        """The names that an extractor knows, or that were published with its detector.

        Raises:
            DownloadError: published vocabularies that are out of reach, and not on this machine yet.
        """
        objects = getattr(extractor, "object_names", None)
        attributes = getattr(extractor, "attribute_names", None)
        name = getattr(extractor, "name", None)
        if objects is None and name is not None and (known := published_detector(name)) is not None:
            objects, attributes = (
                NameList.read(file.fetch()).names for file in (known.objects, known.attributes)
            )
        return cls(objects, attributes)

    def object_of(self, regions: Regions, row: int) -> str | None:
        """The name of one object's class, "class 7" where there are ids alone, None without ids."""
        if regions.object_ids is None:
            return None
        number = int(regions.object_ids[row])
        return self.objects[number] if self.objects is not None else f"class {number}"

    def attribute_of(self, regions: Regions, row: int) -> str | None:
        """The name of one object's attribute, or None."""
        if regions.attribute_ids is None or self.attributes is None:
            return None
        return self.attributes[int(regions.attribute_ids[row])]

    def describe(self, regions: Regions) -> tuple[str, ...] | None:
        """Attribute and class of each object, N texts; None where the regions hold no ids."""
        if regions.object_ids is None:
            return None
        return tuple(
            " ".join(filter(None, (self.attribute_of(regions, row), self.object_of(regions, row))))
            for row in range(len(regions))
        )
