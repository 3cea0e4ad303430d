"""The exam of every optimizer, found by its kind.

`python tests/conformance/test_optimizers.py` prints the golden numbers beside this file anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from zafu.errors import RecipeError
from zafu.fit import Fit
from zafu.optim.averaging import EMA
from zafu.optim.contract import Optimizer
from zafu.optim.gradient import Clip, Noise
from zafu.optim.penalties import L1, L2, Penalty
from zafu.optim.rate import Auto
from zafu.optim.runtime.parameters import state_bytes
from zafu.optim.runtime.update import Update
from zafu.optim.schedule_free import ScheduleFree
from zafu.optim.schedules import Constant, Cosine

HERE = Path(__file__).parent
GOLDEN = HERE / "golden_optimizers.json"
KINDS = Optimizer.kinds()
# settings beside the defaults under which an optimizer keeps other tensors or takes another path
VARIANTS: dict[str, tuple[dict[str, object], ...]] = {
    "sgd": ({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}),
    "rmsprop": ({"momentum": 0.9, "centered": True},),
    "muon": (
        {"adjust_lr": "original", "adamw_lr": 3e-3, "nesterov": False},
        {"arithmetic": "bfloat16"},
    ),
    **{
        kind: ({"weight_decay": 0.1}, {"lr": Auto(start=1e-3, rate=0.2)})
        for kind in ("adam", "adamw")
    },
    **{kind: ({"weight_decay": 0.1},) for kind in ("adagrad", "nadam", "lion")},
    "adafactor": ({"weight_decay": 0.1, "d": 2.0},),
    "schedule-free": ({"weight_decay": 0.1},),
}
CASES = [
    pytest.param(technique(**settings), id=" ".join([kind, *map(str, settings)]))
    for kind, technique in KINDS.items()
    for settings in ({}, *VARIANTS.get(kind, ()))
]


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network() -> nn.Sequential:
    """64-32-32-10, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.LayerNorm(32), nn.Linear(32, 10)
        )


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.from_numpy((data.data / 16).astype(np.float32)), torch.from_numpy(data.target)


def train(model: nn.Module, update: Update, steps: range, *, budget: int) -> None:
    """Batches of 64 in the order of the file, around and around."""
    x, y = digits()
    for step in steps:
        rows = torch.arange(step * 64, step * 64 + 64) % len(x)
        functional.cross_entropy(model(x[rows]), y[rows]).backward()
        update.gradients(step)
        update.step(step, step / budget)


def loss_of(model: nn.Module) -> float:
    x, y = digits()
    with torch.no_grad():
        return functional.cross_entropy(model(x), y).item()


def plain_update(model: nn.Module, optimizer: Optimizer) -> Update:
    return Update(model, optimizer=optimizer, schedule=Constant(), seed=0)


def golden(optimizer: Optimizer) -> float:
    """The loss on all digits after 60 steps with a constant schedule."""
    model = network()
    update = plain_update(model, optimizer)
    train(model, update, range(60), budget=60)
    with update.evaluating():
        return loss_of(model)


@pytest.mark.parametrize("optimizer", CASES)
def test_an_optimizer_prints_and_parses_back(optimizer: Optimizer) -> None:
    again = Fit.parse({"steps": 1, "optimizer": optimizer.dump()}).optimizer

    assert again == optimizer
    assert again.digest() == optimizer.digest()


