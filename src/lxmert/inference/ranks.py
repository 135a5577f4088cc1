"""This process among those started by `torchrun` or `accelerate launch`: its share, and their common end.

Bulk work needs communication only at the end: if a rank exited early with a status other than 0, the launcher
would stop all the others.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, TypeVar

import torch
from torch import distributed

from lxmert.errors import ConfigurationError

_Item = TypeVar("_Item")

_GROUP_TIMEOUT = timedelta(days=60)


@dataclass(frozen=True)
class Ranks:
    """This process among several.

    Attributes:
        rank: its number, from 0.
        world_size: number of processes.
        local_rank: its number on this machine, which selects its GPU.
        is_connected: whether the processes can reach one another.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    is_connected: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read RANK, WORLD_SIZE and LOCAL_RANK; connect if MASTER_ADDR and MASTER_PORT are set.

        Raises:
            ConfigurationError: they are not numbers, or the rank is not below the count.
        """
        try:
            rank, world_size = int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1))
            local_rank = int(environment.get("LOCAL_RANK", rank))
        except ValueError as error:
            raise ConfigurationError(f"RANK, WORLD_SIZE or LOCAL_RANK is not a number: {error}") from error
        if not 0 <= rank < world_size:
            raise ConfigurationError(
                f"RANK is {rank} of WORLD_SIZE {world_size}; expected 0 to {world_size - 1}"
            )
        is_connected = world_size > 1 and {"MASTER_ADDR", "MASTER_PORT"} <= environment.keys()
        if is_connected and not distributed.is_initialized():
            distributed.init_process_group("gloo", rank=rank, world_size=world_size, timeout=_GROUP_TIMEOUT)
        return cls(rank, world_size, local_rank, is_connected)

    @property
    def is_leader(self) -> bool:
        """Whether this process does what is done once for all connected ones: decide, report, write.

        It is the first of those connected; a process that is not connected is its own leader.
        """
        return self.rank == 0 or not self.is_connected

    def shard(self, items: Sequence[_Item]) -> list[_Item]:
        """Return every `world_size`-th item from `rank` on, which does not depend on what is done already."""
        return list(items[self.rank :: self.world_size])

    def sum_over_ranks(self, counts: Sequence[int]) -> list[int]:
        """Wait for all ranks and sum their counts; return this rank's own if they are not connected."""
        if not self.is_connected:
            return list(counts)
        summed = torch.tensor(counts, dtype=torch.int64)
        distributed.all_reduce(summed)
        return [int(value) for value in summed]

    def leave_group(self) -> None:
        """Leave the process group."""
        if self.is_connected:
            leave_group()


def leave_group() -> None:
    """Leave the process group, if this process is in one; a process that ends in it may crash at its end."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
