"""Mixed precision: layers are measured alone, and the best assignment is found and kept."""

from __future__ import annotations

from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
import torch
from digits import ALL, SEEN, TASK, batches, compressed, pictures, trained, work
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from zafu import tensors
from zafu.compress.runtime.mix import Choice, front
from zafu.compress.runtime.sensitivity import Cost, Judge, rounded
from zafu.compress.words import chain
from zafu.edits.contract import Edit
from zafu.errors import RecipeError, Refused
from zafu.models.mlp import MLP

DEEP = MLP(width=64, layers=4)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 150))
def test_no_assignment_of_so_many_bytes_adds_less_loss(seed: int, count: int, budget: int) -> None:
    """Parity with looking at each of them."""
    random = np.random.default_rng(seed)
    layers = [
        [Choice(int(random.integers(1, 30)), float(random.random())) for _ in range(choices)]
        for choices in random.integers(1, 4, count)
    ]
    every = [(sum(c.bytes for c in own), sum(c.loss for c in own)) for own in product(*layers)]
    able = [loss for size, loss in every if size <= budget]

    found = front(layers)

    at = int(np.searchsorted(found.bytes, budget, side="right"))
    assert bool(able) == bool(at)
    if at:
        assert found.loss[at - 1] == pytest.approx(min(able))
        own = [layer[pick] for layer, pick in zip(layers, found.picks[at - 1], strict=True)]
        assert sum(choice.bytes for choice in own) == found.bytes[at - 1]


