"""Whether a narrow decoder's settings hold for a wide one, with `model.transfer` and without.

`python benchmarks/tune/transfer.py` writes `transfer.md`, in about 15 CPU minutes; with
`--quick` it is a smoke test and writes nothing. First the coordinate test of Yang et al., 2022
(arXiv:2203.03466, appendix D.1): how far the residual stream and the logits are from their start
after a few steps. Then the best of a row of learning rates, each twice the last, for each width.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from zafu.artifact import read_json
from zafu.build import build
from zafu.nets.decoder import Decoder
from zafu.recipe import Recipe
from zafu.run import environment, prepared
from zafu.signature import Signature
from zafu.trial import Trial, outcome

HERE = Path(__file__).parent
BASE, FIRST = 64, 2.0**-8  # the narrow width, and the learning rate from which its row begins
INITS = (0.02, BASE**-0.5)  # `model.init_std`: the usual one, and one that keeps a signal's size
WINDOWS = 4  # of a batch
MOVES = 8  # steps of the coordinate test
SEEDS = (0, 1)  # of its weights


class Effort(NamedTuple):
    """How much is measured."""

    coordinates: tuple[int, ...]  # widths
    widths: tuple[int, ...]  # after the narrow one
    steps: int
    farthest: int  # factors of 2 from the narrow net's best, on each side


FULL = Effort((64, 128, 256, 512, 1024), (256, 512), 200, 4)
QUICK = Effort((64, 128), (128,), 20, 1)


class Net(NamedTuple):
    """A width, and what the weights of a net so wide follow."""

    width: int
    transfer: bool
    init: float = INITS[0]

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        kind = "both alike" if self.width == BASE else "transfer" if self.transfer else "standard"
        return f"{self.init:g} | {kind} | {self.width}"


def recipe(net: Net, lr: float, *, steps: int) -> Recipe:
    """A decoder of depth 2 whose four heads grow with it, on Python's own sources."""
    base = {"transfer": {"width": BASE}} if net.transfer else {}
    sizes = {"width": net.width, "layers": 2, "heads": 4, "init_std": net.init}
    data = {
        "kind": "text",
        "files": ["stdlib:*.py"],
        "context": 64,
        "tokenizer": {"kind": "bpe", "vocab": 512},
        "split": {"validation": 0.01, "test": 0.0},
    }
    fit = {
        "optimizer": {"kind": "adamw", "lr": lr, "betas": [0.9, 0.95]},
        "schedule": {"kind": "linear", "warmup": 0.1},
        "clip": {"norm": 1.0},
        "batch": WINDOWS,
        "steps": steps,
        "threads": 1,
        "device": "cpu",
        "trackers": [],
    }
    return Recipe.parse(
        {
            "task": "language-modeling",
            "data": data,
            "model": {"kind": "decoder", **sizes, **base},
            "fit": fit,
            "evaluate": {"baselines": [], "metric": "loss"},
        }
    )


def moved(chosen: Recipe, data: Path) -> tuple[float, float]:
    """Root mean square of how far stream and logits are from their start after `MOVES` steps."""
    signature = Signature.parse(read_json(data / "signature.json"))
    split = chosen.data.open(data, "train")
    model, update, _ = build(chosen, signature)
    assert isinstance(model, Decoder)
    probe = split.batch(np.arange(10_000, 10_000 + WINDOWS)).inputs[0]

    @torch.no_grad()
    def seen() -> tuple[torch.Tensor, torch.Tensor]:
        stream = model.along(model.enter(probe))
        return stream, model.leave(stream)

    before = seen()
    for step in range(MOVES):
        batch = split.batch(np.arange(step * WINDOWS, (step + 1) * WINDOWS))
        logits = model(*batch.inputs)
        functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten()).backward()
        update.gradients(step)
        update.step(step, 0.5)  # past the warm-up
    stream, logits = (
        (new - old).square().mean().sqrt().item() for new, old in zip(seen(), before, strict=True)
    )
    return stream, logits


def coordinates(effort: Effort, folder: Path) -> list[str]:
    """The rows of the coordinate test, with the exponent of the width."""
    rows = []
    for name, transfer in (("standard", False), ("transfer", True)):
        found = []
        for width in effort.coordinates:
            say(f"coordinates: {name}, width {width}")
            drawn = [
                recipe(Net(width, transfer), 0.01, steps=MOVES).at("seed", seed) for seed in SEEDS
            ]
            found.append(np.mean([moved(one, prepared(one, folder)) for one in drawn], 0))
        for what, values in zip(("stream", "logits"), np.transpose(found), strict=True):
            slope = np.polyfit(np.log(effort.coordinates), np.log(values), 1)[0]
            cells = [name, what, *(f"{value:.3f}" for value in values), f"{slope:+.2f}"]
            rows.append(f"| {' | '.join(cells)} |")
            say(rows[-1])
    return rows


