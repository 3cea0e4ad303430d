"""What a recipe asks for beside its layout is what one process does of it, on every axis."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zafu.artifact import read_json
from zafu.build import build
from zafu.layout import Layout
from zafu.optim.contract import Optimizer
from zafu.parallel.world import World, connected
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.signature import Signature
from zafu.verify import Difference, Trace, compared, traced, write

RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:json/*.py"],
        "context": 8,
        "tokenizer": {"kind": "bpe", "vocab": 270},
        "split": {"validation": 0.2, "test": 0.2},
    },
    "model": {"kind": "decoder", "width": 16, "layers": 4, "heads": 2, "kv_heads": 2, "tied": True},
    "fit": {
        "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9},
        "batch": 8,
        "steps": 3,
        "clip": {"norm": 0.3},
        "penalties": [{"kind": "l1", "strength": 1e-3}, {"kind": "l2", "strength": 1e-2}],
        "average": {"kind": "ema", "decay": 0.5},
        "noise": {"eta": 1e-6},
        "recompute": True,
        "loader": {"kind": "inline"},
        "device": "cpu",
        "threads": 1,
    },
}
DATA = {"data": 2}
ZERO_1, ZERO_2 = {"shard": 2, "level": "optimizer"}, {"shard": 2, "level": "gradients"}
ZERO_3 = {"shard": 2}
TENSOR, CONTEXT = {"tensor": 2}, {"context": 2}
PIPELINE = {"pipeline": 2, "microbatches": 4}
FOLDED = {"pipeline": 2, "microbatches": 4, "schedule": "zero-bubble"}
CROSSED: list[dict[str, Any]] = [
    {"shard": 2, "tensor": 2},
    {"data": 2, "pipeline": 2, "microbatches": 2},
    {"pipeline": 2, "tensor": 2, "microbatches": 2},
]
LAYOUTS = [DATA, ZERO_1, ZERO_2, ZERO_3, TENSOR, CONTEXT, PIPELINE, FOLDED, *CROSSED]
EXACT = {"loss": 1e-6, "grad_norm": 5e-5, "gradient": 5e-5, "weight": 2e-6, "shipped": 2e-6}


class Heard(TorchDispatchMode):
    """Inside, how many numbers processes tell each other, and of which types those of sums are."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0  # but for losses and norms
        self.summed: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "c10d":
            said = [x for x in tree_leaves(args) if isinstance(x, torch.Tensor)]
            self.numbers += sum(x.numel() for x in said if x.numel() > 1)
            if "reduce" in func.overloadpacket.__name__:
                self.summed |= {str(x.dtype) for x in said}
        return func(*args, **(kwargs or {}))


def a_rank(rank: int, recipe: dict[str, Any], data: str, folder: str) -> dict[str, Any]:
    """Write what a rank does; how many numbers it says and hears meanwhile, and types of sums."""
    wanted = Recipe.parse(recipe)
    with connected(wanted.layout, rank) as world:
        heard = Heard()
        counters.clear()
        with heard if not wanted.fit.compile else nullcontext(), pytest.MonkeyPatch.context() as p:
            p.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
            trace = traced(wanted, Path(data), world)
        write(trace, Path(folder), rank)
    graphs = counters["stats"]["unique_graphs"]
    return {"numbers": heard.numbers, "summed": sorted(heard.summed), "graphs": graphs}


class Found(NamedTuple):
    worst: list[Difference]  # to one process, worst first
    said: list[dict[str, Any]]  # by rank


@pytest.fixture(scope="module")
def spread(
    worlds: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Found]:
    """What a layout makes of the recipe with some settings changed, beside one process."""
    known: dict[str, tuple[Path, Trace]] = {}  # not compiled, which is no part of what is learned
    made: dict[str, Found] = {}

    def found(layout: dict[str, Any], base: int | None = None, **fit: Any) -> Found:
        alone = {**RECIPE, "fit": {**RECIPE["fit"], **fit}}
        if base:
            alone["model"] = {**RECIPE["model"], "transfer": {"width": base}}
        eager = {**alone, "fit": {**alone["fit"], "compile": False}}
        if (text := json.dumps(eager)) not in known:
            recipe = Recipe.parse(eager)
            data = prepared(recipe, tmp_path_factory.getbasetemp())
            known[text] = data, traced(recipe, data, World(Layout()))
        data, reference = known[text]
        told = {"recipe": {**alone, "layout": layout}, "data": str(data)}
        if (text := json.dumps(told)) in made:
            return made[text]
        folder = tmp_path_factory.mktemp("traces")
        wanted = Layout.parse(layout)
        said = worlds(wanted.world)(a_rank, **told, folder=str(folder))
        made[text] = Found(compared(reference, folder, wanted), said)
        return made[text]

    return found


