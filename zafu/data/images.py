"""Images: a folder for each class, pictures of any size made equal by resize and center crop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.data import arrays, decode, pixels
from zafu.data.contract import SPLITS, Data
from zafu.data.deal import deal
from zafu.data.files import refuse
from zafu.errors import DataError
from zafu.hashing import fingerprints

if TYPE_CHECKING:
    from zafu.batch import Batch
    from zafu.work import Work

Side = Annotated[int, Field(ge=1, le=4096)]


@final
class Images(Data):
    """Pictures to classify, in one folder for each class."""

    kind: Literal["images"] = "images"
    gives: ClassVar[str] = "pixels"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("PIL", "image"),)
    folder: str
    """The folder that holds a folder of pictures for each class."""
    size: tuple[Side, Side] = (32, 32)
    """Height and width that every picture is brought to, 1 to 4096."""
    color: Literal["rgb", "gray"] = "rgb"
    """Three channels, or one."""

    def sources(self) -> Sequence[Path]:
        """The pictures of all classes."""
        return self._found()

    def samples_foreseen(self, files: Sequence[Path]) -> int:
        """Each file is a picture."""
        return len(files)

    def prepare(self, folder: Path, *, task: str, seed: int, work: Work) -> None:
        """Write the pictures of each split; raises DataError that lists all that are unreadable."""
        decode.require_pillow()
        files = self._found()
        classes = [file.parent.name for file in files]
        labels = tuple(sorted(set(classes)))
        targets = np.array([labels.index(name) for name in classes], np.int64)
        prints = fingerprints(file.read_bytes() for file in files)
        dealt = deal(prints, self.split, seed=seed, what="pictures")
        faults = _faults_of_classes(labels, targets[dealt["train"]])
        shape = (1 if self.color == "gray" else 3, *self.size)
        for split in SPLITS:
            ids = dealt[split]
            stored = folder / split / "pixels.npy"
            out = arrays.new_array(stored, (len(ids), *shape), np.uint8)
            faults += decode.decode([files[i] for i in ids], out)
            arrays.write_arrays(folder / split, {"targets": targets[ids]})
        refuse(faults)
        others = sum(path.is_file() for path in Path(self.folder).glob("*/*")) - len(files)
        dropped = {"not a picture by its name": others}
        report = arrays.report(len(files) + others, dropped, dealt)
        arrays.describe(folder, pixels.fit(folder, labels), report)

    def open(self, folder: Path, split: str) -> pixels.Pictures:
        """The pictures of a split."""
        return pixels.open_split(folder, split)

    def encode(self, transform: Path, file: Path) -> tuple[Batch, list[str]]:
        """A picture or all below a folder; the classes of new pictures are absent (-100)."""
        shown, names = decode.new_pictures(pixels.load(transform), file)
        return pixels.unlabelled(pixels.load(transform), shown), names

    def _found(self) -> list[Path]:
        """The pictures by class and name."""
        root = Path(self.folder).expanduser()
        found = [path for path in root.glob("*/*") if decode.is_picture(path)]
        if not found:
            raise DataError(
                f"data.folder: expected CLASS/NAME with one of {', '.join(decode.SUFFIXES)}, "
                f"found none under {root.resolve()}"
            )
        return sorted(found)


def _faults_of_classes(labels: tuple[str, ...], train: np.ndarray) -> list[str]:
    """Two classes or more are wanted, each with a picture to train on."""
    if len(labels) < 2:
        return [f"data.folder: expected pictures in at least 2 folders, found {list(labels)}"]
    return [
        f"class {label!r}: expected pictures in the training split, found none: add some"
        for index, label in enumerate(labels)
        if index not in train
    ]
