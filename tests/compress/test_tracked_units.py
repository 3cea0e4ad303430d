"""Units of modules that list none: what goes together is found by running them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from digits import SEEN, SIGNATURE, apart, compressed, learned, pictures, said
from torch import Tensor, nn
from torch.nn import functional

from zafu import plugins
from zafu.batch import Batch
from zafu.compress.contract import Work
from zafu.compress.prune import Prune
from zafu.compress.runtime.places import tracked
from zafu.errors import Refused
from zafu.models.contract import Model
from zafu.models.convnet import ConvNet
from zafu.models.decoder import Decoder
from zafu.models.hub import Hub
from zafu.models.mlp import MLP
from zafu.models.vit import ViT
from zafu.nets.surgery import tensor_of
from zafu.nets.units import Units
from zafu.signature import Pixels, Signature, Tokens

plugins.load([Path(__file__).parents[1] / "conformance" / "own_nets.py"])
TEXT = Signature(inputs=Tokens(vocab=32, context=16), outputs=32)
COLOURS = Signature(inputs=Pixels(channels=3, height=16, width=16), outputs=10)
HUB = {
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2]},
    "vit": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "patch_size": 4},
    "llama": {"hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 1},
}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
LAYER_TYPE = {"layer_type": "basic"}


def samples(signature: Signature) -> Batch:
    random = torch.Generator().manual_seed(0)
    inputs = signature.inputs
    if isinstance(inputs, Tokens):
        x = torch.randint(32, (8, 12), generator=random)
        return Batch((x,), x, np.arange(8))
    assert isinstance(inputs, Pixels)
    x = torch.rand(8, inputs.channels, inputs.height, inputs.width, generator=random)
    return Batch((x,), torch.arange(8), np.arange(8))


def work(net: nn.Module, batch: Batch, notes: list[str] | None = None) -> Work:
    hear = (lambda _: None) if notes is None else notes.append
    return Work(net.eval(), [batch], lambda *_: torch.zeros(()), 0, hear)


def own(net: str) -> nn.Module:
    torch.manual_seed(0)
    built = Model.kinds()["own"].parse({"kind": "own", "net": net}).build(SIGNATURE)
    for layer in built.modules():  # as after some training
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)  # pyright: ignore
            nn.init.uniform_(layer.running_var, 0.5, 2)  # pyright: ignore
    return built.eval()


def hub(kind: str) -> nn.Module:
    torch.manual_seed(0)
    more = {"resnet": LAYER_TYPE, "vit": {"num_attention_heads": 4}, "llama": HEADS}[kind]
    spec = Hub(config={"model_type": kind, **HUB[kind], **more})
    return spec.build(TEXT if kind == "llama" else COLOURS).eval()


def silenced(net: nn.Module, units: Units) -> None:
    """In place: every other unit is 0 wherever it stands."""
    with torch.no_grad():
        for of in units.slices:
            tensor = tensor_of(net, of.parameter)
            if isinstance(tensor, nn.Parameter):
                tensor.movedim(of.dim, 0)[of.places(units.many)[::2].flatten()] = 0


def answer(net: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return net(*batch.inputs)


@pytest.mark.parametrize(
    ("make", "signature"),
    [
        (lambda: own("cnn"), SIGNATURE),
        (lambda: own("transformer"), SIGNATURE),
        (lambda: own("encoder"), SIGNATURE),
        (lambda: hub("resnet"), COLOURS),
        (lambda: hub("vit"), COLOURS),
        (lambda: hub("llama"), TEXT),
    ],
    ids=["cnn", "transformer", "encoder", "resnet", "vit", "llama"],
)
def test_units_that_are_0_go_and_the_answers_stay(
    make: Callable[[], nn.Module], signature: Signature
) -> None:
    net, batch = make(), samples(signature)
    for units in tracked(work(net, batch)):
        if units.what != "stream":
            silenced(net, units)
    before, size = answer(net, batch), sum(p.numel() for p in net.parameters())

    link = Prune(score="magnitude", multiple=1, repair=False)
    assert tuple(link.apply(work(net, batch)))

    assert sum(p.numel() for p in net.parameters()) < 0.8 * size
    torch.testing.assert_close(answer(net, batch), before, rtol=1e-6, atol=1e-6)


def listed(units: list[Units]) -> set[tuple[object, ...]]:
    """What stands where, whatever it is called."""
    return {
        (
            u.what,
            u.many,
            u.groups,
            frozenset((s.parameter, s.dim, *s.places(u.many).flatten().tolist()) for s in u.slices),
            frozenset(s.parameter for s in u.readers),
        )
        for u in units
    }


@pytest.mark.parametrize(
    ("spec", "signature"),
    [
        (MLP(width=20, layers=3), SIGNATURE),
        (ConvNet(width=8, groups=2, stages=2, blocks=2), SIGNATURE),
        (ViT(width=24, heads=2, layers=2, patch=4, pool="token"), SIGNATURE),
        (Decoder(width=32, heads=4, kv_heads=2, layers=2, hidden=24), TEXT),
    ],
    ids=["mlp", "convnet", "vit", "decoder"],
)
def test_what_a_net_lists_is_what_is_found(spec: Model, signature: Signature) -> None:
    torch.manual_seed(0)
    net = spec.build(signature)
    declared: list[Units] = net.units()  # pyright: ignore

    found = tracked(work(net, samples(signature)))

    assert listed(found) == listed(declared)


class Fixed(nn.Module):
    """Attention that says how many heads there are, so that fewer would be cut otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 72), nn.Linear(24, 16)
        self.hidden, self.head = nn.Linear(16, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x[:, 0]).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head(functional.relu(self.hidden(self.out(mixed).mean(1))))


