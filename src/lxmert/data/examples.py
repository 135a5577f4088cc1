"""What the readers of annotation files return: the examples of a file in its order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, overload

_Example = TypeVar("_Example")


@dataclass(frozen=True)
class Examples(Sequence[_Example]):
    """A sequence of examples.

    Attributes:
        examples: The examples.
    """

    examples: tuple[_Example, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.examples)

    @overload
    def __getitem__(self, index: int) -> _Example: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_Example, ...]: ...
    def __getitem__(self, index: int | slice) -> _Example | tuple[_Example, ...]:
        return self.examples[index]

    def __iter__(self) -> Iterator[_Example]:
        return iter(self.examples)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} examples)"
