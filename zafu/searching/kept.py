"""Kept: where trials stopped, on disk, for as long as others may go on from them.

A state is two files: safetensors and JSON. A name that is there is whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from zafu import tensors
from zafu.artifact import read_json, write_json
from zafu.loop import Progress
from zafu.trial import State

_MODEL, _UPDATE = "model/", "update/"


def write(folder: Path, name: str, state: State) -> None:
    """Write a state; raises NonFinite if it holds a number that is not finite."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"{_MODEL}{key}": tensor for key, tensor in state.model.items()}
    named |= {f"{_UPDATE}{key}": tensor for key, tensor in state.update.items()}
    part = folder / f".{name}.part"
    try:
        tensors.write(part, named)
        part.replace(folder / f"{name}.safetensors")
    finally:
        part.unlink(missing_ok=True)
    plain = {"progress": asdict(state.progress), "plain": state.plain}
    write_json(folder / f"{name}.json", plain)


def read(folder: Path, name: str) -> State:
    """The state of this name; raises Damaged if it is not there or not whole."""
    plain = read_json(folder / f"{name}.json")
    named = tensors.read(folder / f"{name}.safetensors")
    return State(
        Progress(**plain["progress"]),
        {key.removeprefix(_MODEL): t for key, t in named.items() if key.startswith(_MODEL)},
        {key.removeprefix(_UPDATE): t for key, t in named.items() if key.startswith(_UPDATE)},
        plain["plain"],
    )


def keep(folder: Path, names: Iterable[str]) -> None:
    """Remove all states but those of these names."""
    wanted = set(names)
    for file in folder.glob("*.*"):
        if file.stem not in wanted and not file.name.startswith("."):
            file.unlink(missing_ok=True)
