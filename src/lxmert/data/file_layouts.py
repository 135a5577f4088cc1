"""The layout of a data directory: questions in VQA v2's format, boxes in COCO's or Visual Genome's.

The defaults for VQA and COCO are the layout that `lxmert scenes make` writes, those for Visual Genome its
published names. Others are given in a recipe, as in `questions: v2_OpenEnded_mscoco_{split}_questions.json`.
"""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lxmert.data.jsonl import NO_JSONL_FOR_GQA, is_jsonl_path
from lxmert.errors import DataError

# What `lxmert.scenes.dataset` leaves in a directory until it has finished.
UNFINISHED_SCENES = "scenes.unfinished.json"

# Sample values of the placeholders, to check a name before any file is read.
_SPLIT: Mapping[str, object] = {"split": "val"}

# Only the name of an image can depend on the image.
_PLACEHOLDERS = {"image_name": {**_SPLIT, "image_id": 1}}
_PLACEHOLDERS_OF_GQA = {"image_name": {**_SPLIT, "image_id": "1"}}
_PLACEHOLDERS_OF_PAIRS = {
    "images": {**_SPLIT, "directory": 1},
    "image_name": {**_SPLIT, "image": "dev-1-0-img0"},
}


class FileNames(BaseModel):
    """File names relative to the data directory; `{split}` stands for the split's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    placeholders: ClassVar[Mapping[str, Mapping[str, object]]] = _PLACEHOLDERS

    @model_validator(mode="after")
    def _check_placeholders(self) -> Self:
        for name, template in self.model_dump().items():
            if template is not None:
                check_placeholders(name, template, self.placeholders.get(name, _SPLIT))
        return self


def check_placeholders(name: str, template: str, samples: Mapping[str, object]) -> None:
    """Check a template by filling it in.

    Args:
        name: Its name, for the message.
        template: The template.
        samples: A value of each placeholder that it may contain, of the type that it will have.

    Raises:
        ValueError: A placeholder is not allowed, does not fit its value's type, or a brace has no partner.
    """
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
        if not fields.difference(samples):
            template.format(**samples)
            return
    except (ValueError, LookupError) as error:
        raise ValueError(f"{name} is {template!r}, which cannot be filled in: {error}") from None
    allowed = " and ".join(f"{{{field}}}" for field in sorted(samples, reverse=True))
    unknown = min(fields.difference(samples))
    raise ValueError(f"{name} contains {{{unknown}}}, but only {allowed} can be used there")


class TaskFiles(FileNames):
    """File names of sentences about images; `{split}` stands for the split's name."""

    format: Literal["official", "lxmert"] = Field(
        default="official",
        description="official: the files of the data set. lxmert: the JSON re-distributed by the authors of "
        "LXMERT, one file with questions and answers, scored by its soft labels.",
    )

    instances: str | None = Field(
        default="annotations/instances_{split}.json",
        description="Objects in COCO's instances format; null: no file.",
    )

    @property
    def is_labelled(self) -> bool:
        """True if the questions file has scored answers."""
        return self.format == "lxmert"

    def instances_path(self, directory: Path, split: str) -> Path | None:
        """The instances file of a split, None if the layout has none."""
        return None if self.instances is None else directory / self.instances.format(split=split)


class VqaFiles(TaskFiles):
    """File names of questions about images; `{split}` stands for the split's name."""

    questions: str = Field(
        default="annotations/vqa_{split}_questions.json",
        description="Questions in VQA v2's format. A name that ends in .jsonl, regardless of `format`: your "
        "own questions and answers, scored by their soft labels.",
    )
    annotations: str = Field(
        default="annotations/vqa_{split}_annotations.json", description="Answers in VQA v2's format."
    )
    instances: str | None = Field(
        default="annotations/instances_{split}.json",
        description="Objects in COCO's instances format; null: no file (`image_name` is used instead).",
    )
    images: str = Field(default="images/{split}", description="Folder of the images.")
    image_name: str = Field(
        default="COCO_{split}_{image_id:012d}.jpg",
        description="File name of an image, used only without an instances file.",
    )

    @property
    def is_jsonl(self) -> bool:
        """True if the questions are the user's own data, see `jsonl`."""
        return is_jsonl_path(self.questions)

    @property
    def is_labelled(self) -> bool:
        """True if the questions file has scored answers."""
        return self.is_jsonl or super().is_labelled

    def questions_path(self, directory: Path, split: str) -> Path:
        """The questions file of a split."""
        return directory / self.questions.format(split=split)

    def annotations_path(self, directory: Path, split: str) -> Path:
        """The annotations file of a split."""
        return directory / self.annotations.format(split=split)

    def image_path(self, directory: Path, split: str, image_id: int, file_name: str | None) -> Path:
        """The file of an image; `file_name` is its name in the instances file, if there is one."""
        name = file_name or self.image_name.format(split=split, image_id=image_id)
        return directory / self.images.format(split=split) / name


