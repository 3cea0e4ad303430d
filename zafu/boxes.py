"""Boxes: named tensors on disk in parts, so that who wrote them does not bind who reads them.

Each writer puts its parts in a safetensors file of its own; an index says of each tensor its whole
shape and which file has which box of it. A reader asks for any box and gets it from those that
overlap it, by slices: no file and no tensor is read whole for a part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zafu import tensors
from zafu.artifact import read_json
from zafu.errors import Damaged


class Box(NamedTuple):
    """A part of a named tensor."""

    name: str
    tensor: Tensor
    shape: tuple[int, ...]  # of the whole
    offset: tuple[int, ...]


class Place(NamedTuple):
    """Where a part of a tensor lies on disk."""

    file: str
    offset: tuple[int, ...]
    shape: tuple[int, ...]


class Entry(NamedTuple):
    """A tensor on disk."""

    shape: tuple[int, ...]
    places: list[Place]


_INDEX = TypeAdapter(dict[str, Entry])


def write(folder: Path, file: str, boxes: Iterable[Box]) -> dict[str, Any]:
    """Write boxes to a file of a folder; what the index is to say of them, for `joined`."""
    kept = [box for box in boxes if box.tensor.numel()]
    if kept:
        tensors.write(folder / file, {box.name: box.tensor for box in kept})
    return {
        box.name: {
            "shape": list(box.shape),
            "places": [{"file": file, "offset": list(box.offset), "shape": list(box.tensor.shape)}],
        }
        for box in kept
    }


def joined(said: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One index of what each writer said."""
    index: dict[str, Any] = {}
    for entries in said:
        for name, entry in entries.items():
            there = index.setdefault(name, {"shape": entry["shape"], "places": []})
            there["places"] += entry["places"]
    return index


class Boxes:
    """The tensors that a folder has under a name, such as `model`, whoever wrote them."""

    def __init__(self, folder: Path, name: str) -> None:
        """`name.json` is the index; without one, `name.safetensors` holds whole tensors."""
        self._folder, self._name = folder, name

    @cached_property
    def index(self) -> dict[str, Entry]:
        """What there is, by name; raises Damaged, with all faults, if that cannot be true."""
        path = self._folder / f"{self._name}.json"
        if not path.is_file():
            return self._whole(f"{self._name}.safetensors")
        try:
            plain = read_json(path)
            found = {
                name: Entry(
                    tuple(entry["shape"]),
                    [
                        Place(p["file"], tuple(p["offset"]), tuple(p["shape"]))
                        for p in entry["places"]
                    ],
                )
                for name, entry in plain.items()
            }
            _INDEX.validate_python(found, strict=True)
        except (AttributeError, KeyError, TypeError, ValidationError) as error:
            raise Damaged(f"{path}: expected boxes by name, {error}") from None
        if faults := [f for name, entry in found.items() for f in self._faults(name, entry)]:
            more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
            listed = "\n".join(f"  {fault}" for fault in faults[:20])
            raise Damaged(f"{path}: cannot be true:\n{listed}{more}")
        return found

    def whole(self, name: str) -> Tensor:
        """All of a tensor, on the CPU."""
        shape = self.index[name].shape
        return self.read(name, (0,) * len(shape), shape)

    def read(self, name: str, offset: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
        """A box of a tensor, on the CPU; raises Damaged where files do not hold it."""
        whole, places = self.index[name]
        if len(offset) != len(whole) or any(
            start + size > most for start, size, most in zip(offset, shape, whole, strict=True)
        ):
            text = f"expected a box of {shape} at {offset}"
            raise Damaged(f"{self._folder}: {name}: {text}, found a tensor of {whole}")
        found: Tensor | None = None
        for place in places:
            low = [max(a, b) for a, b in zip(offset, place.offset, strict=True)]
            ends = zip(offset, shape, place.offset, place.shape, strict=True)
            high = [min(a + n, b + m) for a, n, b, m in ends]
            if any(start >= end for start, end in zip(low, high, strict=True)):
                continue
            there = self._sliced(name, place, low, high)
            if found is None:
                found = torch.empty(shape, dtype=there.dtype)
            target = found
            for dim, (start, end) in enumerate(zip(low, high, strict=True)):
                target = target.narrow(dim, start - offset[dim], end - start)
            target.copy_(there)
        if found is None:
            found = torch.empty(shape)  # nothing was asked for
        return found

    def _sliced(self, name: str, place: Place, low: list[int], high: list[int]) -> Tensor:
        path = self._folder / place.file
        inside = tuple(
            slice(start - begin, end - begin)
            for start, end, begin in zip(low, high, place.offset, strict=True)
        )
        try:
            with safe_open(path, framework="pt") as file:
                part = file.get_slice(name)
                if tuple(part.get_shape()) != place.shape:
                    text = f"expected shape {place.shape}, found {tuple(part.get_shape())}"
                    raise Damaged(f"{path}: {name}: {text}")
                return part[inside] if inside else file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise Damaged(f"{path}: {name}: {error}") from None

    def _faults(self, name: str, entry: Entry) -> Iterable[str]:
        shape, places = entry
        if any(size < 0 for size in shape):
            yield f"{name}: shape {shape}"
            return
        for file, offset, size in places:
            if Path(file).name != file or not file.endswith(".safetensors"):
                yield f"{name}: expected a safetensors file of this folder, found {file!r}"
            if not len(shape) == len(offset) == len(size):
                yield f"{name}: a box of {size} at {offset} in a tensor of {shape}"
                return
            inside = zip(offset, size, shape, strict=True)
            if any(a < 0 or n <= 0 or a + n > most for a, n, most in inside):
                yield f"{name}: a box of {size} at {offset} in a tensor of {shape}"
                return
        for i, a in enumerate(places):
            if any(_overlap(a, b) for b in places[i + 1 :]):
                yield f"{name}: boxes overlap"
                return
        if sum(math.prod(size) for _, _, size in places) != math.prod(shape):
            yield f"{name}: its boxes do not fill {shape}"

    def _whole(self, name: str) -> dict[str, Entry]:
        path, found = self._folder / name, dict[str, Entry]()
        tensors.check_header(path)
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118  (it is no mapping)
                    shape = tuple(file.get_slice(key).get_shape())
                    found[key] = Entry(shape, [Place(name, (0,) * len(shape), shape)])
        except (SafetensorError, OSError) as error:
            raise Damaged(f"{path}: expected safetensors, {error}") from None
        return found


def _overlap(a: Place, b: Place) -> bool:
    sides = zip(a.offset, a.shape, b.offset, b.shape, strict=True)
    return all(p < q + m and q < p + n for p, n, q, m in sides)
