"""Matrices that several processes share give the answers and gradients of whole ones."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from zafu.batch import Batch
from zafu.errors import Refused
from zafu.layout import Layout
from zafu.nets import mlp, vit
from zafu.nets.decoder import Decoder, Shape
from zafu.nets.width import Plan
from zafu.parallel import tensor
from zafu.parallel.ranks import Ranks
from zafu.parallel.vocabulary import cross_entropy
from zafu.parallel.world import connected
from zafu.task import Classification, LanguageModeling, Task

VOCABULARY, CLASSES = 37, 5


class Declared(nn.Module):
    """A user's own module with a plan of a few lines, and a norm inside of what is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(8, 24), nn.LayerNorm(3)
        self.second, self.head = nn.Linear(24, 8), nn.Linear(8, CLASSES)

    def tensor_plan(self) -> Plan:
        return Plan({"first": "column", "norm": "partial", "second": "row", "head": "whole"})

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.first(x).unflatten(-1, (-1, 3))).flatten(-2)
        return self.head(x + self.second(hidden))


def built(name: str, sizes: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    if name == "decoder":
        shape: dict[str, Any] = {"vocab": VOCABULARY, "context": 8, "width": 16, "layers": 2}
        shape |= {"heads": 4, "kv_heads": 4, "hidden": 24}
        return Decoder(Shape(**shape | sizes))
    if name == "vit":
        shape = {"channels": 1, "picture": (8, 8), "patch": 4, "width": 16, "layers": 2}
        return vit.ViT(vit.Shape(**shape, heads=4, hidden=24, outputs=CLASSES, **sizes))
    if name == "mlp":
        shape = {"numbers": 8, "embeddings": (), "width": 12, "outputs": CLASSES}
        return mlp.MLP(mlp.Shape(**shape, **sizes))
    if name == "sequential":  # a pair, then one layer whose outputs are gathered
        pair = nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 8)
        return nn.Sequential(*pair, nn.LayerNorm(8), nn.Linear(8, CLASSES))
    if name == "declared":
        return Declared()
    return hub(name, sizes)


