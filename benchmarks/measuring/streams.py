"""Questions about images with the distributions of VQA: lengths, questions per image, and order.

Lengths and questions per image are those of 169 consecutive questions of the official VQA v2 validation file
(v2_OpenEnded_mscoco_val2014_questions.json), in word pieces of BERT's uncased vocabulary with [CLS] and
[SEP]. On average they have 9.44 word pieces (6.27 words) and 94.40 bytes, with 5.45 per image; those of the
whole file have 94.46 bytes, and the training split has 443,757 / 82,783 = 5.36 per image.

Shapes: Q questions, N images, O objects, D width of features, P of positions.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LENGTHS = {6: 3, 7: 26, 8: 32, 9: 30, 10: 33, 11: 26, 12: 10, 13: 3, 14: 2, 16: 2, 17: 1, 18: 1}
"""Number of questions by number of word pieces."""
QUESTIONS_PER_IMAGE = {3: 18, 4: 3, 5: 3, 6: 1, 7: 1, 8: 1, 10: 1, 11: 1, 22: 1, 24: 1}
"""Number of images by number of questions."""

OBJECTS = 36
CLS, SEP, FIRST_WORD = 101, 102, 1000
"""Ids of BERT's vocabulary; words begin at about 1000."""


@dataclass(frozen=True)
class Stream:
    """Questions about images, in the caller's order: consecutive for each image, as in VQA's files.

    Attributes:
        token_ids: ids of each question, with [CLS] and [SEP].
        images: index of each question's image.
        visual_feats: (N, O, D) float32.
        visual_pos: (N, O, P) float32.
        visual_attention_mask: (N, O) 1 for an object and 0 for padding; None without padding.
    """

    token_ids: Sequence[Sequence[int]]
    images: Sequence[int]
    visual_feats: Tensor
    visual_pos: Tensor
    visual_attention_mask: Tensor | None = None

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.token_ids)

    @property
    def objects(self) -> list[int]:
        """Number of objects of each image."""
        mask = self.visual_attention_mask
        if mask is None:
            return [self.visual_feats.shape[1]] * len(self.visual_feats)
        return mask.sum(dim=1).tolist()

    @property
    def work(self) -> tuple[list[tuple[int, int]], list[int]]:
        """Return arguments for `work.stream_operations`: words and image per question, objects per image."""
        lengths = [len(ids) for ids in self.token_ids]
        return list(zip(lengths, self.images, strict=True)), self.objects


def generate_stream(config: Any, questions: int, images: int) -> Stream:
    """Make distinct questions of random words about random objects, with VQA's lengths and numbers per image.

    Args:
        config: sizes of vocabulary and features.
        questions: number of questions.
        images: approximate number of images; each has at least one question.
    """
    draw = random.Random(0)
    lengths = histogram_quantiles(LENGTHS, questions)
    draw.shuffle(lengths)
    first = min(FIRST_WORD, config.vocab_size // 2)
    special = (CLS, SEP) if config.vocab_size > FIRST_WORD else (1, 2)
    texts: dict[tuple[int, ...], None] = {}
    while len(texts) < questions:
        words = (draw.randrange(first, config.vocab_size) for _ in range(lengths[len(texts)] - 2))
        texts[(special[0], *words, special[1])] = None
    counts = questions_per_image(questions, images, draw)
    generator = torch.Generator().manual_seed(0)
    return Stream(
        token_ids=[list(ids) for ids in texts],
        images=[image for image, count in enumerate(counts) for _ in range(count)],
        # Features are averages after a ReLU, thus non-negative.
        visual_feats=torch.rand(images, OBJECTS, config.visual_feat_dim, generator=generator),
        visual_pos=torch.rand(images, OBJECTS, config.visual_pos_dim, generator=generator),
    )


def histogram_quantiles(histogram: dict[int, int], total: int) -> list[int]:
    """Return `total` values in the histogram's proportions, sorted: samples at equal distances from it."""
    values = [value for value, count in sorted(histogram.items()) for _ in range(count)]
    return [values[int((place + 0.5) * len(values) / total)] for place in range(total)]


def questions_per_image(questions: int, images: int, draw: random.Random) -> list[int]:
    """Return the number of questions of each image, in VQA's proportions, `questions` in total."""
    counts = histogram_quantiles(QUESTIONS_PER_IMAGE, images)
    draw.shuffle(counts)
    scale = questions / sum(counts)
    edges = [round(scale * sum(counts[: place + 1])) for place in range(images)]
    return [after - before for before, after in zip([0, *edges], edges, strict=False)]


def load_scenes_stream(data: Path, features: Path, tokenizer: Any, max_words: int, questions: int) -> Stream:
    """Read the first questions of the test split of made scenes, with features from a store.

    Args:
        data: folder written by `lxmert scenes make`.
        features: feature store of its images.
        tokenizer: the model's.
        max_words: maximum number of word pieces of the model.
        questions: number of questions.
    """
    from lxmert.data.joined_stores import open_stores
    from lxmert.data.region_source import open_regions
    from lxmert.data.task_examples import Purpose, Subset
    from lxmert.training.task_registry import get_task

    split = get_task("vqa").split(data, "test", None, Subset(first_examples=questions), Purpose.PREDICTION)
    examples = split.read().examples
    names = list(dict.fromkeys(example.images[0] for example in examples))
    source = open_regions(open_stores([features]), names)
    batch = source.batch(torch.tensor([source.rows[name] for name in names]))
    number = {name: place for place, name in enumerate(names)}
    return Stream(
        token_ids=[
            tokenizer(example.text, truncation=True, max_length=max_words)["input_ids"]
            for example in examples
        ],
        images=[number[example.images[0]] for example in examples],
        visual_feats=batch["visual_feats"],
        visual_pos=batch["visual_pos"],
        visual_attention_mask=batch["visual_attention_mask"],
    )