def test_many_layers_of_many_sizes_are_assigned_within_the_budget() -> None:
    random = np.random.default_rng(0)
    layers = [
        [Choice(4 * n, 0.0), Choice(n + 1, float(x)), Choice(n // 2 + 7, float(8 * x))]
        for n, x in zip(random.integers(10**5, 10**7, 60), random.random(60), strict=True)
    ]

    found = front(layers)

    assert len(found.bytes) <= 20_000
    assert found.bytes[0] == sum(own[-1].bytes for own in layers)
    assert found.loss[-1] == 0


def alone(net: nn.Module, small: nn.Module) -> dict[str, Cost]:
    forms = rounded(net, small)
    judge = Judge(net, TASK.loss, [{name: form} for name, form in forms.items()])
    for batch in batches():
        judge.see(batch)
    return dict(zip(forms, judge.found(), strict=True))


@cache
def measured() -> dict[str, float]:
    net, small = trained(DEEP), trained(DEEP)
    compressed(small, "int8:float")
    return {name: cost.loss.value for name, cost in alone(net, small).items()}


def test_the_cost_of_a_layer_is_the_difference_of_two_losses() -> None:
    """Parity with changing the layer by hand."""
    net, small = trained(DEEP), trained(DEEP)
    compressed(small, "int8:float")
    name, expected = next(iter(measured().items()))
    x, y = (of[:SEEN] for of in pictures())
    with torch.no_grad():
        before = functional.cross_entropy(net(x), y)
        net.set_submodule(name, small.get_submodule(name))
        after = functional.cross_entropy(net(x), y)

    # 1e-6 of a loss of some hundredths, summed in another order
    assert expected == pytest.approx(float(after - before), abs=1e-6)
    assert len(measured()) == len([m for m in trained(DEEP).modules() if isinstance(m, nn.Linear)])


def test_a_layer_that_is_hurt_more_costs_more_and_is_left_as_it_was() -> None:
    net, small = trained(DEEP), trained(DEEP)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    compressed(small, "{kind: int4, skip: [], compensate: false}")
    with torch.no_grad():
        worst = next(n for n, m in small.named_modules() if type(m).__name__ == "Int4Linear")
        small.get_submodule(worst).scale.mul_(1.5)  # pyright: ignore[reportCallIssue]

    found = alone(net, small)

    assert max(found, key=lambda name: found[name].loss.value) == worst
    assert max(found, key=lambda name: found[name].moved) == worst
    assert found[worst].loss.low is not None
    assert found[worst].loss.low > 0
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


def mixed(how: str) -> tuple[nn.Module, tuple[Edit, ...], list[str]]:
    net, notes = trained(DEEP), list[str]()
    (link,) = chain(how)
    edits = tuple(link.apply(work(net)._replace(note=notes.append)))
    return net, edits, notes


def held_out(net: nn.Module) -> float:
    x, y = (of[SEEN:ALL] for of in pictures())
    with torch.no_grad():
        return float(functional.cross_entropy(net.eval()(x), y))


def size(net: nn.Module) -> int:
    return tensors.size(tensors.of_module(net))


@pytest.mark.parametrize("uniform", ["int4 > int8", "{kind: int4, skip: []}", "int8"])
def test_it_is_no_worse_than_the_uniform_choice_at_the_same_bytes(uniform: str) -> None:
    whole, same = trained(DEEP), trained(DEEP)
    compressed(same, uniform)
    share = size(same) / size(whole)

    own, _, _ = mixed(f"{{kind: mixed, bytes: {share!r}, samples: 512}}")

    assert size(own) <= size(same)
    # on digits that neither has seen; a thousandth of the loss is what chance may take
    assert held_out(own) <= held_out(same) + 1e-3 * held_out(whole)


def test_the_assignment_is_in_the_edits_and_said() -> None:
    net, edits, notes = mixed("mixed:0.2")

    named = {name: edit.kind for edit in edits for name in edit.dump()["layers"]}
    assert {edit.kind for edit in edits} == {"int4", "int8"}
    for name, kind in named.items():
        assert type(net.get_submodule(name)).__name__.lower() == f"{kind}linear"
        assert any(f"{kind[3:]} bits" in note and name in note for note in notes)
    assert size(net) <= 0.2 * size(trained(DEEP))


def test_more_bytes_add_no_more_loss_and_a_limit_of_loss_takes_the_fewest() -> None:
    whole = size(trained(DEEP))
    nets = {share: mixed(f"mixed:{share}")[0] for share in (0.2, 0.4, 0.9)}
    limited, _, _ = mixed("{kind: mixed, bytes: 1, loss: 0.0005}")

    assert all(size(net) <= share * whole for share, net in nets.items())
    assert held_out(nets[0.2]) >= held_out(nets[0.4]) - 1e-4
    assert size(limited) < 0.5 * whole
    assert abs(held_out(limited) - held_out(trained(DEEP))) < 0.01


def test_it_beats_the_mean_of_all_choices_of_two_layers_for_eight_bits() -> None:
    hidden = [f"layers.{index}.linear" for index in range(4)]
    losses = dict[tuple[str, ...], float]()
    for pair in combinations(hidden, 2):
        net = trained(DEEP)
        four = [name for name in hidden if name not in pair]
        compressed(net, f"{{kind: int4, layers: {four}}} > int8")
        losses[pair], bytes_ = held_out(net), size(net)

    own, _, _ = mixed(f"{{kind: mixed, bytes: {bytes_ / size(trained(DEEP))!r}}}")

    assert size(own) <= bytes_
    assert held_out(own) < sum(losses.values()) / len(losses)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("mixed:0.05", "mixed: expected bytes=0.1"),
        ("{kind: mixed, bytes: 0.18, loss: 0}", "mixed: expected loss=0.0 to be possible"),
        ("{kind: mixed, layers: [nothing]}", "mixed: int8: no linear layer"),
    ],
)
def test_what_is_not_possible_is_refused_with_what_is(how: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        mixed(how)


@pytest.mark.parametrize("how", ["mixed:0", "mixed:1.5", "mixed:0.2:-1", "{kind: mixed, group: 7}"])
def test_settings_out_of_their_range_are_refused(how: str) -> None:
    with pytest.raises(RecipeError):
        chain(how)
