"""Members: finished models that can be fused, or every reason why these cannot.

What was fitted on the training split travels with each model; models that were fitted otherwise,
or whose test samples are not the same, would be joined to something that nobody measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from zafu import artifact, checkpoint, loop, parts, tensors
from zafu.artifact import MODEL, model_folder
from zafu.build import build, load_model
from zafu.errors import Damaged, DataError, Refused
from zafu.evaluation import calibration
from zafu.recipe import Recipe
from zafu.run import Run, prepared
from zafu.signals import Stop
from zafu.signature import Signature

OWN = frozenset(
    {MODEL, "recipe.yaml", "config.json", calibration.FILE}
)  # what members need not share
_CHECKPOINT = re.compile(r"step-\d{9}")


@dataclass(frozen=True)
class Member:
    """A model, in evaluation mode, and what it was made of."""

    name: str
    run: Run
    recipe: Recipe
    signature: Signature
    module: nn.Module
    fitted: dict[str, str]  # digests of what was fitted on the training split, by file
    data: str  # of the prepared data
    digest: str  # of the model folder or checkpoint


def read(paths: Sequence[Path]) -> list[Member]:
    """The models of finished runs or checkpoints; of one run alone, those of its checkpoints.

    Raises Refused with all that is wrong with any of them.
    """
    paths = _snapshots(paths[0]) if len(paths) == 1 else paths
    members, faults = list[Member](), list[str]()
    for path in paths:
        try:
            members.append(_of_checkpoint(path) if _is_checkpoint(path) else _of_run(path))
        except (Refused, Damaged) as error:
            faults.append(str(error))
    faults += _differences(members)
    if faults:
        many = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        raise Refused("\n".join([f"{many} of members:", *(f"  {fault}" for fault in faults)]))
    return members


def _differences(members: Sequence[Member]) -> Iterator[str]:
    """What keeps members from being fused, each time against the first."""
    if not members:
        return
    seen = dict[str, str]()
    first = members[0]
    for member in members:
        if (twin := seen.setdefault(member.digest, member.name)) != member.name:
            yield f"{member.name}: expected other weights than {twin}'s, found the same"
        beside = f"as {first.name} has"
        if member.recipe.task.kind != first.recipe.task.kind:
            kinds = member.recipe.task.kind, first.recipe.task.kind
            yield f"{member.name}: expected task {kinds[1]} {beside}, found {kinds[0]}"
        every = sorted({*member.fitted, *first.fitted})
        other = [name for name in every if member.fitted.get(name) != first.fitted.get(name)]
        if other:
            found = f"others: {', '.join(other)}"
            yield f"{member.name}: expected what was fitted on the data {beside}, found {found}"
        if member.data != first.data:
            hint = "hold data.split.seed fixed while seed varies"
            text = f"expected prepared data {first.data} {beside}, found {member.data}"
            yield f"{member.name}: {text}; the splits may differ: {hint}"


def prepared_by(member: Member, stop: Stop) -> Path:
    """The data that it was trained on, made again where it is gone; raises DataError."""
    runs = member.run.folder.parent
    data = prepared(member.recipe, runs, stopped=lambda: stop.signal)
    if data.name != member.data:
        text = f"expected the data of the members, {member.data}, found {data.name}"
        raise DataError(f"{data}: {text}: files, packages or zafu have changed since")
    return data


def _of_run(path: Path) -> Member:
    run = Run.open(path)
    if parts.there(path):
        hint = "name it after --how stack --out-of-fold, beside a run of its recipe"
        raise Refused(f"{path}: expected a finished run, found a cross-validation; {hint}")
    if not run.finished:
        state = run.status().get("state", "unfinished")
        found = "one without a model" if state == "finished" else f"one that is {state}"
        raise Refused(f"{path}: expected a finished run, found {found}")
    folder = model_folder(path)
    module, recipe, signature = load_model(folder)
    card = artifact.card(folder)
    fitted = {name: digest for name, digest in card["files"].items() if name not in OWN}
    return Member(
        run.name, run, recipe, signature, module, fitted, str(card.get("data")), card["sha256"]
    )


def _of_checkpoint(path: Path) -> Member:
    """What would be shipped if the run had ended there."""
    run = Run.open(path.parent.parent)
    card = artifact.verify(path)
    data = run.folder.parent / "data" / str(card.get("data"))
    of_data = artifact.card(data)
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    plain = run.recipe.fit.model_copy(update={"device": "cpu", "compile": False})
    module, update, _ = build(run.recipe.model_copy(update={"fit": plain}), signature)
    checkpoint.load_shown(path, module, update)
    with update.evaluating():  # the average of weights, where there is one
        weights = {name: tensor.clone() for name, tensor in tensors.of_module(module).items()}
    tensors.into_module(module, weights, path)
    fitted = {
        name.removeprefix("transform/"): digest
        for name, digest in of_data["files"].items()
        if name.startswith("transform/") or name == "signature.json"
    }
    name = f"{run.name}/{path.name}"
    return Member(
        name, run, run.recipe, signature, module.eval(), fitted, data.name, card["sha256"]
    )


def _snapshots(path: Path) -> list[Path]:
    run = Run.open(path)
    found = checkpoint.complete(run.checkpoints)
    if run.recipe.fit.schedule.ends() and found:
        found = [there for there in found if checkpoint.step_of(there) in _ends(run, found[0])]
    if len(found) < 2:
        text = f"expected two runs or more, or one with two checkpoints, found {len(found)}"
        raise Refused(f"{path}: {text}; fit.schedule={{kind: cyclic}} keeps one of each cycle")
    return found


def _ends(run: Run, of: Path) -> frozenset[int]:
    """The steps after which the run's cycles end."""
    recipe = run.recipe
    data = run.folder.parent / "data" / str(artifact.card(of).get("data"))
    return loop.ends(recipe.fit, *loop.budget(recipe.data.open(data, "train"), recipe.fit))


def _is_checkpoint(path: Path) -> bool:
    return bool(_CHECKPOINT.fullmatch(path.name)) and path.parent.name == "checkpoints"