class Odd(nn.Module):
    """Layers of other kinds beside such as are known."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Linear(8, 16), nn.GRU(16, 24, batch_first=True)
        self.first, self.bend = nn.Linear(24, 20), nn.PReLU(20)
        self.head = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        read, _ = self.rnn(self.embed(x[:, 0]))
        return self.head(self.bend(self.first(read[:, -1])))


class Grouped(nn.Module):
    """A convolution in groups, whose channels are mixed within each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 16, 3), nn.GroupNorm(2, 16)
        self.second, self.third = nn.Conv2d(16, 16, 3, groups=4), nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(functional.relu(self.norm(self.first(x))))
        return self.head(functional.relu(self.third(functional.relu(x))).mean((2, 3)))


class Tied(nn.Module):
    """Two layers of one matrix, and a line of numbers that are no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.back, self.again = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 12)
        self.again.weight = self.first.weight
        self.shifted, self.head = nn.Linear(12, 6), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.again(self.back(functional.relu(self.first(x[:, 0])))))
        return self.head(functional.relu(self.shifted(x).mean(1) + torch.arange(6)))


class Beside(nn.Module):
    """The same, with a layer behind it of which units can go."""

    def __init__(self) -> None:
        super().__init__()
        self.tied, self.head = Tied(), nn.Linear(10, 10)
        self.last = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.relu(self.head(functional.relu(self.tied(x)))))


@pytest.mark.parametrize(
    ("make", "goes", "stays"),
    [
        (Fixed, ["out", "hidden"], "qkv (heads) stay as they are: without some it"),
        (Odd, ["first"], "embed stay as they are: what they write is mixed"),
        (Odd, ["first"], "rnn stay as they are: GRU is no layer that is known"),
        (Grouped, ["third"], "first"),
        (
            lambda: nn.Sequential(Tied(), nn.Linear(10, 4), nn.Linear(4, 10)),
            None,
            "0.first (hidden)",
        ),
        (
            lambda: nn.Sequential(Tied(), nn.Linear(10, 4), nn.Linear(4, 10)),
            None,
            "0.shifted (hidden)",
        ),
        (lambda: own("encoder"), None, "self_attn stay as they are: torch has their heads"),
    ],
)
def test_what_cannot_go_is_named(
    make: Callable[[], nn.Module], goes: list[str] | None, stays: str
) -> None:
    torch.manual_seed(0)
    notes = list[str]()

    found = tracked(work(make(), samples(SIGNATURE), notes))

    assert goes is None or [u.name for u in found if u.what != "stream"] == goes
    assert any(stays in note for note in notes), notes


def test_a_net_without_units_is_refused_with_its_layers() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Softmax(1), nn.Linear(16, 10))

    with pytest.raises(Refused, match="found Sequential, of which 1 stay as they are: what they"):
        compressed(net, "prune:0.5")


def test_after_it_was_tried_a_net_is_what_it_was() -> None:
    net = own("cnn")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    tracked(work(net, samples(SIGNATURE)))

    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())


def test_readers_are_fitted_to_what_is_left() -> None:
    errors = list[float]()
    for repair in ("true", "false"):
        one = own("cnn")
        learned(one, epochs=2)
        before = said(one)
        compressed(one, f"{{kind: prune, amount: 0.4, score: activation, repair: {repair}}}")
        errors.append(apart(said(one), before))

    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("how", ["low-rank:0.5", "sparsify:0.5", "lora", "prune:0.5"])
def test_torchs_encoder_layers_compute_with_what_stands_in_them(how: str) -> None:
    """With gradients they call their layers; without, a kernel may read the weights instead."""
    net = own("encoder")
    compressed(net, how)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("lora_b"):
                nn.init.normal_(parameter)

    fast = said(net)

    slow = net(pictures()[0][SEEN:]).detach()
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)


def test_the_block_of_a_users_net_that_does_nothing_goes_first() -> None:
    net = own("transformer")
    learned(net, epochs=3)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith("layers.1."):
                parameter.zero_()
    before = said(net)

    (edit,) = compressed(net, "layers:1")

    assert edit.dump()["blocks"] == ["layers.1"]
    torch.testing.assert_close(said(net), before, rtol=0, atol=0)


class Numbered(nn.Module):
    """Blocks that are asked for by their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks[1](self.blocks[0](x[:, 0].mean(1))))


def test_blocks_that_are_asked_for_by_number_stay() -> None:
    with pytest.raises(Refused, match=r"layers: without blocks\.\d it does not run"):
        compressed(Numbered(), "layers:1")
    with pytest.raises(Refused, match="a net with a list of blocks of one kind, found Tied"):
        compressed(Tied(), "layers:1")
