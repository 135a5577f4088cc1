"""Sections of a recipe that describe a pre-training corpus: its sources and its images."""

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lxmert.data.file_layouts import check_placeholders

SourceKind = Literal[
    "vqa", "gqa", "captions", "visual_genome_regions", "visual_genome_questions", "lxmert", "jsonl"
]


_OF_VISUAL_GENOME = ("visual_genome_regions", "visual_genome_questions", "gqa")


class SourceSection(BaseModel):
    """One file of sentences about images, or two that belong together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: SourceKind = Field(
        description="Format: vqa (questions and annotations of VQA v2), gqa (questions, as a file or a "
        "folder of parts), captions (COCO), visual_genome_regions, visual_genome_questions, lxmert (the "
        "authors' re-distributed JSON), jsonl (your own data).",
    )
    file: str = Field(
        description="File name, relative to the data directory; {split} is replaced by the split's name."
    )
    annotations: str | None = Field(
        default=None,
        description="vqa only: annotation file with the answers; null for questions without answers.",
    )
    split: str | None = Field(default=None, description="Name of the split, for file names and image names.")
    image_name: str | None = Field(
        default=None,
        description="Name of an image without extension, made of {image_id} and {split}; null: "
        "COCO_{split}_{image_id:012d} for vqa, the name in the file for captions, otherwise the image id.",
    )
    image_data: str | None = Field(
        default=None,
        description="visual_genome_* and gqa only: image_data.json of Visual Genome, which identifies the "
        "images that are also in COCO.",
    )
    coco_image_names: tuple[str, ...] = Field(
        default=("COCO_train2014_{image_id:012d}", "COCO_val2014_{image_id:012d}"),
        description="With image_data: possible names of an image that is also in COCO. The first one found "
        "in the feature store is used, otherwise image_name. only_images and without_images may contain any "
        "of them.",
    )
    question_types: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="vqa only: use only questions of these types, as named in the annotations; null for all.",
    )
    balanced_only: bool = Field(
        default=True, description="gqa only: use only the questions of the balanced set (paper)."
    )
    name: str | None = Field(
        default=None,
        description="Name of the source in reported figures; null: vqa, gqa, mscoco, vg, visual7w (the "
        "authors' names), or own for jsonl. Files of kind lxmert contain their own names.",
    )

    _names: ClassVar[dict[str, str]] = {
        "vqa": "vqa",
        "gqa": "gqa",
        "captions": "mscoco",
        "visual_genome_regions": "vg",
        "visual_genome_questions": "visual7w",
        "lxmert": "lxmert",
        "jsonl": "own",
    }

    @property
    def source(self) -> str:
        """The source's name."""
        return self.name or self._names[self.kind]

    @model_validator(mode="after")
    def _check_fields_of_kind(self) -> Self:
        if self.annotations is not None and self.kind != "vqa":
            raise ValueError(f"annotations can only be used with kind vqa, not with {self.kind}")
        if self.question_types is not None and self.annotations is None:
            raise ValueError(
                "question_types can only be used with kind vqa and its annotations, which are not set"
            )
        if self.image_data is not None and self.kind not in _OF_VISUAL_GENOME:
            raise ValueError(
                f"image_data can only be used with the visual_genome kinds and gqa, not with {self.kind}"
            )
        if self.name is not None and self.kind == "lxmert":
            raise ValueError("files of kind lxmert name their sources themselves; omit name")
        if self.image_name is not None and self.kind in ("lxmert", "jsonl"):
            raise ValueError(f"files of kind {self.kind} name their images themselves; omit image_name")
        return self

    @model_validator(mode="after")
    def _check_placeholders(self) -> Self:
        file_samples: dict[str, object] = {"split": self.split or "val"}
        samples = {
            "image_name": {**file_samples, "image_id": "1" if self.kind == "gqa" else 1},
            "coco_image_names": {**file_samples, "image_id": 1},
        }
        for field, value in self.model_dump(exclude={"kind", "name", "split", "question_types"}).items():
            for template in value if isinstance(value, tuple) else (value,):
                if not isinstance(template, str):
                    continue
                check_placeholders(field, template, samples.get(field, file_samples))
                if "{split" in template and self.split is None:
                    raise ValueError(f"{field} contains {{split}}, but split is not set")
        return self


class CorpusSection(BaseModel):
    """Sentences about images from several sources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[SourceSection, ...] = Field(min_length=1, description="Sources of the sentences.")
    only_images: str | None = Field(
        default=None,
        description="Text file with the names of the images to use, one per line, with or without extension "
        "and folder; null for all. The file name is relative to the data directory.",
    )
    without_images: str | None = Field(
        default=None,
        description="Text file with the names of images to leave out, such as those of the validation.",
    )
    missing_images: Literal["error", "skip"] = Field(
        default="error",
        description="How to treat sentences about images without stored regions: error: stop with an error; "
        "skip: leave them out and count them.",
    )
