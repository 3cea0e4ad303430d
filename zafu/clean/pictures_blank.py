"""Blank pictures: one color throughout, but for noise; covers that were left on, failed scans.

A picture is blank if the standard deviation of every channel is below a bound.
"""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import PictureCleaning

_AT_ONCE = 1 << 20  # pixels counted at once: bounds memory


@final
class Blank(PictureCleaning):
    """Takes out pictures that are nearly constant."""

    kind: Literal["blank"] = "blank"
    deviation: float = Field(default=2.0, gt=0, le=128)
    """Least standard deviation of some channel, in levels of 0 to 255."""

    def clean(self, picture: np.ndarray, file_bytes: int) -> str | None:
        """`nearly constant`, for a picture `(height, width, channels)` uint8 that is."""
        rows = max(1, _AT_ONCE // picture.shape[1])
        for channel in range(picture.shape[2]):
            counts = np.zeros(256, np.int64)
            for start in range(0, len(picture), rows):
                some = picture[start : start + rows, :, channel]
                counts += np.bincount(some.reshape(-1), minlength=256)
            shares, levels = counts / counts.sum(), np.arange(256)
            mean = float(shares @ levels)
            if float(shares @ (levels - mean) ** 2) ** 0.5 >= self.deviation:
                return None
        return "nearly constant"
