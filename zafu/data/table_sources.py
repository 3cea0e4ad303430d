"""Where a table comes from: globs of files, toy tables of scikit-learn, or a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from zafu.data import frame, toys
from zafu.data.files import find
from zafu.data.memory import Form, refuse_what_is_too_large
from zafu.data.sql import NAME, Query
from zafu.errors import Fault
from zafu.spec import did_you_mean, show

_BINARY = (".parquet", *frame.PACKED)  # whose values are packed


def needs(patterns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The packages that the globs take, each with its extra."""
    return (toys.PACKAGE,) if any(map(_is_toy, patterns)) else ()


def check(patterns: Sequence[str]) -> Iterable[Fault]:
    """Toy tables that there are."""
    known = [toys.PREFIX + name for name in toys.TOYS]
    for index, pattern in enumerate(patterns):
        if _is_toy(pattern) and pattern not in known:
            hint = did_you_mean(pattern, known)
            yield Fault(f"files.{index}", f"one of {', '.join(known)}", show(pattern), hint=hint)


def paths(patterns: Sequence[str]) -> list[Path]:
    """The files of all globs; raises DataError for every glob that matches nothing."""
    of_toys = [path for name in _toys(patterns) for path in toys.files(name)]
    return [path for _, path in find(_globs(patterns))] + of_toys


def read(patterns: Sequence[str], query: Query | None, missing: Sequence[str]) -> frame.Frame:
    """The rows of all files, or of the query; texts in `missing` become nulls.

    Raises DataError that lists what cannot be read, before anything is read if the files are too
    large for this machine's memory.
    """
    if query:
        return frame.stacked([frame.Part(NAME, NAME, query.read())], missing)
    found = find(_globs(patterns))
    refuse_what_is_too_large({str(p): (p.stat().st_size, _form(p)) for _, p in found})
    given = [name for name, _ in found]
    names = [name if given.count(name) == 1 else path.as_posix() for name, path in found]
    of_toys = [frame.Part(toys.PREFIX + n, n, toys.rows(n)) for n in _toys(patterns)]
    return frame.read([path for _, path in found], missing, names=names, after=of_toys)


def _form(path: Path) -> Form:
    if path.suffix.lower() in _BINARY:
        return "packed"
    return "binary" if path.suffix.lower() == ".arrow" else "text"


def _is_toy(pattern: str) -> bool:
    return pattern.startswith(toys.PREFIX)


def _toys(patterns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(p.removeprefix(toys.PREFIX) for p in patterns if _is_toy(p)))


def _globs(patterns: Sequence[str]) -> list[str]:
    return [pattern for pattern in patterns if not _is_toy(pattern)]
