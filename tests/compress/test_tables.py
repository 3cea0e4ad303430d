"""Rounded tables: embeddings looked up in few bits, and heads that share them and go on to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from digits import work
from torch import nn

from zafu import tensors
from zafu.compress.words import chain
from zafu.edits.contract import Edit
from zafu.errors import Refused
from zafu.models.compressed import edited
from zafu.models.decoder import Decoder
from zafu.nets.table import Table
from zafu.signature import Signature, Tokens

VOCAB, WIDTH = 96, 64
TEXT = Signature(inputs=Tokens(vocab=VOCAB, context=32), outputs=VOCAB)
TIED = Decoder(width=WIDTH, heads=4, kv_heads=2, layers=1, hidden=96, tied=True)
TOKENS = torch.arange(64).view(2, 32)
ALL4 = "{kind: int4, tables: true, skip: [], compensate: false}"
# what a rounding may change of all numbers, as a share of them
ROUNDINGS = {"int8": 0.02, "int8:float": 0.02, "int8:static": 0.02, "fp8": 0.06, ALL4: 0.2}


def rounded(module: nn.Module, how: str) -> tuple[Edit, ...]:
    asked = work(module)._replace(batches=[])
    return tuple(edit for link in chain(how) for edit in link.apply(asked))


def tied() -> nn.Module:
    torch.manual_seed(0)
    return TIED.build(TEXT).eval()


@pytest.mark.parametrize("how", [h for h in ROUNDINGS if h != "int8:static"])
def test_a_table_and_the_head_that_shares_it_are_one_tensor_in_few_bits(
    how: str, tmp_path: Path
) -> None:
    module, before = tied(), tied()
    edits = rounded(module, how)
    stored = tensors.of_module(module)
    tensors.write(tmp_path / "model.safetensors", stored)

    again = edited(TIED, edits).build(TEXT).eval()
    tensors.into_module(again, tensors.read(tmp_path / "model.safetensors"), tmp_path)

    whole = VOCAB * WIDTH * 4
    table = tensors.size({n: t for n, t in stored.items() if "embed_tokens" in n})
    assert not any("lm_head" in name for name in stored)
    assert table < 0.3 * whole
    with torch.no_grad():
        said = module(TOKENS)
        assert torch.equal(again(TOKENS), said)
        assert (said - before(TOKENS)).norm() < ROUNDINGS[how] * before(TOKENS).norm()


@pytest.mark.parametrize("how", ["int8", "fp8", ALL4])
def test_vectors_that_are_looked_up_are_the_rows_that_multiply(how: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(VOCAB, WIDTH))
    ids = torch.tensor([[3, 95], [0, 3]])
    rounded(net, how)
    (table,) = net
    assert isinstance(table, Table)

    found, rows = table(ids), table.rows.widened()

    assert torch.equal(found, rows[ids])
    x = torch.randn(4, WIDTH)
    assert (table.project(x) - x @ rows.T).norm() < 0.03 * (x @ rows.T).norm()


class Sharing(nn.Module):
    """As nets of the hub share weights: one parameter in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCAB, WIDTH)
        self.out = nn.Linear(WIDTH, VOCAB, bias=False)
        self.out.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.table(ids))


@pytest.mark.parametrize("how", ["int8", "fp8", ALL4])
def test_layers_that_share_a_parameter_share_a_rounded_one(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, again = Sharing().eval(), Sharing().eval()
    edits = rounded(module, how)
    stored = tensors.of_module(module)
    tensors.write(tmp_path / "a.safetensors", stored)

    for edit in edits:
        edit.apply(again)
    tensors.into_module(again, tensors.read(tmp_path / "a.safetensors"), tmp_path)

    assert tensors.size(stored) < 0.3 * VOCAB * WIDTH * 4
    with torch.no_grad():
        assert torch.equal(again(TOKENS), module(TOKENS))
        assert torch.equal(again.to(torch.device("cpu"))(TOKENS), module(TOKENS))


@pytest.mark.parametrize("how", ["int4:32", "{kind: int8, skip: [table]}"])
def test_one_of_two_that_share_is_refused_by_name(how: str) -> None:
    with pytest.raises(Refused, match="out shares its weights with table"):
        rounded(Sharing(), how)


def test_a_head_that_foresees_its_rounding_goes_on_sharing() -> None:
    module = Sharing()
    rounded(module, "aware:8")

    assert module.out.weight is module.table.weight


def test_a_table_that_does_more_than_look_up_stays() -> None:
    class Scaled(nn.Embedding):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            return super().forward(input) * 8

    net = nn.ModuleDict({"table": Scaled(8, 4), "out": nn.Linear(4, 8)})
    rounded(net, "int8")

    assert type(net["table"]) is Scaled


def test_four_bits_leave_tables_unless_they_are_asked_for() -> None:
    module = tied()

    (edit,) = rounded(module, "{kind: int4, compensate: false}")

    assert not any("embed" in name for name in edit.dump()["layers"])