class GqaFiles(TaskFiles):
    """File names of GQA's questions; `{split}` stands for the split's name."""

    placeholders: ClassVar[Mapping[str, Mapping[str, object]]] = _PLACEHOLDERS_OF_GQA

    questions: str = Field(
        default="annotations/gqa_{split}_questions.json",
        description="Questions in GQA's format: a file, or a folder with its parts.",
    )
    choices: str | None = Field(
        default="annotations/gqa_{split}_choices.json",
        description="Valid and plausible answers in GQA's format; null: validity and plausibility are not "
        "scored.",
    )
    images: str = Field(default="images/{split}", description="Folder of the images.")
    image_name: str = Field(
        default="{image_id}",
        description="File name of an image; without an extension, .jpg, .png, .jpeg are tried, then .JPG, …",
    )

    @model_validator(mode="after")
    def _reject_jsonl(self) -> Self:
        if is_jsonl_path(self.questions):
            raise ValueError(f"questions is {self.questions}: {NO_JSONL_FOR_GQA}")
        return self

    def questions_path(self, directory: Path, split: str) -> Path:
        """The questions file, or folder, of a split."""
        return directory / self.questions.format(split=split)

    def choices_path(self, directory: Path, split: str) -> Path | None:
        """The choices file of a split, None if the layout has none."""
        return None if self.choices is None else directory / self.choices.format(split=split)

    def image_path(self, directory: Path, split: str, image_id: str) -> Path:
        """The file of an image, perhaps without extension."""
        name = self.image_name.format(split=split, image_id=image_id)
        return directory / self.images.format(split=split) / name


class Nlvr2Files(TaskFiles):
    """File names of NLVR2's sentences; `{split}` stands for the split's name."""

    placeholders: ClassVar[Mapping[str, Mapping[str, object]]] = _PLACEHOLDERS_OF_PAIRS

    sentences: str = Field(
        default="annotations/nlvr2_{split}.json", description="Sentences in NLVR2's format, JSON lines."
    )
    images: str = Field(
        default="images/{split}",
        description="Folder of the images; {directory} is replaced by the example's bucket. Not used if an "
        "example's urls are paths.",
    )
    image_name: str = Field(
        default="{image}",
        description="File name of an image; without an extension, .jpg, .png, .jpeg are tried, then .JPG, …",
    )

    def sentences_path(self, directory: Path, split: str) -> Path:
        """The file of a split."""
        return directory / self.sentences.format(split=split)

    def image_path(self, directory: Path, split: str, bucket: int | None, image: str) -> Path:
        """The file of an image, perhaps without extension; `bucket` is the example's directory, if any."""
        folder = self.images.format(split=split, directory="" if bucket is None else bucket)
        return directory / folder / self.image_name.format(split=split, image=image)


class CocoBoxFiles(FileNames):
    """File names of boxes in COCO's format; `{split}` stands for the split's name."""

    instances: str = Field(
        default="annotations/instances_{split}.json", description="Boxes and categories of a split."
    )
    images: str = Field(default="images/{split}", description="Folder of the images.")


class VisualGenomeFiles(FileNames):
    """File names of boxes in Visual Genome's format; `{split}` stands for the split's name."""

    objects: str = Field(default="objects.json", description="Boxes and names.")
    attributes: str | None = Field(default="attributes.json", description="Attributes; null for none.")
    sizes: str = Field(default="image_data.json", description="Sizes of the images.")
    image_ids: str | None = Field(
        default="{split}.txt",
        description="Ids of the images of a split, one per line; null: all images in `objects`.",
    )
    images: str = Field(default="images", description="Folder of the images.")
    image_name: str = Field(default="{image_id}.jpg", description="File name of an image in that folder.")

    def image_file_name(self, split: str, image_id: int) -> str:
        """The file name of an image."""
        return self.image_name.format(split=split, image_id=image_id)


def validate_directory(directory: Path, files: FileNames | None = None) -> Path:
    """Return the directory.

    Args:
        directory: The data directory.
        files: Its layout, if known. The error names the command that makes scenes only if theirs is the same.

    Raises:
        DataError: It is not a directory, or contains unfinished scenes.
    """
    if not directory.is_dir():
        advice = f"; `lxmert scenes make {directory} --images 10000` generates made scenes there"
        raise DataError(
            f"{directory}: no such data directory; check the path (in a recipe, data.directory)"
            + (advice if _is_layout_of_scenes(files) else "")
        )
    reject_unfinished_scenes(directory)
    return directory


def reject_unfinished_scenes(directory: Path) -> None:
    """Refuse a data directory where `lxmert scenes make` has not finished.

    Raises:
        DataError: It has not.
    """
    if (directory / UNFINISHED_SCENES).exists():
        raise DataError(
            f"{directory}: `lxmert scenes make` has not finished here; wait for it, or run it again with "
            "the same options"
        )


def _is_layout_of_scenes(files: FileNames | None) -> bool:
    """Whether it is known to be what `lxmert scenes make` writes: the defaults, except Visual Genome's."""
    if files is None or isinstance(files, VisualGenomeFiles):
        return False
    defaults = type(files)()
    return files == defaults
