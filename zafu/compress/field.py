"""A chain as a setting: a list of links, each a kind, `kind:value` or a mapping; or one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from zafu.compress.contract import Compression
from zafu.compress.gradual import Gradual
from zafu.compress.words import chain, link
from zafu.errors import Fault
from zafu.words import OrLine, listed

if TYPE_CHECKING:
    from zafu.fit import Fit

Chain = Annotated[tuple[Compression, ...], listed(chain, link), OrLine()]


def misplaced(fit: Fit, compress: tuple[Compression, ...]) -> Iterator[Fault]:
    """Faults of links that cannot follow those before them, or zeros that training has left."""
    before = (Gradual(),) if fit.sparsity else ()
    for index, one in enumerate(compress):
        for fault in one.after((*before, *compress[:index])):
            yield replace(fault, path=f"compress.{index}.{fault.path}".rstrip("."))
