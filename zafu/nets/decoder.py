"""A causal decoder of the Llama family, with the parameter names of the hub.

Touvron et al., 2023 (arXiv:2302.13971): RMSNorm before each branch (Zhang & Sennrich, 2019,
arXiv:1910.07467), rotary positions (Su et al., 2021, arXiv:2104.09864), SwiGLU (Shazeer, 2020,
arXiv:2002.05202). Grouped queries: Ainslie et al., 2023 (arXiv:2305.13245). A norm on queries and
keys: Dehghani et al., 2023 (arXiv:2302.05442), placed as in Qwen3 (arXiv:2505.09388).

Because the names are the hub's, weights travel both ways without renaming. Tied embeddings have
no `lm_head.weight`, just as in the hub's files. Dropout (Srivastava et al., 2014) falls on the
embedding and on what each branch adds, not on attention weights, which stay in one fused kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.depth import Parts, drop_path, drop_path_rates, run
from zafu.nets.int8 import together
from zafu.nets.table import Table
from zafu.nets.transfer import Wider
from zafu.nets.units import Slice, Units, units
from zafu.nets.width import Plan, Style


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a decoder."""

    vocab: int
    context: int  # tokens in the longest window it is meant for; the math sets no limit
    width: int  # divisible by `heads`, and that quotient by 2
    layers: int
    heads: int
    kv_heads: int  # divides `heads`
    hidden: int
    rope_base: float = 10_000.0
    norm_eps: float = 1e-6
    init_std: float = 0.02  # of the first weights
    qk_norm: bool = False
    tied: bool = False
    dropout: float = 0.0
    drop_path: float = 0.0
    end: int | None = None  # the token before which attention does not look; None: it looks at all
    wider: float = 1.0  # `width` over that of the net from which settings are transferred
    wider_heads: float = 1.0  # `width / heads` over that of the same net


class Past:
    """Keys and values that one layer has seen, `(batch, kv_heads, time, head_dim)` each."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.documents: Tensor | None = None  # (batch, time), in the first layer alone

    @property
    def length(self) -> int:
        """How many tokens were seen."""
        return 0 if self.keys is None else self.keys.shape[2]

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, these included; kept, in place, for the next call."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat([self.keys, keys], 2)
            values = torch.cat([self.values, values], 2)
        self.keys, self.values = keys, values
        return keys, values


class Attention(nn.Module):
    """Causal self-attention; the number of heads is read off the projections."""

    causal = True

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.width // shape.heads
        self.q_proj = nn.Linear(shape.width, shape.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.width, shape.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(shape.width, shape.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(shape.heads * self.head_dim, shape.width, bias=False)
        self.q_norm = _norm(self.head_dim, shape) if shape.qk_norm else None
        self.k_norm = _norm(self.head_dim, shape) if shape.qk_norm else None
        self.attend = attend  # replaced where a window is spread over processes, or watched

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], past: Past | None, mask: Tensor | None
    ) -> Tensor:
        """What attention adds to `x`, `(batch, time, width)`."""
        split = (-1, self.head_dim)  # (batch, time, heads, head_dim)
        q, k, v = together(x, self.q_proj, self.k_proj, self.v_proj)
        q, k = q.unflatten(-1, split), k.unflatten(-1, split)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        v = v.unflatten(-1, split).transpose(1, 2)  # (batch, heads, time, head_dim)
        q, k = rotate(q.transpose(1, 2), rope), rotate(k.transpose(1, 2), rope)
        if past is not None:
            k, v = past.extend(k, v)
        return self.o_proj(self.attend(q, k, v, mask).transpose(1, 2).flatten(2))


class GatedMLP(nn.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down_proj = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer adds to `x`, `(batch, time, width)`."""
        gate, up = together(x, self.gate_proj, self.up_proj)
        return self.down_proj(functional.silu(gate) * up)


class Block(nn.Module):
    """Attention, then a gated MLP, each on a normalized copy of the residual stream."""

    def __init__(self, shape: Shape, rate: float) -> None:
        super().__init__()
        self.input_layernorm = _norm(shape.width, shape)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = _norm(shape.width, shape)
        self.mlp = GatedMLP(shape)
        self.dropout, self.rate = shape.dropout, rate

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], past: Past | None, mask: Tensor | None
    ) -> Tensor:
        """The residual stream after this block, `(batch, time, width)`."""
        x = x + self._thin(self.self_attn(self.input_layernorm(x), rope, past, mask))
        return x + self._thin(self.mlp(self.post_attention_layernorm(x)))

    def _thin(self, branch: Tensor) -> Tensor:
        branch = functional.dropout(branch, self.dropout, self.training)
        return drop_path(branch, self.rate, training=self.training)


