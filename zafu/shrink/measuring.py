"""Measuring many models that began as one: what they answer, and what they take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zafu import artifact
from zafu.batch import Batch
from zafu.build import load_model
from zafu.compress.bank import Target
from zafu.errors import DataError
from zafu.evaluation.against import compared
from zafu.latency import Cost
from zafu.measure import Measurement
from zafu.shrink import footprint
from zafu.shrink.links import Place, answers, unstopped
from zafu.signals import Stop

BEFORE = "before"  # the model with which all begin


class Spent(NamedTuple):
    """What a model takes of this machine."""

    bytes: int
    cost: Cost
    decoding: Measurement | None  # of a token, where it writes text

    def dump(self) -> dict[str, Any]:
        """As plain data."""
        spoken = self.decoding.dump() if self.decoding else None
        return {"bytes": self.bytes, "cost": self.cost.dump(), "decoding": spoken}


def against_before(
    place: Place, folders: Mapping[str, Path], split: str, stop: Stop
) -> dict[str, dict[str, Any]]:
    """The metric of each model on a split, and its paired difference to the one before.

    Models are loaded one after the other. Raises DataError where the metric is not defined.
    """
    recipe = place.source.recipe
    held = recipe.data.open(place.data, split)
    units = held.units(np.arange(len(held)))
    found: dict[str, dict[str, Any]] = {}
    first = _answered(place, folders[BEFORE], split, stop)
    for name, folder in folders.items():
        own = first if name == BEFORE else _answered(place, folder, split, stop)
        rows = compared(recipe.task, [recipe.metric], own, first, units=units)
        if not rows:
            raise DataError(f"{recipe.metric} is not defined for {name} on the {split} split")
        found[name] = rows[0]
    return found


def _answered(place: Place, folder: Path, split: str, stop: Stop) -> np.ndarray:
    module, _, _ = load_model(artifact.model_folder(folder))
    return answers(place.source.recipe, module, place.data, split, stop)


def spent(place: Place, folders: Mapping[str, Path], split: str, stop: Stop) -> dict[str, Spent]:
    """Bytes and times of each model; all are timed in turns in this process."""
    modules = {n: load_model(artifact.model_folder(folder))[0] for n, folder in folders.items()}
    inputs = samples(place, split).inputs
    times = footprint.times(modules, inputs, stop)
    unstopped(stop)
    spoken = footprint.decoding(modules, inputs)
    return {
        name: Spent(footprint.disk(artifact.model_folder(folder)), times[name], spoken.get(name))
        for name, folder in folders.items()
    }


def memory(place: Place, folder: Path, split: str) -> dict[str, int]:
    """What a process of its own takes to answer with a model."""
    return footprint.memory(artifact.model_folder(folder), samples(place, split).inputs)


def samples(place: Place, split: str) -> Batch:
    """The samples by which passes are measured."""
    held = place.source.recipe.data.open(place.data, split)
    return held.batch(np.arange(min(len(held), footprint.BATCH)))


def cost_of(row: Mapping[str, Any], target: Target) -> float:
    """What a target asks to be small, in a row of plain data."""
    if target == "size":
        return row["bytes"]
    if target == "memory":
        return row["memory"]["peak"]
    return (row["decoding"] or row["cost"]["latency"]["1"])["value"]
