"""BertAdam, the optimiser of the authors' released code, and its learning rate schedules.

Source: the formulas of airsplay/lxmert's optimisation code. It differs from AdamW, as used here, in three
points: neither moment is corrected for its bias; the decay applies to every parameter, biases and
normalisations included; the warm-up is not rounded to whole updates. With both, a warm-up starts at a
learning rate of 0, so that a run's first update changes the moments alone.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lxmert.errors import ConfigurationError
from lxmert.training.recipe_sections import Schedule


class BertAdam(Optimizer):
    """Adam without bias correction, decay on all parameters.

    Per parameter θ with gradient g: m ← β1·m + (1-β1)·g; v ← β2·v + (1-β2)·g²;
    θ ← θ - lr·(m / (√v + epsilon) + decay·θ). Gradients are not clipped here.

    Args:
        params: parameters, or groups of them.
        lr: peak learning rate; see `bert_adam_schedule`.
        betas: decay of the two moments.
        eps: epsilon.
        weight_decay: decay of the weights.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one update; returns what the closure returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                first, second, gradient = state["exp_avg"], state["exp_avg_sq"], parameter.grad
                first.mul_(beta1).add_(gradient, alpha=1 - beta1)
                second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                update = first / second.sqrt().add_(group["eps"])
                update.add_(parameter, alpha=group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"])
        return loss


def warmup_linear(progress: float, warmup: float) -> float:
    """Factor of the peak learning rate: linear up to 1 at `warmup`, then down to 0 at the end.

    Args:
        progress: fraction of all updates made so far.
        warmup: fraction of all updates; 0 starts at 1.
    """
    if progress < warmup:
        return progress / warmup
    return max((progress - 1.0) / (warmup - 1.0), 0.0) if warmup < 1 else 1.0


def warmup_constant(progress: float, warmup: float) -> float:
    """Factor of the peak learning rate: linear up to 1 at `warmup`, then 1; arguments as `warmup_linear`."""
    return progress / warmup if progress < warmup else 1.0


def warmup_cosine(progress: float, warmup: float) -> float:
    """Linear up to 1 at `warmup`, then half a cosine down to 0; in the original code this one fails."""
    if progress < warmup:
        return progress / warmup
    fraction = (progress - warmup) / (1.0 - warmup) if warmup < 1 else 0.0
    return 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))


_SCHEDULES: dict[Schedule, Callable[[float, float], float]] = {
    "linear": warmup_linear,
    "cosine": warmup_cosine,
    "constant_with_warmup": warmup_constant,
}


def bert_adam_schedule(optimizer: Optimizer, schedule: Schedule, warmup: float, steps: int) -> LambdaLR:
    """Create a schedule that sets the learning rate of update k by its progress k / steps.

    Unlike the schedules of `transformers`, the warm-up is not rounded to whole updates.

    Args:
        optimizer: has the peak learning rate.
        schedule: the shape of the schedule.
        warmup: below 1 a fraction of all updates, else a number of updates.
        steps: number of updates, more than 0.

    Raises:
        ConfigurationError: the warm-up is as long as the whole run.
    """
    fraction = warmup if warmup < 1 else warmup / steps
    if fraction >= 1:
        raise ConfigurationError(f"the warm-up of {warmup:g} updates must be shorter than the run's {steps}")
    factor = _SCHEDULES[schedule]
    return LambdaLR(optimizer, lambda step: factor(step / steps, fraction))
