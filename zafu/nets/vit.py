"""A vision transformer: patches of a picture as tokens.

Dosovitskiy et al., 2020 (arXiv:2010.11929), pre-norm, with learned positions. By default patches
are averaged instead of read from a class token: Beyer et al., 2022 (arXiv:2205.01580).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.depth import Parts, drop_path, drop_path_rates, run
from zafu.nets.units import Slice, Units, units
from zafu.nets.width import Plan, Style


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a vision transformer."""

    channels: int
    picture: tuple[int, int]  # height and width in pixels, each divisible by `patch`
    patch: int
    width: int  # divisible by `heads`
    layers: int
    heads: int
    hidden: int
    outputs: int
    pool: Literal["mean", "token"] = "mean"
    dropout: float = 0.0
    drop_path: float = 0.0


class Attention(nn.Module):
    """Self-attention of every token to every token."""

    causal = False

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.width // shape.heads
        self.q_proj = nn.Linear(shape.width, shape.width)
        self.k_proj = nn.Linear(shape.width, shape.width)
        self.v_proj = nn.Linear(shape.width, shape.width)
        self.o_proj = nn.Linear(shape.width, shape.width)
        self.attend = functional.scaled_dot_product_attention

    def forward(self, x: Tensor) -> Tensor:
        """What attention adds to `x`, `(batch, tokens, width)`."""
        split = (-1, self.head_dim)
        q = self.q_proj(x).unflatten(-1, split).transpose(1, 2)  # (batch, heads, tokens, head_dim)
        k = self.k_proj(x).unflatten(-1, split).transpose(1, 2)
        v = self.v_proj(x).unflatten(-1, split).transpose(1, 2)
        return self.o_proj(self.attend(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then an MLP with GELU, each on a normalized copy of the residual stream."""

    def __init__(self, shape: Shape, rate: float) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(shape.width)
        self.attention = Attention(shape)
        self.norm_2 = nn.LayerNorm(shape.width)
        self.up_proj = nn.Linear(shape.width, shape.hidden)
        self.down_proj = nn.Linear(shape.hidden, shape.width)
        self.dropout, self.rate = shape.dropout, rate

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream after this block, `(batch, tokens, width)`."""
        x = x + self._thin(self.attention(self.norm_1(x)))
        return x + self._thin(self.down_proj(functional.gelu(self.up_proj(self.norm_2(x)))))

    def _thin(self, branch: Tensor) -> Tensor:
        branch = functional.dropout(branch, self.dropout, self.training)
        return drop_path(branch, self.rate, training=self.training)


class ViT(nn.Module):
    """A picture to the logits of its classes."""

    recompute: bool = False  # True: blocks run again in backward, to store fewer activations

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        height, width = shape.picture
        patches = (height // shape.patch) * (width // shape.patch)
        self.embed = nn.Conv2d(shape.channels, shape.width, shape.patch, stride=shape.patch)
        self.positions = nn.Parameter(torch.empty(1, patches, shape.width))
        token = shape.pool == "token"
        self.token = nn.Parameter(torch.empty(1, 1, shape.width)) if token else None
        rates = drop_path_rates(shape.drop_path, shape.layers)
        self.blocks = nn.ModuleList(Block(shape, rate) for rate in rates)
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.outputs)
        self.initialize()

    def initialize(self) -> None:
        """Draw all weights anew, in place: normal(0, 0.02), branch outputs / sqrt(2 layers)."""
        outputs = 0.02 / math.sqrt(2 * self.shape.layers)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=outputs if last else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                nn.init.ones_(weight)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits `(batch, outputs)` for pixels `(batch, channels, height, width)`."""
        return self.leave(self.along(self.enter(pixels)))

    def enter(self, pixels: Tensor) -> Tensor:
        """The residual stream `(batch, tokens, width)` before the first block."""
        x = (
            self.embed(pixels).flatten(2).transpose(1, 2) + self.positions
        )  # (batch, patches, width)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        return functional.dropout(x, self.shape.dropout, self.training)

    def along(self, x: Tensor) -> Tensor:
        """The residual stream after the blocks that are here."""
        for block in self.blocks:
            x = run(block, x, recompute=self.recompute)
        return x

    def leave(self, x: Tensor) -> Tensor:
        """Logits `(batch, outputs)` from the residual stream after the last block."""
        x = self.norm(x)
        return self.head(x.mean(1) if self.shape.pool == "mean" else x[:, 0])

    def tensor_plan(self) -> Plan:
        """Heads and hidden units are cut; the stream is not, as patches may be of any number."""
        attention = "blocks.*.attention"
        styles: dict[str, Style] = {attention: "enter"}
        styles |= dict.fromkeys((f"{attention}.{name}_proj" for name in "qkv"), "column")
        styles |= {f"{attention}.o_proj": "row"}
        styles |= {"blocks.*.up_proj": "column", "blocks.*.down_proj": "row"}
        token = () if self.token is None else ("token",)
        styles |= dict.fromkeys(("embed", "positions", *token, "head"), "whole")
        return Plan(styles)

    def units(self) -> list[Units]:
        """The heads and hidden neurons of each block; then the dims of the stream."""
        found: list[Units] = []
        writers = [Slice("embed.weight", 0), Slice("embed.bias", 0), Slice("positions", 2)]
        writers += [Slice("token", 2)] if self.token is not None else []
        readers: list[Slice] = []
        for index, block in enumerate(cast("Iterable[Block]", self.blocks)):
            at, dim = f"blocks.{index}", block.attention.head_dim
            q, k, v = (f"{at}.attention.{name}_proj" for name in "qkv")
            out, up, down = f"{at}.attention.o_proj", f"{at}.up_proj", f"{at}.down_proj"
            heads = [Slice(f"{n}.{p}", 0, dim) for n in (q, k, v) for p in ("weight", "bias")]
            read = [Slice(f"{out}.weight", 1, dim)]
            found.append(units(f"{at}.attention", "heads", heads, read, self))
            hidden = [Slice(f"{up}.weight", 0), Slice(f"{up}.bias", 0)]
            found.append(units(at, "hidden", hidden, [Slice(f"{down}.weight", 1)], self))
            for name in (f"{at}.norm_1", f"{at}.norm_2", out, down):
                writers += [Slice(f"{name}.weight", 0), Slice(f"{name}.bias", 0)]
            readers += [Slice(f"{name}.weight", 1) for name in (q, k, v, up)]
        writers += [Slice("norm.weight", 0), Slice("norm.bias", 0)]
        readers.append(Slice("head.weight", 1))
        return [*found, units("embed", "stream", writers, readers, self)]

    def last_attention(self) -> Attention:
        """Of the last block."""
        return cast("Block", self.blocks[-1]).attention

    def parts(self) -> Parts:
        """Where the net may be cut."""
        return Parts("blocks", ("embed", "positions", "token"), ("norm", "head"))
