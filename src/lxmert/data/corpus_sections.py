"""Sections of a recipe that describe a pre-training corpus: its sources and its images."""

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lxmert.data.files import placeholder_fault

SourceKind = Literal[
    "vqa", "gqa", "captions", "visual_genome_regions", "visual_genome_questions", "lxmert", "jsonl"
]


_OF_VISUAL_GENOME = ("visual_genome_regions", "visual_genome_questions", "gqa")


class SourceSection(BaseModel):
    """One file of sentences about images, or two that belong together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: SourceKind = Field(
        description="Format: vqa (questions and annotations of VQA v2), gqa (questions, a file or folder of "
        "parts), captions (COCO), visual_genome_regions, visual_genome_questions, lxmert (the authors' "
        "re-distributed JSON), jsonl (data of one's own).",
    )
    file: str = Field(
        description="The file, relative to the data directory; {split} stands for the split's name."
    )
    annotations: str | None = Field(
        default=None, description="vqa only: the file of answers; null for questions without answers."
    )
    split: str | None = Field(default=None, description="Name of the split, for file names and image names.")
    image_name: str | None = Field(
        default=None,
        description="Name of an image without ending, from {image_id} and {split}; null: for vqa "
        "COCO_{split}_{image_id:012d}, for captions what the file says, else the image's id.",
    )
    image_data: str | None = Field(
        default=None,
        description="visual_genome_* and gqa only: image_data.json of Visual Genome, which says which of its "
        "images are COCO's too.",
    )
    coco_image_names: tuple[str, ...] = Field(
        default=("COCO_train2014_{image_id:012d}", "COCO_val2014_{image_id:012d}"),
        description="With image_data: names of an image that is COCO's too; the first that the feature store "
        "holds counts, and if there is none, image_name.",
    )
    question_types: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="vqa only: questions of these types, as the annotations name them; null for all.",
    )
    balanced_only: bool = Field(
        default=True, description="gqa only: leave out the questions outside of the balanced set (paper)."
    )
    name: str | None = Field(
        default=None,
        description="What figures call the source; null for vqa, gqa, mscoco, vg, visual7w (the authors' "
        "names), or own for jsonl. An lxmert file has names of its own.",
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
    def _fields_fit_the_kind(self) -> Self:
        if self.annotations is not None and self.kind != "vqa":
            raise ValueError(f"annotations belongs to kind vqa, not to {self.kind}")
        if self.question_types is not None and self.annotations is None:
            raise ValueError("question_types stand in the annotations of kind vqa, which are not given")
        if self.image_data is not None and self.kind not in _OF_VISUAL_GENOME:
            raise ValueError(f"image_data belongs to the visual_genome kinds and gqa, not to {self.kind}")
        if self.name is not None and self.kind == "lxmert":
            raise ValueError("an lxmert file names its sources itself; leave name out")
        if self.image_name is not None and self.kind in ("lxmert", "jsonl"):
            raise ValueError(f"files of kind {self.kind} name their images themselves; leave image_name out")
        return self

    @model_validator(mode="after")
    def _only_known_placeholders(self) -> Self:
        of_images = {"image_name", "coco_image_names"}
        for field, value in self.model_dump(exclude={"kind", "name", "split", "question_types"}).items():
            allowed = {"split", "image_id"} if field in of_images else {"split"}
            for template in value if isinstance(value, tuple) else (value,):
                if not isinstance(template, str):
                    continue
                if fault := placeholder_fault(field, template, allowed):
                    raise ValueError(fault)
                if "{split" in template and self.split is None:
                    raise ValueError(f"{field} holds {{split}}, but split is not given")
        return self


class CorpusSection(BaseModel):
    """Sentences about images from several sources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[SourceSection, ...] = Field(min_length=1, description="Where the sentences come from.")
    only_images: str | None = Field(
        default=None,
        description="Text file with the names of the images that count, one a line, with or without ending "
        "and folder, relative to the data directory; null: all.",
    )
    without_images: str | None = Field(
        default=None,
        description="Text file with the names of images that are left out, such as those of the validation.",
    )
    missing_images: Literal["error", "skip"] = Field(
        default="error",
        description="Sentences about images without stored regions: a mistake, or left out and counted.",
    )
