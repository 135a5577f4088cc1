"""One made-up picture, questions about it, and a model's answers beside the truth."""

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
    """A question of the made world with the model's best answer."""

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
    """A picture, what the model saw in it, and what it answered.

    Attributes:
        name: stands in the names of the files.
        picture: the picture alone.
        regions: what the model saw.
        labels: a name for each object, or None; found ones are called as the detector calls them.
        found: True where a detector found the objects, False where boxes were told or laid by rule.
        drawn_objects: how many objects the picture shows.
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
        """How many questions the model answered truly."""
        return sum(one.is_right for one in self.asked)

    def drawn(self) -> Image.Image:
        """The picture with its boxes and the first question with its answer."""
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
    """Draw picture `index` of the world `seed`, ask about it and answer.

    Args:
        predictor: a model trained on the made world.
        seed: names the world; the same seed draws the same pictures.
        index: which picture of it, from 0.
        questions: how many questions to ask.
    """
    picture, scene, wanted = sample(seed, index, questions=questions)
    predictor.check([question.text for question in wanted])
    told = predictor.needs_boxes
    regions = predictor.regions(picture, scene.boxes_xyxy_px() if told else None)
    answers = predictor.answer(regions, [question.text for question in wanted])
    true_names = tuple(f"{one.color} {one.shape}" for one in scene.objects)
    return Demonstration(
        name=f"scene-{seed}-{index}",
        picture=picture,
        regions=regions,
        labels=true_names if told else predictor.names().describe(regions),
        found=regions.object_ids is not None,
        drawn_objects=len(scene.objects),
        asked=tuple(
            AskedQuestion(question.text, question.answer, best.text, best.probability)
            for question, (best, *_) in zip(wanted, answers, strict=True)
        ),
    )
