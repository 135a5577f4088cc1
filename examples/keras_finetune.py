"""Fine-tunes for visual question answering with Keras: `compile`, `fit`, `predict`, official accuracy.

The encoders of a model folder, by default of the embedded model, get a new answer head; `fit` trains them on
the made world as the recipe `scenes_vqa` does in PyTorch: same batches in the same order, same optimiser,
same learning rate schedule. The result is a model folder of the PyTorch classes, which answer the same test
questions for comparison with Keras.

    python examples/keras_finetune.py                      # a small data set, made here
    lxmert scenes make scenes-data --images 12000 --seed 1
    lxmert extract scenes-data/images -o scenes-data/features --workers 2
    python examples/keras_finetune.py scenes-data --features scenes-data/features --output of_keras
"""

import argparse
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lxmert import LxmertForQuestionAnswering, LxmertProcessor, TFLxmertForQuestionAnswering, TFLxmertModel
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.joined_stores import open_stores
from lxmert.data.task_dataset import TargetKind, TaskCollator, TaskDataset
from lxmert.data.task_examples import Subset
from lxmert.inference.models import embedded_model_folder
from lxmert.scenes import make_scenes
from lxmert.training.evaluation import load_regions, run_model, score_labels
from lxmert.training.sampling import ShuffledSampler
from lxmert.training.vqa_task import VqaTask

# Made pictures show at most ten objects; the detector may find one twice. With one number for all batches and
# a few text lengths, the step is compiled for few shapes.
MOST_OBJECTS = 12
WORDS_MULTIPLE_OF = 4


