"""What tests of compression share: real digits as batches, and small nets that learned them."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from zafu.batch import Batch
from zafu.compress.contract import Compression, Work
from zafu.compress.words import chain
from zafu.edits.contract import Edit
from zafu.models.contract import Model
from zafu.models.mlp import MLP
from zafu.signature import Pixels, Signature
from zafu.task import Classification

SEEN, ALL = 512, 1024  # samples to learn from; those behind them are held out
SIGNATURE = Signature(inputs=Pixels(channels=1, height=8, width=8), outputs=10)
TASK = Classification()


@cache
def pictures() -> tuple[Tensor, Tensor]:
    """Pixels `(samples, 1, 8, 8)` from 0 to 1, and what they show."""
    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(pixels[:ALL].reshape(-1, 1, 8, 8) / 16).float()
    return x, torch.from_numpy(labels[:ALL]).long()


def rows(*, held_out: bool = False) -> Tensor:
    """Digits as rows of brightness `(samples, 64)`, neighbours of which are much alike."""
    x = pictures()[0].flatten(1)
    return x[SEEN:] if held_out else x[:SEEN]


def batches(size: int = 64) -> list[Batch]:
    """Samples to learn from."""
    x, y = pictures()
    return [
        Batch((x[i : i + size],), y[i : i + size], np.arange(i, i + size))
        for i in range(0, SEEN, size)
    ]


def work(module: nn.Module, *, seed: int = 0) -> Work:
    """What a compression works on."""
    return Work(module.eval(), batches(), TASK.loss, seed, lambda _: None)


def compressed(module: nn.Module, how: str | Compression) -> tuple[Edit, ...]:
    """In place: the model after a chain of links; their edits."""
    links = chain(how) if isinstance(how, str) else (how,)
    return tuple(edit for link in links for edit in link.apply(work(module)))


def learned(module: nn.Module, *, epochs: int = 10) -> list[float]:
    """In place: a net after some epochs of Adam; the mean loss of each epoch."""
    able = [p for p in module.parameters() if p.requires_grad]
    optimizer, found = torch.optim.Adam(able, lr=3e-3), list[float]()
    for _ in range(epochs):
        losses = list[float]()
        for batch in batches():
            loss = TASK.loss(module.train(), batch) / len(batch.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        found.append(sum(losses) / len(losses))
    module.eval()
    return found


@cache
def _trained(spec: str) -> nn.Module:
    torch.manual_seed(0)
    module = Model.kinds()[spec.partition(":")[0]].model_validate_json(spec.partition(":")[2])
    built = module.build(SIGNATURE)
    learned(built)
    return built.eval()


def trained(spec: Model | None = None) -> nn.Module:
    """A copy of a net that has learned the digits: a perceptron unless another is named."""
    spec = spec or MLP(width=64, layers=2)
    return deepcopy(_trained(f"{spec.kind}:{spec.model_dump_json()}"))


def said(module: nn.Module, *, held_out: bool = True) -> Tensor:
    """What a net answers to digits that no compression has seen."""
    x = pictures()[0]
    with torch.no_grad():
        return module.eval()(x[SEEN:] if held_out else x[:SEEN])


def apart(one: Tensor, other: Tensor) -> float:
    """The mean squared difference."""
    return float((one - other).double().square().mean())


def planted(outputs: int, inputs: int, *, seed: int = 0) -> nn.Linear:
    """A linear layer with weights of a seed."""
    torch.manual_seed(seed)
    return nn.Linear(inputs, outputs).eval()
