"""Extras: packages that only some techniques need, and what installs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec

from zafu.errors import Fault, MissingExtra


def missing(needs: Iterable[tuple[str, str]], path: str) -> Iterator[Fault]:
    """A fault for each package of (package, extra) that is not installed."""
    for package, extra in needs:
        if find_spec(package) is None:
            hint = f"pip install 'zafu[{extra}]'"
            yield Fault(path, f"the package {package}", "not installed", hint=hint)


def require(needs: Iterable[tuple[str, str]]) -> None:
    """Raise MissingExtra where a package of (package, extra) is not installed."""
    for package, extra in needs:
        if find_spec(package) is None:
            raise MissingExtra(package, extra)
