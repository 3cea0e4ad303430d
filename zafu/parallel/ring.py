"""Ring attention: causal attention over a window whose tokens lie on several processes.

Liu et al., 2023 (arXiv:2310.01889): keys and values go round a ring, and what each of them adds is
merged by its log-sum-exp (Milakov & Gimelshein, 2018, arXiv:1805.02867). Brandon et al., 2023
(arXiv:2311.09431): of 2n chunks rank r holds r and 2n - 1 - r, so that all ranks have as much to do
in each round; theirs is another such dealing. What is wholly masked is not computed. The backward
pass is a second ring, on which the gradients of keys and values travel with them (Dao et al., 2022,
arXiv:2205.14135, for the block's gradients). Softmax and sums are float32; scores are never
stored for more than `ROWS` queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

ROWS = 512  # queries whose scores are in memory at a time


class Attended(NamedTuple):
    """What some keys answered, float32, and how much they weigh beside others."""

    out: Tensor  # (batch, heads, queries, head_dim)
    weight: Tensor  # (batch, heads, queries): log-sum-exp of the scores, finite


def attended(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Attended:
    """Attention to these keys alone: `q` `(batch, heads, queries, head_dim)`, `k` of kv_heads.

    `causal`: there are as many keys as queries, and each looks at those up to its own.
    """
    k, v = k.float(), v.float()
    outs: list[Tensor] = []
    weights: list[Tensor] = []
    for rows, keys in _tiles(q.shape[2], k.shape[2], causal=causal):
        scores = _scores(q[:, :, rows], k[:, :, :keys], rows.start if causal else None)
        weight = scores.logsumexp(-1)
        outs.append(_each(torch.sub(scores, weight[..., None]).exp_(), v[:, :, :keys]))
        weights.append(weight)
    return Attended(torch.cat(outs, 2), torch.cat(weights, 2))


def merge(one: Attended, other: Attended) -> Attended:
    """What the keys of both answer together, where no key is in both."""
    weight = torch.logaddexp(one.weight, other.weight)
    ours, theirs = (one.weight - weight).exp(), (other.weight - weight).exp()
    return Attended(one.out * ours[..., None] + other.out * theirs[..., None], weight)


class Known(NamedTuple):
    """What the backward pass knows of some queries, from all keys that they looked at."""

    q: Tensor  # (batch, heads, queries, head_dim)
    weight: Tensor  # (batch, heads, queries)
    gradient: Tensor  # of the answer, (batch, heads, queries, head_dim), float32
    common: Tensor  # (batch, heads, queries): gradient · answer, float32

    def since(self, start: int) -> Known:
        """The same of the queries from `start` on."""
        return Known(*(x[:, :, start:] for x in self))


def gradients(known: Known, k: Tensor, v: Tensor, *, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What these keys add to the gradients of `q`, `k` and `v`, float32."""
    k, v = k.float(), v.float()
    scale = 1 / math.sqrt(k.shape[-1])
    of_q: list[Tensor] = []
    of_k, of_v = torch.zeros_like(k), torch.zeros_like(v)
    for rows, keys in _tiles(known.q.shape[2], k.shape[2], causal=causal):
        q, weight, gradient, common = (x[:, :, rows] for x in known)
        near = slice(0, keys)
        scores = _scores(q, k[:, :, near], rows.start if causal else None)
        shares = scores.sub_(weight[..., None]).exp_()  # (batch, heads, rows, keys)
        of_v[:, :, near] += _gathered(shares, gradient, k.shape[1])
        of_shares = _each(gradient, v[:, :, near].transpose(2, 3)).sub_(common[..., None])
        of_scores = shares.mul_(of_shares).mul_(scale)
        of_q.append(_each(of_scores, k[:, :, near]))
        of_k[:, :, near] += _gathered(of_scores, q.float(), k.shape[1])
    return torch.cat(of_q, 2), of_k, of_v


