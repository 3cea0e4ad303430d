import pytest
import torch
from torch import nn

from zafu.errors import Refused
from zafu.nets.decoder import Decoder, Shape
from zafu.optim.muon import Muon
from zafu.optim.runtime.muon import MuonFloat32, orthogonalized
from zafu.optim.runtime.parameters import hidden_matrices, parameter_groups


def decoder(*, tied: bool) -> Decoder:
    return Decoder(
        Shape(vocab=32, context=8, width=16, layers=2, heads=2, kv_heads=1, hidden=24, tied=tied)
    )


@pytest.mark.parametrize("tied", [False, True])
def test_the_hidden_matrices_of_a_decoder_are_those_of_its_blocks(tied: bool) -> None:
    model = decoder(tied=tied)

    hidden = hidden_matrices(model)

    blocks = {n for n, p in model.named_parameters() if ".layers." in n and p.ndim == 2}
    assert len(blocks) == 2 * 7
    assert hidden == blocks


def test_the_last_layer_of_a_plain_module_is_not_hidden() -> None:
    model = nn.Sequential(
        nn.Embedding(9, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4), nn.Linear(4, 2)
    )

    assert hidden_matrices(model) == {"1.weight", "3.weight"}


def test_filters_embeddings_and_plain_tensors_are_not_hidden() -> None:
    model = nn.Module()
    model.positions = nn.Parameter(torch.zeros(4, 8))
    model.convolution = nn.Conv2d(1, 8, 3)
    model.attention = nn.MultiheadAttention(8, 2)
    model.head = nn.Linear(8, 2)

    hidden = hidden_matrices(model)

    assert hidden == {"attention.in_proj_weight", "attention.out_proj.weight"}


def test_each_parameter_is_moved_by_exactly_one_part() -> None:
    model = decoder(tied=False)
    spec = Muon(lr=0.02, adamw_lr=0.003, weight_decay=0.1)

    muon, adamw = spec.build(parameter_groups(model, spec))

    moved = [p for o in (muon, adamw) for g in o.param_groups for p in g["params"]]
    assert len(moved) == len({id(p) for p in moved}) == len(list(model.parameters()))
    assert {g["lr"] for g in muon.param_groups} == {0.02}
    assert {g["lr"] for g in adamw.param_groups} == {0.003}
    assert {g["weight_decay"] for g in adamw.param_groups} == {0.1, 0.0}


def test_a_step_is_nearly_orthogonal_whatever_the_gradient() -> None:
    model = nn.Sequential(nn.Linear(16, 32, bias=False), nn.Linear(32, 2, bias=False))
    spec = Muon(lr=1.0, weight_decay=0.0, adjust_lr="original", nesterov=False)
    muon, _ = spec.build(parameter_groups(model, spec))
    before = model[0].weight.detach().clone()
    scale = torch.logspace(0, -1, 16)  # the gradient's directions differ tenfold in size
    q, _ = torch.linalg.qr(torch.randn(32, 16, generator=torch.Generator().manual_seed(0)))
    model[0].weight.grad = q * scale

    muon.step()

    step = (before - model[0].weight.detach()) / 2**0.5  # sqrt(32 / 16) by the sides
    singular = torch.linalg.svdvals(step)
    assert singular.min() > 0.5
    assert singular.max() < 1.5


def test_a_model_without_a_hidden_matrix_is_refused() -> None:
    model, spec = nn.Linear(4, 2), Muon()

    with pytest.raises(Refused, match="expected a matrix before the last layer"):
        spec.build(parameter_groups(model, spec))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
def test_in_float32_it_moves_as_torchs_does_but_for_its_rounding(
    nesterov: bool, adjust: str
) -> None:
    ours, theirs = (
        [
            nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
            for shape in ((12, 24), (24, 12), (24, 12))
        ]
        for _ in range(2)
    )
    settings = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov}
    settings |= {"ns_steps": 5, "adjust_lr_fn": adjust}
    full, rounded = MuonFloat32(ours, **settings), torch.optim.Muon(theirs, **settings)
    random = torch.Generator().manual_seed(1)

    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=random)
            b.grad = a.grad.clone()
        full.step()
        rounded.step()

    for a, b in zip(ours, theirs, strict=True):
        # bfloat16 has 8 bits: each of the 5 iterations rounds by up to 2^-9
        torch.testing.assert_close(a, b, rtol=0, atol=0.1 * 2**-4)


def test_orthogonalized_matrices_keep_their_singular_vectors() -> None:
    random = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 8, 5, generator=random, dtype=torch.float64)

    found = orthogonalized(matrices, steps=5)

    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ found @ vh.mT  # diagonal, if the vectors are kept
    off = inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 1e-10
