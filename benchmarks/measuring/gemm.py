"""The machine's rate of matrix multiplication: the limit with which the models' times are compared.

Measured with `torch.nn.functional.linear` on the shapes of LXMERT's layers: rows (words or objects of a
batch) times 768 × 3072, 3072 × 768 and 768 × 768. The limit of a dtype is the best of these rates, each the
median over the rounds of the run.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from measuring.models import DTYPES
from measuring.rounds import seconds_of

HIDDEN, INTERMEDIATE = 768, 3072
ROWS = (720, 1440, 2880)
"""Objects of 20, 40 and 80 images, or words of about 70 to 300 questions."""
ROWS_ON_GPU = (8192, 16384, 32768)

_OPERATIONS = 2e10
"""Least number of operations per timing: about 20 ms at 1 TFLOP/s."""


@dataclass
class GemmRates:
    """Rates by dtype and shape, in floating point operations per second; each `measure` adds one of each.

    Args:
        device: the device.
        dtypes: names of DTYPES.
        quick: True for one small shape and few operations, to test that it runs.
    """

    device: str = "cpu"
    dtypes: Sequence[str] = tuple(DTYPES)
    quick: bool = False
    _rates: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def measure(self) -> None:
        """Time every shape once."""
        rows = (64,) if self.quick else ROWS_ON_GPU if self.device == "cuda" else ROWS
        for dtype in self.dtypes:
            rates = self._rates.setdefault(dtype, {})
            for count in rows:
                for inputs, outputs in ((HIDDEN, INTERMEDIATE), (INTERMEDIATE, HIDDEN), (HIDDEN, HIDDEN)):
                    rate = self._rate(count, inputs, outputs, dtype)
                    rates.setdefault(f"{count} x {inputs} x {outputs}", []).append(rate)

    def _rate(self, rows: int, inputs: int, outputs: int, dtype: str) -> float:
        options = {"dtype": DTYPES[dtype], "device": self.device}
        states, weights = torch.randn(rows, inputs, **options), torch.randn(outputs, inputs, **options)
        operations = 2 * rows * inputs * outputs
        faster = 0 if self.quick else 200 if self.device == "cuda" else 1
        repeats = max(1, round(_OPERATIONS * faster / operations))
        _multiply(states, weights, 2)
        return operations * repeats / seconds_of(lambda: _multiply(states, weights, repeats), self.device)

    def limit(self, dtype: str) -> float:
        """Return the rate of the best shape, in floating point operations per second."""
        return self.best(dtype)[1]

    def best(self, dtype: str) -> tuple[str, float]:
        """Return the best shape and its rate."""
        medians = {shape: statistics.median(rates) for shape, rates in self._rates[dtype].items()}
        return max(medians.items(), key=lambda entry: entry[1])

    def told(self) -> Mapping[str, Mapping[str, object]]:
        """Return, by dtype, the limit and its shape, and the rates of all shapes, in GFLOP/s."""
        found = {}
        for dtype, rates in self._rates.items():
            shape, limit = self.best(dtype)
            found[dtype] = {
                "limit_gflops": round(limit / 1e9, 1),
                "shape": shape,
                "all_gflops": {name: round(statistics.median(each) / 1e9, 1) for name, each in rates.items()},
            }
        return found


@torch.inference_mode()
def _multiply(states: Tensor, weights: Tensor, repeats: int) -> None:
    for _ in range(repeats):
        F.linear(states, weights)
