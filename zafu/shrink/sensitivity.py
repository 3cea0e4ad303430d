"""Which layers suffer from rounding: each alone, by samples that are none of the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import nn

from zafu import artifact, tensors
from zafu.batch import Batch
from zafu.build import load_model
from zafu.compress.contract import Reshaping
from zafu.compress.int4 import Int4
from zafu.compress.int8 import Int8
from zafu.compress.runtime.sensitivity import Cost, Forms, Judge, bits, rounded, tied
from zafu.errors import Refused
from zafu.shrink.links import Place, calibration_batches, placed, unstopped, work
from zafu.signals import Stop, stoppable

SAMPLES = 256  # at most, by which layers are measured
SECONDS = 60.0  # after which no more samples are looked at


def look(folder: Path) -> dict[str, Any]:
    """What 8 and 4 bits cost each layer of a finished run alone, as plain data; the dearest first.

    Raises Refused where no layer can be rounded, Interrupted after a signal.
    """
    place = placed(folder, None)
    module, _, _ = load_model(artifact.model_folder(place.source.folder))
    links: list[Reshaping] = [Int8(), Int4(skip=(), tables=True)]
    found, notes = dict[str, dict[str, Any]](), list[str]()
    with stoppable() as stop:
        for link in links:
            after = deepcopy(module)
            try:
                tuple(
                    link.apply(
                        work(place.source.recipe, after, place.data, link.looked_at, _unheard)
                    )
                )
            except Refused as error:
                notes.append(str(error))
                continue
            for name, row in alone(place, module, after, stop).items():
                known = found.setdefault(name, {"numbers": _numbers(module, name)})
                known[str(row["bits"])] = row
    if not found:
        raise Refused("; ".join(notes))
    order = sorted(found, key=lambda name: -_dearest(found[name]))
    split = _split(place)
    return {"split": split, "layers": {name: found[name] for name in order}, "notes": notes}


def alone(
    place: Place, before: nn.Module, after: nn.Module, stop: Stop
) -> dict[str, dict[str, Any]]:
    """By layer, what it costs that it alone is as in the rounded model; as plain data.

    Layers that share their weights are one. Raises Interrupted if somebody asked to stop.
    """
    forms = rounded(before, after)
    ties = tied(before, forms)
    candidates: list[Forms] = [{name: forms[name] for name in names} for names in ties]
    if not candidates:
        return {}
    judge = Judge(before, place.source.recipe.task.loss, candidates)
    begun = perf_counter()
    for batch in _batches(place):
        unstopped(stop)
        judge.see(batch)
        if perf_counter() - begun > SECONDS:
            break
    return {
        ", ".join(names): _plain(cost, bits(forms[names[0]]))
        for names, cost in zip(ties, judge.found(), strict=True)
    }


def _plain(cost: Cost, many: int) -> dict[str, Any]:
    of = cost.loss
    return {
        "bits": many,
        "loss": of.value,
        "low": of.low,
        "high": of.high,
        "n": of.n,
        "how": of.how,
        "moved": cost.moved,
    }


def _split(place: Place) -> str:
    """The split by which is measured: that which chooses, if there is one."""
    held = place.source.recipe.data.open(place.data, "validation")
    return "validation" if len(held) else "train"


def _batches(place: Place) -> Sequence[Batch]:
    recipe = place.source.recipe
    split = recipe.data.open(place.data, _split(place))
    return list(calibration_batches(split, SAMPLES, recipe.seed))


def _unheard(_: str) -> None:
    """What a link says of a model that is not kept."""


def _numbers(module: nn.Module, name: str) -> int:
    return tensors.count(module.get_submodule(name.partition(", ")[0]))


def _dearest(own: Mapping[str, Any]) -> float:
    """What the fewest bits cost that a layer can have."""
    return min((row for key, row in own.items() if key != "numbers"), key=_bits)["moved"]


def _bits(row: Mapping[str, Any]) -> int:
    return row["bits"]