@pytest.mark.parametrize("kind", KINDS)
def test_a_negative_lr_is_refused_with_its_range_and_path(kind: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Fit.parse({"steps": 1, "optimizer": {"kind": kind, "lr": -0.1}})

    (fault,) = caught.value.faults
    assert (fault.path, fault.expected[:12], fault.found) == (
        "optimizer.lr",
        "a number > 0",
        "-0.1",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_says_what_it_is(kind: str) -> None:
    silent = [name for name, f in KINDS[kind].model_fields.items() if not f.description]

    assert silent == ["kind"]


@pytest.mark.parametrize("optimizer", CASES)
def test_a_toy_fit_lowers_the_loss(optimizer: Optimizer) -> None:
    model = network()
    before = loss_of(model)

    update = plain_update(model, optimizer)
    train(model, update, range(30), budget=30)

    with update.evaluating():
        assert loss_of(model) < 0.97 * before


def saved_and_loaded(update: Update, fresh: Update) -> None:
    tensors = {name: tensor.clone() for name, tensor in update.tensors().items()}
    fresh.load(tensors, json.loads(json.dumps(update.plain())))


@pytest.mark.parametrize("optimizer", CASES)
def test_a_run_that_was_saved_and_loaded_ends_with_the_same_bits(optimizer: Optimizer) -> None:
    free = isinstance(optimizer, ScheduleFree)
    penalties: tuple[Penalty, ...] = (L2(strength=1e-3),) if free else (L1(), L2(strength=1e-3))

    def build(model: nn.Module) -> Update:
        return Update(
            model,
            optimizer=optimizer,
            schedule=Cosine(warmup=0.2, floor=0.1),
            penalties=penalties,
            clip=Clip(norm=0.5),
            noise=Noise(),
            average=None if free else EMA(decay=0.9),
            seed=3,
        )

    whole = network()
    update = build(whole)
    train(whole, update, range(8), budget=8)
    first, second = network(), network()
    half = build(first)
    train(first, half, range(4), budget=8)

    second.load_state_dict(first.state_dict())
    rest = build(second)
    saved_and_loaded(half, rest)
    train(second, rest, range(4, 8), budget=8)

    assert_same_bits(second.state_dict(), whole.state_dict())
    assert_same_bits(rest.tensors(), update.tensors())
    with rest.evaluating(), update.evaluating():
        assert_same_bits(second.state_dict(), whole.state_dict())


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    different = [name for name in found if not torch.equal(found[name], expected[name])]
    assert different == []


Groups = list[dict[str, object]]
PEERS: dict[str, Callable[[Groups, Groups], list[torch.optim.Optimizer]]] = {
    # matrices with decay, vectors without; flags as `zafu.optim.runtime.implementation` says
    "sgd": lambda a, b: [torch.optim.SGD(a + b, lr=0.1, momentum=0.9, nesterov=True, fused=True)],
    "adam": lambda a, b: [torch.optim.Adam(a + b, fused=True)],
    "adamw": lambda a, b: [torch.optim.AdamW(a + b, fused=True)],
    "adagrad": lambda a, b: [torch.optim.Adagrad(a + b, fused=True)],
    "rmsprop": lambda a, b: [torch.optim.RMSprop(a + b, lr=1e-3, foreach=False)],
    "nadam": lambda a, b: [
        torch.optim.NAdam(a + b, foreach=False, decoupled_weight_decay=True),
    ],
    "adafactor": lambda a, b: [torch.optim.Adafactor(a + b, foreach=False)],
    "muon": lambda a, b: [
        torch.optim.Muon(
            [{"params": a[0]["params"][:-1], "weight_decay": 0.1}],
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            [{"params": a[0]["params"][-1:], "weight_decay": 0.1}, *b],
            betas=(0.9, 0.95),
            fused=True,
        ),
    ],
}


SETTINGS_OF_PEERS: dict[str, dict[str, object]] = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "muon": {"arithmetic": "bfloat16"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_steps_are_those_of_torch_bit_for_bit(kind: str) -> None:
    if kind not in PEERS:
        own = HERE.parent / "optim" / f"test_{kind.replace('-', '_')}.py"
        assert own.is_file(), "what torch does not have is compared with its formula in a file"
        return
    settings = SETTINGS_OF_PEERS.get(kind, {})
    ours, theirs = network(), network()
    update = plain_update(ours, KINDS[kind](weight_decay=0.1, **settings))
    matrices = [p for p in theirs.parameters() if p.ndim == 2]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    peers = PEERS[kind](
        [{"params": matrices, "weight_decay": 0.1}], [{"params": vectors, "weight_decay": 0.0}]
    )
    x, y = digits()

    train(ours, update, range(20), budget=20)
    for step in range(20):
        rows = torch.arange(step * 64, step * 64 + 64) % len(x)
        functional.cross_entropy(theirs(x[rows]), y[rows]).backward()
        for peer in peers:
            peer.step()
            peer.zero_grad()

    assert_same_bits(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("optimizer", CASES)
def test_the_state_is_as_large_as_was_foreseen(optimizer: Optimizer) -> None:
    model = network()
    update = plain_update(model, optimizer)
    with torch.device("meta"):
        foreseen = state_bytes(network(), optimizer)

    train(model, update, range(1), budget=1)

    kept = [t for t in update.tensors().values() if t.ndim]
    assert sum(t.numel() * t.element_size() for t in kept) == foreseen


@pytest.mark.parametrize("optimizer", CASES)
def test_the_state_per_parameter_is_that_of_a_large_hidden_matrix(optimizer: Optimizer) -> None:
    model = nn.Sequential(nn.Linear(128, 128, bias=False), nn.Linear(128, 1, bias=False))
    update = plain_update(model, optimizer)
    model(torch.ones(1, 128)).sum().backward()

    update.step(0, 0.0)

    kept = [t for name, t in update.tensors().items() if name.endswith(".0.weight") and t.ndim]
    share = sum(t.numel() for t in kept) / 128**2
    assert share == pytest.approx(optimizer.state_per_parameter, abs=0.02)  # adafactor's sides


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_after_sixty_steps_is_the_golden_one(kind: str) -> None:
    known = json.loads(GOLDEN.read_text())

    found = golden(KINDS[kind]())

    assert found == pytest.approx(known["losses"][kind], rel=known["tolerances"].get(kind, 1e-4))


if __name__ == "__main__":
    torch.set_num_threads(1)
    old = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    fresh = {kind: round(golden(technique()), 6) for kind, technique in KINDS.items()}
    print(json.dumps({**old, "losses": fresh}, indent=2))