class Ring(torch.autograd.Function):
    """Causal attention of this rank's two chunks to those of all ranks of a group."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, group: dist.ProcessGroup) -> Tensor:
        """The answer `(batch, heads, time, head_dim)` in the type of `q`."""
        half, mine = q.shape[2] // 2, dist.get_rank(group)
        with torch.autocast(q.device.type, enabled=False):
            answer = attended(q, k, v, causal=True)  # chunks are in order: so is their mask
            for owner, pair in _round(torch.stack([k, v]), group):
                if owner == mine:
                    continue
                keys, values = pair
                if owner < mine:  # its first chunk is before both of mine, its second after
                    add = attended(q, keys[:, :, :half], values[:, :, :half], causal=False)
                    answer = merge(answer, add)
                else:  # both of its chunks are between mine
                    add = attended(q[:, :, half:], keys, values, causal=False)
                    late = merge(Attended(*(x[:, :, half:] for x in answer)), add)
                    both = zip(answer, late, strict=True)
                    answer = Attended(*(torch.cat([x[:, :, :half], y], 2) for x, y in both))
        out = answer.out.to(q.dtype)
        ctx.group = group
        ctx.save_for_backward(q, k, v, out, answer.weight)
        return out

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of queries, keys and values; every rank of the group must come here."""
        q, k, v, out, weight = ctx.saved_tensors
        gradient, group = given[0].float(), ctx.group
        half, mine = q.shape[2] // 2, dist.get_rank(group)
        known = Known(q, weight, gradient, (gradient * out.float()).sum(-1))
        of_q = torch.zeros_like(q, dtype=torch.float32)
        of_pair = torch.zeros(2, *k.shape, dtype=torch.float32, device=k.device)
        with torch.autocast(q.device.type, enabled=False):
            for owner, (keys, values) in _round(torch.stack([k, v]), group):
                if owner == mine:
                    found = gradients(known, keys, values, causal=True)
                    rows, near = slice(None), slice(None)
                elif owner < mine:
                    rows, near = slice(None), slice(0, half)
                    found = gradients(known, keys[:, :, near], values[:, :, near], causal=False)
                else:
                    rows, near = slice(half, None), slice(None)
                    found = gradients(known.since(half), keys, values, causal=False)
                of_q[:, :, rows] += found[0]
                if owner != mine:  # its gradients have come as far as its keys have
                    of_pair = _passed(of_pair, group)
                of_pair[:, :, :, near] += torch.stack(found[1:])
        of_k, of_v = _passed(of_pair, group)  # home
        return of_q.to(q.dtype), of_k.to(k.dtype), of_v.to(v.dtype), None


def _tiles(queries: int, keys: int, *, causal: bool) -> Iterator[tuple[slice, int]]:
    """Queries to be taken together, and how many keys they look at."""
    for start in range(0, queries, ROWS):
        end = min(start + ROWS, queries)
        yield slice(start, end), end if causal else keys


def _scores(q: Tensor, k: Tensor, first: int | None) -> Tensor:
    """`(batch, heads, rows, keys)`; masked beyond its own key, where `first` is the first row's."""
    scores = _each(q.float(), k.transpose(2, 3)).mul_(1 / math.sqrt(q.shape[-1]))
    if first is not None:
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(first)
        scores.masked_fill_(~seen, -math.inf)
    return scores


def _each(left: Tensor, right: Tensor) -> Tensor:
    """`left` `(batch, heads, rows, a)` by `right` `(batch, kv_heads, a, b)`, which heads share."""
    batch, heads, rows, _ = left.shape
    merged = left.reshape(batch, right.shape[1], -1, left.shape[3]) @ right
    return merged.view(batch, heads, rows, -1)


def _gathered(left: Tensor, right: Tensor, kv_heads: int) -> Tensor:
    """`left^T @ right` over the rows of all heads that share keys: `(batch, kv_heads, a, b)`."""
    batch = len(left)
    left = left.reshape(batch, kv_heads, -1, left.shape[3])
    return left.transpose(2, 3) @ right.reshape(batch, kv_heads, -1, right.shape[3])


def _round(own: Tensor, group: dist.ProcessGroup) -> Iterator[tuple[int, Tensor]]:
    """Each rank's tensor and its number, one's own first; the next is on its way meanwhile."""
    size, mine = dist.get_world_size(group), dist.get_rank(group)
    for turn in range(size):
        if turn == size - 1:
            yield (mine - turn) % size, own
            return
        coming, works = _sent(own, group)
        yield (mine - turn) % size, own
        for work in works:
            work.wait()
        own = coming


def _passed(own: Tensor, group: dist.ProcessGroup) -> Tensor:
    """What the rank before had, while the next one gets this."""
    coming, works = _sent(own, group)
    for work in works:
        work.wait()
    return coming


def _sent(own: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, list[dist.Work]]:
    """Start to pass a contiguous tensor to the next rank, and to take that of the one before."""
    size, mine = dist.get_world_size(group), dist.get_rank(group)
    coming = torch.empty_like(own)
    works = dist.batch_isend_irecv(
        [
            dist.P2POp(dist.isend, own, group=group, group_peer=(mine + 1) % size),
            dist.P2POp(dist.irecv, coming, group=group, group_peer=(mine - 1) % size),
        ]
    )
    return coming, works
