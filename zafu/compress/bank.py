"""A bank of chains to try on a model: methods and strengths that are known to be worth it.

Each reshaping is followed by training with the model before as the teacher, then by rounding:
what is lost by one can be had back before the next (Han et al., 2016, arXiv:1510.00149).
What is cheap comes first, so that a short budget has tried something of every sort.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

Target = Literal["size", "latency", "memory"]

TARGETS: dict[Target, str] = {
    "size": "bytes on disk",
    "latency": "time of one sample; of a token, where a model writes text",
    "memory": "memory of a process that loads the model and answers",
}
PRUNED = (0.5, 0.25, 0.75)  # shares of the units that go
KEPT = (0.5, 0.75, 0.25)  # shares of the numbers in matrices that low rank leaves
ZEROS = (0.5, 0.75)  # shares of the weights that become 0


RECOVER = "2epochs"  # of training that makes good for what a reshaping has lost


class Asked(NamedTuple):
    """What is searched for."""

    within: float  # share of the metric's value that may be lost
    target: Target
    recover: str = RECOVER  # budget of each training
    seconds: float = math.inf  # after which no chain is begun


class Bank(NamedTuple):
    """Chains to try, as one writes them, and why others are not."""

    chains: tuple[str, ...]
    notes: tuple[str, ...]


def bank(gives: str, target: Target, recover: str) -> Bank:
    """The chains for a model that reads tokens, pixels or columns; `recover` is a budget."""
    roundings = _roundings(gives)
    last = roundings[0] if gives == "tokens" else "int8"  # behind what was trained again
    reshapings = list(_reshapings(target))
    again = f"distil:{recover}"
    chains = [*roundings, "bf16"]
    chains += [f"{one} > {last}" for one in reshapings[:1]]
    for one in reshapings:
        chains += [f"{one} > {again}", f"{one} > {again} > {last}"]
    bits = 4 if gives == "tokens" else 8
    chains.append(f"aware:{bits} > {again} > {last}")
    chains.append(f"prune:0.5 > {again} > low-rank:0.5 > {again} > {last}")
    return Bank(tuple(dict.fromkeys(chains)), tuple(_notes(gives, target)))


def _roundings(gives: str) -> tuple[str, ...]:
    """What changes the numbers' type alone, the smallest first."""
    if gives == "tokens":
        return ("int4 > int8", "int8", "int8:float")
    return ("int8", "int8:static", "int8:float")


def _reshapings(target: Target) -> Iterator[str]:
    yield from (f"prune:{amount}" for amount in PRUNED)
    yield from (f"low-rank:{keep}" for keep in KEPT)
    yield "layers:1"
    if target == "size":
        yield from (f"sparsify:{amount}" for amount in ZEROS)


def _notes(gives: str, target: Target) -> Iterator[str]:
    if target != "size":
        yield "sparsify is not tried: single zeros save bytes on disk alone"
    if gives != "tokens":
        yield "int4 is not tried: it is for language models, which wait for their weights"
