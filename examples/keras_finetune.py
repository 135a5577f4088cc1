"""Fine-tunes for visual question answering with Keras: `compile`, `fit`, `predict`, and the official figure.

The encoders of the embedded model get an answer head that knows nothing; `fit` teaches it on the made world.
Beside the result stands what the embedded model, trained in PyTorch, reaches on the same questions.

    python examples/keras_finetune.py                      # a small data set, made here
    lxmert scenes make scenes-data --images 12000 --seed 1
    lxmert extract scenes-data/images -o scenes-data/features --workers 2
    python examples/keras_finetune.py scenes-data --features scenes-data/features --train-images 2000
"""

import argparse
import math
import tempfile
from pathlib import Path

import keras
import numpy as np

from lxmert import LxmertForQuestionAnswering, LxmertProcessor, TFLxmertForQuestionAnswering, TFLxmertModel
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.collation import TargetKind, TaskCollator, TaskDataset
from lxmert.data.joined_stores import open_stores
from lxmert.data.task_examples import Part
from lxmert.inference.models import embedded_model_folder
from lxmert.scenes import make_scenes
from lxmert.training.evaluation import evaluate_model, regions_for, score_labels
from lxmert.training.vqa_task import VqaTask

# Made pictures show at most ten objects; the detector may find one twice.
MOST_OBJECTS = 12


class Batches(keras.utils.PyDataset):
    """A split in batches of one shape, so that Keras compiles the model once."""

    def __init__(self, data: Path, split: str, images: int, processor: LxmertProcessor, store: Path | None):
        super().__init__()
        self.examples = VqaTask().split(data, split, part=Part(first_images=images)).read()
        self.answers = AnswerVocabulary(processor.answers)
        regions = regions_for(self.examples, processor, open_stores([store]) if store else None)
        words, tokenizer = processor.max_text_length, processor.tokenizer
        targets = self.examples.targets(self.answers)
        self.items = TaskDataset(self.examples.examples, targets, tokenizer, words, regions)
        classes = len(self.answers)
        self.collate = TaskCollator(regions, tokenizer.pad_token_id, classes, TargetKind.CLASS, words)
        self.order, self.batch_size = np.arange(len(self.items)), 64

    def __len__(self) -> int:
        return math.ceil(len(self.items) / self.batch_size)

    def __getitem__(self, number: int) -> tuple[dict[str, np.ndarray]]:
        rows = self.order[number * self.batch_size :][: self.batch_size]
        batch = {
            name: tensor.numpy() for name, tensor in self.collate([self.items[row] for row in rows]).items()
        }
        for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
            values = batch[name][:, :MOST_OBJECTS]
            missing = MOST_OBJECTS - values.shape[1]
            batch[name] = np.pad(values, [(0, 0), (0, missing)] + [(0, 0)] * (values.ndim - 2))
        return (batch,)  # inputs and labels together: the model computes its own loss

    def shuffle(self) -> None:
        """Bring the questions into another order."""
        np.random.default_rng(len(self)).shuffle(self.order)


def model_with_a_new_head(folder: Path) -> TFLxmertForQuestionAnswering:
    """The encoders of a model folder, and an answer head at random values."""
    config = LxmertForQuestionAnswering.config_class.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as encoders:
        TFLxmertModel.from_pretrained(folder).save_pretrained(encoders)
        return TFLxmertForQuestionAnswering.from_pretrained(encoders, config=config)


def official_accuracy(model: TFLxmertForQuestionAnswering, batches: Batches) -> float:
    """VQA accuracy in percent."""
    scores = model.predict(batches, verbose=0)["question_answering_score"]
    labels = np.asarray(scores).argmax(axis=-1).tolist()
    return score_labels(VqaTask(), labels, batches.examples, batches.answers, len(labels)).accuracy


def main() -> None:
    """Make or read the data, train, and tell both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="data directory; a small one is made if not given")
    parser.add_argument(
        "--features", type=Path, help="its feature store; the pictures are looked at if not given"
    )
    parser.add_argument("--train-images", type=int, default=24)
    parser.add_argument("--test-images", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    given = parser.parse_args()
    keras.utils.set_random_seed(0)
    folder = embedded_model_folder()
    processor = LxmertProcessor.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as made:
        data = given.data or Path(made)
        if given.data is None:
            make_scenes(data, images=30, seed=2, progress=False)
        train = Batches(data, "train", given.train_images, processor, given.features)
        test = Batches(data, "test", given.test_images, processor, given.features)
        train.shuffle()

        model = model_with_a_new_head(folder)
        print(f"{model.name}: {official_accuracy(model, test):.1f} % with a new head")
        steps = len(train) * given.epochs
        rate = keras.optimizers.schedules.CosineDecay(given.learning_rate, steps)
        model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01, clipnorm=1.0), jit_compile=False)
        model.fit(train, epochs=given.epochs, verbose=2)
        print(f"{model.name}: {official_accuracy(model, test):.2f} % of {len(test.items)} after fine-tuning")

        own = TFLxmertForQuestionAnswering.from_pretrained(folder)
        print(f"the embedded weights, in Keras: {official_accuracy(own, test):.2f} %")
        torch_model = LxmertForQuestionAnswering.from_pretrained(folder)
        stores = [given.features] if given.features else []
        limit = len(test.items)
        report = evaluate_model(torch_model, processor, data, "test", limit=limit, features=stores)
        print(f"the embedded weights, in PyTorch: {report.accuracy:.2f} %")


if __name__ == "__main__":
    main()
