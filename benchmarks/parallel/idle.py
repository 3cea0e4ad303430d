"""How long the processes of a pipeline stand idle: `idle.py RANK WORLD FOLDER` is a rank.

Blocks do not compute but sleep for as long as computing would take: once in forward, once in
backward for their inputs and once for their weights. So four stages can be timed on two cores, and
what is measured is the order of the work, with all that passing it on costs.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from many import said, tell

SECONDS = 0.012  # of a pass through a block
BLOCKS, WIDTH, STEPS = 8, 16, 6
SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe-v")
PIECES = {2: (4, 8, 16), 4: (8, 16)}  # micro-batches, by processes


def cases(world: int) -> list[dict[str, Any]]:
    """Layouts of so many processes."""
    return [
        {"pipeline": world, "schedule": schedule, "microbatches": pieces}
        for schedule in SCHEDULES
        for pieces in PIECES[world]
    ]


def measured() -> list[dict[str, Any]]:
    """The idle share of each layout in each step, beside theory."""
    from zafu.layout import Layout
    from zafu.parallel.schedules import bubble

    found: list[dict[str, Any]] = []
    for world in PIECES:
        ranks = said(__file__, world)
        for at, layout in enumerate(cases(world)):
            busy = zip(*(told[at]["busy"] for told in ranks), strict=True)
            walls = zip(*(told[at]["wall"] for told in ranks), strict=True)
            idle = [1 - sum(b) / world / max(w) for b, w in zip(busy, walls, strict=True)]
            found.append(
                {
                    "layout": layout,
                    "idle": median(idle),
                    "range": [min(idle), max(idle)],
                    "theory": bubble(Layout.parse(layout)),
                }
            )
    return found


def one(layout: dict[str, Any], rank: int) -> dict[str, Any]:
    """Seconds of each step, and how many of them this rank's blocks slept."""
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from zafu.layout import Layout, held
    from zafu.parallel.pipeline import Pipeline
    from zafu.parallel.stages import cut
    from zafu.parallel.world import connected

    slept = 0.0

    def sleep() -> None:
        nonlocal slept
        begun = time.perf_counter()
        time.sleep(SECONDS)
        slept += time.perf_counter() - begun

    class Both(torch.autograd.Function):
        """A pass forward, and one backward for the inputs."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            sleep()
            return x.view_as(x)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            sleep()
            return gradients[0]

    class Late(torch.autograd.Function):
        """One backward for the weights."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.view_as(x)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            sleep()
            return gradients[0]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.eye(WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(Both.apply(x), Late.apply(self.weight))

    found: dict[str, Any] = {"busy": [], "wall": []}
    with connected(Layout.parse(layout), rank) as world:
        net = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        own = world.layout
        numbers = held(own.schedule, world.index("pipeline"), own.pipeline)
        stages = [cut(net, number, own.stages) for number in numbers]
        pipeline = Pipeline(
            stages, world, lambda logits, targets: (logits - targets).square().sum()
        )
        x = torch.randn(own.pieces, WIDTH)
        for step in range(STEPS + 1):
            world.wait()
            slept, begun = 0.0, time.perf_counter()
            pipeline.backward((x.requires_grad_(),), torch.zeros(own.pieces, WIDTH), 1.0)
            if step:  # the first finds out what is passed on
                found["wall"].append(time.perf_counter() - begun)
                found["busy"].append(slept)
    return found


if __name__ == "__main__":
    tell(cases, one)
