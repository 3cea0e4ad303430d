"""metrics.jsonl: the record of a run, one JSON object a line, only ever appended to.

Every line is valid JSON (RFC 8259), which has no NaN: numbers that are not finite are written as
the strings "NaN", "Infinity" and "-Infinity", and read back as floats. Finite floats come back
with the same bits. A line reaches the kernel as it is appended, so a killed process loses none;
`sync` puts all lines on the disk, and is called before a checkpoint counts on them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from zafu.artifact import room, write_text
from zafu.errors import Damaged

SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Metrics:
    """Appends rows to a file; what an earlier process left half written is dropped on opening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _ends_whole(path):
            _rewrite(path, lambda _: True)
        self.file = path.open("ab", buffering=0)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one line and hand it to the kernel; raises DiskFull if there is no room."""
        line = memoryview(_line(row).encode("ascii") + b"\n")
        with room(self.path):
            while line:  # a nearly full disk takes a part
                line = line[self.file.write(line) :]

    def cut(self, step: int) -> None:
        """Drop all rows of later steps, in one step: readers see the old file or the new one."""
        self.file.close()
        _rewrite(self.path, lambda row: row.get("step", 0) <= step)
        self.file = self.path.open("ab", buffering=0)

    def sync(self) -> None:
        """Return when all rows are on the disk."""
        with room(self.path):
            os.fsync(self.file.fileno())

    def close(self) -> None:
        """All rows are on the disk and the file is closed."""
        if not self.file.closed:
            self.sync()
            self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> list[dict[str, Any]]:
    """All rows in order, without a torn last one; none if the file is absent.

    Raises Damaged, with the line, if a row before the last is not a JSON object.
    """
    rows: list[dict[str, Any]] = []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        row = _parse(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            raise Damaged(f"{path}:{number}: expected a JSON object, found {line[:60]!r}")
    return rows


def _rewrite(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    write_text(path, "".join(_line(row) + "\n" for row in read(path) if keep(row)))


def _ends_whole(path: Path) -> bool:
    if not path.exists() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(_plain(row), allow_nan=False, separators=(",", ":"))


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return _restored(row) if isinstance(row, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str) and value in SPECIAL:
        raise ValueError(f"the text {value!r} stands for a number in metrics.jsonl")
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, str):
        return SPECIAL.get(value, value)
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return value
