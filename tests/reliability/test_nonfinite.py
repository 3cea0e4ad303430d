"""R6: a NaN or infinity stops the run at its step, is named, and never reaches a checkpoint."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import trial
from conftest import Workshop
from honest import honest
from inside import Parts, parts, recipe_of
from safetensors.torch import load_file
from torch import Tensor

from zafu import loop
from zafu.errors import NonFinite
from zafu.loading.order import Order
from zafu.loop import Step

RECIPE = """\
task: regression
data: {kind: table, files: [FOLDER/rows.csv], target: y, normalize: none, split: {test: 0.1}}
model: {kind: mlp, width: 8, layers: 1, dropout: 0.1}
fit:
  optimizer: {kind: adamw, lr: 1.0e-2}
  batch: 8
  steps: 60
  save_every: 4
  keep: 20
  average: {kind: ema, decay: 0.9}
  threads: 1
  device: cpu
  trackers: []
evaluate: {baselines: []}
"""
ROW = 61  # in the training split
HUGE = "3e38"  # a float32 number, but a sum of its products is not


def _rows(folder: Path, *, huge: str = HUGE, count: int = 120) -> None:
    """A table with one sample whose number is far too large."""
    random = np.random.default_rng(0)
    lines = ["a,b,y"]
    for index in range(count):
        a, b = random.normal(size=2)
        lines.append(f"{huge if index == ROW else f'{a:.4f}'},{b:.4f},{a - b:.4f}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")


def _parts(folder: Path, *changes: tuple[str, object], huge: str = HUGE) -> Parts:
    _rows(folder, huge=huge)
    recipe = recipe_of(RECIPE.replace("FOLDER", str(folder)))
    fit = {**recipe.fit.dump(), **dict(changes)}
    return parts(recipe.at("fit", fit), folder)


def _bad_sample(parts: Parts) -> tuple[int, int]:
    """The position of the huge sample in the training split, and the first step that meets it."""
    split, spec, seed = parts.objective.split, parts.objective.spec, parts.objective.seed
    numbers = split.batch(np.arange(len(split))).inputs[0]
    bad = int(numbers.abs().amax(1).argmax())
    assert numbers[bad].abs().amax() > 1e38
    order = Order(len(split), seed).positions(0, len(split))
    return bad, int(np.flatnonzero(order == bad)[0]) // spec.batch_size(len(split)) + 1


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("huge", [HUGE, "1e300"])
def test_it_stops_at_that_step_with_the_weights_as_they_were(
    precision: str, huge: str, tmp_path: Path
) -> None:
    """1e300 is infinite in float32: an input that is not finite."""
    made = _parts(tmp_path, ("precision", precision), huge=huge)
    bad, step = _bad_sample(made)
    steps: list[Step] = []
    before = made.digest()

    with pytest.raises(NonFinite) as caught:  # noqa: PT012
        for done in loop.fit(made.objective, made.update, loop.begin(made.objective.spec)):
            steps.append(done)
            before = made.digest()

    assert len(steps) == step - 1
    assert made.digest() == before
    what = "inputs" if huge == "1e300" else "loss"
    assert f"step {step}: the {what} of samples {bad} " in str(caught.value)
    assert "the update was not applied" in str(caught.value)


def test_the_first_bad_gradient_is_named(tmp_path: Path) -> None:
    """A loss that is finite, of samples whose gradient is not: the square root of 0."""
    made = _parts(tmp_path, huge="0.5")
    objective = made.objective._replace(model=_Root(made.model))

    with pytest.raises(NonFinite, match=r"step 1: the gradient of inner\.\S+ is not finite"):
        next(loop.fit(objective, made.update, loop.begin(objective.spec)))


class _Root(torch.nn.Module):
    """A model whose answer is 0 with an infinite slope."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Tensor) -> Tensor:
        """The root of the answer times 0."""
        return (self.inner(*inputs) * 0).sqrt()


