"""Averaging: keeps the mean of a model's weights as an `Average` says."""

# torch's operations on lists have no public names
# pyright: reportPrivateImportUsage=false

import torch
from torch import Tensor, nn

from zafu.optim.averaging import Average


class Averaging:
    """A weighted mean of the states that a model went through.

    Besides parameters it covers the floating-point buffers that are saved with the model.
    """

    def __init__(self, model: nn.Module, average: Average) -> None:
        self.count = 0  # states in the mean
        self._average = average
        saved = model.state_dict(keep_vars=True)
        self._own = {
            name: tensor
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]
            if name in saved and tensor.is_floating_point()
        }
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
