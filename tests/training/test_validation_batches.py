import torch
from torch.utils.data import Dataset

from lxmert.training.validation_batches import validation_batches


class Sentences(Dataset[int]):
    """Items are their own lengths."""

    lengths = (7, 3, 5, 3, 9, 4, 6)

    def __getitem__(self, index: int) -> int:
        return self.lengths[index]

    def __len__(self) -> int:
        return len(self.lengths)


def collate(items: list[int]) -> dict[str, list[int]]:
    return {"lengths": items}


def batches(**settings: int) -> list[tuple[list[int], list[int]]]:
    found = validation_batches(Sentences(), collate, 3, **settings)
    return [(rows.tolist(), batch["lengths"]) for rows, batch in found]


def test_batches_are_of_similar_length_in_the_order_of_the_data_among_equals() -> None:
    assert batches() == [([1, 3, 5], [3, 3, 4]), ([2, 6, 0], [5, 6, 7]), ([4], [9])]
    assert batches(loader_processes=1) == batches()


def test_each_batch_is_that_of_one_process() -> None:
    whole = batches()
    assert batches(rank=0, ranks=2) == whole[::2]
    assert batches(rank=1, ranks=2) == whole[1::2]
    assert batches(rank=3, ranks=4) == []


def test_random_numbers_stay_those_of_training() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    batches()
    assert torch.equal(torch.rand(2), expected)
