"""Extreme aspect: banners and strips, of which a crop to the wanted proportions leaves little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from zafu.clean.contract import PictureCleaning

if TYPE_CHECKING:
    import numpy as np


@final
class ExtremeAspect(PictureCleaning):
    """Takes out pictures that are many times as long as they are wide, or the other way."""

    kind: Literal["extreme-aspect"] = "extreme-aspect"
    ratio: float = Field(default=4.0, ge=1)
    """Most times that the longer side may be the shorter one, 1 or more."""

    def clean(self, picture: np.ndarray, file_bytes: int) -> str | None:
        """`aspect above R`, for a picture `(height, width, channels)` that is."""
        height, width = picture.shape[:2]
        extreme = max(height, width) > self.ratio * min(height, width)
        return f"aspect above {self.ratio:g}" if extreme else None