class Trunk(nn.Module):
    """Everything below the head; it only gives the parameters the hub's names."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens: nn.Embedding | Table = nn.Embedding(shape.vocab, shape.width)
        rates = drop_path_rates(shape.drop_path, shape.layers)
        self.layers = nn.ModuleList(Block(shape, rate) for rate in rates)
        self.norm = _norm(shape.width, shape)


class Decoder(nn.Module):
    """Token ids to the logits of each next token."""

    recompute: bool = False  # True: blocks run again in backward, to store fewer activations

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.context = shape, shape.context
        self.model = Trunk(shape)
        self.lm_head = None if shape.tied else nn.Linear(shape.width, shape.vocab, bias=False)
        self.project = functional.linear  # of a tied head; replaced where the vocabulary is spread
        self.register_load_state_dict_pre_hook(_without_tied_head)
        self.initialize()

    def initialize(self) -> None:
        """Draw all weights anew, in place: normal(0, init_std), branch outputs / sqrt(2 layers).

        These are the sizes in a net of which this one is no wider copy: others follow `wider`.
        """
        std, wider = self.shape.init_std, self.wider()
        outputs = std / math.sqrt(2 * self.shape.layers)
        for name, weight in self.named_parameters():
            if weight.dim() == 1:
                nn.init.constant_(weight, wider[name].size)
            else:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=(outputs if last else std) * wider[name].size)

    def wider(self) -> dict[str, Wider]:
        """How each parameter follows the width.

        Logits are divided by it: in the head, or in the last norm if the head is tied. Attention
        divides by head_dim in place of its root: in the queries, or in their norm.
        """
        return {name: self._wider(name, weight) for name, weight in self.named_parameters()}

    def _wider(self, name: str, weight: Tensor) -> Wider:
        ratio, queries = self.shape.wider, self.shape.wider_heads**-0.5
        if name == "lm_head.weight":
            return Wider("output", ratio)
        if name == "model.norm.weight" and self.lm_head is None:
            return Wider("input", ratio, 1 / ratio)
        if name.endswith("q_norm.weight"):
            return Wider("input", ratio, queries)
        if weight.dim() == 1 or name == "model.embed_tokens.weight":
            return Wider("input", ratio)
        held = name.endswith("q_proj.weight") and not self.shape.qk_norm
        return Wider("hidden", ratio, queries if held else 1.0)

    def forward(self, tokens: Tensor, cache: list[Past] | None = None) -> Tensor:
        """Logits `(batch, time, vocab)` for tokens `(batch, time)`.

        With a cache from `new_cache`, the tokens follow those of the earlier calls.
        """
        x = self.enter(tokens)
        mask = None
        if self.shape.end is not None:
            mask = within_documents(tokens == self.shape.end, cache[0] if cache else None)
        return self.leave(self.along(x, cache, mask))

    def enter(self, tokens: Tensor) -> Tensor:
        """The residual stream `(batch, time, width)` before the first block."""
        x = self.model.embed_tokens(tokens)
        return functional.dropout(x, self.shape.dropout, self.training)

    def along(
        self, x: Tensor, cache: list[Past] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The residual stream after the blocks that are here."""
        pasts = cache or [None] * len(self.model.layers)
        positions = self.positions(x, cache[0].length if cache else 0)
        cos, sin = rope_tables(
            positions, self.shape.width // self.shape.heads, self.shape.rope_base
        )
        rope = cos.to(x.dtype), sin.to(x.dtype)
        for block, past in zip(self.model.layers, pasts, strict=True):
            x = run(block, x, rope, past, mask, recompute=self.recompute and cache is None)
        return x

    def leave(self, x: Tensor) -> Tensor:
        """Logits `(batch, time, vocab)` from the residual stream after the last block."""
        x = self.model.norm(x)
        if self.lm_head is not None:
            return self.lm_head(x)
        table = self.model.embed_tokens
        return table.project(x) if isinstance(table, Table) else self.project(x, table.weight)

    def units(self) -> list[Units]:
        """The heads (with grouped queries: the groups) and hidden neurons; then the stream."""
        found: list[Units] = []
        writers, readers = [Slice("model.embed_tokens.weight", 1)], list[Slice]()
        for index, block in enumerate(cast("Iterable[Block]", self.model.layers)):
            at, attention = f"model.layers.{index}", block.self_attn
            dim = attention.head_dim
            group = dim * attention.q_proj.out_features // attention.k_proj.out_features
            q, k, v, out = (f"{at}.self_attn.{name}_proj.weight" for name in "qkvo")
            gate, up, down = (f"{at}.mlp.{name}_proj.weight" for name in ("gate", "up", "down"))
            heads = [Slice(k, 0, dim), Slice(v, 0, dim), Slice(q, 0, group)]
            found.append(units(f"{at}.self_attn", "heads", heads, [Slice(out, 1, group)], self))
            hidden = [Slice(gate, 0), Slice(up, 0)]
            found.append(units(f"{at}.mlp", "hidden", hidden, [Slice(down, 1)], self))
            for name in ("input_layernorm", "post_attention_layernorm"):
                writers.append(Slice(f"{at}.{name}.weight", 0))
            writers += [Slice(out, 0), Slice(down, 0)]
            readers += [Slice(name, 1) for name in (q, k, v, gate, up)]
        writers.append(Slice("model.norm.weight", 0))
        if self.lm_head is not None:
            readers.append(Slice("lm_head.weight", 1))
        return [*found, units("model.embed_tokens", "stream", writers, readers, self)]

    def last_attention(self) -> Attention:
        """Of the last block."""
        return cast("Block", self.model.layers[-1]).self_attn

    def parts(self) -> Parts:
        """Where the net may be cut."""
        head = "model.embed_tokens" if self.lm_head is None else "lm_head"
        return Parts("model.layers", ("model.embed_tokens",), ("model.norm", head))

    def tensor_plan(self) -> Plan:
        """Heads, hidden units and the vocabulary are cut; between them, the tokens."""
        attention, mlp = "model.layers.*.self_attn", "model.layers.*.mlp"
        styles: dict[str, Style] = {"model.embed_tokens": "vocabulary"}
        styles |= dict.fromkeys((attention, mlp), "enter")
        styles |= dict.fromkeys((f"{attention}.{name}_proj" for name in "qkv"), "column")
        styles |= dict.fromkeys((f"{mlp}.gate_proj", f"{mlp}.up_proj"), "column")
        styles |= dict.fromkeys((f"{attention}.o_proj", f"{mlp}.down_proj"), "row")
        if self.lm_head is not None:
            styles["lm_head"] = "head"
        return Plan(styles, sequence=True)

    def positions(self, x: Tensor, start: int) -> Tensor:
        """The position in its window of each token that attention sees, `(time,)`."""
        return torch.arange(start, start + x.shape[1], device=x.device)

    def new_cache(self) -> list[Past]:
        """An empty cache, one entry a layer, for decoding without gradients."""
        return [Past() for _ in self.model.layers]


