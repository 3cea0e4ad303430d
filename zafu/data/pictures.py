"""Pictures of a split: stored decoded or encoded, normalized when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol, final

import numpy as np

from zafu.batch import Batch, Portion
from zafu.data import arrays, decode, pixels
from zafu.data.encoded import Encoded
from zafu.signature import Pixels, Signature

Store = Literal["decoded", "encoded"]
SMALL = 1 << 24  # pixels of a split that is normalized once, as 64 MiB, not batch by batch


class Stored(Protocol):
    """Pictures of one size `(n, channels, height, width)` uint8, such as a mapped array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures, channels, height and width."""
        ...

    def take(self, ids: np.ndarray) -> np.ndarray:
        """A copy of those at these positions; raises IndexError for one that is not there."""
        ...


@final
class Array:
    """Decoded pictures, which may be mapped."""

    def __init__(self, stored: np.ndarray) -> None:
        self.stored = stored

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures, channels, height and width."""
        return self.stored.shape

    def take(self, ids: np.ndarray) -> np.ndarray:
        """A copy of those at these positions."""
        return self.stored.take(ids, 0)


@final
class Pictures:
    """A split of stored pictures with their classes."""

    portions: tuple[Portion, ...] = ()

    def __init__(self, stored: Stored, targets: np.ndarray, fitted: pixels.Fitted) -> None:
        self._stored, self._targets, self._fitted = stored, targets, fitted
        self._ready: np.ndarray | None = None
        if isinstance(stored, Array) and stored.stored.size <= SMALL:
            self._ready = _finished(stored.stored, fitted)

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
        return self._batch(self._stored.take(ids), ids)

    def finish(self, batch: Batch) -> Batch:
        """The pictures normalized, float32, on the device where they are."""
        return batch._replace(inputs=(pixels.normalized(batch.inputs[0], self._fitted),))

    def batch(self, ids: np.ndarray) -> Batch:
        """The pictures at these positions, `(batch, channels, height, width)` float32."""
        if self._ready is not None:  # the bits that `finish` gave of all at once
            return self._batch(self._ready.take(ids, 0), ids)
        return self.finish(self.raw(ids))

    def _batch(self, shown: np.ndarray, ids: np.ndarray) -> Batch:
        import torch

        targets = torch.from_numpy(self._targets.take(ids, 0))
        return Batch((torch.from_numpy(shown),), targets, ids)


def open_split(folder: Path, split: str, decoder: decode.Decoder = "pillow") -> Pictures:
    """A split of a prepared folder, whichever way its pictures are stored."""
    stored = arrays.split_folder(folder, split)
    fitted = pixels.load(folder / "transform")
    targets = arrays.read_array(stored / "targets.npy")
    if (stored / "images.bin").is_file():
        return Pictures(Encoded(stored, form_of(fitted, decoder)), targets, fitted)
    return Pictures(Array(arrays.read_array(stored / "pixels.npy")), targets, fitted)


def unlabelled(fitted: pixels.Fitted, shown: np.ndarray) -> Batch:
    """Pictures `(n, channels, height, width)` uint8 whose classes are not known: -100."""
    absent = np.full(len(shown), -100, np.int64)
    return labelled(fitted, shown, absent).batch(np.arange(len(shown)))


def labelled(fitted: pixels.Fitted, shown: np.ndarray, targets: np.ndarray) -> Pictures:
    """Pictures `(n, channels, height, width)` uint8 with their classes `(n,)` int64."""
    return Pictures(Array(shown), targets, fitted)


def form_of(fitted: pixels.Fitted, decoder: decode.Decoder = "pillow") -> decode.Form:
    """What new pictures are brought to so that they fit what was fitted."""
    return decode.Form(len(fitted.mean), fitted.height, fitted.width, decoder)


def signature(fitted: pixels.Fitted) -> Signature:
    """What a model must know of pictures that are read as pixels."""
    inputs = Pixels(channels=len(fitted.mean), height=fitted.height, width=fitted.width)
    return Signature(inputs=inputs, outputs=len(fitted.labels), labels=fitted.labels)


def _finished(shown: np.ndarray, fitted: pixels.Fitted) -> np.ndarray:
    import torch

    return pixels.normalized(torch.from_numpy(np.array(shown)), fitted).numpy()
