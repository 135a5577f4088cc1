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
class AnsweredQuestion:
    """A question about a generated scene, with the model's best answer."""

    question: str
    truth: str
    answer: str
    probability: float

    @property
    def is_correct(self) -> bool:
        """Whether the model's answer is the true one."""
        return self.answer == self.truth


@dataclass(frozen=True)
class Demonstration:
    """A picture, the regions that the model saw, and its answers.

    Attributes:
        name: stem of the file names.
        image: the picture alone.
        regions: the model's input.
        labels: a name for each object, or None; the detector's names for objects that it found.
        has_detected_objects: True if a detector found the objects, False if boxes were given or laid out by
            rule.
        scene_object_count: number of objects that the picture shows.
        questions: the questions with their answers.
    """

    name: str
    image: Image.Image
    regions: Regions
    labels: tuple[str, ...] | None
    has_detected_objects: bool
    scene_object_count: int
    questions: tuple[AnsweredQuestion, ...]

    @property
    def image_file_name(self) -> str:
        """File name of the plain picture."""
        return f"{self.name}.png"

    @property
    def boxes_file_name(self) -> str:
        """File name of the objects' boxes."""
        return f"{self.name}.boxes.json"

    @property
    def correct_count(self) -> int:
        """Number of questions that the model answered correctly."""
        return sum(question.is_correct for question in self.questions)

    def draw(self) -> Image.Image:
        """Draw the picture with its boxes and the first question with its answer."""
        first = self.questions[0]
        return draw_regions(
            self.image,
            self.regions.boxes_xyxy_px,
            labels=self.labels,
            scores=self.regions.object_scores if self.has_detected_objects else None,
            title=first.question,
            caption=f"{first.answer} ({first.probability:.0%})",
        )

    def write(self, folder: Path) -> None:
        """Write the plain picture, its boxes, and the picture with boxes and answer into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.image.save(folder / self.image_file_name)
        write_boxes(folder / self.boxes_file_name, self.regions.boxes_xyxy_px)
        self.draw().save(folder / f"{self.name}.answered.png")


def demonstrate(predictor: LxmertPredictor, *, seed: int, index: int, questions: int) -> Demonstration:
    """Generate picture `index` of the world `seed`, with questions about it, and answer them.

    Args:
        predictor: a model trained on generated scenes.
        seed: identifies the world; the same seed draws the same pictures.
        index: number of the picture, from 0.
        questions: number of questions.
    """
    image, scene, scene_questions = sample(seed, index, questions=questions)
    texts = [question.text for question in scene_questions]
    predictor.check(texts)
    needs_boxes = predictor.needs_boxes
    regions = predictor.regions(image, scene.boxes_xyxy_px() if needs_boxes else None)
    answers = predictor.answer(regions, texts)
    true_names = tuple(f"{item.color} {item.shape}" for item in scene.objects)
    return Demonstration(
        name=f"scene-{seed}-{index}",
        image=image,
        regions=regions,
        labels=true_names if needs_boxes else predictor.names().describe(regions),
        has_detected_objects=regions.object_ids is not None,
        scene_object_count=len(scene.objects),
        questions=tuple(
            AnsweredQuestion(question.text, question.answer, best.text, best.probability)
            for question, (best, *_) in zip(scene_questions, answers, strict=True)
        ),
    )
