"""Fillers: items that complete the last batches where examples run out, without any label or object."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lxmert.training.even_batches import FilledCollator, FilledDataset, FilledItem, FilledSampler
from lxmert.training.sampling import ShuffledSampler


@given(examples=st.integers(0, 40), multiple=st.integers(1, 12), epoch=st.integers(0, 3))
def test_filled_sampler_appends_fillers_up_to_a_multiple(examples: int, multiple: int, epoch: int) -> None:
    order = ShuffledSampler([3] * examples, 4, 1, group_by_length=False)
    sampler = FilledSampler(order, multiple)
    sampler.set_epoch(epoch)
    indices = list(sampler)
    assert len(indices) == len(sampler)
    assert len(indices) % multiple == 0
    expected = ShuffledSampler([3] * examples, 4, 1, group_by_length=False)
    expected.set_epoch(epoch)
    assert indices[:examples] == list(expected)
    fillers = indices[examples:]
    assert len(fillers) < multiple
    # They repeat the last example, which is about as long as the others of its batch.
    assert all(index == examples + indices[examples - 1] for index in fillers)


def test_indices_beyond_the_examples_give_fillers() -> None:
    data: Any = FilledDataset(["a", "b", "c"])  # type: ignore[arg-type]
    assert data[2] == FilledItem("c", is_filler=False)  # type: ignore[arg-type]
    assert data[4] == FilledItem("b", is_filler=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "unlabelled"),
    [
        (torch.tensor([4, 5, 6]), torch.tensor([4, -1, 6])),
        (
            torch.tensor([[0.3, 0.0], [1.0, 0.0], [0.0, 0.9]]),
            torch.tensor([[0.3, 0.0], [-1, -1], [0.0, 0.9]]),
        ),
    ],
)
def test_filler_has_no_label_and_no_visible_object(labels: torch.Tensor, unlabelled: torch.Tensor) -> None:
    mask = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]] * 3)  # two images each
    features = torch.rand(3, 2, 2, 5)

    def collate(items: Any) -> dict[str, torch.Tensor]:
        assert items == ["a", "b", "c"]
        return {"labels": labels, "visual_attention_mask": mask, "visual_feats": features}

    items: Any = [FilledItem(name, name == "b") for name in "abc"]  # type: ignore[arg-type]
    batch = FilledCollator(collate)(items)
    assert torch.equal(batch["labels"], unlabelled)
    assert torch.equal(batch["visual_attention_mask"], torch.stack([mask[0], torch.zeros(2, 2), mask[2]]))
    assert batch["visual_feats"] is features
    # What was given stays as it was: regions may be shared with other batches.
    assert mask.sum() == 9
