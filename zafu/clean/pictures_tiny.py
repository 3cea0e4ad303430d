"""Tiny pictures: icons and leftovers, of which nothing is left to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from zafu.clean.contract import PictureCleaning

if TYPE_CHECKING:
    import numpy as np


@final
class Tiny(PictureCleaning):
    """Takes out pictures whose shorter side is below a bound."""

    kind: Literal["tiny"] = "tiny"
    side: int = Field(default=16, ge=2)
    """Least pixels of the shorter side, 2 or more."""

    def clean(self, picture: np.ndarray, file_bytes: int) -> str | None:
        """`side below N`, for a picture `(height, width, channels)` that is."""
        return f"side below {self.side}" if min(picture.shape[:2]) < self.side else None
