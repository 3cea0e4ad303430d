"""Audit: training samples whose label is probably wrong, the most doubtful first.

The training split is dealt into parts. `confidence`: each part is judged by the recipe's own model,
trained as the recipe says on the other parts, and a label is doubted by how improbable that model
holds it; confident learning (`zafu/clean/labels.py`) says which are suspected. `weights`: each part
gets weights by which a model trained on it does best on samples of the others whose label a model
of this part agrees with, and a label is doubted by how little it weighs
(`zafu/hypergradient/weights.py`). Nothing that a user has is changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
from torch import nn

from zafu import artifact, loop, reading
from zafu.artifact import read_json
from zafu.batch import Batch, Portion
from zafu.build import build
from zafu.clean.labels import confident, folds_of
from zafu.data import pool
from zafu.data.contract import Split
from zafu.errors import Interrupted, Refused
from zafu.hypergradient.weights import Samples, Weighing, weigh
from zafu.loading.inline import Inline
from zafu.loop import Objective
from zafu.recipe import Recipe
from zafu.report import audit_page
from zafu.run import prepared
from zafu.signals import stoppable
from zafu.signature import Columns, Pixels, Signature
from zafu.spec import digest_of

How = Literal["confidence", "weights"]
Stopped = Callable[[], str]
PARTS = {"confidence": 5, "weights": 2}  # into which the training split is dealt
_SHOWN = 200  # suspects on the page
_LIGHT = 0.25  # weight, of 1, below which a label is suspected: half of where it began


class Suspect(NamedTuple):
    """A training sample whose label is doubted."""

    row: int  # in the prepared training split, from 0
    id: str  # as `data.keep` names it; "" where the data keeps no ids
    given: str
    suggested: str
    score: float  # 0 to 1: how much the label is doubted


class Doubts(NamedTuple):
    """What was found of each sample of the training split."""

    scores: np.ndarray  # (n,) float64, 0 to 1, more is more doubtful
    likely: np.ndarray  # (n,) int64: the likeliest class by models that did not see it
    suspected: np.ndarray  # (n,) bool


@final
class Some:
    """Some samples of a split, by position."""

    portions: tuple[Portion, ...] = ()

    def __init__(self, split: Split, rows: np.ndarray) -> None:
        self._split, self._rows = split, rows

    def __len__(self) -> int:
        return len(self._rows)

    def units(self, ids: np.ndarray) -> int:
        """As of the split."""
        return self._split.units(self._rows[ids])

    def count(self, ids: np.ndarray) -> int:
        """As of the split."""
        return self._split.count(self._rows[ids])

    def raw(self, ids: np.ndarray) -> Batch:
        """As of the split."""
        return self._split.raw(self._rows[ids])._replace(ids=ids)

    def finish(self, batch: Batch) -> Batch:
        """As of the split."""
        return self._split.finish(batch)

    def batch(self, ids: np.ndarray) -> Batch:
        """As of the split."""
        return self._split.batch(self._rows[ids])._replace(ids=ids)


@dataclass(frozen=True)
class Audit:
    """A finished audit."""

    folder: Path
    suspects: tuple[Suspect, ...]
    samples: int
    line: str  # what to put into the recipe to leave the suspects out; "" where it can't be said


def audit(recipe: Recipe, name: str, *, runs: Path, how: How) -> Audit:
    """The audit of a recipe's training split, kept in `runs/NAME-audit-DIGEST`.

    One that is there is read. Raises Refused for a task without classes, Interrupted after a
    signal, with nothing left behind but the prepared data.
    """
    if recipe.task.kind != "classification":
        text = f"task: expected classification, found {recipe.task.kind}: labels are classes here"
        raise Refused(text)
    folder = runs / f"{name}-audit-{digest_of([recipe.identity(), how])[:8]}"
    if not (folder / artifact.CARD).is_file():
        data = prepared(recipe, runs)
        with stoppable() as stop:
            found = doubts(recipe, data, how=how, stopped=lambda: stop.signal)
        suspects = ranked(recipe, data, found)
        samples, line = len(found.scores), line_of(recipe, suspects)
        title = f"{name}: suspected labels"
        about = audit_page.About(title, how, samples, len(suspects), line)

        def write(part: Path) -> None:
            (part / "suspects.csv").write_text(as_csv(suspects), encoding="utf-8")
            np.save(part / "scores.npy", found.scores, allow_pickle=False)
            page = _page(recipe, data, about, suspects[:_SHOWN])
            (part / "report.html").write_text(page, encoding="utf-8")

        artifact.publish(folder, write, samples=samples, how=how)
    suspects = read_csv(folder / "suspects.csv")
    return Audit(folder, suspects, int(artifact.card(folder)["samples"]), line_of(recipe, suspects))


def doubts(recipe: Recipe, data: Path, *, how: How, stopped: Stopped = lambda: "") -> Doubts:
    """How doubtful each label of the prepared training split is.

    Raises RecipeError for a recipe that starts from a finished model or learns from one.
    """
    recipe.refuse_elders("the labels that are doubted")
    signature = Signature.parse(read_json(data / "signature.json"))
    split = recipe.data.open(data, "train")
    labels = _labels(split)
    fold = folds_of(labels, folds=PARTS[how], seed=recipe.split_seed)
    if how == "confidence":
        return _by_confidence(recipe, signature, split, (labels, fold), stopped)
    return _by_weights(recipe, signature, split, (labels, fold), stopped)


def _by_confidence(
    recipe: Recipe,
    signature: Signature,
    split: Split,
    known: tuple[np.ndarray, np.ndarray],
    stopped: Stopped,
) -> Doubts:
    labels, fold = known
    chances = np.zeros((len(labels), signature.outputs))
    for part in np.unique(fold):
        held, rest = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        model = trained(recipe, signature, Some(split, rest), stopped)
        chances[held] = np.concatenate(list(_chances(model, Some(split, held))))
    own = chances[np.arange(len(labels)), labels]
    suspected = np.zeros(len(labels), bool)
    suspected[confident(chances, labels, least=PARTS["confidence"]).positions] = True
    return Doubts(1 - own, chances.argmax(1), suspected)


def _by_weights(
    recipe: Recipe,
    signature: Signature,
    split: Split,
    known: tuple[np.ndarray, np.ndarray],
    stopped: Stopped,
) -> Doubts:
    labels, fold = known
    whole = _samples(split)
    scores, likely = np.zeros(len(labels)), labels.copy()
    for part in np.unique(fold):
        mine, others = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        model = trained(recipe, signature, Some(split, mine), stopped)
        said = np.concatenate(list(_chances(model, Some(split, others)))).argmax(1)
        judges = others[said == labels[others]]
        fresh = build(recipe, signature)[0].eval().cpu()
        found = weigh(
            fresh,
            whole.at(torch.from_numpy(mine)),
            whole.at(torch.from_numpy(judges)),
            how=Weighing(),
            seed=recipe.seed,
            stopped=stopped,
        )
        scores[mine] = 1 - found.weights.double().numpy()
        seen = whole.at(torch.from_numpy(others))
        likely[others] = found.say(seen.inputs).argmax(1).numpy()
    suspected = (scores > 1 - _LIGHT) & (likely != labels)
    return Doubts(scores, likely, suspected)


def trained(recipe: Recipe, signature: Signature, split: Split, stopped: Stopped) -> nn.Module:
    """The recipe's model after training on a split as the recipe says, but for augmentation."""
    fit = recipe.fit.model_copy(update={"augment": (), "loader": Inline(), "early_stopping": None})
    model, update, spread = build(recipe, signature)
    objective = Objective(model, recipe.task, split, fit, recipe.seed, reading.plain(split), spread)
    with closing(loop.fit(objective, update, loop.begin(fit))) as steps:
        for step in steps:
            if reason := stopped():
                raise Interrupted(f"{reason}: an audit was left at step {step.number} of a part")
    with update.evaluating():
        kept = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(kept)
    return model.eval()


