"""Splitters: folds as a class of sklearn.model_selection deals them, or as a file lists them."""

from __future__ import annotations

import importlib.util
import inspect
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from zafu.errors import Damaged, DataError, Fault
from zafu.hashing import key
from zafu.spec import did_you_mean, show

Setting = bool | int | float | str | None
TRAIN, HELD = 1, 2  # of a file's numbers; 0: left out


class Splitter(Protocol):
    """What scikit-learn's splitters do."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:
        """Positions to train on and to test on, fold after fold."""
        ...


class Known(NamedTuple):
    """What a splitter is told of the samples."""

    size: int
    classes: np.ndarray | None = None  # (size,) int64, where samples have classes
    groups: np.ndarray | None = None  # (size,) int64, where they are dealt by group


def kinds() -> dict[str, Any]:
    """The splitters of sklearn.model_selection by name."""
    from sklearn import model_selection

    return {
        name: found
        for name, found in sorted(vars(model_selection).items())
        if inspect.isclass(found)
        and not inspect.isabstract(found)
        and not name.startswith("Base")
        and {"split", "get_n_splits"} <= {*dir(found)}
    }


def faults(name: str, settings: Mapping[str, Setting], *, of: int, repeat: int) -> Iterator[Fault]:
    """What is wrong with a splitter that a recipe names, before it sees samples."""
    if importlib.util.find_spec("sklearn") is None:
        hint = "pip install 'zafu[sklearn]'"
        yield Fault("splitter", "the package sklearn", "not installed", hint=hint)
        return
    known = kinds()
    if name not in known:
        expected = "a splitter of sklearn.model_selection"
        hint = did_you_mean(name, known) or f"they are {', '.join(known)}"
        yield Fault("splitter", expected, show(name), hint=hint)
        return
    takes = inspect.signature(known[name]).parameters
    for setting in settings:
        if setting not in takes:
            hint = did_you_mean(setting, takes) or f"it takes {', '.join(takes)}"
            yield Fault(f"settings.{setting}", f"a setting of {name}", show(setting), hint=hint)
    parts = of // _repeats(settings, takes)
    if settings.get("n_splits", parts) != parts:
        yield Fault("settings.n_splits", f"{parts}, as `of` says", show(settings["n_splits"]))
    if set(settings) <= set(takes):
        try:
            known[name](**_completed(known[name], settings, of=of, chance=0))
        except (ValueError, TypeError) as error:
            yield Fault("settings", f"settings that {name} takes", str(error))
    if repeat and not _draws(known[name], settings):
        expected = f"0, as {name} with these settings has one partition"
        hint = "settings: {shuffle: true}" if "shuffle" in takes else ""
        yield Fault("repeat", expected, str(repeat), hint=hint)


def split(
    name: str, settings: Mapping[str, Setting], known: Known, *, place: tuple[int, int], chance: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on and of the fold `place` (number, of how many), ascending int64.

    Raises DataError with what the splitter says of these samples.
    """
    made = kinds()[name]
    fold, of = place
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # that groups are ignored, classes too few
            splitter = made(**_completed(made, settings, of=of, chance=chance))
            found = folds(splitter, known)
    except (ValueError, TypeError, UserWarning) as error:
        raise DataError(f"data.split, {name}: {error}{_help(str(error))}") from None
    if len(found) != of:
        raise DataError(
            f"data.split, {name}: makes {len(found)} folds of these samples, expected {of}: "
            f"set of: {len(found)} (zafu crossval --folds {len(found)})"
        )
    return np.flatnonzero(found[fold] == TRAIN), np.flatnonzero(found[fold] == HELD)


def _help(said: str) -> str:
    """What to do about groups that a splitter lacks, or does not look at."""
    if "groups" not in said:
        return ""
    ignored = "ignored" in said
    return "; set data.split.by=" + ("random and no column" if ignored else "group, and column")


def folds(splitter: Splitter, known: Known) -> np.ndarray:
    """All folds of a splitter, `(folds, samples)` uint8: TRAIN, HELD or 0 for what is left out.

    It is given zeros, the classes (zeros without) and the groups, in the order of the source.
    Raises ValueError where a sample is named twice or in both parts, or a part is empty.
    """
    classes = np.zeros(known.size, np.int64) if known.classes is None else known.classes
    rows: list[np.ndarray] = []
    for train, test in splitter.split(np.zeros((known.size, 1)), classes, known.groups):
        row = np.zeros(known.size, np.uint8)
        row[train], row[test] = TRAIN, HELD
        different = int((row == TRAIN).sum()), int((row == HELD).sum())
        if different != (len(train), len(test)) or not all(different):
            found = f"{len(train)} and {len(test)} with {sum(different)} different samples"
            raise ValueError(f"fold {len(rows)}: expected parts that share nothing, found {found}")
        rows.append(row)
    if not rows:
        raise ValueError("expected folds, found none")
    return np.stack(rows)


def stored(file: str, size: int, *, place: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The same from a file of folds; raises Damaged or DataError if it is not of these samples."""
    path = Path(file)
    try:
        content = path.read_bytes()
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"data.split.test.indices: expected a file of folds, {error}") from None
    if digest(content) != path.stem:
        raise Damaged(f"{path}: was changed after it was written")
    fold, of = place
    if found.shape != (of, size):
        raise DataError(
            f"{path}: has {found.shape[0]} folds of {found.shape[1]} samples, expected {of} of "
            f"{size}: the data has changed, or another number of folds is asked for"
        )
    return np.flatnonzero(found[fold] == TRAIN), np.flatnonzero(found[fold] == HELD)


def written(found: np.ndarray) -> bytes:
    """A file of folds, as `stored` reads it."""
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    return buffer.getvalue()


def digest(content: bytes) -> str:
    """What a file of folds is called."""
    from hashlib import sha256

    return sha256(content).hexdigest()[:16]


def _completed(
    made: Any, settings: Mapping[str, Setting], *, of: int, chance: int
) -> dict[str, Any]:
    """The settings, with the number of folds, and what it draws by where it draws."""
    takes = inspect.signature(made).parameters
    whole = dict(settings)
    if "n_splits" in takes:
        whole.setdefault("n_splits", of // _repeats(settings, takes))
    if _draws(made, settings):
        whole["random_state"] = int(key(chance)[0]) % 2**32
    return whole


def _repeats(settings: Mapping[str, Setting], takes: Mapping[str, Any]) -> int:
    """How often a repeating splitter deals: its folds are so many times n_splits."""
    if "n_repeats" not in takes:
        return 1
    found = settings.get("n_repeats", takes["n_repeats"].default)
    return max(1, found) if isinstance(found, int) else 1


def _draws(made: Any, settings: Mapping[str, Setting]) -> bool:
    """Whether chance, which is ours to give, decides the partition."""
    takes = inspect.signature(made).parameters
    if "random_state" not in takes or settings.get("random_state") is not None:
        return False
    return bool(settings.get("shuffle", takes["shuffle"].default)) if "shuffle" in takes else True
