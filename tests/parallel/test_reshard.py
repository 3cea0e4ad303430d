"""What one layout has saved, any other reads: the same bits, also with no layout at all."""

import json
import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zafu import checkpoint
from zafu.artifact import verify
from zafu.batch import Batch
from zafu.boxes import Boxes
from zafu.build import looked_at_whole
from zafu.checkpoint import State
from zafu.errors import Damaged, NonFinite
from zafu.layout import Layout
from zafu.loop import Progress
from zafu.nets.decoder import Decoder, Shape
from zafu.optim.averaging import EMA, Average
from zafu.optim.contract import Optimizer
from zafu.optim.runtime.parameters import parameter_groups
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.parallel.ranks import Ranks
from zafu.parallel.spread import ALONE, Spread
from zafu.parallel.world import World
from zafu.pieces import held_by
from zafu.task import LanguageModeling

TASK = LanguageModeling()
LAYOUTS: list[dict[str, Any]] = [
    {"data": 4},
    {"shard": 4},
    {"shard": 4, "level": "optimizer"},
    {"data": 2, "shard": 2},
    {"pipeline": 4},
    {"pipeline": 2, "schedule": "zero-bubble", "microbatches": 4, "data": 2},
    {"pipeline": 2, "shard": 2},
    {"context": 2, "shard": 2},
    {"context": 2, "pipeline": 2, "schedule": "dualpipe-v", "microbatches": 4},
]
PAIRS = random.Random(0).sample([(a, b) for a in range(9) for b in range(9) if a != b], 20)  # noqa: S311
AVERAGE = EMA()


def network() -> Decoder:
    sizes = {"vocab": 23, "context": 8, "width": 12, "layers": 5, "heads": 2, "kv_heads": 1}
    shape = Shape(**sizes, hidden=14, tied=True)  # pyright: ignore[reportArgumentType]
    return Decoder(shape)


def spread_over(
    world: World, optimizer: str, average: Average | None = AVERAGE
) -> tuple[Any, Update, Spread]:
    torch.manual_seed(world.rank if world.alone else 0)
    model, spec = network(), Optimizer.parse({"kind": optimizer})
    with torch.device("meta"):
        names = network()
    spread: Spread = ALONE
    whole = model
    if not world.alone:
        spread = Ranks(model, world, TASK, looked_at_whole(spec, parameter_groups(model, spec)))
    names = whole if world.alone else names
    settings: dict[str, Any] = {"schedule": Constant(), "average": average, "seed": 0}
    update = Update(names, optimizer=spec, held=spread.held, **settings)
    return model, update, spread


def moved(update: Update, spread: Spread, model: Any) -> None:
    tokens = torch.randint(0, 23, (8, 9), generator=torch.Generator().manual_seed(3))
    index, of = spread.dealt
    mine = tokens.chunk(of)[index]
    batch = Batch((mine[:, :-1],), mine[:, 1:], np.arange(len(mine)))
    with spread.passing(last=True):
        spread.backward(TASK, model, batch, 1 / 64, nullcontext)
    spread.finish()
    update.gradients(0)
    update.step(0, 0.0)


def same(rank: int, folder: str, first: str, second: str, optimizer: str) -> dict[str, Any]:
    """Whether pieces under both layouts, and all without one, have the same bits."""
    worlds = [World(Layout.parse(json.loads(text)), rank) for text in (first, second)]
    for world in worlds:
        world.connect()
    model, update, spread = spread_over(worlds[0], optimizer)
    moved(update, spread, model)
    state = State(progress=Progress(step=1, samples=8), data="x")
    path = checkpoint.save(Path(folder), model, update, state, spread, recipe="r")
    verify(path)
    whole_model, whole_update, _ = spread_over(World(Layout()), optimizer)
    found = [checkpoint.load(path, whole_model, whole_update)]
    before = agrees(whole_model, whole_update, update, spread)
    model, update, spread = spread_over(worlds[1], optimizer)
    found.append(checkpoint.load(path, model, update, spread))
    after = agrees(whole_model, whole_update, update, spread)
    plain = update.plain() == whole_update.plain() or worlds[1].degree("pipeline") > 1
    return {"before": before, "after": after, "state": found == [state, state], "plain": plain}


def agrees(whole: Any, whole_update: Update, update: Update, spread: Spread) -> bool:
    """Whether what is here are boxes of the whole."""
    named = dict(whole.named_parameters())
    held = spread.held or held_by(whole)
    weights = all(
        torch.equal(p.own.detach(), p.of(named[p.name].detach()))
        for p in (*spread.parts, *held.pieces)
        if p.own.numel()
    )
    states = whole_update.tensors()
    for name, tensor in update.tensors().items():
        piece = update.piece(name)
        assert piece is not None
        expected = states[name]
        if tensor.shape != expected.shape:
            expected = piece.of(expected)
        weights = weights and torch.equal(tensor.to(expected.dtype), expected)
    return weights


