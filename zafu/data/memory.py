"""Memory: whether what is to be read at once has room on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from zafu.errors import DataError
from zafu.units import Bytes

Form = Literal["text", "binary", "packed"]
# Most memory while a table is prepared, as a multiple of the bytes of its files. Measured, with the
# 337 thousand rows of flights: CSV 13, Parquet 65.
TIMES: dict[Form, int] = {"text": 15, "binary": 25, "packed": 80}


def refuse_what_is_too_large(sizes: Mapping[str, tuple[int, Form]]) -> None:
    """Raises DataError if tables of these bytes need more memory than is available now."""
    needed = sum(size * TIMES[form] for size, form in sizes.values())
    there = available()
    if there is not None and needed > there:
        names = ", ".join(list(sizes)[:3]) + (", ..." if len(sizes) > 3 else "")
        held = Bytes(sum(size for size, _ in sizes.values()))
        text = f"{names}: expected a table that fits into memory ({Bytes(there)} available)"
        raise DataError(
            f"{text}, found {held}, which may take {Bytes(needed)}: use fewer files, columns or "
            "rows, or a machine with more memory"
        )


def available() -> int | None:
    """Bytes that this process may still take; None if the machine does not say."""
    found = [_of_machine(), _of_group()]
    return min((there for there in found if there is not None), default=None)


def _of_machine() -> int | None:
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    told = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(told[0][1]) * 1024 if told else None


def _of_group() -> int | None:
    """What a container's limit leaves."""
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if not (limit.is_file() and used.is_file()):
        return None
    most = limit.read_text(encoding="utf-8").strip()
    return int(most) - int(used.read_text(encoding="utf-8")) if most.isdigit() else None
