"""Stacks: which trials can be trained together as one batched program, and why others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from zafu.artifact import read_json
from zafu.build import device_of
from zafu.data.contract import Split
from zafu.fit import Fit
from zafu.models.contract import Model
from zafu.signature import Signature
from zafu.spec import digest_of
from zafu.trial import Trial

MODELS = ("mlp", "convnet", "vit", "decoder")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
PENALTIES = ("l1", "l2", "elastic-net")
VARIED = ("lr", "weight_decay")  # of an optimizer: each model has its own
FREE = (  # of a fit: it changes no step, or each model has its own
    "steps", "epochs", "samples", "tokens", "schedule", "early_stopping", "loader", "trackers",
    "evaluate_every", "save_every", "keep", "micro_batch", "penalties", "optimizer",
)  # fmt: skip
MOST_BYTES = 2**29  # of all inputs of a stack, which are held at once
MOST_MODELS = 64  # more gain nothing, and leave the cache
MOST_NUMBERS = 2**21  # weights of all models in a stack


def why_not(trial: Trial) -> str:
    """What of a trial a stack cannot do, such as `fit.augment`; "" if it can do all of it."""
    fit, model, optimizer = trial.recipe.fit, trial.recipe.model, trial.recipe.fit.optimizer
    random = model.kind != "mlp" and any(model.dump().get(k) for k in ("dropout", "drop_path"))
    smaller = fit.micro_batch is not None and (fit.batch == "all" or fit.micro_batch < fit.batch)
    penalized = all(p.kind in PENALTIES and p.match == "*" for p in fit.penalties)
    doubts = {
        f"model.kind={model.kind}": model.kind not in MODELS,
        "dropout or drop_path": random,
        "documents seen apart": model.sees_documents(),
        "model.transfer": model.transfers(),
        f"fit.optimizer.kind={optimizer.kind}": optimizer.kind not in OPTIMIZERS,
        "fit.optimizer.lr=auto": not isinstance(optimizer.dump()["lr"], float),
        "fit.optimizer.groups": bool(optimizer.groups),
        "fit.batch=all or a fit.micro_batch": fit.batch == "all" or smaller,
        "fit.seconds": fit.seconds is not None,
        "fit.start": fit.start is not None,
        "fit.distil": fit.distil is not None,
        "fit.augment": bool(fit.augment),
        "fit.noise": fit.noise is not None,
        "fit.average": fit.average is not None,
        "fit.sparsity": fit.sparsity is not None,
        "fit.precision": fit.precision != "fp32",
        "fit.compile": fit.compile,
        "fit.on_nonfinite=skip": fit.on_nonfinite != "stop",
        "fit.penalties on some parameters": not penalized,
        "layout": trial.recipe.layout.world > 1,
        "a mixture of sources": bool(_split(trial).portions),
        "so much data": _bytes(trial) > MOST_BYTES,
    }
    return next((name for name, found in doubts.items() if found), "")


def stacks(trials: Sequence[Trial]) -> list[list[int]]:
    """The numbers of trials that are trained together, each of which `why_not` allows."""
    found: dict[str, list[int]] = {}
    for number, trial in enumerate(trials):
        found.setdefault(key(trial), []).append(number)
    return [part for numbers in found.values() for part in _parts(trials, numbers)]


def key(trial: Trial) -> str:
    """A digest of all that the trials of a stack have in common."""
    recipe, begin = trial.recipe, trial.begin
    fit, optimizer, task = (x.dump() for x in (recipe.fit, recipe.fit.optimizer, recipe.task))
    for name in FREE:
        del fit[name]
    for name in VARIED:
        del optimizer[name]
    task.pop("label_smoothing", None)
    penalties = [p.dump() | {"strength": 0} for p in recipe.fit.penalties]
    return digest_of(
        [
            task,
            _shape(recipe.model),
            fit,
            optimizer,
            penalties,
            recipe.evaluate.batch,
            signature_of(trial).dump(),
            [begin.progress.step, begin.progress.samples] if begin else [0, 0],
        ]
    )


def signature_of(trial: Trial) -> Signature:
    """What the trial's data gives."""
    return _signature(trial.data)


def device(fit: Fit) -> torch.device:
    """Where a stack is trained."""
    return device_of(fit)


def _parts(trials: Sequence[Trial], numbers: list[int]) -> list[list[int]]:
    """Even parts, so small that weights and optimizer stay near the processor."""
    first = trials[numbers[0]]
    size = max(1, first.recipe.model.parameter_count(signature_of(first)))
    most = max(4, min(MOST_MODELS, MOST_NUMBERS // size))
    count = -(-len(numbers) // most)
    return [numbers[i * len(numbers) // count : (i + 1) * len(numbers) // count]
            for i in range(count)]  # fmt: skip


def _shape(model: Model) -> dict[str, Any]:
    """The settings of a model that decide its computation, without its dropout."""
    return model.dump() | ({"dropout": 0} if model.kind == "mlp" else {})


def _split(trial: Trial) -> Split:
    return trial.recipe.data.open(trial.data, "train")


def _bytes(trial: Trial) -> int:
    import numpy as np

    split = _split(trial)
    one = split.batch(np.zeros(1, np.int64))
    return len(split) * sum(x.numel() * x.element_size() for x in (*one.inputs, one.targets))


@cache
def _signature(data: Path) -> Signature:
    return Signature.parse(read_json(data / "signature.json"))
