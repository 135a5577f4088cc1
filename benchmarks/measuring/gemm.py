"""The machine's rate of matrix multiplication: the limit with which the models' times are compared.

Measured on the shapes of LXMERT's layers: rows (words or objects of a batch) times 768 × 3072, 3072 × 768 and
768 × 768, with `torch.nn.functional.linear` and, on a CPU, with oneDNN on weights in its own layout, which
compiled models use. The limit of a dtype is the best of these rates, each a median over the rounds.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from lxmert.cpu import onednn_linear
from measuring.models import DTYPES
from measuring.timing import seconds_of

HIDDEN, INTERMEDIATE = 768, 3072
ROWS = (720, 1440, 2880)
"""Objects of 20, 40 and 80 images, or words of about 70 to 300 questions."""
ROWS_ON_GPU = (8192, 16384, 32768)

_OPERATIONS = 2e10
"""Least number of operations per timing: about 20 ms at 1 TFLOP/s."""

TORCH, ONEDNN = "`torch.nn.functional.linear`", "oneDNN on weights in its layout"


@dataclass
class GemmRates:
    """Rates by dtype, product and shape, in floating point operations per second; `measure` adds one of each.

    Args:
        device: the device.
        dtypes: names of DTYPES.
        quick: True for one small shape and few operations, to test that it runs.
    """

    device: str = "cpu"
    dtypes: Sequence[str] = tuple(DTYPES)
    quick: bool = False
    _rates: dict[str, dict[tuple[str, str], list[float]]] = field(default_factory=dict)

    def measure(self) -> None:
        """Time every product of every shape once."""
        rows = (64,) if self.quick else ROWS_ON_GPU if self.device == "cuda" else ROWS
        for dtype in self.dtypes:
            rates = self._rates.setdefault(dtype, {})
            for count in rows:
                for inputs, outputs in ((HIDDEN, INTERMEDIATE), (INTERMEDIATE, HIDDEN), (HIDDEN, HIDDEN)):
                    for name, rate in self._measure_products(count, inputs, outputs, dtype).items():
                        rates.setdefault((name, f"{count} x {inputs} x {outputs}"), []).append(rate)

    @torch.inference_mode()
    def _measure_products(self, rows: int, inputs: int, outputs: int, dtype: str) -> dict[str, float]:
        """Return the rate of each product."""
        options = {"dtype": DTYPES[dtype], "device": self.device}
        states, weights = torch.randn(rows, inputs, **options), torch.randn(outputs, inputs, **options)
        products: dict[str, Callable[[], Tensor]] = {TORCH: lambda: F.linear(states, weights)}
        if self.device == "cpu" and _has_onednn(dtype):
            packed_weights = torch.ops.mkldnn._reorder_linear_weight(weights, rows)
            products[ONEDNN] = lambda: onednn_linear(states, packed_weights)
        operations = 2 * rows * inputs * outputs
        faster = 0 if self.quick else 200 if self.device == "cuda" else 1
        repeats = max(1, round(_OPERATIONS * faster / operations))
        rates = {}
        for name, product in products.items():
            _repeat(product, 2)
            seconds = seconds_of(lambda product=product: _repeat(product, repeats), self.device)
            rates[name] = operations * repeats / seconds
        return rates

    def limit(self, dtype: str) -> float:
        """Return the rate of the best product and shape, in floating point operations per second."""
        return self.best(dtype)[1]

    def best(self, dtype: str) -> tuple[tuple[str, str], float]:
        """Return the best product with its shape, and its rate."""
        medians = {kind: statistics.median(rates) for kind, rates in self._rates[dtype].items()}
        return max(medians.items(), key=lambda entry: entry[1])

    def to_dict(self) -> Mapping[str, Mapping[str, object]]:
        """Return, by dtype, the limit with its product and shape, and all rates, in GFLOP/s."""
        found = {}
        for dtype, rates in self._rates.items():
            (product, shape), limit = self.best(dtype)
            all_rates: dict[str, dict[str, float]] = {}
            for (name, size), each in rates.items():
                all_rates.setdefault(name, {})[size] = round(statistics.median(each) / 1e9, 1)
            found[dtype] = {
                "limit_gflops": round(limit / 1e9, 1),
                "product": product,
                "shape": shape,
                "all_gflops": all_rates,
            }
        return found


def _has_onednn(dtype: str) -> bool:
    """Whether oneDNN has its own layout of weights for a dtype on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype != "bfloat16" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _repeat(product: Callable[[], Tensor], times: int) -> None:
    for _ in range(times):
        product()
