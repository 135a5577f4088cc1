"""`Ranks`: which process of several this is, read from the environment, and which one leads."""

import pytest

from lxmert.errors import ConfigurationError
from lxmert.inference.ranks import Ranks


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Ranks()),
        ({"RANK": "3", "WORLD_SIZE": "4"}, Ranks(3, 4, 3)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Ranks(3, 4, 1)),
        ({"WORLD_SIZE": "1", "MASTER_ADDR": "x", "MASTER_PORT": "1"}, Ranks()),
    ],
)
def test_ranks_are_read_from_environment(environment: dict[str, str], expected: Ranks) -> None:
    assert Ranks.from_environment(environment) == expected


@pytest.mark.parametrize("environment", [{"RANK": "x"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "-1"}])
def test_invalid_rank_variables_raise_configuration_error(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="RANK"):
        Ranks.from_environment(environment)


@pytest.mark.parametrize(
    ("ranks", "is_leader"),
    [
        (Ranks(), True),
        (Ranks(0, 3, is_connected=True), True),
        (Ranks(1, 3, 1, is_connected=True), False),
        (Ranks(2, 3, 2, is_connected=False), True),
    ],
)
def test_is_leader_is_true_for_rank_0_and_unconnected_ranks(ranks: Ranks, is_leader: bool) -> None:
    assert ranks.is_leader == is_leader