class Batches(keras.utils.PyDataset):
    """A split in batches of questions of similar length.

    Args:
        data: the data directory.
        split: the split's name.
        images: number of images whose questions are used, from the first on; None for all.
        processor: has the tokenizer, the answers, and the extractor.
        store: the feature store; None to extract objects from the pictures.
        batch_size: questions per batch.
        seed: seed of the order, which differs in every epoch; None to sort by length.
    """

    def __init__(
        self,
        data: Path,
        split: str,
        images: int | None,
        processor: LxmertProcessor,
        store: Path | None,
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.examples = VqaTask().split(data, split, subset=Subset(first_images=images)).read()
        self.answers = AnswerVocabulary(processor.answers)
        regions = load_regions(self.examples, processor, open_stores([store]) if store else None)
        words, tokenizer = processor.max_text_length, processor.tokenizer
        targets = self.examples.targets(self.answers)
        self.items = TaskDataset(self.examples.examples, targets, tokenizer, words, regions)
        self.collate = TaskCollator(
            regions, tokenizer.pad_token_id, len(self.answers), TargetKind.CLASS, WORDS_MULTIPLE_OF
        )
        self.batch_size, self.epoch = batch_size, 0
        lengths = self.items.lengths
        self.sampler = (
            None if seed is None else ShuffledSampler(lengths, batch_size, seed, group_by_length=True)
        )
        self.order = np.argsort(lengths, kind="stable") if self.sampler is None else list(self.sampler)

    def __len__(self) -> int:
        return math.ceil(len(self.items) / self.batch_size)

    def __getitem__(self, number: int) -> tuple[dict[str, np.ndarray]]:
        rows = self.order[number * self.batch_size :][: self.batch_size]
        found = self.collate([self.items[int(row)] for row in rows])
        batch = {name: tensor.numpy() for name, tensor in found.items()}
        for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
            values = batch[name][:, :MOST_OBJECTS]
            missing = MOST_OBJECTS - values.shape[1]
            batch[name] = np.pad(values, [(0, 0), (0, missing)] + [(0, 0)] * (values.ndim - 2))
        return (batch,)  # inputs and labels together: the model computes its own loss

    def on_epoch_end(self) -> None:
        """Reorder the questions for the next epoch."""
        if self.sampler is not None:
            self.epoch += 1
            self.sampler.set_epoch(self.epoch)
            self.order = list(self.sampler)

    def accuracy(self, labels: Sequence[int]) -> float:
        """Return the official accuracy in percent of class ids, one for each question in reading order."""
        return score_labels(VqaTask(), labels, self.examples, self.answers, len(labels)).accuracy


def pipeline(batches: Batches) -> Any:
    """Return the batches, epoch by epoch, in the form that suits the backend best.

    For TensorFlow this is `tf.data` with a declared variable text length: Keras would infer a fixed length
    from the first two batches.
    """
    if keras.config.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def epoch() -> Iterator[dict[str, np.ndarray]]:
        for number in range(len(batches)):
            yield batches[number][0]
        batches.on_epoch_end()

    signature = {
        name: tf.TensorSpec((None, *(None for _ in array.shape[1:2]), *array.shape[2:]), array.dtype)
        for name, array in batches[0][0].items()
    }
    data = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    return data.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(1)


class RiseAndFall(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly from 0 to its peak and falls linearly to 0 at the last step."""

    def __init__(self, peak: float, rising_steps: int, steps: int) -> None:
        self.peak, self.rising_steps, self.steps = peak, rising_steps, steps

    def __call__(self, step: Any) -> Any:
        """Return the learning rate at a step."""
        step = keras.ops.cast(step, "float32")
        rising = step / max(self.rising_steps, 1)
        falling = (self.steps - step) / max(self.steps - self.rising_steps, 1)
        return self.peak * keras.ops.clip(keras.ops.minimum(rising, falling), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that Keras needs to make it again."""
        return {"peak": self.peak, "rising_steps": self.rising_steps, "steps": self.steps}


class TellProgress(keras.callbacks.Callback):
    """Prints the mean loss of the epoch every `every_steps` steps."""

    def __init__(self, every_steps: int) -> None:
        super().__init__()
        self.every_steps, self.step = every_steps, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        self.step += 1
        if self.step % self.every_steps == 0:
            print(f"step {self.step}: loss {float(logs['loss']):.3f}", flush=True)


def starting_model(folder: Path, precision: str, *, keep_head: bool) -> TFLxmertForQuestionAnswering:
    """Load the model of a folder; unless its head is kept, with a randomly initialised answer head."""
    if keep_head:
        return TFLxmertForQuestionAnswering.from_pretrained(folder, dtype=precision)
    config = LxmertForQuestionAnswering.config_class.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as encoders:
        TFLxmertModel.from_pretrained(folder).save_pretrained(encoders)
        return TFLxmertForQuestionAnswering.from_pretrained(encoders, config=config, dtype=precision)


def optimizer(peak: float, rising_steps: int, steps: int) -> keras.optimizers.Optimizer:
    """Make AdamW as in the recipe `scenes_vqa`."""
    made = keras.optimizers.AdamW(
        RiseAndFall(peak, rising_steps, steps),
        weight_decay=0.01,
        beta_2=0.98,
        epsilon=1e-6,
        global_clipnorm=1.0,
    )
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


def accuracy_in_keras(model: TFLxmertForQuestionAnswering, test: Batches) -> float:
    """Return the official accuracy in percent."""
    scores = model.predict(pipeline(test), verbose=0)["question_answering_score"]
    labels = np.empty(len(test.items), np.int64)
    labels[test.order] = np.asarray(scores, np.float32).argmax(axis=-1)
    return test.accuracy(labels.tolist())


def accuracy_in_pytorch(folder: Path, processor: LxmertProcessor, test: Batches, store: Path | None) -> float:
    """Return the official accuracy in percent of a saved folder, loaded by the PyTorch class."""
    model = LxmertForQuestionAnswering.from_pretrained(folder)
    labels = run_model(model, processor, test.examples, [store] if store else [])
    return test.accuracy(labels)


def use_threads(count: int | None) -> None:
    """Set the number of CPU threads of TensorFlow; None keeps its default."""
    if count is not None and keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("data", nargs="?", type=Path, help="data directory; a small one is made if not given")
    add("--features", type=Path, help="its feature store; the pictures are looked at if not given")
    add("--model", type=Path, help="model folder to start from (default: the embedded model)")
    add("--keep-head", action="store_true", help="start from the folder's answer head, not from a new one")
    add("--save-start", type=Path, help="also write the first weights, as a model folder")
    add("--output", type=Path, help="model folder to write")
    add("--train-images", type=int, help="only so many training images (default: all, 24 of the small set)")
    add("--test-images", type=int, help="only so many test images (default: all)")
    add("--epochs", type=int, default=1)
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=6e-4, help="at its peak")
    add("--warmup", type=float, default=0.1, help="share of the steps up to the peak")
    add("--seed", type=int, default=9595, help="of the new head and of the order of questions")
    add("--precision", default="float32", choices=["float32", "mixed_bfloat16", "mixed_float16"])
    add("--jit", action="store_true", help="compile the steps with XLA, once for each length of texts")
    add("--threads", type=int, help="CPU threads of TensorFlow")
    add("--tell-every", type=int, default=500, metavar="STEPS", help="steps between two lines of progress")
    return parser.parse_args()


def main() -> None:
    """Make or read the data, train, and print the results."""
    given = arguments()
    use_threads(given.threads)
    keras.utils.set_random_seed(given.seed)
    folder = given.model or embedded_model_folder()
    processor = LxmertProcessor.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as made:
        data = given.data or Path(made)
        if given.data is None:
            make_scenes(data, images=30, seed=2, progress=False)
        train = Batches(
            data, "train", given.train_images, processor, given.features, given.batch_size, given.seed
        )
        test = Batches(data, "test", given.test_images, processor, given.features, batch_size=512)

        model = starting_model(folder, given.precision, keep_head=given.keep_head)
        if given.save_start:
            model.save_pretrained(given.save_start)
            processor.save_pretrained(given.save_start)
        print(f"before: {accuracy_in_keras(model, test):.2f} % of {len(test.items)} questions")
        steps = len(train) * given.epochs
        rule = optimizer(given.learning_rate, math.ceil(given.warmup * steps), steps)
        model.compile(rule, jit_compile=given.jit)
        tell = TellProgress(given.tell_every)
        # `Batches` shuffles by itself; shuffle=True would shuffle whole batches.
        model.fit(pipeline(train), epochs=given.epochs, shuffle=False, verbose=2, callbacks=[tell])

        print(f"after, in Keras: {accuracy_in_keras(model, test):.2f} %")
        output = given.output or Path(made) / "model"
        model.save_pretrained(output)
        processor.save_pretrained(output)
        same = accuracy_in_pytorch(output, processor, test, given.features)
        print(f"after, the saved folder in PyTorch: {same:.2f} %")


if __name__ == "__main__":
    main()
