"""`compress` in a recipe, and the bank of chains: what can be said is sound and in order."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from zafu.compress.bank import Target, bank
from zafu.compress.words import chain, written
from zafu.errors import RecipeError
from zafu.recipe import Recipe

RECIPE: dict[str, Any] = {
    "task": "classification",
    "data": "digits",
    "model": "mlp",
    "fit": {"epochs": 1, "optimizer": "adamw"},
}
LINE = "prune:0.3 > distil:2epochs > int8:static"


def faults(**changes: object) -> list[str]:
    with pytest.raises(RecipeError) as refused:
        Recipe.parse(RECIPE | changes)
    return [str(fault) for fault in refused.value.faults]


def test_a_line_and_a_list_say_the_same() -> None:
    line = Recipe.parse(RECIPE | {"compress": LINE})
    links = ["prune:0.3", {"kind": "distil", "budget": "2epochs"}, "int8:static"]

    assert Recipe.parse(RECIPE | {"compress": links}) == line
    assert Recipe.parse(line.dump()) == line


def test_a_chain_decides_nothing_of_the_training() -> None:
    assert Recipe.parse(RECIPE | {"compress": LINE}).identity() == Recipe.parse(RECIPE).identity()


def test_faults_of_order_come_with_all_others() -> None:
    found = faults(compress=["int8", "prune"], fit={"epochs": -1})

    assert any(fault.startswith("fit.epochs") for fault in found)
    assert any(fault.startswith("compress.1: expected prune before int8") for fault in found)


def test_faults_of_links_name_their_place() -> None:
    assert faults(compress=["prune:2"])[0].startswith("compress.0.amount: expected a number < 1")
    assert faults(compress="int8 > prune")[0].startswith("compress.link 2 (prune)")
    assert "compress: expected a list" in faults(compress=3)[0]


@pytest.mark.parametrize(
    "line", [LINE, "int8", "prune > int4", '{kind: prune, amount: 0.2, repair: false} > "bf16"']
)
def test_what_is_written_is_read_again(line: str) -> None:
    links = chain(line.replace('"bf16"', "bf16"))

    assert chain(written(links)) == links


@pytest.mark.parametrize("gives", ["tokens", "pixels", "columns"])
@pytest.mark.parametrize("target", get_args(Target))
def test_every_chain_of_the_bank_is_sound(gives: str, target: Target) -> None:
    found = bank(gives, target, "0.5epochs")

    assert len(found.chains) > 10
    assert all(chain(text) for text in found.chains)
    assert len(set(found.chains)) == len(found.chains)
    assert any("sparsify" in note for note in found.notes) == (target != "size")
