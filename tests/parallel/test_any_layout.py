"""Whatever recipe and layout are drawn: it is refused before it starts, or is as one process.

The longer search, which the suite does not do:
`ZAFU_EXAMPLES=200 pytest tests/parallel/test_any_layout.py --hypothesis-seed=7`.
"""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from zafu import artifact, loop, reading, tensors
from zafu.build import build
from zafu.errors import Fault, RecipeError, Refused
from zafu.layout import Layout
from zafu.loop import Objective
from zafu.optim.contract import Optimizer
from zafu.parallel.world import World
from zafu.pieces import pieces_of
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.signature import Signature

EXAMPLES = int(os.environ.get("ZAFU_EXAMPLES", "20"))
KINDS = sorted(Optimizer.kinds())  # before tests of plugins add theirs
TEXT: dict[str, Any] = {
    "kind": "text",
    "files": ["stdlib:json/*.py"],
    "tokenizer": {"kind": "bpe", "vocab": 270},
    "split": {"validation": 0.2, "test": 0.2},
}
DATA: dict[str, dict[str, Any]] = {
    "windows of 8": {**TEXT, "context": 8},
    "windows of 12": {**TEXT, "context": 12},
    "digits": {"kind": "digits"},
    "wine": {"kind": "table", "files": ["sklearn:wine"], "target": "target"},
    "diabetes": {"kind": "table", "files": ["sklearn:diabetes"], "target": "target"},
}
TASKS = {"digits": "classification", "wine": "classification", "diabetes": "regression"}
RATES = {"sgd": 0.05, "adafactor": 1e-2, "muon": 1e-2}
COUPLED = {"adam", "rmsprop", "adagrad"}  # whose decay is a part of the gradient


def some(draw: Any, *values: Any) -> Any:
    return draw(st.sampled_from(values))


def a_model(draw: Any, data: str, *, deep: int, wide: int) -> dict[str, Any]:
    """Mostly one that can be cut so deep and so wide."""
    heads = some(draw, *((2, 3, 4) if wide == 1 else (wide, wide, 2, 4)))
    layers = draw(st.integers(max(1, 2 * deep - 2), 2 * deep + 2))
    blocks = {"heads": heads, "width": heads * some(draw, 4, 6), "layers": layers}
    if "windows" in data:
        divisors = [n for n in (1, 2, 3, 4) if heads % n == 0 and n % wide == 0]
        more = {"kv_heads": some(draw, *divisors or [1]), "hidden": some(draw, 13, 20) * wide}
        flags = {name: draw(st.booleans()) for name in ("tied", "qk_norm")}
        attend = some(draw, *["window"] * 5, "document")
        narrow = some(draw, *[{}] * 3, {"transfer": {"width": 2 * heads}})
        return {"kind": "decoder", "attend": attend, **blocks, **more, **flags, **narrow}
    if data != "digits":
        return {
            "kind": "mlp",
            "width": some(draw, 7, 16) * wide,
            "layers": layers - some(draw, 0, 1),
        }
    kind = some(draw, "vit", "convnet", "mlp")
    if kind == "vit":
        more = {"pool": some(draw, "mean", "token"), "patch": some(draw, 2, 4), "hidden": 15 * wide}
        return {"kind": "vit", **blocks, **more}
    if kind == "mlp":
        return {"kind": "mlp", "width": some(draw, 7, 16) * wide, "layers": layers}
    stages = some(draw, 1, 2)
    return {"kind": "convnet", "width": 6, "groups": 3, "stages": stages, "blocks": deep}


def an_optimizer(draw: Any, model: dict[str, Any]) -> dict[str, Any]:
    kind = some(draw, "sgd", "sgd", "sgd", *KINDS)
    chosen = {"kind": kind, "lr": RATES.get(kind, 1e-3), "weight_decay": some(draw, 0.0, 0.1)}
    if "transfer" in model and kind in COUPLED:
        chosen["weight_decay"] = 0.0
    if kind == "sgd":
        chosen["momentum"] = some(draw, 0.0, 0.9)
    frozen = {
        "decoder": ("*embed_tokens*", "*layers.0.*", "*norm*", "*mlp*"),
        "vit": ("*bias", "*blocks.0*"),
    }
    if (patterns := frozen.get(model["kind"])) and draw(st.booleans()):
        chosen["groups"] = [{"match": some(draw, *patterns), "lr_scale": some(draw, 0.0, 0.5)}]
    return chosen