def best_of(measure: Callable[[int], float], start: int, farthest: int) -> dict[int, float]:
    """Losses by exponent of the learning rate: outward until the best has a worse one beside it."""
    found = {at: measure(at) for at in (start - 1, start, start + 1)}
    while True:
        best = min(found, key=lambda at: found[at])
        fresh = [at for at in (best - 1, best + 1) if at not in found]
        if not fresh or abs(fresh[0] - start) > farthest:
            return found
        found[fresh[0]] = measure(fresh[0])


def optima(effort: Effort, folder: Path) -> list[str]:
    """A row for each net: losses by learning rate, and the best one's ratio to the narrow net's."""
    found, middles = dict[Net, dict[int, float]](), dict[float, int]()
    for init in INITS:
        narrow = Net(BASE, False, init)
        first = round(math.log2(FIRST))
        row = found[narrow] = best_of(losses(narrow, effort, folder), first, effort.farthest)
        middles[init] = min(row, key=row.__getitem__)
        for width in effort.widths:
            for net in (Net(width, False, init), Net(width, True, init)):
                measure = losses(net, effort, folder)
                found[net] = best_of(measure, middles[init], effort.farthest)
    tried = sorted({at for row in found.values() for at in row})
    lines = [
        f"| init_std | | width | {' | '.join(f'{2.0**at:.2g}' for at in tried)} | best over "
        "narrow's |",
        f"|--:|---|--:|{'--:|' * (len(tried) + 1)}",
    ]
    for net, row in found.items():
        best = min(row, key=row.__getitem__)
        cells = [f"**{row[at]:.3f}**" if at == best else shown(row, at) for at in tried]
        lines.append(f"| {net.name} | {' | '.join(cells)} | {ratio(row, middles[net.init])} |")
    return lines


def losses(net: Net, effort: Effort, folder: Path) -> Callable[[int], float]:
    """The validation loss by exponent of the learning rate."""

    def measure(at: int) -> float:
        chosen = recipe(net, 2.0**at, steps=effort.steps)
        trial = Trial(chosen, prepared(chosen, folder))
        begun = time.process_time()
        done = outcome(trial)
        value = math.inf if done.diverged else done.score(trial)
        spent = time.process_time() - begun
        say(f"{net.name}, lr {2.0**at:.3g}: {value:.4f} ({spent:.0f} CPU s)")
        return value

    return measure


def ratio(row: dict[int, float], middle: int) -> str:
    """The best learning rate over that of the narrow net, and by a parabola through three."""
    best = min(row, key=lambda at: row[at])
    factor = f"{2.0 ** (best - middle):g}"
    if not {best - 1, best + 1} <= row.keys():
        return f"{factor}, at the edge"
    low, mid, high = (row[best + off] for off in (-1, 0, 1))
    if math.isinf(low) or math.isinf(high):
        return factor
    vertex = best + 0.5 * (low - high) / (low - 2 * mid + high)
    return f"{factor} (parabola: {2.0 ** (vertex - middle):.2f})"


def shown(row: dict[int, float], at: int) -> str:
    """A loss; nothing where none was measured."""
    return f"{row[at]:.3f}" if at in row else ""


def page(table: list[str], rows: list[str], effort: Effort) -> str:
    """The results as a page."""
    facts = environment()
    date, cpu = facts["time"][:10], facts["cpu"]
    widths = " | ".join(map(str, effort.coordinates))
    return "\n".join(
        [
            "# Settings of a narrow decoder, for a wide one",
            "",
            f"{date}, {cpu}, {os.cpu_count()} cores, 1 thread; zafu {facts['zafu']}, torch "
            f"{facts['torch']}. Written by `python benchmarks/tune/transfer.py`.",
            "",
            "A decoder of 2 layers and 4 heads on Python's own sources (512 tokens, windows of "
            f"64, batches of {WINDOWS}), AdamW; `transfer` is `model.transfer: {{width: {BASE}}}`.",
            "",
            "## How far 8 steps move the residual stream and the logits",
            "",
            "Root mean square of the change at lr 0.01, mean of 2 seeds; the last column is its",
            "exponent in the width, which is 0 where settings may hold.",
            "",
            f"| | | {widths} | exponent |",
            f"|---|---|{'--:|' * (len(effort.coordinates) + 1)}",
            *table,
            "",
            "## Validation loss by learning rate",
            "",
            f"Nats per token after {effort.steps} steps, one seed; a row goes outward from the",
            "best learning rate of width 64 until its best has a worse one on each side.",
            "",
            *rows,
            "",
        ]
    )


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description="settings of a narrow decoder, for a wide one")
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes nothing")
    parser.add_argument("--out", type=Path, default=HERE / "transfer.md")
    arguments = parser.parse_args()
    effort = QUICK if arguments.quick else FULL
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text = page(coordinates(effort, folder), optima(effort, folder), effort)
    if not arguments.quick:
        arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
