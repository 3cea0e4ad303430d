"""Normalization of pictures, channel by channel, fitted on histograms of the training pictures.

A byte takes one of 256 values, so the counts of these say all that any scale of a channel can
depend on: they are exact, add up over pieces, and need no second look at the pictures. A scale is
a function on 0 to 255 that also takes what lies between, as augmentation makes it: affine, or for
quantiles a table that is interpolated.
"""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from zafu.artifact import read_json, write_json
from zafu.data.normalize import Normalize
from zafu.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 256  # values of a byte
_CHUNK = 1024  # pictures counted at once: bounds memory
_EDGE = 1e-7  # the least probability whose normal quantile is given: -5.2 to 5.2


class Fitted(Spec):
    """What was fitted on the training pictures: `transform/pixels.json`."""

    height: int
    width: int
    normalize: Normalize = "z-score"
    mean: tuple[float, ...]
    """Mean of each channel in units of a stored byte."""
    std: tuple[float, ...]
    """Standard deviation of each channel, 1 where it is constant."""
    shift: tuple[float, ...]
    """What is taken off a channel's bytes."""
    scale: tuple[float, ...]
    """What they are then multiplied by."""
    table: tuple[tuple[float, ...], ...] = ()
    """Instead, for quantiles: for each channel what the bytes 0 to 255 become."""
    labels: tuple[str, ...]
    """Names of the classes, in order."""


def fit(
    counts: np.ndarray, kind: Normalize, *, size: tuple[int, int], labels: tuple[str, ...]
) -> Fitted:
    """The scale of each channel from `counts` `(channels, 256)` of the training pixels' values."""
    mean, std = statistics(counts)
    scales = [_affine(channel, kind, m, s) for channel, m, s in zip(counts, mean, std, strict=True)]
    table: tuple[tuple[float, ...], ...] = ()
    if kind in ("quantile", "quantile-normal"):
        table = tuple(_quantiles(channel, kind) for channel in counts)
    return Fitted(
        height=size[0],
        width=size[1],
        normalize=kind,
        mean=mean,
        std=std,
        shift=tuple(shift for shift, _ in scales),
        scale=tuple(scale for _, scale in scales),
        table=table,
        labels=labels,
    )


def save(transform: Path, fitted: Fitted) -> None:
    """Write `pixels.json` into a `transform` folder, which is made."""
    transform.mkdir(exist_ok=True)
    write_json(transform / "pixels.json", fitted.dump())


def load(transform: Path) -> Fitted:
    """What was fitted, from a prepared folder's `transform`."""
    return Fitted.parse(read_json(transform / "pixels.json"))


def interface(fitted: Fitted) -> dict[str, Any]:
    """How a picture becomes what a model reads, step by step, as plain data."""
    scale: dict[str, Any] = {"subtract": fitted.shift, "then_multiply": fitted.scale}
    if fitted.table:
        scale = {"replace_by_table": fitted.table}
    return {
        "kind": "picture",
        "channels": ["gray"] if len(fitted.mean) == 1 else ["red", "green", "blue"],
        "height": fitted.height,
        "width": fitted.width,
        "fit": "cut about the center to these proportions, then resized: bilinear, antialiased",
        "pixels": "0 to 255, from the top left, row by row; what is transparent lies on white",
        "order": ["sample", "channel", "row", "column"],
        "each_channel": scale,
    }


def histogram(pictures: np.ndarray) -> np.ndarray:
    """How often each value stands in each channel, `(channels, 256)` int64.

    Pictures are `(n, channels, height, width)` uint8 and may be mapped.
    """
    counts = np.zeros((pictures.shape[1], LEVELS), np.int64)
    for start in range(0, len(pictures), _CHUNK):
        chunk = pictures[start : start + _CHUNK]
        for channel in range(len(counts)):
            counts[channel] += np.bincount(chunk[:, channel].reshape(-1), minlength=LEVELS)
    return counts


