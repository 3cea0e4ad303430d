"""Context parallel: each process holds a share of every window of tokens, cut in time.

With n processes a window is 2n chunks, and rank r holds chunks r and 2n - 1 - r in this order
(`zafu.parallel.ring` says why). All of a decoder but attention looks at one token at a time: only
positions and attention are replaced. Losses of shares are to be summed over the context axis, and
gradients too. The length of windows must be a multiple of 2n.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zafu.batch import Batch
from zafu.errors import Refused
from zafu.nets.decoder import Attention, Decoder
from zafu.parallel.ring import Ring
from zafu.parallel.world import World


def apply(model: nn.Module, world: World) -> None:
    """In place: let a decoder take this rank's share of each window; alone in it, nothing.

    What positions it had before stay those within the share, so that tensor parallelism, which may
    cut the share again, comes first. Raises Refused for what cannot be cut in time.
    """
    group = world.group("context")
    if group is None:
        return
    if not isinstance(model, Decoder):
        raise Refused(f"layout.context: expected a decoder, found {type(model).__name__}")
    if model.shape.end is not None:
        raise Refused("model.attend: expected window where layout.context > 1, found document")
    model.positions = _positions(model.positions, world)
    ring = _ring(group)
    for module in model.modules():
        if isinstance(module, Attention):
            module.attend = ring


def whole_in_eval(model: nn.Module, world: World) -> None:
    """In place: in eval mode, take whole windows and give the answer to the whole on each rank.

    For a model after `apply` that is not cut into stages. Without gradients; in training mode it
    takes and gives shares.
    """
    if world.degree("context") == 1:
        return

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if module.training:
            return None
        if len(inputs) != 1:
            raise Refused("layout.context: expected 1 for decoding with a cache")
        return (cut(inputs[0], world),)

    def after(module: nn.Module, _: object, logits: Tensor) -> Tensor | None:
        return None if module.training else together(logits, world)

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after)


def share(batch: Batch, world: World) -> Batch:
    """This rank's share of a batch's tokens and targets, `(batch, time / n)` each.

    Raises Refused unless windows can be cut.
    """
    inputs = tuple(cut(x, world) for x in batch.inputs)
    return Batch(inputs, cut(batch.targets, world), batch.ids)


def cut(x: Tensor, world: World) -> Tensor:
    """This rank's share of `(batch, time, ...)`, in order; raises Refused unless it divides."""
    chunks = 2 * world.degree("context")
    if chunks == 2:
        return x
    if x.dim() < 2 or x.shape[1] % chunks:
        found = f"{x.shape[1]}" if x.dim() > 1 else "no windows"
        raise Refused(
            f"layout.context: expected windows of a multiple of {chunks} tokens, found {found}"
        )
    parts, index = x.chunk(chunks, 1), world.index("context")
    return torch.cat([parts[index], parts[-1 - index]], 1)


def together(shares: Tensor, world: World) -> Tensor:
    """The whole of `(batch, time / n, ...)` that was cut by `cut`, on each rank; no gradients."""
    group = world.group("context")
    if group is None:
        return shares
    own = shares.detach().contiguous()
    found = [torch.empty_like(own) for _ in range(world.degree("context"))]
    dist.all_gather(found, own, group=group)
    halves = [part.chunk(2, 1) for part in found]
    return torch.cat([h[0] for h in halves] + [h[1] for h in reversed(halves)], 1)


class Positions(Protocol):
    """The position of each token that attention sees, as `Decoder.positions`."""

    def __call__(self, x: Tensor, start: int) -> Tensor:
        """Integers `(time,)`."""
        ...


class Attend(Protocol):
    """Causal attention, as `zafu.nets.decoder.attend`."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """The answer `(batch, heads, time, head_dim)`."""
        ...


def _positions(within: Positions, world: World) -> Positions:
    """Positions in the window, from positions in the share `(time / n,)`."""
    index, size = world.index("context"), world.degree("context")

    def positions(x: Tensor, start: int) -> Tensor:
        found = within(x, start)
        half = len(found) // 2
        skipped = (2 * size - 2 - index) * half  # chunks of others, before the second one
        return torch.where(found < half, found + index * half, found + skipped)

    return positions


def _ring(group: dist.ProcessGroup) -> Attend:
    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None or q.shape[2] != k.shape[2]:
            raise Refused("layout.context: expected 1 for decoding with a cache or masks")
        kind = q.device.type
        low = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if low else q.dtype
        return Ring.apply(q.to(dtype), k.to(dtype), v.to(dtype), group)  # pyright: ignore[reportUnknownVariableType]

    return attend
