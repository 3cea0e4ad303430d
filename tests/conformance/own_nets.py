"""Nets as users write them: a recipe's plugin. None says of itself what zafu's own nets say."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.models.contract import Model
from zafu.signature import Signature


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(x + self.bn2(self.conv2(out)))


class CNN(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.Sequential(Residual(16), Residual(16))
        self.depthwise = nn.Conv2d(16, 16, 3, padding="same", groups=16)
        self.pointwise = nn.Conv2d(16, 24, 1)
        self.left = nn.Conv2d(24, 8, 3, padding="same")
        self.right = nn.Conv2d(24, 16, 1)
        self.hidden = nn.Linear(24 * 16, 32)
        self.head = nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(functional.relu(self.stem(x)))
        x = functional.relu(self.pointwise(functional.relu(self.depthwise(x))))
        x = functional.max_pool2d(torch.cat([self.left(x), self.right(x)], 1), 2)
        return self.head(functional.relu(self.hidden(functional.relu(x).flatten(1))))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.dim = width // heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = (self.q(x), *self.kv(x).chunk(2, -1))
        q, k, v = (t.unflatten(-1, (-1, self.dim)).transpose(1, 2) for t in parts)
        scores = (q @ k.transpose(-1, -2) / self.dim**0.5).softmax(-1)
        return self.out((scores @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        gate, value = self.up(self.norm2(x)).chunk(2, -1)
        return x + self.scale * self.down(functional.gelu(gate) * value)


class Transformer(nn.Module):
    """Rows of a picture as tokens."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.positions = nn.Parameter(torch.randn(1, 8, 32) / 8)
        self.layers = nn.ModuleList([Layer(32, 4), Layer(32, 4)])
        self.head = nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x[:, 0]) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


class Encoder(nn.Module):
    """The same of torch's own layers, which keep their heads to themselves."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.positions = nn.Embedding(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        where = torch.arange(8, device=x.device)
        return self.head(self.encoder(self.embed(x[:, 0]) + self.positions(where)).mean(1))


NETS = {"cnn": CNN, "transformer": Transformer, "encoder": Encoder}


@final
class Own(Model):
    kind: Literal["own"] = "own"
    takes: ClassVar[frozenset[str]] = frozenset({"pixels"})
    net: Literal["cnn", "transformer", "encoder"]

    def build(self, signature: Signature) -> nn.Module:
        return NETS[self.net](signature.outputs)
