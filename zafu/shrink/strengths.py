"""How much of a method makes a model so large: found by trying, without keeping anything."""

from __future__ import annotations

import math
from collections.abc import Callable

from zafu import artifact, tensors
from zafu.build import load_model
from zafu.compress.contract import Reshaping
from zafu.compress.layers import Layers
from zafu.compress.low_rank import LowRank
from zafu.compress.prune import Prune
from zafu.compress.sparsify import Sparsify
from zafu.errors import Refused
from zafu.shrink.links import Place, unstopped, work
from zafu.signals import Stop

HALVINGS = 7  # of the range of a strength: to less than a hundredth
FAR = 1.25  # a model that is by this factor off is of another size
SAMPLES = 16  # looked at while only bytes are asked for

# the cheapest form of each method with that strength: the size does not depend on the rest
FORMS: dict[str, Callable[[float], Reshaping]] = {
    "prune": lambda s: Prune(amount=s, score="magnitude", repair=False, samples=SAMPLES),
    "low-rank": lambda s: LowRank(keep=1 - s, whiten=False, samples=SAMPLES),
    "sparsify": lambda s: Sparsify(amount=s, score="magnitude", samples=SAMPLES),
}
MADE: dict[str, Callable[[float], Reshaping]] = {
    "prune": lambda s: Prune(amount=s),
    "low-rank": lambda s: LowRank(keep=round(1 - s, 4)),
    "sparsify": lambda s: Sparsify(amount=s),
}
METHODS = ("prune", "low-rank", "layers", "sparsify")


def sized(place: Place, method: str, share: float, stop: Stop) -> Reshaping:
    """The method at the strength that leaves about this share of a model's bytes.

    Raises Refused where the model refuses it, or where no strength comes near.
    """
    goal = share * _bytes(place, Layers(count=0))
    found: dict[float, int] = {}
    tries = _by_count if method == "layers" else _by_halving
    for strength, size in tries(place, method, goal):
        unstopped(stop)
        found[strength] = size
    best = min(found, key=lambda strength: abs(math.log(found[strength] / goal)))
    if not 1 / FAR <= found[best] / goal <= FAR:
        near = share * found[best] / goal
        raise Refused(f"{method} does not come near {share:.0%} of the bytes: {near:.0%} at best")
    return Layers(count=int(best)) if method == "layers" else MADE[method](best)


def _by_halving(place: Place, method: str, goal: float):
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = round((low + high) / 2, 4)
        size = _bytes(place, FORMS[method](middle))
        yield middle, size
        low, high = (middle, high) if size > goal else (low, middle)


def _by_count(place: Place, method: str, goal: float):
    """Blocks that go, until the model is small enough or has no more that can."""
    count, size = 1, math.inf
    while size > goal:
        try:
            size = _bytes(place, Layers(count=count, samples=SAMPLES))
        except Refused:
            if count == 1:
                raise
            return
        yield float(count), size
        count += 1


def _bytes(place: Place, link: Reshaping) -> int:
    module, recipe, _ = load_model(artifact.model_folder(place.source.folder))
    tuple(link.apply(work(recipe, module, place.data, link.looked_at, lambda _: None)))
    return tensors.size(tensors.of_module(module))
