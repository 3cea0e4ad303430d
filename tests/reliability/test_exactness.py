"""Exactness inside one process: micro-batches compute what a batch does, a resumed step what was.

Resuming is proved by induction: for every step k of a run, a fresh process's state loaded from the
checkpoint of k takes one step, and is then, to the last bit, the state that the run had at k + 1.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import trial
from inside import Parts, parts, recipe_of
from torch import Tensor

from zafu import checkpoint, loop
from zafu.batch import Batch
from zafu.checkpoint import State
from zafu.data.contract import Split

TABLE = """\
task: regression
data: {kind: table, files: [FOLDER/houses.csv], target: price}
model: {kind: mlp, width: 16, layers: 2, dropout: 0.2}
fit: {batch: 32, steps: 20, threads: 1, device: cpu, schedule: {kind: cosine, warmup: 0.2}}
"""
DIGITS = """\
task: classification
data: digits
model: {kind: convnet, width: 8}
fit: {batch: 32, steps: 20, threads: 1, device: cpu}
"""
TEXT = """\
task: {kind: language-modeling, label_smoothing: 0.1}
data:
  {kind: text, files: [FOLDER/words.txt], delimiter: "\\n", context: 16,
   tokenizer: {kind: bpe, vocab: 257}}
model: {kind: decoder, width: 16, layers: 2, heads: 2, tied: true}
fit: {batch: 32, steps: 20, threads: 1, device: cpu}
"""
EPS = torch.finfo(torch.float32).eps
RECIPES = {"regression": TABLE, "classification": DIGITS, "language-modeling": TEXT}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data lies."""
    folder = tmp_path_factory.mktemp("exactness")
    trial.write(folder)
    words = "\n".join(f"line {i}: {i * i} is its square" for i in range(400))
    (folder / "words.txt").write_text(words)
    return folder


def _made(recipe: str, folder: Path, **fit: object) -> Parts:
    found = recipe_of(recipe.replace("FOLDER", str(folder)))
    return parts(found.at("fit", {**found.fit.dump(), **fit}), folder)


class Doubled:
    """A split whose numbers are float64."""

    def __init__(self, split: Split) -> None:
        self.split, self.portions = split, split.portions

    def __len__(self) -> int:
        """As many samples."""
        return len(self.split)

    def units(self, ids: np.ndarray) -> int:
        """The same."""
        return self.split.units(ids)

    def count(self, ids: np.ndarray) -> int:
        """The same."""
        return self.split.count(ids)

    def batch(self, ids: np.ndarray) -> Batch:
        """The same samples in float64."""
        batch = self.split.batch(ids)
        return Batch(tuple(_double(x) for x in batch.inputs), _double(batch.targets), ids)


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _gradients(made: Parts, ids: np.ndarray, micro_batch: int | None) -> tuple[Tensor, float]:
    spec = made.objective.spec.model_copy(update={"micro_batch": micro_batch})
    objective = made.objective._replace(spec=spec)
    made.update.discard()
    objective.model.train()
    targets = objective.split.count(ids)
    progress = loop.begin(spec)
    pieces = np.split(ids, range(micro_batch or len(ids), len(ids), micro_batch or len(ids)))
    batches = (objective.split.batch(piece) for piece in pieces)
    factors = [progress.scale / targets] * len(pieces)
    loss, _ = loop.backward(objective, batches, factors, progress, device=torch.device("cpu"))
    found = [p.grad.flatten() for p in objective.model.parameters() if p.grad is not None]
    made.update.discard()
    return torch.cat(found), loss.item() / targets


@pytest.mark.parametrize("task", RECIPES)
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-12), (False, 32 * EPS)])
def test_a_batch_of_32_is_1_of_32_4_of_8_and_32_of_1(
    task: str, double: bool, tolerance: float, folder: Path
) -> None:
    """Relative to the gradient's norm; without dropout, whose masks are one a micro-batch.

    In float32 a sum of 32 terms in another order differs by at most 32 roundings (3.8e-6).
    """
    without = {"regression": "dropout: 0.2", "classification": "", "language-modeling": ""}[task]
    recipe = RECIPES[task].replace(without, "dropout: 0.0") if without else RECIPES[task]
    made = _made(recipe, folder)
    if double:
        made.model.double()
        made.objective = made.objective._replace(split=Doubled(made.objective.split))
    ids = np.arange(5, 37)

    whole, loss = _gradients(made, ids, None)

    for micro_batch in (8, 1):
        pieces, sum_of_losses = _gradients(made, ids, micro_batch)
        assert (pieces - whole).norm() <= tolerance * whole.norm()
        assert sum_of_losses == pytest.approx(loss, rel=tolerance)


