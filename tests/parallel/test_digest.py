"""A flipped bit in one of several copies is found and named; equal copies are never accused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.batch import Batch
from zafu.build import looked_at_whole
from zafu.layout import Layout
from zafu.nets.decoder import Decoder, Shape
from zafu.optim.contract import Optimizer
from zafu.optim.runtime.parameters import parameter_groups
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.parallel.digest import WORDS, Replicas, digests, told
from zafu.parallel.ranks import Ranks
from zafu.parallel.spread import Spread
from zafu.parallel.world import connected
from zafu.task import LanguageModeling

TASK = LanguageModeling()
SIZES = {
    "vocab": 41, "context": 12, "width": 24, "layers": 4, "heads": 4, "kv_heads": 4, "hidden": 40
}  # fmt: skip


def flip(tensor: torch.Tensor, index: int, bit: int) -> None:
    """Flip one bit of one number in place."""
    word = tensor.detach().view(-1).view(WORDS[tensor.element_size()])[index]
    word ^= torch.tensor(
        1 << bit if bit < 8 * tensor.element_size() - 1 else -(1 << bit), dtype=word.dtype
    )


def network() -> Decoder:
    torch.manual_seed(0)
    return Decoder(Shape(**SIZES, tied=True))  # pyright: ignore[reportArgumentType]


def begun(spread: Ranks, optimizer: Optimizer) -> Update:
    with torch.device("meta"):
        names = network()
    return Update(names, optimizer=optimizer, schedule=Constant(), seed=0, held=spread.held)


def step(spread: Ranks, update: Update, number: int) -> None:
    torch.manual_seed(number)
    tokens = torch.randint(0, 41, (8, 13))
    index, of = spread.dealt
    rows = tokens[index * 8 // of : (index + 1) * 8 // of]
    batch = Batch((rows[:, :-1],), rows[:, 1:], np.arange(len(rows)))
    with spread.passing(last=True):
        spread.backward(TASK, spread.model, batch, 1 / tokens[:, 1:].numel(), torch.enable_grad)
    spread.finish()
    update.gradients(number)
    update.step(number, 0.0)


def compared(rank: int, layout: dict[str, Any], kind: str, flips: int) -> dict[str, Any]:
    """After some steps, what is found in equal copies, and then after each of some flips."""
    optimizer = Optimizer.parse({"kind": kind, "lr": 0.01})
    network_, clean, found = network(), list[str](), list[list[Any]]()
    with connected(Layout.parse(layout), rank) as world:
        whole = looked_at_whole(optimizer, parameter_groups(network_, optimizer))
        spread: Spread = Ranks(network_, world, TASK, whole)
        update = begun(spread, optimizer)
        replicas = Replicas(spread, update)
        for number in range(8):
            clean += [d.name for d in replicas.different()]
            step(spread, update, number)
        clean += [d.name for d in replicas.different()]
        draw = np.random.default_rng(0)  # the same on all
        held = [(key[0], tensor) for key, tensor in replicas._held(update.tensors())]
        shared = [held[index] for index in replicas._shared]
        for _ in range(flips):
            name, tensor = shared[draw.integers(len(shared))]
            index = int(draw.integers(tensor.numel()))
            bit = int(draw.integers(8 * tensor.element_size()))
            guilty = int(draw.integers(world.layout.world))
            if guilty == rank:
                flip(tensor, index, bit)
            heard = replicas.different()
            if guilty == rank:
                flip(tensor, index, bit)
            found.append([name, guilty, [[d.name, d.ranks, d.others] for d in heard]])
        clean += [d.name for d in replicas.different()]
    return {"clean": clean, "found": found, "shared": [name for name, _ in shared]}


def test_each_of_100_flipped_bits_is_found_and_named_on_two_replicas(worlds: Any) -> None:
    answers = worlds(2)(compared, layout={"data": 2}, kind="adamw", flips=100)

    assert answers[0] == answers[1]  # all ranks decide alike
    assert answers[0]["clean"] == []
    assert len(answers[0]["found"]) == 100
    for name, _, heard in answers[0]["found"]:
        assert heard == [[name, [0, 1], []]]
    assert {name for name in answers[0]["shared"] if "exp_avg" in name}  # state is compared too


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        ({"data": 2, "shard": 2}, "adamw"),
        ({"data": 2, "shard": 2}, "muon"),
        ({"tensor": 2, "data": 2}, "adamw"),
        ({"tensor": 4}, "adamw"),
        ({"pipeline": 2, "data": 2}, "adamw"),
        ({"pipeline": 2, "schedule": "zero-bubble", "shard": 2}, "adamw"),
    ],
    ids=str,
)
def test_equal_copies_are_never_accused(
    worlds: Callable[[int], Any], layout: dict[str, Any], kind: str
) -> None:
    answers = worlds(4)(compared, layout=layout, kind=kind, flips=0)

    assert [answer["clean"] for answer in answers] == [[]] * 4
    weights = {n for answer in answers for n in answer["shared"] if not n.startswith("optimizer")}
    if "tensor" in layout and layout["tensor"] == 4:
        assert "model.norm.weight" in weights  # each rank has it whole
        assert not [name for name in weights if name.endswith("q_proj.weight")]
    if "pipeline" in layout and "data" not in layout:
        assert not [name for name in weights if name.endswith("q_proj.weight")]


@pytest.mark.parametrize("layout", [{"tensor": 2}, {"pipeline": 2}], ids=str)
def test_what_both_ends_or_both_halves_hold_is_compared(
    worlds: Callable[[int], Any], layout: dict[str, Any]
) -> None:
    answers = worlds(2)(compared, layout=layout, kind="adamw", flips=20)

    assert answers[0]["clean"] == []
    expected = "norm" if "tensor" in layout else "embed_tokens"
    assert {name for name in answers[0]["shared"] if expected in name}
    for name, _, heard in answers[0]["found"]:
        assert heard == [[name, [0, 1], []]]


def test_among_more_than_two_the_one_that_is_not_like_most_is_named(worlds: Any) -> None:
    answers = worlds(4)(compared, layout={"data": 4}, kind="sgd", flips=20)

    for name, guilty, heard in answers[0]["found"]:
        assert heard == [[name, [guilty], [r for r in range(4) if r != guilty]]]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_flipped_bit_of_any_type_and_size_changes_its_digest_alone(data: st.DataObject) -> None:
    dtypes = (torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.int8)
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 3, 255, 2047, 2048, 5001]), min_size=1))
    every = [
        torch.randn(size + 1).to(data.draw(st.sampled_from(dtypes)))[data.draw(st.integers(0, 1)) :]
        for size in sizes
    ]
    which = data.draw(st.integers(0, len(every) - 1))
    before = digests(every)
    if not every[which].numel():
        return
    index = data.draw(st.integers(0, every[which].numel() - 1))
    bit = data.draw(st.integers(0, 8 * every[which].element_size() - 1))

    flip(every[which], index, bit)
    after = digests(every)

    assert (before != after).nonzero().flatten().tolist() == [which]
    assert digests([every[which]]) == after[which]  # whatever stands beside it


def test_rows_in_another_order_have_another_digest() -> None:
    rows = torch.randn(8, 4096)

    found = digests([rows, rows.flip(0).contiguous()])

    assert found[0] != found[1]


def test_a_sentence_names_a_culprit_where_there_is_one() -> None:
    from zafu.parallel.digest import Different

    pair = Different("a", [0, 1], [])
    three = Different("b", [2], [0, 1])

    assert told([pair]) == "ranks 0, 1 have different bits of a; one of them is wrong"
    assert told([pair, three]).startswith("rank 2 has other bits of b (and of 1 more tensors)")
