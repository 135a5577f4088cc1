"""Time saved by scoring only labelled words and objects in a training step of the full-size model.

Prints the seconds of the heads with their losses alone, and of the whole step, forward and backward, with
`return_all_logits` True and False, and the ratios. Runs alternate and the best of several counts, so that
other load affects both equally.
Launch: python benchmarks/labelled_heads.py [--batch 8] [--repeats 3] [--heads-only]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from lxmert.configuration import LxmertConfig
from lxmert.model import LxmertForPreTraining
from lxmert.model.outputs import LxmertModelOutput

WORDS, OBJECTS, RATE = 20, 36, 0.15


def generate_batch(size: int, config: LxmertConfig) -> dict[str, Any]:
    """Make a batch as in the paper: 20 words, 36 objects, 15 % of both masked, all objects labelled."""
    generator = torch.Generator().manual_seed(0)

    def ids(limit: int, *shape: int) -> torch.Tensor:
        return torch.randint(limit, shape, generator=generator)

    words, objects = (size, WORDS), (size, OBJECTS)
    labels = ids(config.vocab_size, *words)
    labels[torch.rand(words, generator=generator) >= RATE] = -100
    features = torch.rand(*objects, config.visual_feat_dim, generator=generator)
    return {
        "input_ids": ids(config.vocab_size, *words),
        "visual_feats": features,
        "visual_pos": torch.rand(*objects, 4, generator=generator),
        "labels": labels,
        "matched_label": ids(2, size),
        "ans": ids(config.num_qa_labels, size),
        "obj_labels": {
            "obj": (ids(config.num_object_labels, *objects), torch.rand(objects, generator=generator)),
            "attr": (ids(config.num_attr_labels, *objects), torch.rand(objects, generator=generator)),
            "feat": (features, (torch.rand(objects, generator=generator) < RATE).float()),
        },
    }


class ConstantEncoder(torch.nn.Module):
    """Returns constant states immediately, so that only the heads take time."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.words = torch.nn.Parameter(torch.randn(size, WORDS, hidden))
        self.objects = torch.nn.Parameter(torch.randn(size, OBJECTS, hidden))

    def forward(self, **_: Any) -> LxmertModelOutput:
        """Return the states."""
        return LxmertModelOutput(
            language_output=self.words, vision_output=self.objects, pooled_output=self.words[:, 0]
        )


def seconds(step: Callable[[bool], None], repeats: int) -> tuple[float, float]:
    """Return the best time of a step with all scores, and of one with those of labelled positions only."""
    best = {True: float("inf"), False: float("inf")}
    for _ in range(repeats):
        for all_logits in (True, False):
            start = time.perf_counter()
            step(all_logits)
            best[all_logits] = min(best[all_logits], time.perf_counter() - start)
    return best[True], best[False]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--heads-only", action="store_true")
    args = parser.parse_args()
    config = LxmertConfig()
    model = LxmertForPreTraining(config)
    batch = generate_batch(args.batch, config)

    def step(all_logits: bool) -> None:
        model.zero_grad()
        model(**batch, return_all_logits=all_logits).loss.backward()

    encoder = model.lxmert
    measured = {}
    if not args.heads_only:
        measured["whole step"] = seconds(step, args.repeats)
    model.lxmert = ConstantEncoder(args.batch, config.hidden_size)
    model.lxmert.embeddings = encoder.embeddings
    measured["heads and losses"] = seconds(step, args.repeats)
    for name, (all_logits, few) in measured.items():
        print(
            f"{name}: {all_logits:.2f} s with all scores, {few:.2f} s with labelled ones: "
            f"{all_logits / few:.2f} times"
        )


if __name__ == "__main__":
    main()