def ranked(recipe: Recipe, data: Path, found: Doubts) -> tuple[Suspect, ...]:
    """The suspects by name, the most doubtful first."""
    signature = Signature.parse(read_json(data / "signature.json"))
    labels = _labels(recipe.data.open(data, "train"))
    names = signature.labels or tuple(map(str, range(signature.outputs)))
    ids = pool.named(data, "train")
    rows = np.flatnonzero(found.suspected)
    order = rows[np.argsort(-found.scores[rows], kind="stable")]
    return tuple(
        Suspect(
            row,
            ids[row],
            names[labels[row]],
            names[found.likely[row]],
            round(float(found.scores[row]), 4),
        )
        for row in order.tolist()
    )


def as_csv(suspects: tuple[Suspect, ...]) -> str:
    """The suspects as a table with a head."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Suspect._fields)
    writer.writerows(suspects)
    return text.getvalue()


def read_csv(file: Path) -> tuple[Suspect, ...]:
    """What `as_csv` gave."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    return tuple(Suspect(int(r[0]), r[1], r[2], r[3], float(r[4])) for r in rows)


def line_of(recipe: Recipe, suspects: tuple[Suspect, ...]) -> str:
    """The setting that leaves the suspects out of the data, where their ids are known."""
    known = "without" in type(recipe.data).model_fields
    if not known or not suspects or not all(s.id for s in suspects):
        return ""
    return f"without: [{', '.join(repr(s.id) for s in suspects)}]"


def _page(
    recipe: Recipe, data: Path, about: audit_page.About, suspects: tuple[Suspect, ...]
) -> str:
    split = recipe.data.open(data, "train")
    signature = Signature.parse(read_json(data / "signature.json"))
    rows = [audit_page.Row(*s[1:], *_shown(recipe, split, signature, s.row)) for s in suspects]
    return audit_page.page(about, rows)


def _shown(
    recipe: Recipe, split: Split, signature: Signature, row: int
) -> tuple[np.ndarray | None, str]:
    """The picture of a sample, `(channels, height, width)` uint8, or its numbers as text."""
    batch = split.raw(np.array([row]))
    if isinstance(signature.inputs, Pixels):
        picture = batch.inputs[0][0].float() * (255 / recipe.data.white)
        return picture.clamp(0, 255).round().byte().numpy(), ""
    if isinstance(signature.inputs, Columns):
        numbers = [f"{value:.3g}" for value in batch.inputs[0][0].tolist()[:12]]
        return None, ", ".join(numbers)
    return None, ""


def _labels(split: Split) -> np.ndarray:
    found = split.raw(np.arange(len(split))).targets.numpy()
    return found.astype(np.int64)


def _samples(split: Split) -> Samples:
    batch = split.batch(np.arange(len(split)))
    return Samples(batch.inputs, batch.targets)


def _chances(model: nn.Module, split: Split, most: int = 512) -> Iterator[np.ndarray]:
    """Probabilities of the classes, `(samples, classes)`, batch by batch."""
    device = next(model.parameters()).device
    for rows in np.array_split(np.arange(len(split)), max(1, -(-len(split) // most))):
        batch = split.batch(rows).to(device)
        with torch.inference_mode():
            logits: Any = model(*batch.inputs)
        yield logits.double().softmax(1).cpu().numpy()
