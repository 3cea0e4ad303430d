"""Averaging: keeps the mean of a model's weights as an `Average` says."""

# torch's operations on lists have no public names
# pyright: reportPrivateImportUsage=false

from collections.abc import Mapping

import torch
from torch import Tensor

from zafu.optim.averaging import Average


class Averaging:
    """A weighted mean of the states that a model went through.

    `own` are its tensors by name, those of which a mean is kept.
    """

    def __init__(self, own: Mapping[str, Tensor], average: Average) -> None:
        self.count = 0  # states in the mean
        self._average = average
        self._own = own
        # in bfloat16 a small weight would leave the mean where it is
        self._dtypes = [torch.promote_types(t.dtype, torch.float32) for t in self._own.values()]
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, step: int, progress: float) -> None:
        """Take in the model's present state, if it is due after this step."""
        if not self._average.due(step, progress):
            return
        new = [own.to(dtype) for own, dtype in zip(self._own.values(), self._dtypes, strict=True)]
        if not self._mean:
            self._mean = {n: t.detach().clone() for n, t in zip(self._own, new, strict=True)}
        else:
            weight = self._average.weight(self.count)
            torch._foreach_lerp_(list(self._mean.values()), new, weight)
        self.count += 1

    def averages(self) -> dict[Tensor, Tensor]:
        """The mean of each of the model's tensors; none before the first was taken in."""
        return {self._own[name]: mean for name, mean in self._mean.items()}

    def tensors(self) -> dict[str, Tensor]:
        """The means by name, such as `average.head.weight`."""
        return {f"average.{name}": mean for name, mean in self._mean.items()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What `tensors` gives once a state was taken in."""
        return {f"average.{name}": tuple(own.shape) for name, own in self._own.items()}

    def load(self, tensors: dict[str, Tensor], count: int) -> None:
        """Take on what `tensors` gave after `count` states."""
        self.count = count
        self._mean = {
            name: tensors[f"average.{name}"].to(own.device, copy=True)
            for name, own in self._own.items()
            if count
        }
