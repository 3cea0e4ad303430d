"""Decoding: a decoder made ready to write texts, many at a time, each at its own place.

`Decoding(module, slots=8)` keeps what up to 8 texts have read, in tensors that are made once:

    logits = decoding.read(slot, tokens)       # (vocab,): of the token behind these (time,)
    logits = decoding.step([0, 3], tokens)     # (2, vocab): one more token (2,), one in each slot
    logits = decoding.each(slot, tokens)       # (time, vocab): of the token behind each of these
    decoding.forget(slot)                      # the slot begins anew
    decoding.forget(slot, keep=5)              # as if it had read its first five tokens alone
    decoding.length(slot)                      # tokens that it has read, at most `context`

A batch of one is bound by how fast weights come from memory. So keys and values are written where
they stay (Pope et al., 2022, arXiv:2211.05102), what reads the same numbers is one product
(`zafu.nets.product`), rotations of all places are computed once, and the queries of a group go
through attention as if they were of one head, so that shared keys are never repeated. Sums are
added in another order than in the module: logits differ as those of two batch sizes do. Nothing is
dropped out, nothing has a gradient, and weights are those of the time when it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast, final

import torch
from torch import Tensor
from torch.nn import functional

from zafu.nets.decoder import Attention, Block, Decoder, attend, rope_tables
from zafu.nets.product import Product, added, plain, product


class Decoding:
    """A decoder with room for what so many texts have read."""

    @torch.no_grad()
    def __init__(self, module: Decoder, slots: int = 1) -> None:
        if slots < 1:
            raise ValueError(f"slots: expected a number >= 1, found {slots}")
        self.context, self._end = module.context, module.shape.end
        self._embed, self._leave = module.model.embed_tokens, _leaving(module)
        self._layers = [Layer(block) for block in cast("Iterable[Block]", module.model.layers)]
        like = self._embed(torch.zeros(1, dtype=torch.int64, device=_device(module)))
        self._device, dim = like.device, module.shape.width // module.shape.heads
        heads = [layer.kv_heads for layer in self._layers]
        kept = like.new_zeros(slots, 2, sum(heads), self.context, dim)  # keys, then values
        self._kept, self._parts = kept, kept.split(heads, 2)
        places = torch.arange(self.context, device=self._device)
        cos, sin = rope_tables(places, dim, module.shape.rope_base)
        self._turns = torch.complex(cos, sin)[:, : dim // 2]
        self._lengths = [0] * slots
        self._begins: list[list[int]] = [[] for _ in range(slots)]  # where documents begin

    def length(self, slot: int) -> int:
        """How many tokens a slot has read."""
        return self._lengths[slot]

    def forget(self, slot: int, keep: int = 0) -> None:
        """In place: what a slot has read behind its first `keep` tokens."""
        if not 0 <= keep <= self._lengths[slot]:
            raise ValueError(f"keep: expected 0 to {self._lengths[slot]}, found {keep}")
        self._lengths[slot] = keep
        self._begins[slot] = [place for place in self._begins[slot] if place < keep]

    @torch.inference_mode()
    def read(self, slot: int, tokens: Tensor) -> Tensor:
        """Logits `(vocab,)` of the token behind these `(time,)`, which follow those of before."""
        return self._leave(self._along((slot,), tokens[None])[-1:])[0].float()

    @torch.inference_mode()
    def each(self, slot: int, tokens: Tensor) -> Tensor:
        """Logits `(time, vocab)` of the token behind each of these, which follow those before."""
        return self._leave(self._along((slot,), tokens[None])).float()

    @torch.inference_mode()
    def step(self, slots: Sequence[int], tokens: Tensor) -> Tensor:
        """Logits `(slots, vocab)` of the token behind one more token `(slots,)` of each."""
        return self._leave(self._along(slots, tokens[:, None])).float()

    def _along(self, slots: Sequence[int], tokens: Tensor) -> Tensor:
        """The residual stream `(slots * time, width)` behind new tokens `(slots, time)`."""
        many, time = tokens.shape
        full = any(self._lengths[slot] + time > self.context for slot in slots)
        if full or not time or len(set(slots)) < many or many != len(slots):
            found = [(slot, self._lengths[slot], time) for slot in slots]
            expected = f"at most {self.context} tokens in each of different slots"
            raise ValueError(f"expected {expected}, found (slot, read, new) {found}")
        if self._end is not None:
            for slot, row in zip(slots, tokens.tolist(), strict=True):
                ends = (i for i, token in enumerate(row) if token == self._end)
                self._begins[slot] += [self._lengths[slot] + i for i in ends]
        sight = self._of_one(slots[0], time) if many == 1 else self._of_many(slots)
        for slot in slots:
            self._lengths[slot] += time
        x = self._embed(tokens.to(self._device)).flatten(0, 1)
        for index, layer in enumerate(self._layers):
            x = layer(x, index, sight)
        return x

    def _of_one(self, slot: int, time: int) -> Sight:
        """What `time` new tokens of one slot look at."""
        before, after = self._lengths[slot], self._lengths[slot] + time
        begun = [0, *self._begins[slot]]
        first = max(place for place in begun if place <= before)  # of the first one's document
        mask = None
        if time > 1 and (before or begun[-1] > first):
            starts = torch.zeros(time, dtype=torch.int64)
            for place in begun:
                starts[max(place - before, 0) :] = place
            mask = self._looks(starts, torch.arange(before, after), slice(first, after))[None, None]
        own, heads = self._kept[slot], [layer.kv_heads for layer in self._layers]
        keys, values = own[:, None, :, first:after]
        new = own[:, :, before:after].permute(2, 0, 1, 3).split(heads, 2)
        kept = One(new, keys.split(heads, 1), values.split(heads, 1))
        return Sight(self._ropes(self._turns[before:after]), kept, mask, time)

    def _of_many(self, slots: Sequence[int]) -> Sight:
        """What one new token of each slot looks at."""
        lengths = [self._lengths[slot] for slot in slots]
        starts = torch.tensor([[0, *self._begins[slot]][-1] for slot in slots])
        ids, places = torch.tensor(slots), torch.tensor(lengths)
        seen, low = slice(int(starts.min()), max(lengths) + 1), min(slots)
        mask = self._looks(starts, places, seen)[:, None, None]
        ids, places = ids.to(self._device), places.to(self._device)
        neighbours = list(slots) == list(range(low, low + len(slots)))
        rows = slice(low, low + len(slots)) if neighbours else ids
        kept = Many(self._parts, (ids, places), rows, seen)
        return Sight(self._ropes(self._turns[places]), kept, mask, 1)

    def _looks(self, starts: Tensor, places: Tensor, keys: slice) -> Tensor:
        """Which keys tokens look at: those of their document up to themselves, `(tokens, keys)`."""
        at = torch.arange(keys.start, keys.stop)
        return ((at >= starts[:, None]) & (at <= places[:, None])).to(self._device)

    def _ropes(self, turns: Tensor) -> dict[tuple[int, int], Tensor]:
        """By how many heads turn and how many stay: what each is multiplied by."""
        found = dict[tuple[int, int], Tensor]()
        for kind in {layer.kind for layer in self._layers}:
            turned, still = turns[:, None].expand(-1, kind[0], -1), torch.ones_like(turns)
            found[kind] = torch.cat([turned, still[:, None].expand(-1, kind[1], -1)], 1)
        return found


@final
@dataclass(frozen=True)
class Slot:
    """One of a decoder's slots: the place of one text."""

    decoding: Decoding
    index: int

    @property
    def context(self) -> int:
        """Most tokens that it can have read."""
        return self.decoding.context

    @property
    def length(self) -> int:
        """How many it has read."""
        return self.decoding.length(self.index)

    def read(self, tokens: Tensor) -> Tensor:
        """Logits `(vocab,)` of the token behind these `(time,)`, which follow those of before."""
        return self.decoding.read(self.index, tokens)

    def each(self, tokens: Tensor) -> Tensor:
        """Logits `(time, vocab)` of the token behind each of these."""
        return self.decoding.each(self.index, tokens)

    def forget(self, keep: int = 0) -> None:
        """In place: what was read behind the first `keep` tokens."""
        self.decoding.forget(self.index, keep)


