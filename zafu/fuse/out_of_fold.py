"""Out of fold: answers to training samples by models of the same recipes, trained without them.

Wolpert, 1992 (Neural Networks 5): a stack learns from these, as members are too sure of what they
were trained on. Each member has a finished cross-validation of its recipe. Of several repeats the
first is taken: a mean of several models would be surer than the one that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zafu import artifact
from zafu.data import pool
from zafu.errors import Damaged, Refused
from zafu.fuse import crossvals
from zafu.fuse.crossvals import Folds
from zafu.fuse.members import Member, prepared_by
from zafu.judge import judging
from zafu.signals import Stop
from zafu.spec import digest_of
from zafu.task import Classification

KINDS = ("classification", "regression")
LEAST = torch.finfo(torch.float32).tiny  # of a probability: what is less was stored as 0


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Members' answers to samples that the models which answer had not seen."""

    answers: Tensor  # (members, samples, outputs) float64: log-probabilities, or numbers
    targets: Tensor  # (samples,) int64, or (samples, outputs) float64
    folds: list[Folds]  # in the order of the members
    left_out: str  # the split that judges

    @property
    def digest(self) -> str:
        """Of all that was read."""
        return digest_of([one.digest for one in self.folds])

    @property
    def notes(self) -> list[str]:
        """Where the answers are from, and what to know of them."""
        repeated = any(one.result.repeats > 1 for one in self.folds)
        names = ", ".join(one.name for one in self.folds)
        return [
            f"they are of {names}{', of the first repeat' if repeated else ''}",
            f"samples of the {self.left_out} split are not among them, though the models of the "
            "folds (not the members) were trained on these too",
        ]


def read(members: Sequence[Member], folders: Sequence[Path], stop: Stop) -> OutOfFold:
    """What cross-validations, in any order, say of all samples but those that judge the fusion.

    Raises Refused with all that is wrong with members and folders.
    """
    faults, found = [*_unsuited(members)], list[Folds]()
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        try:
            found.append(crossvals.read(folder))
        except (Refused, Damaged) as error:
            faults.append(str(error))
    ordered, unlike = crossvals.matched(members, found)
    data = prepared_by(members[0], stop)
    faults += [*unlike, *_foreign(members[0], data, found)]
    split = judging(members[0].recipe, data)
    ids = pool.ids(data, split)
    if ids is not None and not faults:
        rows = ~np.isin(ordered[0].said.ids, ids)
        if rows.any():
            return OutOfFold(*_values(members[0], data, ordered, rows), ordered, split)
        faults.append(f"expected answers to samples beside those of the {split} split, found none")
    many = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
    raise Refused("\n".join([f"{many} of --out-of-fold:", *(f"  {fault}" for fault in faults)]))


def _foreign(member: Member, data: Path, found: Sequence[Folds]) -> Iterator[str]:
    """Why answers are not to the samples of the member's data; of other tasks and kinds nothing."""
    recipe = member.recipe
    if pool.ids(data, "test") is None:
        yield f"expected data that numbers its samples, found {recipe.data.kind}"
        return
    kinds = recipe.task.kind, recipe.data.kind
    alike = [one for one in found if (one.recipe.task.kind, one.recipe.data.kind) == kinds]
    for one in alike:
        yield from crossvals.foreign(one, member, data)
    yield from crossvals.uneven(alike)


def _unsuited(members: Sequence[Member]) -> Iterator[str]:
    """Members for which no cross-validation of their recipe can stand."""
    kind = members[0].recipe.task.kind
    if kind not in KINDS:
        yield f"expected a task of classes or numbers, found {kind}"
    for member in members:
        if member.name != member.run.name:
            yield f"{member.name}: expected a finished run, found a checkpoint"
        elif "members" in artifact.card(member.run.model):
            yield f"{member.name}: expected a model that was trained, found one that was fused"


def _values(
    member: Member, data: Path, found: Sequence[Folds], rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Answers and targets of these rows, in the form that a stack takes."""
    answers, targets = [one.said.answers[rows] for one in found], found[0].said.targets[rows]
    if member.recipe.task.kind == "classification":
        said = np.stack([Classification.probabilities(each) for each in answers])
        return torch.from_numpy(said).clamp(min=LEAST).log(), torch.from_numpy(targets)
    zero, one = (
        member.recipe.data.in_units(data / "transform", np.full((1, targets.shape[1]), value))
        for value in (0.0, 1.0)
    )  # the member's standardization is linear: so it is undone
    said = np.stack([each[:, : targets.shape[1]] for each in answers])
    scaled = [torch.from_numpy((values - zero) / (one - zero)) for values in (said, targets)]
    return scaled[0], scaled[1]
