"""What layouts send and hold, beside the closed formulas: `volume.py RANK WORLD FOLDER` is a rank.

Three figures for each rank and axis: theory, what was counted (messages as a ring moves them), and
what the kernel says that the process's sockets sent (Linux, TCP_INFO), headers of gloo included.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from many import said, tell

WARM, STEPS = 4, 4  # steps before and while sockets are looked at
CONTEXT, VOCAB, BATCH = 64, 1024, 32
RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {"kind": "text", "files": ["stdlib:asyncio/*.py"], "context": CONTEXT},
    "model": {"kind": "decoder", "width": 128, "layers": 8, "heads": 4, "kv_heads": 4},
    "fit": {"optimizer": "adamw", "batch": BATCH, "steps": 10},
}
LAYOUTS: dict[int, list[dict[str, Any]]] = {
    2: [
        {"data": 2},
        {"shard": 2},
        {"shard": 2, "level": "gradients"},
        {"tensor": 2},
        {"context": 2},
        {"pipeline": 2},
        {"pipeline": 2, "schedule": "zero-bubble"},
    ],
    4: [
        {"data": 4},
        {"shard": 4},
        {"context": 4},
        {"pipeline": 4},
        {"tensor": 4},
        {"data": 2, "shard": 2},
        {"shard": 2, "tensor": 2},
        {"pipeline": 2, "tensor": 2},
        {"pipeline": 2, "shard": 2},
    ],
    8: [{"shard": 8}],
}
BYTES_SENT = 200  # offset of tcpi_bytes_sent, 64 bits, in Linux's struct tcp_info


def measured() -> list[dict[str, Any]]:
    """What each layout costs, with a row for each axis of the rank that sends most."""
    return [row for world in LAYOUTS for row in _of_world(world)]


def _of_world(world: int) -> list[dict[str, Any]]:
    ranks = said(__file__, world)
    return [
        {"layout": layout, "ranks": [told[at] for told in ranks]}
        for at, layout in enumerate(LAYOUTS[world])
    ]


def sent() -> int:
    """Bytes that this process's TCP sockets have sent so far; raises OSError if none says so."""
    total, known = 0, False
    for path in Path("/proc/self/fd").iterdir():
        try:
            if not str(path.readlink()).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(path.name)))
        except OSError:  # closed meanwhile
            continue
        with found:
            if found.family in (socket.AF_INET, socket.AF_INET6):
                raw = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                if len(raw) >= BYTES_SENT + 8:
                    total, known = total + struct.unpack_from("Q", raw, BYTES_SENT)[0], True
    if not known:
        raise OSError("expected TCP sockets that say what they sent, found none")
    return total


def one(layout: dict[str, Any], rank: int) -> dict[str, Any]:
    """What one rank sends and holds under a layout."""
    import torch

    from zafu.batch import Batch
    from zafu.costs import of_ranks
    from zafu.optim.runtime.update import Update
    from zafu.parallel.counting import counted
    from zafu.parallel.ranks import Ranks
    from zafu.parallel.world import connected
    from zafu.recipe import Recipe
    from zafu.signature import Signature, Tokens

    recipe = Recipe.parse({**RECIPE, "layout": layout})
    signature = Signature(inputs=Tokens(vocab=VOCAB, context=CONTEXT), outputs=VOCAB)
    with connected(recipe.layout, rank) as world:
        torch.manual_seed(0)
        model = recipe.model.build(signature)
        with torch.device("meta"):
            names = recipe.model.build(signature)
        spread = Ranks(model, world, recipe.task)
        spec = recipe.fit
        update = Update(
            names, optimizer=spec.optimizer, schedule=spec.schedule, seed=0, held=spread.held
        )
        rows = BATCH // recipe.layout.batch_ranks
        tokens = torch.randint(VOCAB, (rows, CONTEXT + 1))
        batch = Batch((tokens[:, :-1],), tokens[:, 1:], torch.arange(rows).numpy())
        heard: list[Any] = []

        class Made:
            seconds = 1.0

        def steps() -> Any:
            for number in range(WARM + STEPS):
                with spread.passing(last=True):
                    spread.backward(recipe.task, spread.model, batch, 1 / BATCH, nullcontext)
                spread.finish()
                update.gradients(number)
                update.step(number, 0.0)
                yield Made()

        making = counted(steps(), spread, update, lambda _, ranks: heard.extend(ranks))
        for _ in range(WARM):
            next(making)
        world.wait()
        before = sent()
        for _ in range(STEPS):
            next(making)
        wire = (sent() - before) / STEPS
        world.wait()
        theory = of_ranks(recipe, signature, samples=BATCH)[rank].dump()
        return {**heard[rank], "theory": theory, "wire": wire}


if __name__ == "__main__":
    tell(LAYOUTS.__getitem__, one)
