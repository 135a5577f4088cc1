"""Names of objects: the ids of `Regions` in words, such as "small red solid circle".

Shapes: N objects of one image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lxmert.data.box_annotations import NameList
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.regions import Regions
from lxmert.weights.published import published_detector


@dataclass(frozen=True)
class ObjectNames:
    """The vocabularies of an extractor's ids.

    Attributes:
        objects: names of the object ids, or None if unknown.
        attributes: names of the attribute ids, or None if unknown.
    """

    objects: Sequence[str] | None = None
    attributes: Sequence[str] | None = None

    @classmethod
    def from_extractor(cls, extractor: RegionExtractor | None) -> "ObjectNames":
        """Return the names that an extractor has, or that were published with its detector.

        Raises:
            DownloadError: published vocabularies that are not on this machine and cannot be downloaded.
        """
        objects = getattr(extractor, "object_names", None)
        attributes = getattr(extractor, "attribute_names", None)
        name = getattr(extractor, "name", None)
        if objects is None and name is not None and (known := published_detector(name)) is not None:
            objects, attributes = (
                NameList.read(file.fetch()).names for file in (known.objects, known.attributes)
            )
        return cls(objects, attributes)

    def object_name(self, regions: Regions, row: int) -> str | None:
        """Return the name of one object's class, "class 7" if only its id is known, None without ids."""
        if regions.object_ids is None:
            return None
        number = int(regions.object_ids[row])
        return self.objects[number] if self.objects is not None else f"class {number}"

    def attribute_name(self, regions: Regions, row: int) -> str | None:
        """Return the name of one object's attribute, or None."""
        if regions.attribute_ids is None or self.attributes is None:
            return None
        return self.attributes[int(regions.attribute_ids[row])]

    def describe(self, regions: Regions) -> tuple[str, ...] | None:
        """Return attribute and class of each object as N texts; None if the regions have no ids."""
        if regions.object_ids is None:
            return None
        return tuple(
            " ".join(filter(None, (self.attribute_name(regions, row), self.object_name(regions, row))))
            for row in range(len(regions))
        )

    def labels(self, regions: Regions) -> tuple[str, ...]:
        """Return a text for each of the N objects: its description, or "object 1" and so on without ids."""
        return self.describe(regions) or tuple(f"object {row + 1}" for row in range(len(regions)))
