"""Pictures as arrays of bytes, normalized by the training split's statistics when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np

from zafu.artifact import read_json, write_json
from zafu.batch import Batch, Portion
from zafu.data import arrays
from zafu.signature import Pixels, Signature
from zafu.spec import Spec

SMALL = 1 << 24  # pixels of a split that is normalized once, as 64 MiB, not batch by batch
_CHUNK = 1024  # pictures summed at once: bounds memory


class Fitted(Spec):
    """What was fitted on the training pictures: `transform/pixels.json`."""

    height: int
    width: int
    mean: tuple[float, ...]
    """Mean of each channel in units of a stored byte."""
    std: tuple[float, ...]
    """Standard deviation of each channel."""
    labels: tuple[str, ...]
    """Names of the classes, in order."""


@final
class Pictures:
    """A split of stored pictures `(n, channels, height, width)` uint8 with their classes."""

    portions: tuple[Portion, ...] = ()

    def __init__(self, pixels: np.ndarray, targets: np.ndarray, fitted: Fitted) -> None:
        shape = (len(fitted.mean), 1, 1)
        self._targets = targets
        self._mean = np.array(fitted.mean, np.float32).reshape(shape)
        self._scale = (1 / np.array(fitted.std)).astype(np.float32).reshape(shape)
        self._stored, self._in_memory = pixels, pixels.size <= SMALL
        self._pixels = self._normalized(pixels) if self._in_memory else pixels

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._targets)

    def units(self, ids: np.ndarray) -> int:
        """Number of these pictures."""
        return len(ids)

    def count(self, ids: np.ndarray) -> int:
        """Number of these pictures."""
        return len(ids)

    def raw(self, ids: np.ndarray) -> Batch:
        """The pictures at these positions, `(batch, channels, height, width)` uint8."""
        import torch

        targets = torch.from_numpy(self._targets.take(ids, 0))
        return Batch((torch.from_numpy(self._stored.take(ids, 0)),), targets, ids)

    def finish(self, batch: Batch) -> Batch:
        """The pictures normalized, float32, on the device where they are."""
        import torch

        (pixels,) = batch.inputs
        mean, scale = (torch.from_numpy(x).to(pixels.device) for x in (self._mean, self._scale))
        return batch._replace(inputs=((pixels.float() - mean) * scale,))

    def batch(self, ids: np.ndarray) -> Batch:
        """The pictures at these positions, `(batch, channels, height, width)` float32."""
        import torch

        pixels = self._pixels.take(ids, 0)
        if not self._in_memory:
            pixels = self._normalized(pixels)
        targets = self._targets.take(ids, 0)
        return Batch((torch.from_numpy(pixels),), torch.from_numpy(targets), ids)

    def _normalized(self, pixels: np.ndarray) -> np.ndarray:
        found = np.subtract(pixels, self._mean, dtype=np.float32)
        found *= self._scale
        return found


def fit(folder: Path, labels: tuple[str, ...]) -> Signature:
    """The signature, after the statistics of the stored training pictures are written."""
    train = arrays.read_array(folder / "train" / "pixels.npy")
    _, channels, height, width = train.shape
    mean, std = statistics(train)
    fitted = Fitted(height=height, width=width, mean=mean, std=std, labels=labels)
    (folder / "transform").mkdir()
    write_json(folder / "transform" / "pixels.json", fitted.dump())
    inputs = Pixels(channels=channels, height=height, width=width)
    return Signature(inputs=inputs, outputs=len(labels), labels=labels)


def unlabelled(fitted: Fitted, pixels: np.ndarray) -> Batch:
    """Pictures `(n, channels, height, width)` uint8 whose classes are not known: -100."""
    absent = np.full(len(pixels), -100, np.int64)
    return Pictures(pixels, absent, fitted).batch(np.arange(len(pixels)))


def load(transform: Path) -> Fitted:
    """What was fitted, from a prepared folder's `transform`."""
    return Fitted.parse(read_json(transform / "pixels.json"))


def open_split(folder: Path, split: str) -> Pictures:
    """A split of a prepared folder."""
    stored = arrays.split_folder(folder, split)
    pixels = arrays.read_array(stored / "pixels.npy")
    targets = arrays.read_array(stored / "targets.npy")
    return Pictures(pixels, targets, load(folder / "transform"))


def statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel from exact sums; a constant one has 1."""
    total = np.zeros((2, pixels.shape[1]), np.int64)
    for start in range(0, len(pixels), _CHUNK):
        chunk = pixels[start : start + _CHUNK].astype(np.int64)
        total += [chunk.sum((0, 2, 3)), np.square(chunk).sum((0, 2, 3))]
    count = pixels[:, 0].size
    means, deviations = [], []
    for first, second in total.T.tolist():
        means.append(first / count)
        deviations.append(((count * second - first * first) / count**2) ** 0.5 or 1.0)
    return tuple(means), tuple(deviations)