def near(found: Found, limits: dict[str, float] = EXACT) -> None:
    beyond = [d for d in found.worst if not d.relative <= limits[d.what]]
    assert not beyond, beyond[:4]
    assert {d.what for d in found.worst} >= {"loss", "grad_norm", "gradient", "weight"}


def smallest(layout: dict[str, Any]) -> int:
    """The smallest `fit.micro_batch`."""
    return Layout.parse(layout).pieces if "pipeline" in layout else 1


@pytest.mark.parametrize("layout", LAYOUTS, ids=json.dumps)
def test_all_that_a_recipe_adds_to_a_step_is_as_on_one_process(
    spread: Callable[..., Found], layout: dict[str, Any]
) -> None:
    """Accumulation, clipping, two penalties, noise, an average, recomputation, tied embeddings."""
    found = spread(layout, micro_batch=smallest(layout))

    near(found)
    assert any(d.what == "shipped" for d in found.worst)


@pytest.mark.parametrize("layout", [ZERO_1, *CROSSED], ids=json.dumps)
def test_weights_that_follow_their_width_move_as_on_one_process(
    spread: Callable[..., Found], layout: dict[str, Any]
) -> None:
    """With learning rates and decays of their own, penalties too; the last norm holds 1 / m."""
    near(spread(layout, base=4, micro_batch=smallest(layout)))


ONCE = [DATA, ZERO_1, TENSOR, CONTEXT, PIPELINE, CROSSED[1]]


@pytest.mark.parametrize("layout", ONCE, ids=json.dumps)
def test_gradients_travel_once_a_step_however_many_micro_batches_it_has(
    spread: Callable[..., Found], layout: dict[str, Any]
) -> None:
    """Each token's activations travel once in any case; shards of gradients are summed early."""
    one = spread(layout, micro_batch=None).said
    many = spread(layout, micro_batch=smallest(layout)).said

    for ours, theirs in zip(one, many, strict=True):
        assert ours["numbers"] == theirs["numbers"] > 0


def test_gradients_of_norms_travel_once_a_step_whatever_the_optimizer_reads(
    spread: Callable[..., Found],
) -> None:
    plain = spread(TENSOR, clip=None, average=None, penalties=[], optimizer={"kind": "sgd"})
    three = spread(TENSOR, clip={"norm": 1e-3}, optimizer={"kind": "adamw"})

    assert [r["numbers"] for r in plain.said] == [r["numbers"] for r in three.said]


NOISE = {"loss": 2e-3, "grad_norm": 2e-2, "gradient": 3e-2, "weight": 3e-3, "shipped": 3e-3}


@pytest.mark.parametrize("layout", LAYOUTS, ids=json.dumps)
def test_in_bf16_sums_over_processes_are_of_fp32(
    spread: Callable[..., Found], layout: dict[str, Any]
) -> None:
    found = spread(layout, precision="bf16")

    near(found, NOISE)
    summed = {kind for there in found.said for kind in there["summed"]}
    assert summed <= {"torch.float32", "torch.float64"}
    assert "torch.float32" in summed


@pytest.mark.parametrize("layout", [DATA, ZERO_3, TENSOR, PIPELINE], ids=json.dumps)
def test_full_batches_and_late_averages_are_as_on_one_process(
    spread: Callable[..., Found], layout: dict[str, Any]
) -> None:
    elastic = {"kind": "elastic-net", "strength": 1e-2}
    slopes = {"kind": "l1", "strength": 1e-3, "method": "subgradient", "match": "*mlp*"}
    late = {"kind": "swa", "start": 0.3}

    near(spread(layout, batch="all", micro_batch=256, penalties=[elastic, slopes], average=late))


ADAPTIVE = {"loss": 1e-5, "grad_norm": 2e-3, "gradient": 2e-3, "weight": 1e-3, "shipped": 1e-3}


@pytest.mark.parametrize("layout", [TENSOR, PIPELINE, CROSSED[0]], ids=json.dumps)
@pytest.mark.parametrize("kind", sorted(Optimizer.kinds()))
def test_every_optimizer_moves_cut_matrices_as_it_moves_whole_ones(
    spread: Callable[..., Found], layout: dict[str, Any], kind: str
) -> None:
    """Within what steps that divide by numbers near 0 make of rounding."""
    optimizer = {"kind": kind, "lr": 1e-3, "weight_decay": 0.01}

    found = spread(layout, optimizer=optimizer, average=None, penalties=[])

    near(found, ADAPTIVE)