class Keeping(Protocol):
    """Where keys and values are kept."""

    def keep(self, index: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of new tokens `(rows, 2, kv_heads, head_dim)` in a layer, in place.

        All keys and values that are looked at, `(slots, kv_heads, places, head_dim)` each.
        """
        ...


class One(NamedTuple):
    """Of one slot: views of where new ones go and of what is seen, for each layer."""

    new: Sequence[Tensor]  # (time, 2, kv_heads, head_dim)
    keys: Sequence[Tensor]  # (1, kv_heads, places, head_dim)
    values: Sequence[Tensor]

    def keep(self, index: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """As `Keeping` says."""
        self.new[index].copy_(new)
        return self.keys[index], self.values[index]


class Many(NamedTuple):
    """Of many slots, one new token each."""

    parts: Sequence[Tensor]  # (slots, 2, kv_heads, context, head_dim), for each layer
    new: tuple[Tensor, Tensor]  # slots, and places in them
    slots: slice | Tensor
    places: slice

    def keep(self, index: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """As `Keeping` says."""
        part, (slots, places) = self.parts[index], self.new
        part[slots, :, :, places] = new
        keys, values = part[:, :, :, self.places][self.slots].unbind(1)
        return keys, values


class Sight(NamedTuple):
    """Where new tokens stand, and what they look at."""

    ropes: dict[tuple[int, int], Tensor]  # (rows, heads that turn and that stay, head_dim / 2)
    kept: Keeping
    mask: Tensor | None  # (slots, 1, time, places), true where a token looks
    time: int  # new tokens of a slot


class Layer:
    """A block, ready: its products, and how many heads it has."""

    def __init__(self, block: Block) -> None:
        attention, mlp = block.self_attn, block.mlp
        self._dim = dim = attention.head_dim
        self._heads, self.kv_heads = (
            layer.out_features // dim for layer in (attention.q_proj, attention.k_proj)
        )
        self.kind = (self._heads + self.kv_heads, self.kv_heads)  # heads that turn, and that stay
        pairs = torch.arange(dim).view(2, -1).t().flatten()  # dims that turn together, together
        order = torch.arange(sum(self.kind) * dim).view(-1, dim)
        order[: self.kind[0]] = order[: self.kind[0], pairs]
        self._qkv = product(
            [attention.q_proj, attention.k_proj, attention.v_proj],
            norm=block.input_layernorm,
            order=order.flatten(),
        )
        self._norm = _head_norm(attention, self._heads, pairs)
        self._out, self._down = added(attention.o_proj), added(mlp.down_proj)
        self._gate_up = product([mlp.gate_proj, mlp.up_proj], norm=block.post_attention_layernorm)

    def __call__(self, x: Tensor, index: int, sight: Sight) -> Tensor:
        """The residual stream `(slots * time, width)` after this block; keeps keys, in place."""
        x = self._out(x, self._attend(self._qkv(x), index, sight))
        gate, up = self._gate_up(x).chunk(2, -1)
        return self._down(x, functional.silu(gate).mul_(up))

    def _attend(self, found: Tensor, index: int, sight: Sight) -> Tensor:
        """`(slots * time, heads * head_dim)` out of queries, keys and values side by side."""
        rows, dtype = len(found), found.dtype
        if self._norm is not None:
            found = self._norm(found.view(rows, -1, self._dim))
        if dtype is not torch.float32:  # there are no complex numbers of 16 bits
            found = found.float()
        pairs = torch.view_as_complex(found.view(rows, -1, self._dim // 2, 2))
        found = torch.view_as_real(pairs * sight.ropes[self.kind]).view(rows, -1, self._dim)
        queries, new = found.split((self._heads, 2 * self.kv_heads), 1)
        if dtype is not torch.float32:
            queries, new = queries.to(dtype), new.to(dtype)
        keys, values = sight.kept.keep(index, new.view(rows, 2, self.kv_heads, self._dim))
        if sight.time == 1:  # the queries of a group look at the same keys, as one head's would
            queries = queries.view(rows, self.kv_heads, -1, self._dim)
            mixed = functional.scaled_dot_product_attention(queries, keys, values, sight.mask)
            return mixed.reshape(rows, -1)
        mixed = attend(queries.transpose(0, 1)[None], keys, values, sight.mask)
        return mixed[0].transpose(0, 1).reshape(rows, -1)


def _head_norm(attention: Attention, heads: int, pairs: Tensor) -> Product | None:
    """The norms of queries and keys, on `(rows, heads + 2 * kv_heads, head_dim)`."""
    first, second = attention.q_norm, attention.k_norm
    if first is None or second is None:
        return None
    kv_heads = attention.k_proj.out_features // attention.head_dim
    parts = (first.weight[pairs].expand(heads, -1), second.weight[pairs].expand(kv_heads, -1))
    weight, eps = torch.cat(parts), first.eps

    def call(x: Tensor) -> Tensor:
        normed = functional.rms_norm(x[:, : len(weight)], x.shape[-1:], None, eps) * weight
        return torch.cat([normed, x[:, len(weight) :]], 1)

    return call


def _leaving(module: Decoder) -> Product:
    """The last norm and the head."""
    if module.lm_head is not None:
        return product([module.lm_head], norm=module.model.norm)
    if plain(module.model.embed_tokens):
        return product([module.model.embed_tokens], norm=module.model.norm)
    return module.leave


def _device(module: Decoder) -> torch.device:
    return next(x.device for held in (module.parameters(), module.buffers()) for x in held)
