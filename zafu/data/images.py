"""Images: pictures of any size made equal by resize and center crop, each with its class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import PictureCleaning
from zafu.data import (
    arrays,
    decode,
    leaks,
    picture_features,
    picture_splits,
    picture_suspects,
    pictures,
    pictures_of_classes,
    pixels,
    pool,
)
from zafu.data import picture_sources as origins
from zafu.data.contract import Data, Labelled, Split
from zafu.data.deal import deal
from zafu.data.files import find, refuse
from zafu.data.intake import Intake
from zafu.data.ledger import Ledger, Removed, report
from zafu.data.left_out import left_out
from zafu.data.normalize import Normalize
from zafu.data.perceptual import PictureDuplicates
from zafu.data.picture_pieces import Look, Piece, look
from zafu.errors import DataError, Fault
from zafu.features.contract import PictureFeature
from zafu.signature import Pixels, Signature
from zafu.spec import did_you_mean

if TYPE_CHECKING:
    from zafu.batch import Batch
    from zafu.data.duplicates import Found
    from zafu.work import Work

Side = Annotated[int, Field(ge=1, le=4096)]
NAME = "name"  # the step that passes over what is no picture by its name


@final
class Images(Data):
    """Pictures to classify: a folder for each class, tables of encoded pictures, or archives."""

    kind: Literal["images"] = "images"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    folder: str | None = None
    """The folder that holds a folder of pictures for each class; or give `files`."""
    files: tuple[str, ...] = ()
    """Globs of Parquet or Arrow files, or of archives (.tar, .tar.gz, .zip) with CLASS/NAME."""
    image: str = "image"
    """The column of a table that holds encoded pictures: bytes, or {bytes, path}."""
    label: str = "label"
    """The column of a table that holds the classes: text, or whole numbers."""
    labels: tuple[str, ...] = ()
    """Names of the classes 0, 1, ... of `files`, in order; empty: they are found."""
    size: tuple[Side, Side] = (32, 32)
    """Height and width that every picture is brought to, 1 to 4096."""
    color: Literal["rgb", "gray"] = "rgb"
    """Three channels, or one."""
    unreadable: Literal["stop", "drop"] = "stop"
    """What to do about pictures that cannot be read: list them all and stop, or take them out."""
    clean: tuple[PictureCleaning, ...] = ()
    """Steps that look at each picture and say why it should go, in order."""
    duplicates: PictureDuplicates = PictureDuplicates()
    """What is done about pictures that repeat: copies are equal once they are brought to `size`."""
    suspects: picture_suspects.SuspectedPictures | None = None
    """What is done about training pictures that seem to be of another class; null: nothing."""
    keep: tuple[str, ...] = ()
    """Ids of removed.jsonl that no step of cleaning may take out."""
    without: tuple[str, ...] = ()
    """Ids of pictures that are left out of training, such as those that `zafu audit` suspects."""
    store: pictures.Store = "decoded"
    """Pixels, read fast; or the files as they are: far smaller, decoded whenever they are read."""
    decoder: decode.Decoder = "pillow"
    """Who decodes: pillow; simplejpeg is faster on JPEGs, where a byte may differ by a level."""
    normalize: Normalize = "z-score"
    """Scale of each channel, fitted on the training pictures."""
    features: tuple[PictureFeature, ...] = ()
    """What numbers are made of the pictures, for models of tables; empty: pixels are read."""

    @property
    def gives(self) -> str:
        """Pixels, or the columns that features make of them."""
        return "columns" if self.features else "pixels"

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """Pillow, and what else is asked for."""
        faster = (("simplejpeg", "jpeg"),) if self.decoder == "simplejpeg" else ()
        model = (("sklearn", "sklearn"),) if self.suspects else ()
        return (("PIL", "image"), *faster, *model)

    def check(self) -> Iterable[Fault]:
        """One source; and no option that would have no effect."""
        if (self.folder is None) == (not self.files):
            found = "neither" if self.folder is None else "both"
            yield Fault("", "either folder or files", found)
        if self.folder is not None:
            if self.labels:
                yield Fault("labels", "nothing, as folders name the classes", str(self.labels))
            if self.split.column is not None:
                yield Fault("split.by", "content or random for a folder", self.split.by)
        if len(set(self.labels)) < len(self.labels):
            yield Fault("labels", "different names", str(self.labels))
        if self.leaks.near is not None and self.duplicates.near is None:
            found = f"{self.leaks.near:g}"
            hint = "set data.duplicates.near={}"
            yield Fault("leaks.near", "null, as near duplicates are not sought", found, hint=hint)
        if self.features and self.store == "encoded":
            yield Fault("store", "decoded, as features are stored instead of pictures", "encoded")
        if self.features and self.normalize != "z-score":
            yield Fault("normalize", "z-score, the scale of all features", self.normalize)

    def foreseen(self, task: str) -> Signature | None:
        """All of it, where the classes are named."""
        if not self.labels or self.features:
            return None
        channels, height, width = self._form().shape
        inputs = Pixels(channels=channels, height=height, width=width)
        return Signature(inputs=inputs, outputs=len(self.labels), labels=self.labels)

    def sources(self) -> Sequence[Path]:
        """The pictures of all classes, or the files that hold them."""
        if self.folder is None:
            return [path for _, path in find(self.files)]
        return [self._where() / name for name in _of_classes(self._where())]

    def samples_foreseen(self, files: Sequence[Path]) -> int | None:
        """Each file of a folder is a picture."""
        return None if self.folder is None else len(files)

    def prepare(self, folder: Path, *, task: str, seed: int, work: Work) -> None:
        """Write the pictures of each split; raises DataError that lists all that are unreadable."""
        for package, extra in self.needs:
            decode.require(package, extra)
        ledger = Ledger()
        gathered, found = self._cleaned(ledger, work)
        dealt, leaking = self._dealt(gathered, found, seed)
        ids = gathered.facts["id"].to_list()
        dealt["train"] = left_out(dealt["train"], ids, self.without, ledger)
        labels, targets = self._classes(gathered.facts["label"].to_list(), dealt["train"])
        doubted: list[dict[str, Any]] = []
        if self.suspects:
            channels, keep = self._form().channels, frozenset(self.keep)
            doubt = picture_suspects.Doubt(self.suspects, channels, labels, keep)
            dealt["train"], doubted = doubt.audit(gathered, dealt["train"], targets, ledger, seed)
            self._classes(gathered.facts["label"].to_list(), dealt["train"])
        counts = picture_splits.histogram(gathered, dealt["train"], self._form().channels)
        fitted = pixels.fit(counts, self.normalize, size=self.size, labels=labels)
        pixels.save(folder / "transform", fitted)
        stage = work.folder / "decoded" if self.features else folder
        for split, ids in dealt.items():
            picture_splits.write(gathered, ids, stage / split, self._form(), self.store)
            arrays.write_arrays(folder / split, {"targets": targets[ids]})
        facts = gathered.facts
        groups = facts["value"].to_numpy() if self.split.by == "group" else None
        pool.write(folder, dealt, facts["id"].to_list(), classes=targets, groups=groups)
        signature = pictures.signature(fitted)
        if self.features:
            signature = picture_features.write(
                self.features, stage, folder, labels=labels, seed=seed
            )
        told = report(
            ledger,
            came=ledger.steps()[0]["rows_in"],
            splits={split: len(ids) for split, ids in dealt.items()},
            leaks=leaking,
            suspects=doubted,
            channels=picture_splits.channels(counts, fitted),
            sizes=picture_splits.sizes(gathered.facts),
            classes=picture_splits.classes(dealt, targets, labels),
        )
        arrays.describe(folder, signature, told)
        ledger.write_removed(folder)

    def open(self, folder: Path, split: str) -> Split:
        """The pictures of a split, or their features."""
        if self.features:
            return picture_features.open_split(folder, split)
        return pictures.open_split(folder, split, self.decoder)

    def encode(self, transform: Path, file: Path) -> tuple[Batch, list[str]]:
        """A picture or all below a folder; the classes of new pictures are absent (-100)."""
        fitted = pixels.load(transform)
        shown, names = decode.new_pictures(self._form(), file)
        if self.features:
            return picture_features.unlabelled(self.features, transform, shown), names
        return pictures.unlabelled(fitted, shown), names

    def interface(self, transform: Path) -> dict[str, Any]:
        """A picture; what features make of it is not told."""
        return {} if self.features else pixels.interface(pixels.load(transform))

    def intake(self, transform: Path) -> Intake:
        """Pictures as the bytes of their files."""
        for package, extra in self.needs[:2]:
            decode.require(package, extra)
        fitted = pixels.load(transform)

        def batch(shown: Sequence[np.ndarray]) -> Batch:
            if self.features:
                return picture_features.unlabelled(self.features, transform, np.stack(shown))
            return pictures.unlabelled(fitted, np.stack(shown))

        form = self._form()
        return Intake("pictures", partial(decode.new_picture, form), batch, shape=form.shape)

    def labelled(self, transform: Path, file: Path) -> Labelled:
        """The pictures of a folder CLASS/NAME, of a table, or of an archive."""
        fitted = pixels.load(transform)
        columns = origins.Columns(self.image, self.label, None, self.labels)
        shown, targets, names = pictures_of_classes.read(self._form(), file, columns, fitted.labels)
        if self.features:
            rows = picture_features.rows(self.features, transform, shown, targets)
            return Labelled(rows, names)
        return Labelled(pictures.labelled(fitted, shown, targets), names)

    def _form(self) -> decode.Form:
        return decode.Form(1 if self.color == "gray" else 3, *self.size, self.decoder)

    def _where(self) -> Path:
        return Path(self.folder or "").expanduser()

    def _cleaned(self, ledger: Ledger, work: Work) -> tuple[picture_splits.Gathered, Found]:
        """The pictures that stay, and which of them belong together."""
        near, keep = self.duplicates.near, frozenset(self.keep)
        look_at = Look(near=near is not None, small=self.suspects is not None)
        pieces = [
            Piece(part, self._form(), self.store, self.clean, keep, look_at)
            for part in self._parts(ledger)
        ]
        folders = work.map("pictures", look, pieces)
        gathered = picture_splits.gather(folders, ledger, drop=self.unreadable == "drop")
        refuse(picture_splits.faults_of_keep(self.keep, gathered.facts["id"].to_list(), folders))
        found = picture_splits.repeated(gathered.facts, near)
        return picture_splits.without(gathered, found, self.duplicates, self.keep, ledger)

    def _dealt(
        self, gathered: picture_splits.Gathered, found: Found, seed: int
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The positions of each split, and what of the held-out ones training knows."""
        facts = gathered.facts
        ids = facts["id"].to_list()
        keys = facts["value"].to_numpy() if self.split.column else None
        dealt = deal(
            facts["print"].to_numpy(),
            self.split,
            seed=seed,
            what="pictures",
            keys=np.array(ids, object) if self.split.by == "random" else keys,
            classes=facts["label"].to_numpy(),
            clusters=found.groups,
        )
        near = found.pairs if self.duplicates.near else None
        same = facts["same"].to_numpy()
        known = leaks.find(same, dealt, self.split, ids=ids, keys=keys, near=near)
        leaks.refuse_leaks(known, self.leaks)
        return dealt, known

    def _parts(self, ledger: Ledger) -> list[origins.Part]:
        """The pictures in parts; what is none by its name is noted."""
        if self.folder is None:
            columns = origins.Columns(self.image, self.label, self.split.column, self.labels)
            parts = origins.of_files(find(self.files), columns)
            if not parts:
                raise DataError(f"data.files: expected pictures, found none in {self.files}")
            return parts
        names = _of_classes(self._where())
        known = set(names)
        below = (f for f in self._where().glob("*/*") if f.is_file())
        others = sorted({f.relative_to(self._where()).as_posix() for f in below} - known)
        ledger.came(NAME, len(names) + len(others))
        ledger.removed(NAME, [Removed(name, "not a picture by its name") for name in others])
        return origins.of_folder(self._where(), names)

    def _classes(self, names: list[str], train: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """The names of the classes, and the index of each picture's `(n,)` int64."""
        found = set(names)
        labels = self.labels or origins.in_order(found)
        place = "data.folder: expected pictures in at least 2 folders"
        if self.folder is None:
            place = f"column {self.label!r}: expected at least 2 classes"
            refuse(
                f"class {name!r}: expected one of data.labels; {did_you_mean(name, labels)}"
                for name in origins.in_order(found - set(labels))
            )
        if len(labels) < 2:
            raise DataError(f"{place}, found {list(labels)}")
        index = {name: i for i, name in enumerate(labels)}
        targets = np.array([index[name] for name in names], np.int64)
        there = set(targets[train].tolist())
        refuse(
            f"class {name!r}: expected pictures in the training split, found none: add some"
            for name, i in index.items()
            if i not in there
        )
        return labels, targets


def _of_classes(root: Path) -> list[str]:
    """The pictures CLASS/NAME of a folder in order; raises DataError for a class without any."""
    found = [path for path in root.glob("*/*") if decode.is_picture(path)]
    if not found:
        raise DataError(
            f"data.folder: expected CLASS/NAME with one of {', '.join(decode.SUFFIXES)}, "
            f"found none under {root.resolve()}"
        )
    full = {path.parent for path in found}
    refuse(
        f"{path}: expected pictures of a class, found none: add some, or remove the folder"
        for path in sorted(root.iterdir())
        if path.is_dir() and path not in full and not path.name.startswith(".")
    )
    return [path.relative_to(root).as_posix() for path in sorted(found)]
