"""Where the files of a VQA-style data directory lie.

The defaults are the layout that `lxmert scenes make` writes. COCO with VQA v2 has other names; a recipe gives
them, as in `questions: v2_OpenEnded_mscoco_{split}_questions.json`.
"""

import string
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lxmert.errors import DataError

# Only the name of an image can depend on the image.
_PLACEHOLDERS = {"image_name": {"split", "image_id"}}


class VqaFiles(BaseModel):
    """File names relative to the data directory; `{split}` stands for the split's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: str = Field(
        default="annotations/vqa_{split}_questions.json", description="Questions in VQA v2's format."
    )
    annotations: str = Field(
        default="annotations/vqa_{split}_annotations.json", description="Answers in VQA v2's format."
    )
    instances: str | None = Field(
        default="annotations/instances_{split}.json",
        description="Objects in COCO's instances format; null: there is none (then `image_name` counts).",
    )
    images: str = Field(default="images/{split}", description="Folder of the images.")
    image_name: str = Field(
        default="COCO_{split}_{image_id:012d}.jpg",
        description="File name of an image, used only without an instances file.",
    )

    @model_validator(mode="after")
    def _only_known_placeholders(self) -> Self:
        for name, template in self.model_dump().items():
            found = {
                field for _, field, _, _ in string.Formatter().parse(template or "") if field is not None
            }
            allowed = _PLACEHOLDERS.get(name, {"split"})
            if found - allowed:
                exist = " and ".join(f"{{{field}}}" for field in sorted(allowed, reverse=True))
                raise ValueError(f"{name} holds {{{min(found - allowed)}}}, only {exist} may stand there")
        return self

    def questions_path(self, directory: Path, split: str) -> Path:
        """The questions file of a split."""
        return directory / self.questions.format(split=split)

    def annotations_path(self, directory: Path, split: str) -> Path:
        """The annotations file of a split."""
        return directory / self.annotations.format(split=split)

    def instances_path(self, directory: Path, split: str) -> Path | None:
        """The instances file of a split, None where the layout has none."""
        return None if self.instances is None else directory / self.instances.format(split=split)

    def image_path(self, directory: Path, split: str, image_id: int, file_name: str | None) -> Path:
        """The file of an image; `file_name` is what the instances file says, where there is one."""
        name = file_name or self.image_name.format(split=split, image_id=image_id)
        return directory / self.images.format(split=split) / name


def check_directory(directory: Path) -> Path:
    """Return the directory.

    Raises:
        DataError: It is not a directory.
    """
    if not directory.is_dir():
        raise DataError(
            f"{directory}: no such data directory; `lxmert scenes make {directory} --images 10000` makes one"
        )
    return directory
