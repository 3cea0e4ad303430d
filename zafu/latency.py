"""What an answer costs: numbers and bytes of the weights, and the time of one forward pass.

The passes of all contenders are made in turns, so that what else the machine does meets them alike.
The interval of a median is that of its order statistics (Conover, 1999), which assumes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from zafu import tensors
from zafu.errors import Interrupted
from zafu.measure import Measurement
from zafu.signals import Stop

BATCHES = (1, 32)  # samples in one pass
FEWEST, MOST, SECONDS = 9, 101, 2.0  # passes of a contender, and the time that all may take


@dataclass(frozen=True)
class Cost:
    """Of one model, on this machine."""

    parameters: int
    bytes: int
    latency: dict[int, Measurement]  # milliseconds of a pass, by samples in it

    def dump(self) -> dict[str, Any]:
        """As plain data."""
        found = {str(size): of.dump() for size, of in self.latency.items()}
        return {"parameters": self.parameters, "bytes": self.bytes, "latency": found}


def costs(modules: Mapping[str, nn.Module], inputs: tuple[Tensor, ...], stop: Stop) -> list[Cost]:
    """What each module costs; `inputs` are samples, repeated as needed to fill a batch."""
    passes = {size: timed(_passes(modules, filled(inputs, size)), stop) for size in BATCHES}
    found = list[Cost]()
    for name, module in modules.items():
        latency = {size: times[name] for size, times in passes.items()}
        weights = tensors.of_module(module)
        found.append(Cost(tensors.count(module), tensors.size(weights), latency))
    return found


def _passes(
    modules: Mapping[str, nn.Module], inputs: tuple[Tensor, ...]
) -> dict[str, Callable[[], object]]:
    return {name: partial(module, *inputs) for name, module in modules.items()}


def filled(inputs: tuple[Tensor, ...], size: int) -> tuple[Tensor, ...]:
    """So many samples, the first ones again where there are fewer."""
    return tuple(x[torch.arange(size) % len(x)] for x in inputs)


def median(seconds: Sequence[float]) -> Measurement:
    """The median in milliseconds of at least six times, with its interval."""
    ordered, n = sorted(second * 1000 for second in seconds), len(seconds)
    below, at = 0.5**n, 0  # the probability that at most so many lie below the true median
    while at + 1 < n // 2 and below + math.comb(n, at + 1) * 0.5**n <= 0.025:
        at += 1
        below += math.comb(n, at) * 0.5**n
    threads = torch.get_num_threads()
    return Measurement(
        value=ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2,
        unit="ms",
        n=n,
        low=ordered[at],
        high=ordered[n - 1 - at],
        how=f"median of {n} passes, {threads} thread{'s' if threads > 1 else ''}",
    )


def timed(calls: Mapping[str, Callable[[], object]], stop: Stop) -> dict[str, Measurement]:
    """The median time of each call, one of each in turn."""
    found = _times(list(calls.values()), stop)
    return {name: median(seconds) for name, seconds in zip(calls, found, strict=True)}


def _times(calls: Sequence[Callable[[], object]], stop: Stop) -> list[list[float]]:
    """Seconds of each call, one of each in turn."""
    times = [list[float]() for _ in calls]
    begun = perf_counter()
    with torch.inference_mode():
        for turn in range(MOST + 1):
            for call, own in zip(calls, times, strict=True):
                start = perf_counter()
                call()
                if turn:  # the first pass fills caches
                    own.append(perf_counter() - start)
                if stop:
                    raise Interrupted(f"{stop.signal}: nothing was kept of what was being timed")
            if turn >= FEWEST and perf_counter() - begun > SECONDS:
                break
    return times
