"""Both sides of answering a stream of questions: `transformers` as a careful user runs it, and ours.

Shapes: B questions of a batch, W words, N images, O objects, H hidden, C classes.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lxmert.inference.bulk import BulkAnswerer
from lxmert.inference.bulk_packing import TokenizedQuestion
from measuring.streams import Stream

PEER_BATCH = 64


@torch.inference_mode()
def peer_scores(model: Any, stream: Stream, batch_size: int = PEER_BATCH) -> Tensor:
    """Return the peer's scores (Q, C) float32: batches in the caller's order, padded to their longest."""
    device, dtype = model.device, model.dtype
    scores = []
    for start in range(0, len(stream), batch_size):
        input_ids, mask = pad_token_ids(stream.token_ids[start : start + batch_size], device)
        images = torch.tensor(stream.images[start : start + batch_size])
        inputs = {
            "visual_feats": stream.visual_feats[images].to(device, dtype),
            "visual_pos": stream.visual_pos[images].to(device, dtype),
        }
        if stream.visual_attention_mask is not None:
            inputs["visual_attention_mask"] = stream.visual_attention_mask[images].to(device)
        answered = model(input_ids=input_ids, attention_mask=mask, **inputs)
        scores.append(answered.question_answering_score.float())
    return torch.cat(scores).cpu()


def our_scores(fast: Any, stream: Stream) -> Tensor:
    """Return the scores (Q, C) float32 of a FastModel, computed as in bulk answering.

    Args:
        fast: a FastModel.
        stream: the questions.
    """
    engine = BulkAnswerer(fast, _InMemoryObjects(stream), 0, _to_rows)
    asked = [
        TokenizedQuestion(np.array(ids, np.int64), (image,))
        for ids, image in zip(stream.token_ids, stream.images, strict=True)
    ]
    return torch.stack(engine.answer_in_order(asked))


class _InMemoryObjects:
    """The objects of a stream's images; see `lxmert.inference.bulk.ObjectSource`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        """See `ObjectSource.load`."""
        stream, numbers = self._stream, torch.tensor(images)
        mask = stream.visual_attention_mask
        shape = (len(images), stream.visual_feats.shape[1])
        return {
            "visual_feats": stream.visual_feats[numbers],
            "visual_pos": stream.visual_pos[numbers],
            "visual_attention_mask": torch.ones(shape).long() if mask is None else mask[numbers],
        }


def _to_rows(scores: Tensor) -> list[Tensor]:
    return list(scores.cpu())


def pad_token_ids(texts: Any, device: Any = "cpu", length: int | None = None) -> tuple[Tensor, Tensor]:
    """Return token ids (B, W) padded to the longest text or to `length`, and their mask (B, W)."""
    length = length or max(map(len, texts))
    input_ids = torch.zeros(len(texts), length, dtype=torch.long)
    mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(texts):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
    return input_ids.to(device), mask.to(device)


def answer_agreement(scores: Tensor, others: Tensor) -> float:
    """Return the fraction of questions with the same answer on both sides, 0..1."""
    return (scores.argmax(dim=1) == others.argmax(dim=1)).float().mean().item()
