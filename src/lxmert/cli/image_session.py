"""Shared by the verbs about one question and one picture: their options, and the steps before the answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lxmert.errors import one_line

if TYPE_CHECKING:
    from PIL import Image

    from lxmert.inference.models import ModelLocation
    from lxmert.inference.predictor import LxmertPredictor
    from lxmert.vision.regions import Regions

ImageArgument = Annotated[
    str, typer.Argument(help="Picture: an image file that Pillow can read, or its URL.", show_default=False)
]
QuestionArgument = Annotated[str, typer.Argument(help="The question, in quotes.", show_default=False)]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="'scenes' (the embedded model), a model folder, or a hub name such as "
        "unc-nlp/lxmert-vqa-uncased (for photographs).",
    ),
]
BoxesOption = Annotated[
    Path | None,
    typer.Option(
        "--boxes",
        help="JSON file with the objects' boxes: a list of [x1, y1, x2, y2] in pixels. "
        "By default, the model's detector finds the objects.",
    ),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        help="Detector to use instead of the model's own: 'scenes', a detector folder or hub name, or a "
        "JSON or YAML file that describes an extractor.",
    ),
]
AnswersOption = Annotated[
    str | None,
    typer.Option(
        "--answers", help="Answer table to use instead of the model's own: a JSON file, 'vqa' or 'gqa'."
    ),
]


_LAST_WORDS = 3
"""Words that tell where a question was cut off."""


class ImageSession(NamedTuple):
    """A picture and the model that is asked about it.

    Attributes:
        model: the model's name.
        predictor: the model.
        image: upright and RGB.
        regions: its objects.
    """

    model: str
    predictor: "LxmertPredictor"
    image: "Image.Image"
    regions: "Regions"

    def report_unread(self, question: str) -> dict[str, Any]:
        """Return what the model does not read of a question, as JSON, and note it on standard error."""
        from lxmert.texts import read_part, unknown_words

        processor = self.predictor.processor
        part = read_part(processor.tokenizer, question, processor.max_text_length)
        unknown = unknown_words(processor.tokenizer, question if part is None else part)
        if part is not None:
            typer.echo(_truncation_note(part, processor.max_text_length), err=True)
        if unknown:
            typer.echo(_unknown_words_note(unknown, self.model), err=True)
        return {"truncated": part is not None, "unknown_words": unknown}


def open_session(
    image: str,
    question: str | None,
    *,
    model: str,
    boxes: Path | None,
    detector: str | None,
    answers: str | None,
) -> ImageSession:
    """Load model and picture, check the question if there is one, and find the objects.

    If there are none, or the detector is not the one the model was trained with, a note on standard error
    says so.
    """
    from lxmert.inference.boxes_file import read_boxes
    from lxmert.vision.images import load_image

    boxes_xyxy_px = None if boxes is None else read_boxes(boxes)
    loaded_image = load_image(image)
    # Only now: a model takes seconds to load or minutes to fetch, a misspelt picture is reported at once.
    from lxmert.inference.models import find_model
    from lxmert.inference.predictor import LxmertPredictor

    location = find_model(model)
    predictor = LxmertPredictor.from_pretrained(location, detector=detector, answers=answers)
    if question is None:
        predictor.processor.require_answers()
    else:
        predictor.check([question])
    if detector is not None and (note := _other_extractor_note(predictor, location)):
        typer.echo(note, err=True)
    regions = predictor.regions(loaded_image, boxes_xyxy_px)
    if len(regions) == 0:
        typer.echo(f"no objects found in {image}: the answer is based on the question alone", err=True)
    return ImageSession(model, predictor, loaded_image, regions)


def format_answer(text: str, probability: float) -> str:
    """Format an answer for printing; the published VQA table includes the empty answer."""
    return f"{one_line(text) or repr('')}  ({probability:.1%})"


def _truncation_note(part: str, max_length: int) -> str:
    last_words = " ".join(part.split()[-_LAST_WORDS:])
    return (
        f"note: the question is longer than the {max_length} tokens that the model reads; only the first "
        f"words are read, up to {last_words!r}"
    )


def _other_extractor_note(predictor: "LxmertPredictor", location: "ModelLocation") -> str | None:
    """Say so if the model's folder records another extractor than the one in use."""
    extractor = predictor.processor.extractor
    settings, _ = predictor.processor.get_processor_dict(location.name_or_path, **location.hub_options)
    expected = settings.get("extractor_identity")
    if extractor is None or expected in (None, extractor.identity):
        return None
    return f"note: the model was trained on objects of {expected}, not of {extractor.identity}"


def _unknown_words_note(words: list[str], model: str) -> str:
    note = f"note: not in the model's vocabulary: {', '.join(map(repr, words))}; the answer is a guess"
    if model == "scenes":
        note += (
            "; this model knows only generated pictures (for photographs: --model unc-nlp/lxmert-vqa-uncased)"
        )
    return note
