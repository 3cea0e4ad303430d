"""Pictures of a file of one's own, each with its class, as a finished model wants them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zafu.data import decode
from zafu.data import picture_sources as origins
from zafu.data.files import refuse
from zafu.errors import DataError
from zafu.spec import did_you_mean

SHOWN = 10  # faults in a message


def read(
    form: decode.Form, file: Path, columns: origins.Columns, labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pictures `(n, channels, height, width)` uint8, their classes `(n,)` int64, and their names.

    From a folder CLASS/NAME, a table or an archive. Raises DataError that lists pictures that
    cannot be read, that have no class, or one that the model does not know.
    """
    decode.require()
    shown: list[np.ndarray] = []
    targets: list[int] = []
    names: list[str] = []
    faults: list[str] = []
    with decode.told_plainly():
        for item in (item for part in _parts(file, columns) for item in part.items()):
            seen = decode.attempt(lambda item=item: decode.see(item.read(), form))
            if isinstance(seen, str):
                faults.append(f"{item.where}: {seen}")
            elif item.label not in labels:
                faults.append(f"{item.where}: {_unknown(item.label, labels)}")
            else:
                shown.append(decode.pixels(decode.fitted(seen.image, form)))
                targets.append(labels.index(item.label))
                names.append(item.id)
    more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    refuse([*faults[:SHOWN], *more])
    if not shown:
        raise DataError(f"{file}: expected pictures, found none")
    return np.stack(shown), np.array(targets, np.int64), names


def _parts(file: Path, columns: origins.Columns) -> Sequence[origins.Part]:
    if not file.is_dir():
        return origins.of_files([(file.name, file)], columns)
    found = sorted(p.relative_to(file).as_posix() for p in file.glob("*/*") if decode.is_picture(p))
    if not found:
        names = ", ".join(decode.SUFFIXES)
        raise DataError(f"{file}: expected CLASS/NAME with one of {names}, found none")
    return origins.of_folder(file, found)


def _unknown(label: str | None, labels: Sequence[str]) -> str:
    if label is None:
        return "expected a class, found none"
    some = ", ".join(labels[:10]) + (", …" if len(labels) > 10 else "")
    hint = did_you_mean(label, labels)
    return f"expected one of the classes {some}; found {label!r}" + (f"; {hint}" if hint else "")
