"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NAMES = {
    "ddp": "torch's DistributedDataParallel by hand",
    "zafu-data": "**zafu**, `layout.data=2`",
    "fsdp": "torch's FSDP2 by hand",
    "zafu-shard": "**zafu**, `layout.shard=2`",
    "transformers": "`transformers.Trainer`, logging and saving off",
    "lightning": "Lightning `Trainer`, `strategy=ddp`, logging and saving off",
}
PARTS = ("parameters", "gradients", "optimizer")


VOLUME = """\
## What a rank sends and holds

A decoder of 128 x 8 with a vocabulary of 1024, 32 windows of 64 tokens, AdamW, fp32: one step of
the rank that sends most along the axis. Counted are messages as a ring moves them; the wire is what
the kernel says that sockets sent, for all axes of the rank together. On a CPU gloo sums in shards
with as many bytes as a whole sum, which a ring would halve: so the wire shows more where sums are
in shards (`shard`, `tensor`).

| layout | along | counted, MB | theory, MB | ratio | wire, MB | state, MB | theory, MB | ratio |
|---|---|--:|--:|--:|--:|--:|--:|--:|"""
IDLE = """\
## How long the processes of a pipeline stand idle

Eight blocks that sleep 12 ms in forward, and twice in backward, instead of computing. The share of
a step in which the average process does not: median of six steps, and their range. Theory counts no
passing on; for gpipe and 1f1b it is (p - 1) / (m + p - 1).

| processes | micro-batches | schedule | idle | range | theory |
|--:|--:|---|--:|--:|--:|"""
RACE = """\
## A step on two processes beside torch by hand

Each loop trains the same module on the same samples with torch's fused AdamW and clipping, on two
processes of one thread, three times over; the pairs take turns in random order. A ratio above 1
means more steps than torch by hand (DDP; for `shard` FSDP2) did in the same turn: the median over
all turns, and its 95 % interval (bootstrap). By hand, a rank looks at its own loss alone; zafu's is
that of the whole batch."""
SIZE = """\

### {title}

{turns} turns of {steps_per_turn} steps.

| loop | ms a step | ratio | 95 % interval | of CPU | interval |
|---|--:|--:|--:|--:|--:|"""


def markdown(results: dict[str, Any]) -> str:
    """Everything that was measured, for a reader."""
    write = {"volume": _volume, "idle": _idle, "race": _race}
    parts = [
        "# Layouts beside theory, and beside torch by hand",
        "",
        "Written by `make bench-parallel`.",
    ]
    for name, lines in write.items():
        if name in results:
            parts += ["", *lines(results[name]["found"]), "", f"({results[name]['made']})"]
    return "\n".join(parts) + "\n"


def _volume(found: list[dict[str, Any]]) -> Iterator[str]:
    yield VOLUME
    for case in found:
        first = True
        for axes in case["ranks"][0]["theory"]["traffic"]:
            rank = max(
                case["ranks"], key=lambda one: one["traffic"].get(axes, {"bytes": 0})["bytes"]
            )
            sent, theory = rank["traffic"][axes]["bytes"], rank["theory"]["traffic"][axes]["bytes"]
            own = sum(rank["state"][part] for part in PARTS)
            state = sum(rank["theory"]["state"][part] for part in PARTS)
            cells = [
                named(case["layout"]) if first else "",
                axes,
                f"{sent / 1e6:.3f}",
                f"{theory / 1e6:.3f}",
                f"{sent / theory:.4f}",
                f"{rank['wire'] / 1e6:.3f}" if first else "",
                f"{own / 1e6:.3f}" if first else "",
                f"{state / 1e6:.3f}" if first else "",
                f"{own / state:.4f}" if first else "",
            ]
            first = False
            yield f"| {' | '.join(cells)} |"


def _idle(found: list[dict[str, Any]]) -> Iterator[str]:
    yield IDLE

    def size(case: dict[str, Any]) -> tuple[int, int]:
        return case["layout"]["pipeline"], case["layout"]["microbatches"]

    for case in sorted(found, key=size):
        layout, (low, high) = case["layout"], case["range"]
        cells = [
            str(layout["pipeline"]),
            str(layout["microbatches"]),
            layout["schedule"],
            f"{case['idle']:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{case['theory']:.1%}",
        ]
        yield f"| {' | '.join(cells)} |"


def _race(found: dict[str, Any]) -> Iterator[str]:
    yield RACE
    for size in found.values():
        yield SIZE.format(**size)
        for loop, own in size["loops"].items():
            wall, cpu = own["ratio_wall"], own["ratio_cpu"]
            cells = [
                NAMES[loop],
                f"{own['milliseconds']:.2f}",
                f"{wall['median']:.3f}",
                f"{wall['low']:.3f} to {wall['high']:.3f}",
                f"{cpu['median']:.3f}",
                f"{cpu['low']:.3f} to {cpu['high']:.3f}",
            ]
            yield f"| {' | '.join(cells)} |"


def named(layout: dict[str, Any]) -> str:
    """A layout as it is written on the command line."""
    return ", ".join(f"{key}={value}" for key, value in layout.items())
