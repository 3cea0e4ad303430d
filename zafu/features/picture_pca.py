"""PCA of pictures: the patterns that vary most ("eigenfaces"), and how much of each there is.

Pearson, 1901; Turk & Pentland, 1991, "Eigenfaces for recognition". By the exact covariance, a block
of pictures at a time, as scikit-learn's PCA with svd_solver="covariance_eigh".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.features import moments
from zafu.features import pictures as shapes
from zafu.features.contract import PictureFeature, State

_GREY = 128
_PICTURES = 256  # looked at together: bounds memory
_NUMBERS = 8192  # of a picture: the covariance of as many is 512 MiB


@final
class PicturePCA(PictureFeature):
    """Principal components of pixels, in grey levels."""

    kind: Literal["pca"] = "pca"
    components: int | None = Field(default=None, ge=1)
    """Number of components, 1 or more; or set variance."""
    variance: float | None = Field(default=None, gt=0, lt=1)
    """Share of the variance that the components must hold, above 0 and below 1."""

    def check(self) -> Iterable[Fault]:
        """The number of components is said in one way."""
        if (self.components is None) == (self.variance is None):
            found = "neither" if self.components is None else "both"
            yield Fault("components", "either components or variance", found)

    def fit(self, pictures: np.ndarray, *, seed: int) -> State:
        """Mean and directions; raises DataError where pictures are too large, few or all alike."""
        count, numbers = len(pictures), int(np.prod(pictures.shape[1:]))
        if numbers > _NUMBERS:
            shapes.refuse(
                f"pictures of at most {_NUMBERS:,} numbers", f"{numbers:,}: make them smaller"
            )
        if count < 2:
            shapes.refuse("2 training pictures or more", str(count))
        if (self.components or 1) > min(count, numbers):
            most = f"at most {min(count, numbers):,} components (components)"
            shapes.refuse(most, f"{self.components:,}")
        found = moments.of_bytes(block for _, block in _blocks(pictures))
        if not found.scatter.diagonal().any():
            shapes.refuse("training pictures that differ", "none")
        variances, directions = moments.components(found, np.ones(numbers))
        kept = self.components or moments.enough(variances, self.variance or 0)
        return {
            **shapes.state(pictures),
            "mean": found.mean,  # in grey levels beyond 128
            "directions": directions[:kept],
            "shares": variances[:kept] / variances.sum(),
        }

    def apply(self, state: State, pictures: np.ndarray) -> np.ndarray:
        """How much of each pattern is in each picture beyond the mean."""
        shapes.expect(state, pictures)
        out = np.empty((len(pictures), len(state["directions"])), np.float32)
        for start, block in _blocks(pictures):
            centered = block - state["mean"]
            # einsum, not BLAS, which adds in an order that depends on the number of rows
            out[start : start + len(block)] = np.einsum("nd,kd->nk", centered, state["directions"])
        return out


def _blocks(pictures: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Some pictures at a time as rows `(n, numbers)` float64, with the place of the first.

    Grey levels are counted from 128, so that whole numbers stay small.
    """
    for start in range(0, len(pictures), _PICTURES):
        some = pictures[start : start + _PICTURES]
        yield start, some.reshape(len(some), -1).astype(np.float64) - _GREY
