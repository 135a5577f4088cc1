import pytest
import torch
from accelerate import PartialState
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from transformers import TrainerControl, TrainerState

from lxmert.training.sampling import DrawSampler, SetEpochCallback, ShuffledSampler


@given(
    lengths=st.lists(st.integers(3, 20), max_size=300),
    batch_size=st.integers(1, 7),
    epoch=st.integers(0, 5),
    grouped=st.booleans(),
)
def test_every_example_comes_once_per_epoch(
    lengths: list[int], batch_size: int, epoch: int, grouped: bool
) -> None:
    sampler = ShuffledSampler(lengths, batch_size, 1, group_by_length=grouped)
    sampler.set_epoch(epoch)
    assert sorted(sampler) == list(range(len(lengths)))
    assert len(sampler) == len(lengths)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = torch.randint(3, 20, (500,)).tolist()

    def order(seed: int, epoch: int) -> list[int]:
        sampler = ShuffledSampler(lengths, 8, seed, group_by_length=True)
        sampler.set_epoch(epoch)
        torch.rand(3)  # the global random generator has no effect
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    # Runs of neighbouring seeds are not the same run, shifted by an epoch.
    assert order(1, 3) != order(2, 2)


def test_group_by_length_batches_similar_lengths_and_shuffles_batches() -> None:
    lengths = torch.randint(3, 21, (4000,)).tolist()

    def batch_lengths(order: list[int]) -> list[list[int]]:
        return [[lengths[index] for index in order[start : start + 16]] for start in range(0, 4000, 16)]

    def spread(batches: list[list[int]]) -> float:
        return sum(max(batch) - min(batch) for batch in batches) / len(batches)

    order = list(ShuffledSampler(lengths, 16, 0, group_by_length=True))
    assert spread(batch_lengths(order)) < 2
    assert spread(batch_lengths(list(ShuffledSampler(lengths, 16, 0, group_by_length=False)))) > 10
    longest = [max(batch) for batch in batch_lengths(order)]
    assert longest != sorted(longest)
    assert set(order[:800]) != set(range(800))


def test_short_last_batch_is_drawn_from_all_lengths() -> None:
    """In an epoch of fewer batches than are sorted together, its examples are not the longest ones."""
    lengths = list(range(3, 26))
    sampler = ShuffledSampler(lengths, 5, 2, group_by_length=True)
    last_batches = []
    for epoch in range(400):
        sampler.set_epoch(epoch)
        last_batches.append(list(sampler)[20:])
    counts = torch.bincount(torch.tensor(last_batches).flatten(), minlength=23)
    # Each of 23 is expected 400 * 3 / 23 = 52 times, with a standard deviation of 6.7.
    assert 25 < counts.min() <= counts.max() < 80
    # Batches made of it have little padding too.
    assert all(batch == sorted(batch) for batch in last_batches)


def test_every_example_is_drawn_in_some_epoch_of_whole_batches() -> None:
    draws = DrawSampler(ShuffledSampler(list(range(3, 14)), 4, 7, group_by_length=True), 4)
    seen = set()
    for epoch in range(20):
        draws.set_epoch(epoch)
        seen |= {number % 11 for number in draws}
    assert seen == set(range(11))


def test_draw_numbers_encode_example_and_epoch_and_fill_whole_batches() -> None:
    order = ShuffledSampler([1] * 11, 4, 7, group_by_length=False)
    draws = DrawSampler(order, 4)
    assert len(draws) == 8
    seen = []
    for epoch in range(3):
        draws.set_epoch(epoch)
        numbers = list(draws)
        assert len(numbers) == 8
        assert {number // 11 for number in numbers} == {epoch}
        order.set_epoch(epoch)
        assert [number % 11 for number in numbers] == list(order)[:8]
        seen.append([number % 11 for number in numbers])
    # Each epoch leaves out other examples.
    assert len({frozenset(epoch) for epoch in seen}) > 1


@pytest.mark.parametrize("processes", [1, 2])
def test_resumed_epoch_continues_in_order_of_that_epoch(processes: int) -> None:
    """For each of several processes too, from whose loaders Accelerate then does not pass the epoch on."""
    PartialState()
    draws = DrawSampler(ShuffledSampler([1] * 12, 2 * processes, 3, group_by_length=False), 2 * processes)
    draws.set_epoch(4)
    expected = list(draws)
    draws.set_epoch(0)

    loader = prepare_data_loader(
        DataLoader(range(100), batch_size=2, sampler=draws),  # type: ignore[arg-type]
        num_processes=processes,
        process_index=processes - 1,
        put_on_device=False,
    )
    rest = skip_first_batches(loader, 1)
    state = TrainerState(epoch=4 + processes / 6)
    SetEpochCallback().on_epoch_begin(None, state, TrainerControl(), train_dataloader=loader)
    rest.set_epoch(4)
    shown = torch.cat(list(rest)).tolist()
    batches = [expected[first : first + 2] for first in range(0, 12, 2)][processes - 1 :: processes]
    assert shown == [index for batch in batches[1:] for index in batch]