def rope_tables(positions: Tensor, head_dim: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(time, head_dim)`, always float32, for integer positions `(time,)`.

    Computed at each call, since a stored table would be rounded when a module is cast, and lost
    when it is built without memory; the cost is one row a token, once for all layers.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device)
    angles = positions.float()[:, None] * (1.0 / base ** (exponents / head_dim))
    angles = torch.cat([angles, angles], -1)  # (time, head_dim)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """`x` `(..., time, head_dim)` turned by its positions; dim i is paired with i + head_dim/2."""
    cos, sin = rope
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def within_documents(begins: Tensor, past: Past | None) -> Tensor:
    """Which keys each query may look at: those of its document up to itself.

    `begins` `(batch, time)` is true where a document begins; so is the mask
    `(batch, 1, time, past + time)`. What came before is kept in `past`, in place.
    """
    documents = begins.cumsum(1)  # (batch, time)
    known = documents
    if past is not None:
        if past.documents is not None:
            documents = documents + past.documents[:, -1:]
            known = torch.cat([past.documents, documents], 1)
        past.documents = known
    causal = torch.ones(documents.shape[1], known.shape[1], dtype=torch.bool, device=begins.device)
    same = documents[:, :, None] == known[:, None, :]
    return (same & causal.tril(known.shape[1] - documents.shape[1]))[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Causal attention `(batch, heads, time, head_dim)`; the queries are the last of the keys."""
    queries, keys = q.shape[2], k.shape[2]
    causal = mask is None and bool(queries == keys)  # a plain one where sizes are symbols
    if mask is None and 1 < queries < keys:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
    return functional.scaled_dot_product_attention(
        q, k, v, mask, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1]
    )


def _norm(width: int, shape: Shape) -> nn.RMSNorm:
    return nn.RMSNorm(width, eps=shape.norm_eps)


def _without_tied_head(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Drop, in place, the second name under which a tied embedding may be stored."""
    if isinstance(module, Decoder) and module.lm_head is None:
        state.pop(f"{prefix}lm_head.weight", None)
