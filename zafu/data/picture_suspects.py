"""Training pictures whose class is probably wrong: see `zafu/clean/labels.py`.

The model that doubts them sees the principal components of their pixels at 16 x 16, which is enough
to tell what is plainly in the wrong folder, and little enough to be fitted in moments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from zafu.clean.labels import suspects
from zafu.data.ledger import Ledger, Removed
from zafu.data.picture_splits import thumbnails
from zafu.features.picture_pca import PicturePCA
from zafu.spec import Spec

if TYPE_CHECKING:
    from zafu.data.picture_splits import Gathered

STEP = "suspected-labels"
_SHOWN = 100  # suspects in prepare.json, the surest first


class SuspectedPictures(Spec):
    """Training pictures that a model which did not see them puts into another class."""

    action: Literal["report", "remove"] = "report"
    """Whether they are listed in prepare.json for a person to look at, or go."""
    folds: int = Field(default=5, ge=2, le=20)
    """Parts of the training pictures, each judged by a model of the others; 2 to 20."""
    components: int = Field(default=32, ge=1, le=256)
    """Principal components of the pixels that the model sees, 1 to 256."""


class Suspect(NamedTuple):
    """A training picture of a doubtful class."""

    id: str
    label: str  # as it stands
    suggested: str  # the class that the model is sure of
    probability: float


class Doubt(NamedTuple):
    """How pictures are audited."""

    spec: SuspectedPictures
    channels: int
    labels: tuple[str, ...]
    keep: frozenset[str]  # ids that may not go

    def audit(
        self,
        gathered: Gathered,
        train: np.ndarray,
        targets: np.ndarray,
        ledger: Ledger,
        seed: int,
    ) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """The training positions that stay, and the suspects, the surest first; up to 100."""
        ids = gathered.facts["id"]
        shown = thumbnails(gathered, train, self.channels)
        found = doubted(self.spec, shown, targets[train], seed=seed)
        listed = [
            Suspect(
                ids[int(train[row])],
                self.labels[targets[train[row]]],
                self.labels[other],
                round(chance, 4),
            )
            for row, other, chance in found
        ]
        ledger.came(STEP, len(train))
        going: list[int] = []
        if self.spec.action == "remove":
            going = [i for i, suspect in enumerate(listed) if suspect.id not in self.keep]
        for i in going:
            reason = f"labelled {listed[i].label}, probably {listed[i].suggested}"
            ledger.removed(STEP, [Removed(listed[i].id, reason)])
        surest = sorted(listed, key=lambda suspect: -suspect.probability)  # stable
        gone = np.array([found[i][0] for i in going], np.int64)
        return np.delete(train, gone), [suspect._asdict() for suspect in surest[:_SHOWN]]


def doubted(
    spec: SuspectedPictures, shown: np.ndarray, targets: np.ndarray, *, seed: int
) -> list[tuple[int, int, float]]:
    """Position, likelier class and its probability of each suspect, by position.

    `shown` are small training pictures `(n, channels, 16, 16)` uint8 with classes `(n,)`.
    """
    most = min(spec.components, len(shown), int(np.prod(shown.shape[1:])))
    pca = PicturePCA(components=most)
    seen = pca.apply(pca.fit(shown, seed=seed), shown)
    found = suspects(seen, targets, folds=spec.folds, seed=seed)
    rows = zip(found.positions, found.suggested, found.probability, strict=True)
    return [(int(i), int(k), float(p)) for i, k, p in rows]
