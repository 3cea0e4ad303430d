"""What a layout costs is counted, is what theory says, and is shown."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from zafu import checkpoint
from zafu.artifact import read_json
from zafu.batch import Batch
from zafu.checkpoint import State
from zafu.costs import of_ranks
from zafu.layout import Layout
from zafu.loop import Progress
from zafu.optim.runtime.update import Update
from zafu.parallel.counting import COUNTED, counted
from zafu.parallel.ranks import Ranks
from zafu.parallel.world import connected
from zafu.recipe import Recipe
from zafu.report.page import write as write_report
from zafu.signature import Signature, Tokens

CONTEXT, VOCAB, SAMPLES = 16, 64, 16
RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:asyncio/*.py"],
        "context": CONTEXT,
        "tokenizer": {"kind": "bpe", "vocab": 300},
    },
    "model": {"kind": "decoder", "width": 32, "layers": 4, "heads": 4, "kv_heads": 2},
    "fit": {"optimizer": "adamw", "batch": SAMPLES, "steps": 4, "threads": 1, "trackers": []},
    "evaluate": {"baselines": [], "during": 64},
}
SIGNATURE = Signature(inputs=Tokens(vocab=VOCAB, context=CONTEXT), outputs=VOCAB)


class Made(NamedTuple):
    seconds: float = 1.0


def one_rank(
    rank: int, layout: dict[str, Any], tied: bool, precision: str = "fp32"
) -> dict[str, Any]:
    """What a rank counts of a step, beside what is foreseen for it."""
    recipe = Recipe.parse({**RECIPE, "layout": layout}).at("model.tied", tied)
    recipe = recipe.at("fit.precision", precision)
    low = torch.autocast("cpu", torch.bfloat16, cache_enabled=False)
    arithmetic = low if precision == "bf16" else torch.enable_grad()
    with connected(recipe.layout, rank) as world:
        torch.manual_seed(0)
        model = recipe.model.build(SIGNATURE)
        with torch.device("meta"):
            names = recipe.model.build(SIGNATURE)
        spread = Ranks(model, world, recipe.task)
        spec = recipe.fit
        settings: dict[str, Any] = {"optimizer": spec.optimizer, "schedule": spec.schedule}
        update = Update(names, **settings, seed=0, held=spread.held)
        rows = SAMPLES // recipe.layout.batch_ranks
        tokens = torch.randint(VOCAB, (rows, CONTEXT + 1))
        batch = Batch((tokens[:, :-1],), tokens[:, 1:], torch.arange(rows).numpy())

        def steps() -> Any:
            for number in repeat(0, COUNTED + 1):
                with spread.passing(last=True):
                    spread.backward(recipe.task, spread.model, batch, 1.0, lambda: arithmetic)
                spread.finish()
                update.gradients(number)
                update.step(number, 0.0)
                yield Made()

        heard: list[Any] = []
        for _ in counted(steps(), spread, update, lambda _, ranks: heard.extend(ranks)):
            pass
        theory = of_ranks(recipe, SIGNATURE, samples=SAMPLES)[rank].dump()
        saved = checkpoint.moment(model, update, State(progress=Progress()), spread)
        written = sum(box.tensor.nbytes for box in (*saved.weights, *saved.others))
        return {**heard[rank], "theory": theory, "written": written, "tied": tied}


AXES: list[dict[str, Any]] = [
    {"data": 2},
    {"shard": 2},
    {"shard": 2, "level": "optimizer"},
    {"tensor": 2},
    {"context": 2},
    {"pipeline": 2},
    {"pipeline": 2, "schedule": "interleaved"},
    {"pipeline": 2, "schedule": "zero-bubble"},
]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layout", AXES, ids=json.dumps)
def test_two_processes_send_and_hold_what_theory_says(
    worlds: Callable[[int], Any], layout: dict[str, Any], tied: bool
) -> None:
    found = worlds(2)(one_rank, layout=layout, tied=tied)

    for rank in found:
        agrees(rank)


@pytest.mark.parametrize(
    "layout",
    [
        {"shard": 4},
        {"shard": 2, "data": 2},
        {"context": 2, "data": 2},
        {"tensor": 2, "shard": 2},
        {"tensor": 2, "context": 2},
        {"tensor": 2, "pipeline": 2},
        {"tensor": 2, "pipeline": 2, "schedule": "zero-bubble"},
        {"pipeline": 2, "shard": 2},
        {"pipeline": 2, "shard": 2, "schedule": "zero-bubble"},
    ],
    ids=json.dumps,
)
def test_four_processes_send_and_hold_what_theory_says(
    worlds: Callable[[int], Any], layout: dict[str, Any]
) -> None:
    found = worlds(4)(one_rank, layout=layout, tied=False)

    for rank in found:
        agrees(rank)


@pytest.mark.parametrize("layout", [{"tensor": 2}, {"context": 2}], ids=json.dumps)
def test_narrow_arithmetic_sends_what_theory_says(
    worlds: Callable[[int], Any], layout: dict[str, Any]
) -> None:
    for rank in worlds(2)(one_rank, layout=layout, tied=False, precision="bf16"):
        agrees(rank)


def agrees(rank: dict[str, Any]) -> None:
    traffic, theory = rank["traffic"], rank["theory"]["traffic"]
    assert {axes for axes, own in traffic.items() if own["messages"]} == set(theory)
    for axes, expected in theory.items():
        assert traffic[axes]["bytes"] == pytest.approx(expected["bytes"], rel=1e-6), axes
        if expected["messages"] is not None:
            assert traffic[axes]["messages"] == expected["messages"], axes
        assert traffic[axes]["seconds"] > 0
    for part, expected in rank["theory"]["state"].items():
        assert rank["state"][part] == pytest.approx(expected, rel=0.01), part
    if "written" in rank:  # which a run does not say
        copy = rank["theory"]["copy"]
        least = 0 if rank["tied"] else 0.98 * copy  # one of two ends writes what both have
        assert least <= rank["written"] <= 1.02 * copy


def counts_nothing(rank: int) -> bool:
    with connected(Layout(data=2), rank) as world:
        spread, group = Ranks(torch.nn.Linear(4, 4), world, Recipe.parse(RECIPE).task), []

        def steps() -> Any:
            for _ in range(COUNTED - 1):
                group.append(world.add(torch.ones(1)))
                yield Made()

        settings: dict[str, Any] = {"optimizer": Recipe.parse(RECIPE).fit.optimizer}
        settings["schedule"] = Recipe.parse(RECIPE).fit.schedule
        update = Update(spread.model, **settings, seed=0, held=spread.held)
        made = [*counted(steps(), spread, update, lambda *_: group.append(torch.zeros(0)))]
        return len(made) == COUNTED - 1 and all(isinstance(x, Tensor) and len(x) for x in group)


def test_a_training_of_two_steps_is_not_counted(worlds: Callable[[int], Any]) -> None:
    assert worlds(2)(counts_nothing) == [True, True]


def test_a_run_says_and_shows_what_its_layout_cost(tmp_path: Path) -> None:
    (tmp_path / "small.json").write_text(json.dumps(RECIPE))
    words = ["train", "small.json", "layout.shard=2", "--out", "run"]

    text = subprocess.run(
        [sys.executable, "-m", "zafu", *words],
        cwd=tmp_path, check=True, timeout=200, capture_output=True, text=True,
    ).stderr  # fmt: skip

    assert "along shard a rank sends" in text
    found = read_json(tmp_path / "run" / "costs.json")
    assert [rank["rank"] for rank in found["ranks"]] == [0, 1]
    for rank in found["ranks"]:
        agrees(rank)
    page = (tmp_path / "run" / "report.html").read_text()
    section = page.partition("What the layout cost")[2].partition("</section>")[0]
    assert "counted in step 3" in section
    assert re.search(r"shard</span></th><td[^>]*>[\d.]+ kB</td><td[^>]*>[\d.]+ kB", section)
    assert "1.000" in section
    assert "Behind the others" not in section


def test_a_report_shows_who_was_behind_the_others(tmp_path: Path) -> None:
    slow = [{"rank": 1, "times": times, "data": 0.5} for times in (1.5, 1.62)]
    rows = [{"step": step, "slow": [there]} for step, there in zip((40, 70), slow, strict=True)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "costs.json").write_text(json.dumps({"ranks": [{"rank": 0}, {"rank": 1}]}))

    page = write_report(tmp_path).read_text()

    row = page.partition("Behind the others")[2].partition("</tbody>")[0]
    assert re.findall(r">([^<>]+)</t[dh]>", row)[-4:] == ["1.62", "50%", "40", "70"]
    assert "rank 1" in row
