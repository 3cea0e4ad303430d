"""A window that several processes share trains a decoder as one process does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zafu.batch import Batch
from zafu.errors import Refused
from zafu.layout import Layout
from zafu.nets.decoder import Decoder, Shape
from zafu.parallel import context
from zafu.parallel.world import World
from zafu.task import LanguageModeling

SIZES: dict[str, Any] = {"vocab": 61, "context": 32, "width": 32, "layers": 2, "heads": 4}
TASK = LanguageModeling()
STEPS, TIME = 3, 32


def model(**more: Any) -> Decoder:
    torch.manual_seed(7)
    net = Decoder(Shape(**SIZES, hidden=48, **{"kv_heads": 2, **more}))
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(3 if weight.dim() > 1 else 1)  # so that attention is far from uniform
    return net


def batch(step: int) -> Batch:
    drawn = torch.Generator().manual_seed(step)
    tokens = torch.randint(0, SIZES["vocab"], (3, TIME + 1), generator=drawn)
    targets = tokens[:, 1:].clone()
    targets[0, -9:] = -100  # absent
    return Batch((tokens[:, :-1],), targets, np.arange(3))


def trained(net: Decoder, world: World, low: bool) -> dict[str, Any]:
    """Losses and gradients, summed over ranks, of some steps, and the weights after them."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    losses, first = list[float](), dict[str, Any]()
    for step in range(STEPS):
        whole = batch(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = TASK.loss(net, context.share(whole, world))
        (loss / int((whole.targets >= 0).sum())).backward()
        gradients = {n: world.add(p.grad, "context") for n, p in net.named_parameters()}
        first = first or {name: g.tolist() for name, g in gradients.items()}
        losses.append(world.add(loss.detach(), "context").item())
        optimizer.step()
        optimizer.zero_grad()
    weights = {name: p.tolist() for name, p in net.named_parameters()}
    return {"losses": losses, "gradients": first, "weights": weights}


def train(
    rank: int, layout: dict[str, Any], told: dict[str, Any], recompute: bool, low: bool
) -> Any:
    net, world = model(**told), World(Layout(**layout), rank)
    world.connect()
    net.recompute = recompute
    context.apply(net, world)
    return trained(net, world, low)


def alone(told: dict[str, Any], low: bool = False) -> dict[str, Any]:
    return trained(model(**told), World(Layout()), low)


@pytest.mark.parametrize(
    ("layout", "told", "recompute"),
    [
        ({"context": 2}, {}, False),
        ({"context": 2}, {"kv_heads": 4, "tied": True}, True),
        ({"context": 4}, {"qk_norm": True, "kv_heads": 1}, False),
        ({"context": 2, "tensor": 2}, {}, True),  # two rings at once, each on the same work
    ],
)
def test_training_is_that_of_one_process(
    worlds: Callable[[int], Any], layout: dict[str, Any], told: dict[str, Any], recompute: bool
) -> None:
    expected, size = alone(told), Layout(**layout).world

    found = worlds(size)(train, layout=layout, told=told, recompute=recompute, low=False)

    for rank in found:
        np.testing.assert_allclose(rank["losses"], expected["losses"], rtol=1e-6)
        for what in ("gradients", "weights"):
            assert rank[what].keys() == expected[what].keys()
            for name, values in expected[what].items():
                ours, theirs = np.array(rank[what][name]), np.array(values)
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6, err_msg=name)
    assert all(rank["weights"] == found[0]["weights"] for rank in found)


def test_in_bf16_it_is_as_near_as_bf16_is(worlds: Callable[[int], Any]) -> None:
    exact, rounded = alone({}), alone({}, low=True)

    found = worlds(2)(train, layout={"context": 2}, told={}, recompute=False, low=True)[0]

    np.testing.assert_allclose(found["losses"], rounded["losses"], rtol=2e-3)
    for name, values in exact["gradients"].items():  # as far from fp32 as torch's own, or nearer
        true, ours = np.array(values), np.array(found["gradients"][name])
        theirs = np.array(rounded["gradients"][name])
        assert np.linalg.norm(ours - true) < 1.5 * np.linalg.norm(theirs - true) + 1e-4, name


def judge(rank: int, degree: int) -> Any:
    net, world = model().eval(), World(Layout(context=degree), rank)
    world.connect()
    whole = batch(0)
    with torch.inference_mode():
        expected = net(*whole.inputs)
        context.apply(net, world)
        context.whole_in_eval(net, world)
        found = net(*whole.inputs)
    back = context.together(context.cut(whole.targets, world), world)
    return {
        "near": (found - expected).abs().max().item(),
        "targets": torch.equal(back, whole.targets),
        "share": net.train()(*context.share(whole, world).inputs).shape[1],
    }


def test_in_eval_mode_every_rank_answers_for_the_whole_window(
    worlds: Callable[[int], Any],
) -> None:
    found = worlds(4)(judge, degree=4)

    assert all(rank["near"] < 1e-5 and rank["targets"] for rank in found)
    assert all(rank["share"] == TIME / 4 for rank in found)


def test_shares_of_all_ranks_are_the_window_and_have_as_much_to_look_at() -> None:
    tokens = torch.arange(48).expand(2, 48)

    shares = [context.cut(tokens, World(Layout(context=3), rank))[0] for rank in range(3)]

    assert shares[0].tolist() == [*range(8), *range(40, 48)]
    assert sorted(int(t) for s in shares for t in s) == list(range(48))
    assert len({int(s.sum()) for s in shares}) == 1


@pytest.mark.parametrize("rank", range(3))
def test_positions_follow_whatever_gave_those_within_the_share(rank: int) -> None:
    """As tensor parallelism does, which cuts the share again: here to a fourth."""
    world = World(Layout(context=3), rank)

    def within(x: Tensor, start: int) -> Tensor:
        return torch.arange(start, start + 4 * x.shape[1])

    found = context._positions(within, world)(torch.zeros(2, 4, 8), 0)

    assert found.tolist() == context.cut(torch.arange(48).expand(2, 48), world)[0].tolist()


def refuse(rank: int) -> list[str]:
    world = World(Layout(context=2), rank)
    world.connect()
    said: list[str] = []
    for net in (model(end=0), torch.nn.Linear(2, 2)):
        try:
            context.apply(net, world)
        except Refused as error:
            said.append(str(error))
    return said


def test_what_cannot_be_cut_in_time_is_refused_by_name(worlds: Callable[[int], Any]) -> None:
    for said in worlds(2)(refuse):
        assert "model.attend" in said[0]
        assert "document" in said[0]
        assert "Linear" in said[1]


def test_windows_that_do_not_divide_are_refused_with_the_number_that_must() -> None:
    with pytest.raises(Refused, match="multiple of 8 tokens, found 12"):
        context.cut(torch.zeros(1, 12), World(Layout(context=4)))