def test_a_weight_that_is_not_finite_is_named(tmp_path: Path) -> None:
    made = _parts(tmp_path, huge="0.5")
    name, weight = next(iter(made.model.named_parameters()))
    with torch.no_grad():
        weight.view(-1)[0] = math.nan

    with pytest.raises(NonFinite, match=f"the weight {re.escape(name)} is not finite"):
        next(loop.fit(made.objective, made.update, loop.begin(made.objective.spec)))


def test_skip_goes_on_and_counts(tmp_path: Path) -> None:
    made = _parts(tmp_path, ("on_nonfinite", "skip"))
    _, step = _bad_sample(made)
    progress = loop.begin(made.objective.spec)
    digests = [made.digest()]
    steps: list[Step] = []

    for done in loop.fit(made.objective, made.update, progress):
        steps.append(done)
        digests.append(made.digest())

    skipped = [done.number for done in steps if not done.applied]
    assert len(steps) == 60
    assert skipped[0] == step
    assert all(digests[i] == digests[i - 1] for i in skipped)  # the weights did not move
    assert all(not math.isfinite(done.loss) for done in steps if not done.applied)  # the true loss
    assert progress.skipped == 0


def test_skip_ends_where_nothing_else_happens(tmp_path: Path) -> None:
    """With the whole split in one batch each step is bad: 20 in a row are borne."""
    changes = [("on_nonfinite", "skip"), ("batch", "all"), ("micro_batch", 16)]
    made = _parts(tmp_path, *changes)
    bad, _ = _bad_sample(made)

    with pytest.raises(NonFinite) as caught:
        list(loop.fit(made.objective, made.update, loop.begin(made.objective.spec)))

    assert f"step {loop.MOST_SKIPS + 1}: the loss of samples {bad} is not finite" in str(
        caught.value
    )
    assert f"({loop.MOST_SKIPS + 1} steps in a row)" in str(caught.value)


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_no_file_ever_holds_one(policy: str, workshop: Workshop, tmp_path: Path) -> None:
    _rows(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.replace("FOLDER", str(tmp_path)))
    out = tmp_path / "runs" / policy

    words = ["train", recipe, "--out", out, f"fit.on_nonfinite={policy}"]
    child = workshop.forks.run(words, tmp_path)

    assert child.code == {"stop": 1, "skip": 0}[policy], child.said()
    assert honest(child, out)
    files = list(out.rglob("*.safetensors"))
    assert len(files) >= 2
    assert all(t.isfinite().all() for f in files for t in load_file(f).values())
    if policy == "stop":
        assert re.search(r"zafu: step \d+: the loss of samples \d+ is not finite", child.said())
        assert trial.saved(out) <= trial.reached(out)
    else:
        rows = (out / "metrics.jsonl").read_text()
        assert '"skipped":1' in rows
        assert '"loss":"Infinity"' in rows or '"loss":"NaN"' in rows


def test_the_same_command_stops_at_the_same_step_again(workshop: Workshop, tmp_path: Path) -> None:
    _rows(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.replace("FOLDER", str(tmp_path)))
    words = ["train", recipe, "--out", tmp_path / "runs" / "again"]

    said = [workshop.forks.run(words, tmp_path).said().splitlines()[-1] for _ in range(2)]

    assert said[0] == said[1]
    assert "is not finite" in said[0]


def test_weights_that_overflow_are_not_saved(tmp_path: Path, workshop: Workshop) -> None:
    """Every gradient is finite, the update is not: caught before the next step or save."""
    _rows(tmp_path, huge="0.5")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.replace("FOLDER", str(tmp_path)))
    out = tmp_path / "runs" / "overflow"
    words = ["train", recipe, "--out", out, "fit.optimizer.lr=1e38", "fit.save_every=1"]

    child = workshop.forks.run(words, tmp_path)

    assert child.code == 1
    assert honest(child, out)
    assert "not finite" in child.said()
    files = list(out.rglob("*.safetensors"))
    assert all(t.isfinite().all() for f in files for t in load_file(f).values())
