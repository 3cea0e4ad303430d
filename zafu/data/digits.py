"""Digits: 1,797 handwritten digits of 8x8 pixels that come with scikit-learn.

Alpaydin & Kaynak, 1998, "Optical Recognition of Handwritten Digits" (UCI), its test part. Read
from the file in scikit-learn's package, without importing scikit-learn.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np

from zafu.data import (
    arrays,
    decode,
    leaks,
    picture_splits,
    pictures,
    pictures_of_classes,
    pixels,
    pool,
)
from zafu.data import picture_sources as origins
from zafu.data.contract import Data, Labelled
from zafu.data.deal import deal
from zafu.data.intake import Intake
from zafu.data.ledger import Ledger, report
from zafu.errors import DataError, MissingExtra
from zafu.hashing import fingerprints
from zafu.signature import Pixels, Signature

if TYPE_CHECKING:
    from zafu.batch import Batch
    from zafu.work import Work

_LABELS = tuple("0123456789")
_INK = 16  # a stored pixel is 0 (paper) to 16 (ink)


@final
class Digits(Data):
    """Small handwritten digits to classify: real, and there without a download."""

    kind: Literal["digits"] = "digits"
    gives: ClassVar[str] = "pixels"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn", "sklearn"),)
    white: ClassVar[float] = float(_INK)

    def foreseen(self, task: str) -> Signature:
        """One channel of 8x8 pixels, ten classes."""
        inputs = Pixels(channels=1, height=8, width=8)
        return Signature(inputs=inputs, outputs=len(_LABELS), labels=_LABELS)

    def sources(self) -> Sequence[Path]:
        """The file in scikit-learn's package; none where that is not installed."""
        package = importlib.util.find_spec("sklearn")
        if package is None or package.origin is None:
            return ()
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if not file.is_file():
            raise DataError(f"{file}: expected the digits of scikit-learn, found no such file")
        return (file,)

    def samples_foreseen(self, files: Sequence[Path]) -> int:
        """All digits."""
        return 1797

    def prepare(self, folder: Path, *, task: str, seed: int, work: Work) -> None:
        """Write the digits of each split; raises MissingExtra without scikit-learn."""
        if not (files := self.sources()):
            raise MissingExtra("scikit-learn", "sklearn")
        with gzip.open(files[0], "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.int64)
        shown = table[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8)
        prints = fingerprints(picture.tobytes() for picture in shown)
        ids = [str(row) for row in range(1, len(table) + 1)]
        classes = table[:, -1]
        dealt = deal(prints, self.split, seed=seed, what="digits", classes=classes)
        leaking = leaks.find(prints, dealt, self.split, ids=ids)
        leaks.refuse_leaks(leaking, self.leaks)
        for split, rows in dealt.items():
            stored = {"pixels": shown[rows], "targets": classes[rows]}
            arrays.write_arrays(folder / split, stored)
        pool.write(folder, dealt, ids, classes=classes)
        counts = pixels.histogram(shown[dealt["train"]])
        fitted = pixels.fit(counts, "z-score", size=(8, 8), labels=_LABELS)
        pixels.save(folder / "transform", fitted)
        told = report(
            Ledger(),
            came=len(table),
            splits={split: len(rows) for split, rows in dealt.items()},
            leaks=leaking,
            channels=picture_splits.channels(counts, fitted),
            classes=picture_splits.classes(dealt, classes, _LABELS),
        )
        arrays.describe(folder, pictures.signature(fitted), told)

    def open(self, folder: Path, split: str) -> pictures.Pictures:
        """The digits of a split."""
        return pictures.open_split(folder, split)

    def encode(self, transform: Path, file: Path) -> tuple[Batch, list[str]]:
        """New pictures of light ink on dark paper, one or all below a folder; no classes (-100)."""
        fitted = pixels.load(transform)
        shown, names = decode.new_pictures(pictures.form_of(fitted), file)
        return pictures.unlabelled(fitted, _ink(shown)), names

    def interface(self, transform: Path) -> dict[str, Any]:
        """A picture of light ink on dark paper, on a scale of 0 to 16."""
        fitted = pixels.interface(pixels.load(transform))
        return {**fitted, "first": {"multiply": _INK / 255, "then": "round to the nearest, even"}}

    def intake(self, transform: Path) -> Intake:
        """Pictures of light ink on dark paper as the bytes of their files."""
        decode.require()
        fitted = pixels.load(transform)
        form = pictures.form_of(fitted)

        def batch(shown: Sequence[np.ndarray]) -> Batch:
            return pictures.unlabelled(fitted, _ink(np.stack(shown)))

        return Intake("pictures", partial(decode.new_picture, form), batch, shape=form.shape)

    def labelled(self, transform: Path, file: Path) -> Labelled:
        """Pictures of light ink on dark paper: a folder DIGIT/NAME, a table, or an archive."""
        fitted = pixels.load(transform)
        columns = origins.Columns("image", "label", None, _LABELS)
        form = pictures.form_of(fitted)
        shown, targets, names = pictures_of_classes.read(form, file, columns, _LABELS)
        return Labelled(pictures.labelled(fitted, _ink(shown), targets), names)


def _ink(shown: np.ndarray) -> np.ndarray:
    """Pixels up to 255 as the data has them."""
    return np.rint(shown * (_INK / 255)).astype(np.uint8)