@pytest.mark.parametrize(
    "layout", [DATA, ZERO_1, ZERO_3, TENSOR, CONTEXT, *CROSSED], ids=json.dumps
)
def test_a_learning_rate_is_found_from_all_that_processes_hold(
    spread: Callable[..., Found], layout: dict[str, Any]
) -> None:
    """At so high a rate, a cosine over a part of the weights leads elsewhere."""
    lr = {"kind": "auto", "start": 1e-3, "rate": 1.0}
    optimizer = {"kind": "adamw", "lr": lr, "groups": [{"match": "*norm*", "lr_scale": 0.5}]}

    found = spread(layout, optimizer=optimizer, average=None, penalties=[], steps=6)

    near(found, ADAPTIVE)


@pytest.mark.parametrize("kind", ["adafactor", "muon"])
@pytest.mark.parametrize("layout", [CROSSED[2], {**PIPELINE, "shard": 2}], ids=json.dumps)
def test_a_tied_tensor_that_is_moved_whole_counts_once_in_norms(
    spread: Callable[..., Found], layout: dict[str, Any], kind: str
) -> None:
    """The recipe's clipping makes of a wrong norm wrong weights."""
    optimizer = {"kind": kind, "lr": 1e-3}

    near(spread(layout, optimizer=optimizer, average=None, penalties=[]), ADAPTIVE)


def with_frozen_blocks(rank: int, recipe: dict[str, Any], data: str) -> dict[str, float]:
    """What is measured of the weights, where all matrices of the first stage are frozen."""
    wanted = Recipe.parse(recipe)
    signature = Signature.parse(read_json(Path(data) / "signature.json"))
    with connected(wanted.layout, rank) as world:
        _, update, _ = build(wanted, signature, world)
        return update.measurements()


def test_a_stage_whose_matrices_are_frozen_takes_part_in_measuring_weights(
    worlds: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    patterns = ("*embed*", "*layers.0.*proj*", "*layers.1.*proj*")
    groups = [{"match": pattern, "lr_scale": 0} for pattern in patterns]
    optimizer = {"kind": "sgd", "lr": 0.1, "groups": groups}
    alone = {**RECIPE, "fit": {**RECIPE["fit"], "optimizer": optimizer}}
    alone["model"] = {**RECIPE["model"], "tied": False}
    data = str(prepared(Recipe.parse(alone), tmp_path_factory.getbasetemp()))

    found = worlds(2)(with_frozen_blocks, recipe={**alone, "layout": PIPELINE}, data=data)

    expected = with_frozen_blocks(0, alone, data)
    assert found == [pytest.approx(expected)] * 2
    assert expected["weight_norm"] > 1


def masks(rank: int, recipe: dict[str, Any], data: str) -> list[int]:
    """A number for each dropout mask of a step."""
    wanted, found = Recipe.parse(recipe), list[int]()

    class Drawn(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket.__name__ in ("bernoulli_", "native_dropout"):
                mask = out[1] if isinstance(out, tuple) else out
                found.append(hash(tuple(mask.flatten().tolist())))
            return out

    with connected(wanted.layout, rank) as world, Drawn():
        traced(wanted, Path(data), world)
    return found


def test_no_two_layers_of_a_pipeline_draw_the_same_dropout(
    worlds: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    wet = {**RECIPE, "model": {**RECIPE["model"], "dropout": 0.3}, "layout": PIPELINE}
    wet["fit"] = {**RECIPE["fit"], "recompute": False}
    data = str(prepared(Recipe.parse(wet), tmp_path_factory.getbasetemp()))

    first, second = worlds(2)(masks, recipe=wet, data=data)

    assert len({*first, *second}) == len(first) + len(second) > 20


INTERLEAVED = {"pipeline": 2, "microbatches": 4, "schedule": "interleaved"}
COMPILED = [DATA, ZERO_3, TENSOR, CONTEXT, PIPELINE, INTERLEAVED, *CROSSED]


@pytest.mark.parametrize("layout", COMPILED, ids=json.dumps)
def test_compiled_models_train_as_one_process_does(
    spread: Callable[..., Found], layout: dict[str, Any]
) -> None:
    found = spread(layout, compile=True, recompute=False)

    near(found)
    assert all(there["graphs"] for there in found.said)
