"""Fold: which part of a partition of the samples is held out; the other parts are trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import Field

from zafu.data import splitters
from zafu.errors import Fault
from zafu.spec import Spec, show

_DIGEST = re.compile(r"[0-9a-f]{16}\.npy$")


class Fold(Spec):
    """A part of the samples, by the numbers 0 to `of` - 1; of each sample the same, on any machine.

    How samples are parted follows from `by` and `stratify`, as it does for shares: in parts whose
    sizes differ by one at most of what may part (content, random, group); in parts with the same
    shares of each class, as scikit-learn's StratifiedKFold and StratifiedGroupKFold have them; in
    blocks of time, each with what is older to train on, as TimeSeriesSplit; or by the values of a
    column (given; -1: only trained on), as PredefinedSplit.
    """

    fold: int = Field(ge=0)
    """The part that is held out, 0 to `of` - 1."""
    of: int = Field(ge=2)
    """How many parts there are, 2 or more."""
    repeat: int = Field(default=0, ge=0, lt=2**32)
    """Which partition of many, 0 to 2^32 - 1."""
    gap: int = Field(default=0, ge=0)
    """Samples left out between training and a fold that is later, 0 or more (time)."""
    splitter: str | None = None
    """A class of sklearn.model_selection that deals instead, such as ShuffleSplit."""
    settings: dict[str, splitters.Setting] = Field(default={})
    """What that class is made with; `of` is its n_splits."""
    indices: str | None = None
    """A file of folds that `zafu.cross_validate` wrote for a splitter, named by its digest."""

    @property
    def dealt_elsewhere(self) -> bool:
        """Whether a splitter or a file says which samples these are."""
        return self.splitter is not None or self.indices is not None

    def check(self) -> Iterable[Fault]:
        """The number is one of a part; each setting has an effect."""
        if self.splitter is None and self.settings:
            yield Fault("settings", "nothing without a splitter", show(self.settings))
        if self.indices is not None:
            if self.splitter is not None:
                yield Fault("splitter", "nothing beside indices", show(self.splitter))
            if self.repeat:
                yield Fault("repeat", "0, as the file has one partition", str(self.repeat))
            if not _DIGEST.search(self.indices):
                yield Fault("indices", "a file that zafu.cross_validate wrote", show(self.indices))
        if self.dealt_elsewhere and self.gap:
            yield Fault("gap", "0, as a splitter has its own settings", str(self.gap))
        if self.splitter is not None:
            yield from splitters.faults(
                self.splitter, self.settings, of=self.of, repeat=self.repeat
            )
        if self.fold >= self.of:
            yield Fault("fold", f"a number below {self.of}, as `of` says", str(self.fold))