def statistics(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel from exact sums; a constant one has 1."""
    means, deviations = [], []
    for channel in counts.tolist():  # Python's integers do not overflow
        count = sum(channel)
        first = sum(value * times for value, times in enumerate(channel))
        second = sum(value * value * times for value, times in enumerate(channel))
        means.append(first / count)
        deviations.append(((count * second - first * first) / count**2) ** 0.5 or 1.0)
    return tuple(means), tuple(deviations)


def normalized(pixels: Tensor, fitted: Fitted) -> Tensor:
    """Pictures `(batch, channels, height, width)`, uint8 or float32 in 0 to 255, as float32.

    The same bits for the same values, whichever the type; gradients pass through.
    """
    import torch

    shape = (len(fitted.mean), 1, 1)
    if fitted.table:
        return _interpolated(pixels, torch.tensor(fitted.table, device=pixels.device))
    shift, scale = (
        torch.tensor(x, dtype=torch.float32, device=pixels.device).view(shape)
        for x in (fitted.shift, fitted.scale)
    )
    return torch.sub(pixels, shift).mul_(scale)


def after(counts: np.ndarray, fitted: Fitted) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel once it is normalized."""
    import torch

    levels = torch.arange(LEVELS, dtype=torch.float32).repeat(len(counts), 1)
    values = normalized(levels.view(1, len(counts), 1, LEVELS), fitted).view(len(counts), LEVELS)
    shares = counts / counts.sum(1, keepdims=True)
    mean = (shares * values.double().numpy()).sum(1)
    spread = (shares * (values.double().numpy() - mean[:, None]) ** 2).sum(1) ** 0.5
    return mean.tolist(), spread.tolist()


def _affine(counts: np.ndarray, kind: Normalize, mean: float, std: float) -> tuple[float, float]:
    """What is taken off a channel, and what it is then multiplied by."""
    seen = np.flatnonzero(counts)
    low, high = int(seen[0]), int(seen[-1])
    width = (high - low) or 1
    match kind:
        case "z-score":
            return mean, 1 / std
        case "min-max":
            return low, 1 / width
        case "min-max-symmetric":
            return (low + high) / 2, 2 / width
        case "robust":
            first, median, third = (_quantile(counts, q) for q in (0.25, 0.5, 0.75))
            return median, 1 / ((third - first) or 1.0)
        case "quantile" | "quantile-normal" | "none":
            return 0.0, 1.0


def _quantile(counts: np.ndarray, share: float) -> float:
    """The value below which this share lies, between two of them as numpy's quantile has it."""
    ends = counts.cumsum()
    place = share * (int(ends[-1]) - 1)
    low, high = (int(np.searchsorted(ends, int(p), side="right")) for p in (place, np.ceil(place)))
    return low + (high - low) * (place - int(place))


def _quantiles(counts: np.ndarray, kind: Normalize) -> tuple[float, ...]:
    """For each value 0 to 255 the share of the pixels below it, equal ones halved; 0 to 1.

    What no training pixel has lies on the line between its neighbors. As normal quantiles, shares
    become the values of the standard normal distribution.
    """
    seen = np.flatnonzero(counts)
    ranks = np.full(1, 0.5)
    if len(seen) > 1:
        ends = counts.cumsum()[seen]
        ranks = (ends - counts[seen] + ends - 1) / (2 * (int(ends[-1]) - 1))
        ranks[0], ranks[-1] = 0, 1
    shares = np.interp(np.arange(LEVELS), seen, ranks)
    if kind == "quantile-normal":
        return tuple(map(NormalDist().inv_cdf, shares.clip(_EDGE, 1 - _EDGE).tolist()))
    return tuple(shares.tolist())


def _interpolated(pixels: Tensor, table: Tensor) -> Tensor:
    """The table `(channels, 256)` read at the pixels' values, and linearly between two."""
    import torch

    values = pixels.to(torch.float32).clamp(0, LEVELS - 1)
    below = values.detach().floor().clamp(max=LEVELS - 2)
    start = torch.arange(len(table), device=pixels.device).view(-1, 1, 1) * LEVELS
    place = below.long() + start
    low, high = table.view(-1)[place], table.view(-1)[place + 1]
    return low + (high - low) * (values - below)
