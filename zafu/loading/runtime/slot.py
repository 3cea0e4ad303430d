"""Slot: a piece of memory that two processes share and that no file system knows by name."""

from __future__ import annotations

import math
import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import final

import numpy as np

ALIGNED = 64  # bytes: each array begins at a multiple, as vector instructions like it
Described = list[tuple[str, Sequence[int], int]]  # dtype, shape and first byte of each array


def anonymous() -> int:
    """A file handle of memory that is freed with the last process that holds it."""
    if sys.platform == "linux":
        return os.memfd_create("zafu", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@final
class Slot:
    """One process's view of it; it grows with what is put in by either of them."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._mapped: mmap.mmap | None = None

    def put(self, arrays: Sequence[np.ndarray]) -> Described:
        """Copy arrays in, from the first byte on; where they lie."""
        found: Described = []
        end = 0
        for array in arrays:
            found.append((array.dtype.str, array.shape, end))
            end += -(-array.nbytes // ALIGNED) * ALIGNED
        _, views = self.get(found)
        for view, array in zip(views, arrays, strict=True):
            view[...] = array
        return found

    def get(self, described: Described) -> tuple[np.ndarray, list[np.ndarray]]:
        """All bytes of the slot, and the arrays that lie there, each a view of these bytes."""
        whole = self._bytes(max((_end(*each) for each in described), default=0))
        views = [
            whole[start : _end(kind, shape, start)].view(kind).reshape(shape)
            for kind, shape, start in described
        ]
        return whole, views

    def close(self) -> None:
        """Let go of the handle; views stay whole as long as somebody holds them."""
        os.close(self.handle)

    def _bytes(self, size: int) -> np.ndarray:
        """At least so many bytes, as a new array; views of smaller memory stay what they are."""
        if self._mapped is None or len(self._mapped) < size:
            if (there := os.fstat(self.handle).st_size) < size:
                there = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
                os.ftruncate(self.handle, there)
            if not there:
                return np.empty(0, np.uint8)
            self._mapped = mmap.mmap(self.handle, there)
        return np.frombuffer(self._mapped, np.uint8)


def _end(kind: str, shape: Sequence[int], start: int) -> int:
    return start + np.dtype(kind).itemsize * math.prod(shape)