@pytest.mark.parametrize("pair", range(20))
def test_any_layout_reads_what_another_has_saved(
    worlds: Callable[[int], Any], tmp_path: Path, pair: int
) -> None:
    first, second = (json.dumps(LAYOUTS[i]) for i in PAIRS[pair])
    optimizer = "muon" if pair % 4 == 0 else "adamw"

    found = worlds(4)(same, folder=str(tmp_path), first=first, second=second, optimizer=optimizer)

    assert found == [{"before": True, "after": True, "state": True, "plain": True}] * 4


@pytest.mark.parametrize(
    ("optimizer", "average"), [("adamw", AVERAGE), ("adamw", None), ("schedule-free", None)]
)
def test_what_is_shipped_of_a_checkpoint_needs_no_state_of_the_optimizer(
    tmp_path: Path, optimizer: str, average: EMA | None
) -> None:
    def shipped(load: Callable[..., State], path: Path | None = None) -> tuple[Any, int]:
        model, update, _ = spread_over(World(Layout()), optimizer, average)
        if path is None:
            for _ in range(3):
                moved(update, ALONE, model)
            path = checkpoint.save(tmp_path, model, update, State(progress=Progress(step=1)))
        load(path, model, update)
        with update.evaluating():
            kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return kept, sum(tensor.nbytes for tensor in update.tensors().values())

    expected, whole = shipped(checkpoint.load)
    found, size = shipped(checkpoint.load_shown, tmp_path / checkpoint.name_of(1))

    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert size < whole or optimizer == "schedule-free"  # whose state says what is shipped


def saved(rank: int, folder: str) -> str:
    world = World(Layout(shard=2), rank)
    world.connect()
    model, update, spread = spread_over(world, "sgd")
    moved(update, spread, model)
    state = State(progress=Progress(step=1, samples=8), data="x")
    return str(checkpoint.save(Path(folder), model, update, state, spread))


def test_a_flipped_bit_in_any_part_of_a_shared_checkpoint_is_noticed(
    worlds: Callable[[int], Any], tmp_path: Path
) -> None:
    path = Path(worlds(2)(saved, folder=str(tmp_path))[0])
    verify(path)
    files = sorted(path.glob("*.safetensors"))

    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(Damaged, match=file.name):
            verify(path)
        file.write_bytes(whole)

    assert len(files) >= 2


def breaks(rank: int, folder: str) -> str:
    world = World(Layout(shard=4), rank)
    world.connect()
    model, update, spread = spread_over(world, "sgd")
    if rank == 2:
        with torch.no_grad():
            spread.parts[0].own.fill_(float("nan"))
    state = State(progress=Progress(step=1, samples=8))
    try:
        checkpoint.save(Path(folder), model, update, state, spread)
    except NonFinite as error:
        return str(error)
    return ""


def test_if_one_rank_cannot_save_all_say_why_and_nothing_is_there(
    worlds: Callable[[int], Any], tmp_path: Path
) -> None:
    found = worlds(4)(breaks, folder=str(tmp_path))

    assert all("model.embed_tokens.weight is not finite" in text for text in found)
    assert not list(tmp_path.iterdir())


PLACE = {"file": "a.safetensors", "offset": [0], "shape": [4]}
ENTRY: dict[str, Any] = {"shape": [4], "places": [PLACE]}


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"shape": [4]}, "expected boxes by name"),
        ({**ENTRY, "shape": [5]}, "do not fill"),
        ({**ENTRY, "shape": [-1]}, "shape"),
        ({**ENTRY, "shape": ["4"]}, "expected boxes by name"),
        ({**ENTRY, "shape": [2, 2]}, "in a tensor of"),
        ({**ENTRY, "places": [PLACE, PLACE]}, "overlap"),
        ({"shape": [4], "places": [{**PLACE, "file": "../a.safetensors"}]}, "folder"),
        ({"shape": [4], "places": [{**PLACE, "file": "a.bin"}]}, "safetensors"),
        ({"shape": [4], "places": [{**PLACE, "offset": [2]}]}, "in a tensor of"),
        ({"shape": [4], "places": [{**PLACE, "offset": [-1]}]}, "in a tensor of"),
        ([], "expected boxes by name"),
    ],
)
def test_an_index_that_cannot_be_true_is_damaged(tmp_path: Path, entry: Any, text: str) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"w": entry}))

    with pytest.raises(Damaged, match=text):
        _ = Boxes(tmp_path, "model").index


def test_a_file_that_is_not_there_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"w": ENTRY}))

    with pytest.raises(Damaged, match=r"a\.safetensors"):
        Boxes(tmp_path, "model").whole("w")
