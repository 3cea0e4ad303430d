"""Pictures of one shape: noted when something is fitted to them, and asked for afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from zafu.errors import DataError

if TYPE_CHECKING:
    from zafu.features.contract import State


def state(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """The shape of a picture, as what was fitted."""
    return {"shape": np.array(pictures.shape[1:], np.int64)}


def expect(state: State, pictures: np.ndarray) -> tuple[int, int, int]:
    """Channels, height and width; raises DataError if the pictures have others than in training."""
    expected: list[int] = state["shape"].tolist()
    channels, height, width = pictures.shape[1:]
    if [channels, height, width] != expected:
        refuse(f"pictures of {described(expected)}", described([channels, height, width]))
    return channels, height, width


def described(shape: list[int]) -> str:
    """Height, width and channels in words."""
    return f"{shape[1]} x {shape[2]} with {shape[0]} channels"


def refuse(expected: str, found: str) -> NoReturn:
    """Raises DataError."""
    raise DataError(f"expected {expected}, found {found}")