def hub(model_type: str, sizes: dict[str, Any]) -> nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM

    from zafu.nets.hub import adapt

    told = {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "head_dim": 4}
    told |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
    config = AutoConfig.for_model(model_type, **told, use_cache=False, pad_token_id=None, **sizes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    return adapt(model.train(), outputs=VOCABULARY, context=8)


def batch_for(name: str) -> tuple[Batch, Task]:
    source = torch.Generator().manual_seed(1)
    if name in ("vit", "mlp", "sequential", "declared"):
        sizes = (4, 1, 8, 8) if name == "vit" else (4, 8)
        classes = torch.randint(0, CLASSES, (4,), generator=source)
        given = torch.randn(sizes, generator=source)
        return Batch((given,), classes, np.arange(4)), Classification(label_smoothing=0.1)
    tokens = torch.randint(0, VOCABULARY, (4, 9), generator=source)
    targets = tokens[:, 1:].clone()
    targets[0, 3:] = -100
    return Batch((tokens[:, :-1],), targets, np.arange(4)), LanguageModeling(label_smoothing=0.1)


def differences(rank: int, name: str, sizes: dict[str, Any], layout: dict[str, Any]) -> Any:
    """The largest relative differences of loss, answers and gradients to those of one process."""
    batch, task = batch_for(name)
    model = built(name, sizes)
    loss = task.loss(model, batch)
    loss.backward()
    with torch.no_grad():
        answer = task.answer(model.eval()(*batch.inputs), batch.targets)
    named = dict(model.named_parameters())
    with connected(Layout.parse(layout), rank) as world:
        ranks = Ranks(built(name, sizes), world, task)
        index, of = ranks.dealt
        rows = torch.arange(4).chunk(of)[index]
        mine = Batch(tuple(x[rows] for x in batch.inputs), batch.targets[rows], rows.numpy())
        ranks.model.train()
        with ranks.passing(last=True):
            found = ranks.backward(task, ranks.model, mine, 1.0, nullcontext)
        ranks.finish()
        worst, held = 0.0, 0
        floor = 1e-3 * max(float(p.grad.abs().max()) for p in named.values() if p.grad is not None)
        assert ranks.held
        for piece in ranks.held.pieces:
            gradient = piece.gradient()
            whole = named[piece.name].grad
            if piece.own.numel():
                assert gradient is not None
                assert whole is not None
                off = (gradient - piece.of(whole)).abs().max() / whole.abs().max().clamp(min=floor)
                worst = max(worst, float(off))
            held += piece.own.numel() * piece.first
        ranks.settle()
        ranks.model.eval()
        with torch.no_grad():
            told = ranks.answer(task, ranks.model, mine)
        return {
            "loss": abs(float(ranks.total(found) - loss.detach())) / float(loss.detach()),
            "gradient": worst,
            "answer": float((told - answer[rows]).abs().max()),
            "held": held,
            "all": sum(p.numel() for p in named.values()),
        }


def agree(found: list[Any]) -> None:
    assert sum(there["held"] for there in found) == found[0]["all"]
    for there in found:
        assert there["loss"] <= 1e-6
        assert there["gradient"] <= 5e-6
        assert there["answer"] <= 1e-5


CASES = [
    ("decoder", {}),
    ("decoder", {"tied": True, "qk_norm": True, "kv_heads": 2}),
    ("decoder", {"end": 3}),
    ("vit", {}),
    ("vit", {"pool": "token"}),
    ("mlp", {"layers": 2}),
    ("mlp", {"layers": 3}),
    ("sequential", {}),
    ("declared", {}),
    ("llama", {"tie_word_embeddings": True}),
    ("qwen3", {}),
    ("gemma", {"tie_word_embeddings": True}),
]


@pytest.mark.parametrize(("name", "sizes"), CASES, ids=json.dumps)
def test_two_processes_share_the_matrices_of_any_model(
    worlds: Callable[[int], Any], name: str, sizes: dict[str, Any]
) -> None:
    agree(worlds(2)(differences, name=name, sizes=sizes, layout={"tensor": 2}))


@pytest.mark.parametrize(
    ("name", "sizes", "layout"),
    [
        ("decoder", {}, {"tensor": 4}),
        ("vit", {}, {"tensor": 4}),
        ("llama", {"tie_word_embeddings": True}, {"tensor": 2, "pipeline": 2}),
        ("vit", {}, {"tensor": 2, "shard": 2}),
        ("decoder", {"tied": True}, {"tensor": 2, "shard": 2, "level": "optimizer"}),
    ],
    ids=json.dumps,
)
def test_four_processes_share_them_along_two_axes(
    worlds: Callable[[int], Any], name: str, sizes: dict[str, Any], layout: dict[str, Any]
) -> None:
    agree(worlds(4)(differences, name=name, sizes=sizes, layout=layout))


@pytest.mark.parametrize(
    "layout",
    [
        {"pipeline": 2, "shard": 2, "tensor": 2, "microbatches": 2},
        {"context": 2, "shard": 2, "tensor": 2},
    ],
    ids=json.dumps,
)
def test_three_axes_on_eight_processes(
    worlds: Callable[[int], Any], layout: dict[str, Any]
) -> None:
    agree(worlds(8)(differences, name="decoder", sizes={"tied": True}, layout=layout))


def shapes(rank: int, sizes: dict[str, Any]) -> dict[str, list[list[int]]]:
    """What is here of each parameter and of its gradient."""
    batch, task = batch_for("decoder")
    with connected(Layout(tensor=2), rank) as world:
        ranks = Ranks(built("decoder", sizes), world, task)
        ranks.backward(task, ranks.model, batch, 1.0, nullcontext)
        ranks.finish()
        named = dict(ranks.model.named_parameters())
    return {n: [list(p.shape), list(p.grad.shape)] for n, p in named.items() if p.grad is not None}


@pytest.mark.parametrize("tied", [False, True])
def test_gradients_are_as_small_as_what_is_here_of_their_parameters(
    worlds: Callable[[int], Any], tied: bool
) -> None:
    found = worlds(2)(shapes, sizes={"tied": tied})

    whole = dict(built("decoder", {"tied": tied}).named_parameters())
    for there in found:
        assert there.keys() == whole.keys()
        assert all(own == gradient for own, gradient in there.values())
    for name in ("model.embed_tokens.weight", *(() if tied else ("lm_head.weight",))):
        assert [there[name][0] for there in found] == [[19, 16], [18, 16]]  # of 37 tokens


def smoothed(rank: int, smoothing: float) -> list[float]:
    logits = torch.randn(3, 7, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 9
    targets = torch.randint(0, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(1))
    targets[1, 2:] = -100
    logits.requires_grad_()
    flat = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none", label_smoothing=smoothing
    )
    flat.pow(2).sum().backward()  # so that each loss has another weight
    assert logits.grad is not None
    share = logits.detach().split(19, -1)[rank].clone().requires_grad_()
    group = dist.group.WORLD
    assert group
    found = cross_entropy(share, targets, smoothing, group, VOCABULARY)
    found.pow(2).sum().backward()
    assert share.grad is not None
    off = (share.grad - logits.grad.split(19, -1)[rank]).abs().max() / logits.grad.abs().max()
    return [float((found.flatten() - flat).abs().max() / flat.max()), float(off)]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_loss_over_a_shared_vocabulary_is_that_of_torch(
    worlds: Callable[[int], Any], smoothing: float
) -> None:
    for loss, gradient in worlds(2)(smoothed, smoothing=smoothing):
        assert loss <= 1e-6
        assert gradient <= 1e-6


def refused(rank: int) -> list[str]:
    said: list[str] = []
    attention = nn.Sequential(nn.MultiheadAttention(8, 2), nn.Linear(8, 3))
    nets: list[nn.Module] = [attention, nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 6))]
    nets += [nn.Sequential(nn.Conv2d(1, 4, 3)), hub("mixtral", {})]
    with connected(Layout(tensor=2), rank) as world:
        for net in nets:
            try:
                tensor.apply(net, world)
            except Refused as error:
                said.append(str(error))
    return said


def test_what_cannot_be_shared_is_refused_by_the_name_of_its_layer(
    worlds: Callable[[int], Any],
) -> None:
    for attention, odd, convolution, experts in worlds(2)(refused):
        assert "0.in_proj_weight" in attention
        assert "0.weight: expected a size that 2 processes can share, found 7" in odd
        assert "they could be 1, 7" in odd
        assert "0.weight of Sequential; give the model a tensor_plan" in convolution
        assert "is none of colwise" in experts


def test_a_plan_that_names_no_layer_is_refused() -> None:
    model = nn.Linear(2, 2)
    vars(model)["tensor_plan"] = lambda: Plan({"frist": "column"})

    with pytest.raises(Refused, match=r"frist of the tensor plan is no name"):
        tensor._styles(model, tensor.planned(model))
