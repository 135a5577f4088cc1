"""One generated picture, questions about it, and a model's answers next to the true ones."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lxmert.inference.boxes_file import write_boxes
from lxmert.inference.predictor import LxmertPredictor
from lxmert.scenes import sample
from lxmert.vision.drawing import draw_regions
from lxmert.vision.regions import Regions


@dataclass(frozen=True)
class AskedQuestion:
    """A question about a generated scene, with the model's best answer."""

    question: str
    truth: str
    answer: str
    probability: float

    @property
    def is_right(self) -> bool:
        """Whether the model's answer is the true one."""
        return self.answer == self.truth


@dataclass(frozen=True)
class Demonstration:
    """A picture, the regions that the model saw, and its answers.

    Attributes:
        name: stem of the file names.
        picture: the picture alone.
        regions: the model's input.
        labels: a name for each object, or None; the detector's names for objects that it found.
        found: True if a detector found the objects, False if boxes were given or laid out by rule.
        drawn_objects: number of objects that the picture shows.
        asked: the questions with their answers.
    """

    name: str
    picture: Image.Image
    regions: Regions
    labels: tuple[str, ...] | None
    found: bool
    drawn_objects: int
    asked: tuple[AskedQuestion, ...]

    @property
    def picture_name(self) -> str:
        """File name of the plain picture."""
        return f"{self.name}.png"

    @property
    def boxes_name(self) -> str:
        """File name of the objects' boxes."""
        return f"{self.name}.boxes.json"

    @property
    def right(self) -> int:
        """Number of questions that the model answered correctly."""
        return sum(question.is_right for question in self.asked)

    def drawn(self) -> Image.Image:
        """Draw the picture with its boxes and the first question with its answer."""
        first = self.asked[0]
        return draw_regions(
            self.picture,
            self.regions.boxes_xyxy_px,
            labels=self.labels,
            scores=self.regions.object_scores if self.found else None,
            title=first.question,
            caption=f"{first.answer} ({first.probability:.0%})",
        )

    def write(self, folder: Path) -> None:
        """Write the plain picture, its boxes, and the picture with boxes and answer into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.picture.save(folder / self.picture_name)
        write_boxes(folder / self.boxes_name, self.regions.boxes_xyxy_px)
        self.drawn().save(folder / f"{self.name}.answered.png")


def demonstrate(predictor: LxmertPredictor, *, seed: int, index: int, questions: int) -> Demonstration:
    """Generate picture `index` of the world `seed`, with questions about it, and answer them.

    Args:
        predictor: a model trained on generated scenes.
        seed: identifies the world; the same seed draws the same pictures.
        index: number of the picture, from 0.
        questions: number of questions.
    """
    picture, scene, scene_questions = sample(seed, index, questions=questions)
    texts = [question.text for question in scene_questions]
    predictor.check(texts)
    needs_boxes = predictor.needs_boxes
    regions = predictor.regions(picture, scene.boxes_xyxy_px() if needs_boxes else None)
    answers = predictor.answer(regions, texts)
    true_names = tuple(f"{item.color} {item.shape}" for item in scene.objects)
    return Demonstration(
        name=f"scene-{seed}-{index}",
        picture=picture,
        regions=regions,
        labels=true_names if needs_boxes else predictor.names().describe(regions),
        found=regions.object_ids is not None,
        drawn_objects=len(scene.objects),
        asked=tuple(
            AskedQuestion(question.text, question.answer, best.text, best.probability)
            for question, (best, *_) in zip(scene_questions, answers, strict=True)
        ),
    )
