"""Four models from a step of under a millisecond to one of a tenth of a second.

Each is there twice: as a recipe, and as a plain module of the same sizes for those who have none.
Building one imports torch, but nothing of zafu beyond `zafu.nets`, which is plain torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import nn

LR, NORM, THREADS = 1e-3, 1.0, 1
CLASSES = {"task": "classification", "data": {"kind": "digits", "split": {"validation": 0}}}
TEXT = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:json/*.py", "stdlib:email/*.py"],
        "tokenizer": {"kind": "bpe", "vocab": 512},
        "context": 128,
        "split": {"validation": 0},
    },
}


class Size(NamedTuple):
    """A model, its data, and how many steps are timed together."""

    title: str
    subject: dict[str, Any]  # task and data of the recipe
    model: dict[str, Any]
    module: Callable[[], nn.Module]
    batch: int
    block: int  # steps timed at once: about 50 to 200 ms
    blocks: int  # of each process


def recipe(size: Size, *, steps: int, save_every: int) -> dict[str, Any]:
    """The recipe of a size, as plain data: what it does not say is zafu's default."""
    fit = {
        "optimizer": {"kind": "adamw", "lr": LR},
        "clip": {"norm": NORM},
        "batch": size.batch,
        "steps": steps,
        "save_every": save_every,
        "threads": THREADS,
        "device": "cpu",
    }
    return {**size.subject, "model": size.model, "fit": fit}


def mlp(width: int, layers: int) -> nn.Module:
    """A perceptron for the 64 pixels of a digit."""
    from zafu.nets.mlp import MLP, Shape

    return MLP(Shape(numbers=64, embeddings=(), width=width, layers=layers, outputs=10))


def convnet() -> nn.Module:
    """A residual net for digits."""
    from zafu.nets.convnet import ConvNet, Shape

    return ConvNet(
        Shape(channels=1, picture=(8, 8), width=24, stages=3, blocks=1, groups=8, outputs=10)
    )


def decoder() -> nn.Module:
    """A language model of 512 tokens."""
    from zafu.nets.decoder import Decoder, Shape

    return Decoder(
        Shape(vocab=512, context=128, width=128, layers=3, heads=4, kv_heads=4, hidden=352)
    )


SIZES = {
    "small": Size(
        title="MLP 64-64-10 on digits, batch 32",
        subject=CLASSES,
        model={"kind": "mlp", "width": 64, "layers": 1},
        module=lambda: mlp(64, 1),
        batch=32,
        block=60,
        blocks=25,
    ),
    "millisecond": Size(
        title="MLP 64-256-256-10 on digits, batch 32",
        subject=CLASSES,
        model={"kind": "mlp", "width": 256, "layers": 2},
        module=lambda: mlp(256, 2),
        batch=32,
        block=40,
        blocks=25,
    ),
    "convnet": Size(
        title="residual convnet on digits, batch 32",
        subject=CLASSES,
        model={"kind": "convnet", "width": 24, "stages": 3, "blocks": 1},
        module=convnet,
        batch=32,
        block=5,
        blocks=15,
    ),
    "decoder": Size(
        title="decoder of 128 x 3 on Python text, batch 8 x 128 tokens",
        subject=TEXT,
        model={"kind": "decoder", "width": 128, "layers": 3, "heads": 4, "hidden": 352},
        module=decoder,
        batch=8,
        block=2,
        blocks=12,
    ),
}
