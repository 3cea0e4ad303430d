"""How a chain is written on one line: `prune:0.5 > distil:2epochs > int8`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from zafu.compress.contract import Compression
from zafu.edits.contract import Edit
from zafu.errors import Fault, RecipeError
from zafu.words import in_words, worded


def chain(text: str) -> tuple[Compression, ...]:
    """The links of a chain; raises RecipeError with the faults of all of them, and of their order.

    A link is a kind, with values for its first settings behind colons, or a mapping in braces.
    """
    faults, links = list[Fault](), list[Compression]()
    for index, part in enumerate(text.split(">")):
        path = f"link {index + 1} ({part.strip()})"
        try:
            links.append(link(part.strip()))
        except RecipeError as error:
            faults += [replace(f, path=f"{path}: {f.path}".rstrip(": ")) for f in error.faults]
    if not faults:
        faults = out_of_order(links)
    if faults:
        raise RecipeError(faults, of="the chain")
    return tuple(links)


def link(text: str) -> Compression:
    """One link."""
    return worded(Compression, text)


def out_of_order(links: Sequence[Compression], edits: Iterable[Edit] = ()) -> list[Fault]:
    """The faults of links that cannot follow those before them, on a model with these edits."""
    before = [Compression.parse(edit.link) for edit in edits]
    return [
        replace(fault, path=f"link {index + 1} ({one.kind})")
        for index, one in enumerate(links)
        for fault in one.after([*before, *links[:index]])
    ]


def written(links: Iterable[Compression]) -> str:
    """A chain as `chain` reads it, by what differs from the defaults."""
    return " > ".join(map(in_words, links))
