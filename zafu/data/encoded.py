"""Encoded pictures: the bytes of many files in one, each decoded when it is read.

```
images.bin     the files one after the other
offsets.npy    (n + 1,) int64: where each begins, and where the last ends
plain.npy      (n,) bool: simplejpeg reads it as it stands
```
Decoding is threads' work: Pillow and simplejpeg let go of Python's lock while they decode.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np

from zafu.data import arrays, decode
from zafu.errors import Damaged

_NAMES = ("offsets", "plain")


@final
class Writer:
    """Writes pictures, in order, as one file; a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = (folder / "images.bin").open("wb")
        self._sizes: list[int] = []
        self._plain: list[bool] = []

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        offsets = np.cumsum([0, *self._sizes], dtype=np.int64)
        arrays.write_arrays(
            self._folder, {"offsets": offsets, "plain": np.array(self._plain, bool)}
        )

    def add(self, content: bytes | memoryview, *, plain: bool) -> None:
        """Append a picture."""
        self._file.write(content)
        self._sizes.append(len(content))
        self._plain.append(plain)


@final
class Encoded:
    """Stored files of pictures, mapped into memory, that are read as arrays of pixels."""

    def __init__(self, folder: Path, form: decode.Form) -> None:
        self._file, self._form = folder / "images.bin", form
        self._offsets, self._plain = (arrays.read_array(folder / f"{name}.npy") for name in _NAMES)
        size = self._file.stat().st_size if self._file.is_file() else -1
        if not len(self._offsets) or size != self._offsets[-1]:
            raise Damaged(f"{self._file}: expected the bytes that offsets.npy counts, found {size}")
        self._bytes = np.memmap(self._file, np.uint8, "r") if size else np.empty(0, np.uint8)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._plain)

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures, channels, height and width."""
        return (len(self), *self._form.shape)

    def content(self, index: int) -> tuple[memoryview, bool]:
        """A picture's file, and whether simplejpeg reads it as it stands."""
        start, end = self._offsets[index : index + 2]
        return self._bytes[start:end].data, bool(self._plain[index])

    def take(self, ids: np.ndarray) -> np.ndarray:
        """The pictures at these positions, `(batch, channels, height, width)` uint8.

        Raises Damaged for one that can no longer be decoded.
        """
        places = np.arange(len(self)).take(ids)  # raises IndexError outside
        out = np.empty((len(places), *self._form.shape), np.uint8)

        def one(index: int) -> None:
            content, plain = self.content(int(places[index]))
            out[index] = self._decoded(bytes(content), plain, int(places[index]))

        decode.in_threads(one, len(places))
        return out

    def _decoded(self, content: bytes, plain: bool, index: int) -> np.ndarray:
        found = decode.attempt(lambda: decode.again(content, self._form, plain=plain))
        if isinstance(found, str):
            raise Damaged(f"{self._file}: picture {index}: {found}, as it was when it was prepared")
        return found
