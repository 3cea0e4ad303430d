"""Apart: packages that would change the versions of ours, in a folder of their own.

A program that needs them is a process whose path begins with that folder and goes on with ours, so
that it sees our torch and its own of all else; between it and us lie files. The folder is made when
it is first needed, in the user's cache, and gets its name when it is whole.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

from zafu import artifact
from zafu.errors import Interrupted, Refused, ZafuError
from zafu.spec import digest_of
from zafu.units import Bytes

SHOWN = 8  # lines of what a process said before it failed


class Apart(NamedTuple):
    """Packages that stand together."""

    name: str
    packages: Sequence[str]  # with their versions, each that we lack or have in another: no more
    bytes: int  # what they take on the disk


def place(of: Apart) -> Path:
    """Where they are, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = digest_of([[*of.packages], sys.version_info[:2], platform.machine()])
    return cache / "zafu" / "environments" / f"{of.name}-{digest[:12]}"


def ready(of: Apart, say: Callable[[str], None]) -> Path:
    """The folder with the packages, which is made where it is not there.

    Raises Refused without pip or where that fails, DiskFull without room; then nothing is left.
    """
    folder = place(of)
    with artifact.taking_turns(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():
            return folder
        if not any(distributions(name="pip")):  # to import its spec would change distutils
            raise Refused(f"{of.name}: expected pip, which fetches it, found none in {sys.prefix}")
        say(f"{of.name} is fetched, once: {Bytes(of.bytes)} into {folder}")
        with artifact.begun(folder, needed=of.bytes) as part:
            pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
            wanted = ["--no-deps", "--only-binary=:all:", "--target", str(part), *of.packages]
            _done([*pip, *wanted], dict(os.environ), f"{of.name}: pip")
            part.rename(folder)
    return folder


def carried_out(of: Apart, program: Path, *words: str, say: Callable[[str], None]) -> None:
    """Run a Python file beside these packages; raises ZafuError with its last words if it fails."""
    path = [str(ready(of, say)), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    # -P: files that lie beside the program are no packages
    _done(["-P", str(program), *words], settings, of.name)


def _done(words: Sequence[str], settings: dict[str, str], name: str) -> None:
    done = subprocess.run(
        [sys.executable, *words], env=settings, capture_output=True, text=True, check=False
    )
    if done.returncode in (-2, 130):
        raise Interrupted(f"{name}: SIGINT; nothing was kept")
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-SHOWN:]
        raise ZafuError("\n".join([f"{name}: ended with {done.returncode}", *last]))
