"""Chains on one line: what is wrong is said at once, and what cannot follow is refused."""

from __future__ import annotations

import pytest

from zafu.compress.words import chain, out_of_order
from zafu.edits.adapters import Adapters
from zafu.edits.half import Half
from zafu.edits.int8 import Int8
from zafu.errors import RecipeError


def faults(text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        chain(text)
    return [str(fault) for fault in caught.value.faults]


def test_a_chain_is_its_links_with_their_first_settings() -> None:
    links = chain("prune:0.3 > distil:2epochs > {kind: int8, reads: float}")

    assert [link.kind for link in links] == ["prune", "distil", "int8"]
    assert links[0].dump()["amount"] == 0.3
    assert links[1].dump()["budget"] == "2epochs"
    assert links[2].dump()["reads"] == "float"


def test_every_fault_of_every_link_is_listed() -> None:
    found = faults("distil:10stepps > prun > int8:fast:3 > {kind: lora, rank: 0, alpha: 0} > ")

    assert [fault.partition(" (")[0] for fault in found] == [
        "link 1", "link 2", "link 3", "link 4", "link 4", "link 5",
    ]  # fmt: skip
    assert "2epochs" in found[0]
    assert "did you mean prune?" in found[1]
    assert "int8:READS" in found[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gradual:1", "amount: expected a number < 1"),
        ("{kind: gradual, begin: 0.8, end: 0.5}", "end: expected a share > begin, 0.8"),
        ("gradual:0.5:often", "budget: expected a number and one of epochs"),
        ("sparsify > rewind:1", "to: expected a number < 1"),
        ("sparsify > rewind:0:whole", "budget: expected a number and one of epochs"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_with_it(text: str, said: str) -> None:
    (fault,) = faults(text)

    assert said in fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("int8 > tune", "tune before int8"),
        ("int4 > distil", "distil before int4"),
        ("bf16 > prune", "prune before bf16"),
        ("int8 > low-rank", "low-rank before int8"),
        ("bf16 > int4", "weights of 32 bits before int4"),
        ("bf16 > mixed", "weights of 32 bits before mixed"),
        ("mixed > tune", "tune before mixed"),
        ("fp8 > prune", "prune before fp8"),
        ("lora > fp8", "merge before fp8"),
        ("merge", "lora before it"),
        ("lora > merge > merge", "lora before it"),
        ("lora > lora", "merge before lora"),
        ("lora > tune > int8", "merge before int8"),
        ("lora > prune", "merge before prune"),
        ("sparsify > prune", "prune before sparsify"),
        ("low-rank > prune", "prune before low-rank"),
        ("gradual > prune", "prune before gradual"),
        ("sparsify > gradual", "gradual before sparsify"),
        ("int8 > gradual", "gradual before int8"),
        ("lora > gradual", "merge before gradual"),
        ("rewind", "sparsify or gradual before it"),
        ("tune > rewind", "sparsify or gradual before it"),
        ("sparsify > int8 > rewind", "rewind before int8"),
        ("prune > sparsify > rewind", "links before it that leave weights in place"),
    ],
)
def test_a_link_that_cannot_follow_is_refused(text: str, said: str) -> None:
    (fault,) = faults(text)

    assert said in fault


@pytest.mark.parametrize(
    "text",
    [
        "lora > tune > merge > int8",
        "prune > sparsify > tune",
        "int4 > int8",
        "aware > tune > int4",
        "gradual:0.9:3epochs > tune > int8",
        "sparsify > rewind:0.05 > sparsify:0.75 > rewind",
        "gradual > rewind:0:100steps > bf16",
    ],
)
def test_a_link_that_can_follow_is_not(text: str) -> None:
    assert chain(text)


def test_what_a_model_went_through_before_counts_too() -> None:
    adapters = Adapters(layers=("head",), rank=2, alpha=1.0)

    assert out_of_order(chain("prune"), [Int8(layers=("head",))])
    assert out_of_order(chain("int8"), [adapters])
    assert out_of_order(chain("int8"), [Half(dtype="fp16")])
    assert not out_of_order(chain("tune > int8"), [])