@pytest.mark.parametrize("task", RECIPES)
def test_full_batch_is_one_batch_of_all(task: str, folder: Path) -> None:
    recipe = RECIPES[task].replace("dropout: 0.2", "dropout: 0.0")
    made = _made(recipe, folder, batch="all", micro_batch=100, steps=2)
    n = len(made.objective.split)
    whole, loss = _gradients(made, np.arange(n), None)
    steps = loop.fit(made.objective, made.update, loop.begin(made.objective.spec))

    first = next(steps)

    assert first.samples == n
    assert first.loss == pytest.approx(loss, rel=1e-6)
    assert first.grad_norm == pytest.approx(whole.norm().item(), rel=1e-5)


VARIANTS: dict[str, dict[str, object]] = {
    "adamw": {},
    "micro-batches": {"micro_batch": 8},
    "bf16": {"precision": "bf16"},
    "fp16, which finds its scale": {"precision": "fp16"},
    "schedule-free": {"optimizer": {"kind": "schedule-free"}, "schedule": {"kind": "constant"}},
    "muon": {"optimizer": {"kind": "muon", "lr": 0.02}},
    "ema": {"average": {"kind": "ema", "decay": 0.9}},
    "swa": {"average": {"kind": "swa", "start": 0.3, "every": 3}},
    "clip and noise": {"clip": {"norm": 0.1, "value": 0.5}, "noise": {"eta": 0.1}},
    "l1": {"penalties": [{"kind": "l1", "strength": 0.01}]},
    "sgd": {"optimizer": {"kind": "sgd", "momentum": 0.9}},
    "adafactor": {"optimizer": {"kind": "adafactor"}},
    "lion": {"optimizer": {"kind": "lion", "lr": 1e-4}},
    "full batch": {"batch": "all", "micro_batch": 128},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_step_is_the_same_after_a_checkpoint(
    variant: str, folder: Path, tmp_path: Path
) -> None:
    _prove_by_induction(TABLE, VARIANTS[variant], folder, tmp_path)


@pytest.mark.parametrize("task", ["classification", "language-modeling"])
def test_every_step_of_other_tasks_is_the_same_too(task: str, folder: Path, tmp_path: Path) -> None:
    _prove_by_induction(RECIPES[task], {"steps": 6}, folder, tmp_path)


def test_skipped_steps_are_resumed_as_well(folder: Path, tmp_path: Path) -> None:
    """One weight is so large that some steps overflow: the count of those in a row is kept."""
    (tmp_path / "data").mkdir()
    rows = (folder / "houses.csv").read_text().splitlines()
    rows[7:300:9] = [f"3e38,{row.partition(',')[2]}" for row in rows[7:300:9]]
    (tmp_path / "houses.csv").write_text("\n".join(rows))
    recipe = TABLE.replace("target: price", "target: price, normalize: none")
    changes = {"on_nonfinite": "skip", "batch": 4}

    applied = _prove_by_induction(recipe, changes, tmp_path, tmp_path / "run")

    assert applied.count(False) >= 3
    assert applied.count(True) >= 5


def _prove_by_induction(recipe: str, fit: dict[str, object], folder: Path, run: Path) -> list[bool]:
    """Assert for each step that a state loaded before it is the same after it."""
    made = _made(recipe, folder, **fit)
    progress = loop.begin(made.objective.spec)
    where = run / "checkpoints"
    checkpoint.save(where, made.model, made.update, State(progress=progress))
    expected: list[tuple[str, dict[str, object]]] = []
    applied: list[bool] = []
    for step in loop.fit(made.objective, made.update, progress):
        checkpoint.save(where, made.model, made.update, State(progress=progress))
        expected.append((made.digest(), _counted(progress)))
        applied.append(step.applied)

    found: list[tuple[str, dict[str, object]]] = []
    for saved in checkpoint.complete(where)[:-1]:
        fresh = _made(recipe, folder, **fit)
        state = checkpoint.load(saved, fresh.model, fresh.update)
        torch.manual_seed(len(found))  # what the process drew before must not matter
        next(loop.fit(fresh.objective, fresh.update, state.progress))
        found.append((fresh.digest(), _counted(state.progress)))

    assert len(found) == len(expected) == made.objective.spec.steps
    assert found == expected
    assert len({digest for digest, _ in expected}) > sum(applied) // 2  # it did train
    return applied


def _counted(progress: loop.Progress) -> dict[str, object]:
    """All but the time, which alone may differ."""
    return {**dataclasses.asdict(progress), "seconds": 0}


def test_evaluations_and_saves_leave_the_bytes_alone(folder: Path, tmp_path: Path) -> None:
    """A run that saves at each step and one that never does take the same steps."""
    often, never = _made(TABLE, folder), _made(TABLE, folder)
    progress = loop.begin(often.objective.spec)
    for _ in loop.fit(often.objective, often.update, progress):
        checkpoint.save(tmp_path, often.model, often.update, State(progress=progress))
        with often.update.evaluating(), torch.inference_mode():
            often.model.eval()(*often.objective.split.batch(np.arange(9)).inputs)

    list(loop.fit(never.objective, never.update, loop.begin(never.objective.spec)))

    assert often.digest() == never.digest()
