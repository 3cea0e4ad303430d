"""Pictures on a CPU by OpenCV: the same maps and tints as torch's, one warp and one matrix each.

OpenCV gives bytes for bytes, so a result differs from torch's by rounding: half a level for a map
and half a level for a tint.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zafu.augment.contract import Fill
from zafu.augment.runtime.tint import matrices
from zafu.errors import Refused


def seen(
    pictures: Tensor, maps: Tensor | None, tints: Tensor | None, *, fill: Fill, white: float
) -> Tensor:
    """Pictures of bytes or floats through maps `(6, batch)`, then tints `(4, batch)`; their dtype.

    Raises Refused for pictures on another device.
    """
    import cv2

    if pictures.device.type != "cpu":
        raise Refused(f"backend opencv: expected pictures on the CPU, found {pictures.device}")
    borders = {
        "zeros": cv2.BORDER_CONSTANT,
        "border": cv2.BORDER_REPLICATE,
        "reflection": cv2.BORDER_REFLECT,
    }
    batch, channels, height, width = pictures.shape
    planes = pictures.numpy()
    found = np.empty(planes.shape, planes.dtype)  # its planes lie apart, whatever the input has
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    places = None if maps is None else _from_corner(maps, height, width)
    colors = None if tints is None else _matrices(tints, channels)
    before, after = (list(x.reshape(-1, height, width)) for x in (planes, found))
    for i in range(batch):
        mine = slice(i * channels, (i + 1) * channels)
        picture = cv2.merge(before[mine]) if channels > 1 else before[i]
        if places is not None:
            picture = cv2.warpAffine(
                picture, places[i], (width, height), flags=flags, borderMode=borders[fill]
            )
        if colors is not None:
            picture = cv2.transform(picture, colors[i])
        if channels == 1:
            after[i][:] = picture
        else:
            cv2.split(picture, after[mine])
    if colors is not None and (white != 255 or found.dtype != np.uint8):
        np.clip(found, 0, white, out=found)
    return torch.from_numpy(found)


def channel_sums(pictures: Tensor) -> Tensor:
    """The sum of each channel of bytes, `(batch, channels)` float64: exact, and fast."""
    import cv2

    planes = pictures.numpy().reshape(-1, *pictures.shape[2:])
    sums = [cv2.sumElems(plane)[0] for plane in planes]
    return torch.tensor(sums, dtype=torch.float64).view(pictures.shape[:2])


def _from_corner(maps: Tensor, height: int, width: int) -> np.ndarray:
    """Maps `(batch, 2, 3)` of pixels counted from the corner, where OpenCV has its origin."""
    a, b, left, c, d, top = maps.numpy()
    x, y = (width - 1) / 2, (height - 1) / 2
    entries = [a, b, left + x - a * x - b * y, c, d, top + y - c * x - d * y]
    return np.stack(entries, 1).reshape(-1, 2, 3)


def _matrices(tints: Tensor, channels: int) -> np.ndarray:
    """Matrices `(batch, channels, channels + 1)`."""
    if channels == 1:
        return tints[:2].T[:, None].numpy()
    return matrices(tints).numpy()
