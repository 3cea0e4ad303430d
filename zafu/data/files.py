"""Files of data: found by globs, in an order that does not depend on the machine."""

from __future__ import annotations

import importlib.util
import os
import re
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from zafu.errors import DataError

STDLIB = "stdlib:"  # prefix of globs below Python's own standard library
PACKAGE = "package:"  # prefix of globs below an installed package: package:NAME/glob
GET = "get:"  # prefix of globs below a data set that was fetched: get:NAME/glob
_NOT_LIBRARY = frozenset(
    # Tests hold files that are broken on purpose; idlelib and lib2to3 are programs; the rest is
    # installed or generated.
    {"test", "tests", "idlelib", "idle_test", "lib2to3", "site-packages", "dist-packages"}
)


def find(patterns: Iterable[str]) -> list[tuple[str, Path]]:
    """Files that match the globs, each once, by name: its path below the glob's fixed part.

    `**` matches any depth; hidden files are passed over. `stdlib:*.py` are the modules of Python's
    standard library, `stdlib:**/*.py` its packages too, without tests, idlelib, lib2to3, installed
    packages and what was generated for this machine; `package:NAME/*.csv` are files that an
    installed package ships, `get:NAME/*.txt` those of a set that `zafu data get NAME` fetched,
    `get:NAME` all of them.
    Raises DataError for every glob that matches nothing.
    """
    found: dict[Path, str] = {}
    faults: list[str] = []
    for pattern in patterns:
        root, rest = _root(pattern)
        below = (path.relative_to(root) for path in root.glob(rest))
        names = [name for name in below if not any(part.startswith(".") for part in name.parts)]
        if pattern.startswith(STDLIB):
            names = [name for name in names if _of_library(name)]
        names = [name for name in names if (root / name).is_file()]
        if not names:
            faults.append(f"{pattern}: expected files, found none under {root.resolve()}")
        for name in names:
            found.setdefault(root / name, name.as_posix())
    refuse(faults)
    return sorted((name, path) for path, name in found.items())


def refuse(faults: Iterable[str]) -> None:
    """Raises DataError with all faults in one list, if there are any."""
    if listed := list(faults):
        many = f"{len(listed)} fault{'s' if len(listed) != 1 else ''}"
        raise DataError("\n".join([f"{many} in the data:", *(f"  {fault}" for fault in listed)]))


def _root(pattern: str) -> tuple[Path, str]:
    """The folder above the first wildcard, and the rest of the glob."""
    base = Path()
    if pattern.startswith(PACKAGE):
        name, _, pattern = pattern.removeprefix(PACKAGE).partition("/")
        base = _package(name)
    if pattern.startswith(GET):
        name, _, pattern = pattern.removeprefix(GET).partition("/")
        base, pattern = _fetched(name), pattern or "**/*"
    if pattern.startswith(STDLIB):
        base, pattern = Path(sysconfig.get_path("stdlib")), pattern.removeprefix(STDLIB)
    parts = Path(pattern).expanduser().parts or (pattern,)
    wild = (i for i, part in enumerate(parts) if re.search(r"[*?\[]", part))
    fixed = min(next(wild, len(parts)), len(parts) - 1)
    return base.joinpath(*parts[:fixed]), "/".join(parts[fixed:]) or "."


def _package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise DataError(f"{PACKAGE}{name}: expected an installed package; pip install {name}")
    return Path(places[0])


def fetched_folder(name: str) -> Path:
    """Where the files of a fetched data set are kept, whether they are there or not."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "zafu" / "data" / name


def _fetched(name: str) -> Path:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise DataError(f"{GET}{name}: expected the name of a data set, as in {GET}NAME/*.txt")
    if not (folder := fetched_folder(name)).is_dir():
        raise DataError(
            f"{GET}{name}: expected a fetched data set in {folder}: zafu data get {name}"
        )
    return folder


def _of_library(name: Path) -> bool:
    return _NOT_LIBRARY.isdisjoint(name.parts) and not name.name.startswith("_sysconfigdata")
