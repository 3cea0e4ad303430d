"""Named tensors on disk: safetensors, with limits that keep a hostile file from doing harm.

The library checks offsets and sizes; added here are caps on the header (4 MiB, 10,000 tensors),
which it reads whole, and the refusal of duplicate names, of which it would silently keep one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, device, nn

from zafu.artifact import room
from zafu.errors import Damaged, NonFinite, Refused

HEADER_BYTES = 4 * 2**20
MOST_TENSORS = 10_000  # read in half a second; the library takes 30 s for 300,000


def write(path: Path, tensors: Mapping[str, Tensor], *, bytes_beside: int = 0) -> None:
    """Write tensors to a file; raises NonFinite for NaN or infinity, DiskFull without room.

    `bytes_beside` is what else will have to fit.
    """
    for name, tensor in tensors.items():
        if not _finite(tensor):
            raise NonFinite(f"{path.name}: {name} is not finite; nothing was saved")
    if len(tensors) >= MOST_TENSORS:  # one place is for the metadata
        raise Refused(
            f"{path.name}: {len(tensors)} tensors, of which {MOST_TENSORS - 1} can be read"
        )
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with room(path, needed=size(plain) + bytes_beside):
        try:
            save_file(plain, path, metadata={"format": "pt"})
        except SafetensorError as error:
            if found := re.search(r"os error (\d+)", str(error)):
                number = int(found[1])
                raise OSError(number, os.strerror(number), str(path)) from error
            raise


def read(path: Path, place: str = "cpu") -> dict[str, Tensor]:
    """The tensors of a file; raises Damaged for one that is not sound safetensors."""
    check_header(path)
    try:
        return load_file(path, device=place)
    except (SafetensorError, OSError) as error:
        raise Damaged(f"{path}: expected safetensors, {error}") from None


def check_header(path: Path) -> None:
    """Raise Damaged if the header is too large, malformed, or names a tensor twice."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= HEADER_BYTES:
                limit = f"a header of 2 to {HEADER_BYTES} bytes"
                raise Damaged(f"{path}: expected {limit}, found {length}")
            text = file.read(length)
            if text.count(b'"data_offsets"') > MOST_TENSORS:  # known before it is parsed
                raise Damaged(f"{path}: expected at most {MOST_TENSORS} tensors")
        header = json.loads(text, object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{path}: expected safetensors, {error}") from None
    if not isinstance(header, dict) or len(header) > MOST_TENSORS:
        raise Damaged(f"{path}: expected at most {MOST_TENSORS} tensors")


def size(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of all tensors."""
    return sum(t.numel() * t.element_size() for t in tensors.values())


def count(module: nn.Module) -> int:
    """Weights of a module: its parameters, and the integers of layers that do not learn."""
    whole = sum(getattr(layer, "numbers", 0) for layer in module.modules())
    return sum(p.numel() for p in module.parameters()) + whole


def of_module(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and stored buffers by name; a tied one once, under its first name."""
    seen: dict[int, str] = {}
    state = module.state_dict(keep_vars=True)
    return {n: t.detach() for n, t in state.items() if seen.setdefault(id(t), n) == n}


def device_of(module: nn.Module) -> device:
    """Where a module's numbers are; one whose weights are integers has buffers alone."""
    return next(chain(module.parameters(), module.buffers())).device


def into_module(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Copy tensors into a module in place; raises Damaged unless names, shapes and types agree."""
    own = of_module(module)
    wrong = [f"{name} is missing" for name in own.keys() - tensors.keys()]
    wrong += [f"{name} is not known" for name in tensors.keys() - own.keys()]
    for name in own.keys() & tensors.keys():
        expected, found = tuple(own[name].shape), tuple(tensors[name].shape)
        if expected != found:
            wrong.append(f"{name}: expected shape {expected}, found {found}")
        elif own[name].dtype != tensors[name].dtype:
            wrong.append(f"{name}: expected {own[name].dtype}, found {tensors[name].dtype}")
    if wrong:
        raise Damaged(f"{source}: does not hold this model: " + "; ".join(sorted(wrong)[:10]))
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def _finite(tensor: Tensor) -> bool:
    """Whether there is no NaN or infinity: one pass, since a sum would not be finite either."""
    if tensor.is_floating_point() and tensor.element_size() == 1:
        tensor = tensor.float()  # there is no arithmetic in 8 bits
    if not tensor.is_floating_point() or tensor.sum().isfinite():
        return True
    return bool(tensor.isfinite().all())  # finite numbers can have an infinite sum


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("a name stands twice in the header")
    return data