def a_layout(draw: Any, data: str) -> dict[str, Any]:
    """Of up to four processes; the axes may not suit the model."""
    factors = some(draw, (2,), (2,), (3,), (4,), (2, 2), (2, 2))
    axes = ["data", "shard", "pipeline", "tensor", *(["context"] if "windows" in data else [])]
    layout: dict[str, Any] = dict(zip(draw(st.permutations(axes)), factors, strict=False))
    if "shard" in layout:
        layout["level"] = some(draw, "optimizer", "gradients", "parameters")
    if "pipeline" in layout:
        schedules = ("gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe-v")
        layout["schedule"] = some(draw, *schedules)
        layout["microbatches"] = some(draw, None, None, 4, 5, 6)
    return layout


def a_batch(draw: Any, layout: dict[str, Any]) -> int:
    """Mostly as many samples as the layout can deal."""
    if "pipeline" not in layout:
        return draw(st.integers(1, 12))
    try:
        found = Layout.parse(layout)
    except RecipeError:
        return 8
    return some(draw, 1, 1, 2) * found.batch_ranks * found.pieces


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    data = some(draw, "windows of 8", "windows of 8", "windows of 12", "digits", "wine", "diabetes")
    layout = a_layout(draw, data)
    model = a_model(draw, data, deep=layout.get("pipeline", 1), wide=layout.get("tensor", 1))
    optimizer = an_optimizer(draw, model)
    batch = a_batch(draw, layout)
    divisors = [n for n in range(1, batch + 1) if batch % n == 0]
    rounds = [n for n in divisors if n == batch // layout.get("data", 1) // layout.get("shard", 1)]
    micro = some(draw, None, *(rounds if "pipeline" in layout else divisors))
    free = optimizer["kind"] == "schedule-free"
    method = "subgradient" if free else some(draw, "proximal", "subgradient")
    penalties = [
        {"kind": "l1", "strength": 1e-3, "method": method},
        {"kind": "l2", "strength": 1e-2},
        {"kind": "elastic-net", "strength": 1e-3, "method": method},
    ]
    averages = [{"kind": "ema", "decay": 0.5}, {"kind": "swa", "start": 0.3}]
    fit = {
        "optimizer": optimizer,
        "schedule": some(draw, {"kind": "constant"}, {"kind": "cosine"}),
        "batch": batch,
        "micro_batch": micro,
        "samples": batch * 4 - draw(st.integers(0, batch - 1)),  # the last step may have fewer
        "penalties": some(draw, [], *([p] for p in penalties), penalties[:2]),
        "clip": some(draw, None, {"norm": 0.3}, {"value": 0.01}, {"norm": 0.1, "value": 0.05}),
        "noise": some(draw, None, None, {"eta": 1e-4}),
        "average": None if free else some(draw, None, *averages),
        "recompute": model["kind"] != "mlp" and draw(st.booleans()),
        "loader": {"kind": "inline"},
        "threads": 1,
        "device": "cpu",
    }
    kind = TASKS.get(data, "language-modeling")
    smooth = {} if kind == "regression" else {"label_smoothing": some(draw, 0.0, 0.1)}
    return {
        "task": {"kind": kind, **smooth},
        "data": DATA[data],
        "model": model,
        "fit": fit,
        "layout": layout,
        "seed": 0,  # data is prepared once
    }


def trained(recipe: Recipe, data: Path, world: World) -> tuple[list[float], Any, Any]:
    """Losses and norms of all steps; what the weights are, and those that would be shipped."""
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    model, update, spread = build(recipe, signature, world)
    split = recipe.data.open(data, "train")
    read = reading.training(recipe, data / "recipe.yaml", data, device=torch.device("cpu"))
    objective = Objective(model, recipe.task, split, recipe.fit, recipe.seed, read, spread)
    begun = {p.name: p.own.detach().clone() for p in pieces_of(model)} if world.alone else {}
    numbers = [
        value
        for step in loop.fit(objective, update, loop.begin(recipe.fit))
        for value in (step.loss, step.grad_norm)
    ]
    parts = spread.parts or pieces_of(model)
    kept = [(p, p.own.detach().clone()) for p in parts]
    with update.evaluating():
        shown = [(p, p.own.detach().clone()) for p in parts]
    return numbers, {"weight": kept, "shown": shown}, begun


def alone(recipe: Recipe, data: Path, file: Path) -> list[float]:
    """What one process does, with its weights in a file."""
    numbers, found, begun = trained(recipe, data, World(Layout()))
    named = {f"{what}.{p.name}": own for what, pairs in found.items() for p, own in pairs}
    tensors.write(file, {**named, **{f"begun.{name}": own for name, own in begun.items()}})
    return numbers


def spread_over(rank: int, recipe: dict[str, Any], data: str, file: str) -> dict[str, Any]:
    """What a rank does, and how far its weights are from those of one process."""
    wanted = Recipe.parse(recipe)
    world = World(wanted.layout, rank)
    world.connect()
    expected = tensors.read(Path(file))
    numbers, found, _ = trained(wanted, Path(data), world)
    changes = {
        what: math.sqrt(
            sum(
                (expected[f"{what}.{name[6:]}"] - before).double().square().sum().item()
                for name, before in expected.items()
                if name.startswith("begun.")
            )
        )
        for what in found
    }
    worst: list[tuple[float, str]] = []
    squares = dict.fromkeys(found, 0.0)
    seen: dict[str, int] = {}
    for what, pairs in found.items():
        for piece, own in pairs:
            whole = expected[f"{what}.{piece.name}"]
            if own.numel():
                off = (own - piece.of(whole)).abs().max() / whole.abs().max().clamp(min=1e-2)
                worst.append((off.item(), f"{what}.{piece.name}"))
                squares[what] += (own - piece.of(whole)).double().square().sum().item()
            seen[piece.name] = piece.own.numel()
    moved = {what: math.sqrt(squares[what]) / max(changes[what], 1e-9) for what in found}
    return {
        "numbers": numbers,
        "worst": max(worst, default=(0.0, "")),
        "moved": max(moved.values()),
        "seen": sum(seen.values()),
        "whole": sum(own.numel() for name, own in expected.items() if name.startswith("begun.")),
    }


def as_one_process(found: list[dict[str, Any]], expected: list[float], *, exact: bool) -> None:
    """Every number, and every weight on every rank; looser where steps divide by gradients."""
    for rank in found:
        pairs = list(zip(rank["numbers"], expected, strict=True))
        for place, (ours, theirs) in enumerate(pairs):
            first = exact or place < 2
            limit = (1e-6 if first else 1e-3) if place % 2 == 0 else (5e-5 if first else 5e-2)
            assert ours == pytest.approx(theirs, rel=limit, abs=1e-9), (place, pairs)
        if exact:
            assert rank["worst"][0] <= 2e-6, rank["worst"]
        assert rank["moved"] <= 1e-3, rank
    assert sum(rank["seen"] for rank in found) >= found[0]["whole"]


def faults_of(settled: dict[str, Any]) -> tuple[Fault, ...]:
    try:
        Recipe.parse(settled)
    except RecipeError as error:
        return tuple(error.faults)
    return ()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where data is prepared, once for each kind."""
    return tmp_path_factory.mktemp("data")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(settled=recipes())
def test_it_is_refused_before_it_starts_or_is_as_one_process(
    worlds: Callable[[int], Any], folder: Path, settled: dict[str, Any]
) -> None:
    note(json.dumps(settled))
    if faults := faults_of(settled):
        event("refused")
        assert all(fault.path.startswith(("layout", "fit", "model.attend")) for fault in faults)
        return
    recipe = Recipe.parse(settled)
    event(" x ".join(sorted(axis for axis, n in settled["layout"].items() if type(n) is int)))
    data = prepared(recipe, folder)
    one = Recipe.parse({**settled, "layout": {}})

    try:
        expected = alone(one, data, folder / "expected.safetensors")
    except Refused:  # by one process as well, such as muon without a hidden matrix
        event("refused for any layout")
        return
    told = {"recipe": settled, "data": str(data), "file": str(folder / "expected.safetensors")}
    found = worlds(recipe.layout.world)(spread_over, **told)

    as_one_process(found, expected, exact=settled["fit"]["optimizer"]["kind"] == "sgd")
