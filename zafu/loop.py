"""The training loop. Read this file to know what zafu does to your weights.

Everything is a function of the seed and of how many samples were seen: which samples come next
and which dropout mask falls on them. So a run that goes on from step k does what it would have
done, and nothing but `Progress` and the tensors needs to be kept. Loss scaling for fp16 follows
Micikevicius et al., 2017 (arXiv:1710.03740); scales are powers of two, so that they round nothing.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import tee
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from zafu.batch import Batch
from zafu.data.contract import Split
from zafu.errors import Fault, NonFinite, RecipeError
from zafu.fit import Fit
from zafu.loading.contract import Batches, Request, Say
from zafu.loading.order import Order
from zafu.loading.requests import Part, dealt, pieces, steps
from zafu.optim.runtime.update import Update
from zafu.parallel.spread import ALONE, Loss, Spread
from zafu.reading import Reading, plain

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
EVALUATIONS = 10  # during training, where the recipe does not say
SCALE_UP_AFTER = 2000  # good steps before the loss scale is doubled again
MOST_SKIPS = 20  # non-finite steps in a row that `on_nonfinite: skip` bears


@dataclass
class Progress:
    """How far a run has come: all of its state beside the tensors."""

    step: int = 0  # updates done or skipped
    samples: int = 0  # samples seen; the next one is at this position of the order
    seconds: float = 0.0  # spent in training
    skipped: int = 0  # non-finite steps in a row
    scale: float = 1.0  # factor on the loss, for fp16
    good: int = 0  # finite steps since the scale changed

    def share(self, total: int | None, seconds: float | None) -> float:
        """The share of the budget that is spent, 0 to 1."""
        spent = self.samples / total if total else self.seconds / (seconds or math.inf)
        return min(spent, 1.0)


class Step(NamedTuple):
    """What one update did."""

    number: int  # the first is 1
    loss: float  # mean over all targets of the batch, before the update
    grad_norm: float  # global norm before clipping
    lr: float
    samples: int
    targets: int
    applied: bool  # False where a non-finite step was skipped
    seconds: float
    seconds_data: float
    seconds_update: float
    spent: float  # seconds of the budget, the same on all ranks


class Objective(NamedTuple):
    """What is minimized: a model on a split for a task, in some arithmetic, under a seed."""

    model: nn.Module
    task: Loss
    split: Split
    spec: Fit
    seed: int
    reading: Reading | None = None  # None: the samples of the split as they are
    spread: Spread = ALONE

    def factors(self, request: Request, targets: int, progress: Progress) -> list[float]:
        """The factor on the loss of each of these micro-batches."""
        return [part.counts * progress.scale / targets for part in self.parts(request)]

    def parts(self, request: Request) -> list[Part]:
        """What this process does of a step, in micro-batches."""
        index, of = self.spread.dealt
        return dealt(request, self.spec.micro_batch, index=index, of=of)


class Stream(NamedTuple):
    """What a training goes through."""

    wanted: Iterator[Request]  # the samples of each step
    batches: Batches  # the same in micro-batches, read
    total: int | None  # samples of the budget; None where it is in seconds


def fit(
    objective: Objective, update: Update, progress: Progress, say: Say = lambda _: None
) -> Generator[Step]:
    """Train the model in place from `progress` on, yielding after every update.

    There are no callbacks: log, evaluate, save or `break` in the `for` loop that reads this.
    Raises NonFinite, with the weights as they were, when a loss or gradient is not finite;
    RecipeError, before anything is done, where a budget has too few steps for `fit.sparsity`.
    `say` hears how data is read, where `fit.loader` leaves that open.
    """
    split, spec = objective.split, objective.spec
    size, total = budget(split, spec)
    refuse_unfinished(spec, size, total)
    order = Order(len(split), objective.seed, split.portions)
    wanted, ahead = tee(steps(order, progress.samples, size, total))
    requests = (part.request for request in ahead for part in objective.parts(request))
    with spec.loader.open(read_by(objective).source, requests, say) as batches:
        yield from updates(objective, update, progress, Stream(wanted, batches, total))


def updates(
    objective: Objective, update: Update, progress: Progress, stream: Stream
) -> Iterator[Step]:
    """Make one update after the other until the budget is spent."""
    model, split, spec = objective.model, objective.split, objective.spec
    device = next(model.parameters()).device
    while (share := progress.share(stream.total, spec.seconds)) < 1:
        begin = perf_counter()
        request = next(stream.wanted)
        ids = request.ids
        targets = split.count(ids)
        if not model.training:
            model.train()
        given = arrived(objective, request, stream.batches, device)
        factors = objective.factors(request, targets, progress)
        loss, waited = backward(objective, given, factors, progress, device=device)
        grad_norm = update.gradients(progress.step)
        before_update = perf_counter()
        mean, norm, lr = objective.spread.total(loss).item() / targets, grad_norm.item(), 0.0
        if finite := math.isfinite(mean) and math.isfinite(norm):
            lr = update.step(progress.step, share)
        else:
            refuse(objective, request, progress, loss=mean)
            update.discard()
        rescale(progress, spec, finite=finite)
        progress.step += 1
        progress.samples += len(ids)
        end = perf_counter()
        spent = objective.spread.firsts(end - begin) if spec.seconds else end - begin
        progress.seconds += spent
        yield Step(
            number=progress.step,
            loss=mean,
            grad_norm=norm,
            lr=lr,
            samples=len(ids),
            targets=targets,
            applied=finite,
            seconds=end - begin,
            seconds_data=waited,
            seconds_update=end - before_update,
            spent=spent,
        )


def read_by(objective: Objective) -> Reading:
    """How the objective's samples are read."""
    if objective.reading:
        return objective.reading
    if objective.spec.augment:
        raise ValueError("expected a reading that augments as the recipe says, found none")
    return plain(objective.split)


def arrived(
    objective: Objective, request: Request, batches: Iterator[Batch], device: torch.device
) -> Iterator[Batch]:
    """The micro-batches of one step on the device, each when it is asked for."""
    reading = read_by(objective)
    for part, batch in zip(objective.parts(request), batches, strict=False):
        yield reading.arrived(batch, part.request, device)


def backward(
    objective: Objective,
    batches: Iterator[Batch],
    factors: list[float],
    progress: Progress,
    *,
    device: torch.device,
) -> tuple[Tensor, float]:
    """Add the gradients of the step's mean loss to the model; its summed loss, seconds for data.

    The step comes in micro-batches; each adds its share of one mean over all targets. `factors`
    are those on their losses; 0: such a micro-batch is there to meet the other ranks only.
    """
    model, spread, spec = objective.model, objective.spread, objective.spec
    (rank, of), last = spread.drawn, len(factors) - 1
    losses: list[Tensor] = []
    waited, begin = 0.0, perf_counter()
    for index, batch in enumerate(batches):
        waited += perf_counter() - begin
        seed_dropout(key(objective.seed, progress.step, index * of + rank), device)
        with spread.passing(last=index == last):
            how = partial(arithmetic, spec, device)
            keyed = batch._replace(step=progress.step)
            loss = spread.backward(objective.task, model, keyed, factors[index], how)
        losses.append(loss if factors[index] else loss * 0)
        begin = perf_counter()
    spread.finish()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if gradients and progress.scale != 1:
        torch._foreach_mul_(gradients, 1 / progress.scale)  # pyright: ignore[reportPrivateImportUsage]
    return (losses[0] if len(losses) == 1 else torch.stack(losses).sum()), waited


def refuse(objective: Objective, request: Request, progress: Progress, *, loss: float) -> None:
    """Raise NonFinite unless this step may be skipped: on request, or while fp16 finds its scale.

    The scale can be too large for gradients only: it does not touch the loss.
    """
    spec = objective.spec
    progress.skipped += 1
    searching = spec.precision == "fp16" and progress.scale > 1 and math.isfinite(loss)
    if searching or (spec.on_nonfinite == "skip" and progress.skipped <= MOST_SKIPS):
        return
    alone = objective.spread.world.alone  # else a rank can't repeat a step without the others
    where = diagnose(objective, request, progress) if alone else "a loss or gradient is not finite"
    again = f" ({progress.skipped} steps in a row)" if progress.skipped > 1 else ""
    raise NonFinite(
        f"step {progress.step + 1}: {where}{again}; the update was not applied. "
        "A lower fit.optimizer.lr, fit.clip or warm-up may help; fit.on_nonfinite=skip goes on"
    )


def diagnose(objective: Objective, request: Request, progress: Progress) -> str:
    """Repeat a step, which is a function of its seed, to find what is not finite first."""
    model, task, split, spec, seed, *_ = objective
    ids, reading = request.ids, read_by(objective)
    targets = split.count(ids)
    device = next(model.parameters()).device
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the weight {name} is not finite"
    for index, piece in enumerate(pieces(request, spec.micro_batch)):
        part = piece.ids
        model.zero_grad(set_to_none=True)
        batch = reading.batch(piece, device)
        if bad := _bad_inputs(batch):
            return f"the inputs of samples {bad} are not finite"
        seed_dropout(key(seed, progress.step, index), device)
        with arithmetic(spec, device):
            losses = task.losses(model(*batch.inputs), batch.targets)
        wrong = (
            ~losses.detach().flatten(1).isfinite().all(1) if losses.ndim > 1 else ~losses.isfinite()
        )
        if wrong.any():
            return f"the loss of samples {_named(part[wrong.cpu().numpy()])} is not finite"
        (losses.sum() / targets * progress.scale).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                return f"the gradient of {name} is not finite, for samples {_named(part)}"
    return f"the sum of losses or gradients over samples {_named(ids)} is not finite"


def rescale(progress: Progress, spec: Fit, *, finite: bool) -> None:
    """Move fp16's loss scale: half after a non-finite step, double after many finite ones."""
    if finite:
        progress.skipped = 0
    if spec.precision != "fp16":
        return
    progress.good = progress.good + 1 if finite else 0
    if not finite:
        progress.scale = max(1.0, progress.scale / 2)
    elif progress.good == SCALE_UP_AFTER:
        progress.scale, progress.good = min(progress.scale * 2, 2.0**24), 0


def begin(spec: Fit) -> Progress:
    """Progress at the start of a run."""
    return Progress(scale=2.0**15 if spec.precision == "fp16" else 1.0)


def budget(split: Split, spec: Fit) -> tuple[int, int | None]:
    """Samples per step and in all; None where the budget is in seconds."""
    n = len(split)
    tokens = split.count(np.arange(n)) if spec.tokens else n
    return min(spec.batch_size(n), 2**31), spec.total_samples(n, tokens)


def refuse_unfinished(spec: Fit, size: int, total: int | None) -> None:
    """Raise RecipeError where the last step begins before all weights that `fit.sparsity` takes."""
    steps = math.ceil((total or 0) / size)
    last = (steps - 1) * size / total if total else 0.0
    if spec.sparsity and spec.sparsity.end > last:
        expected = f"at most {last:g}, the share before the last of {steps} steps"
        hint = "a longer budget, or a smaller batch"
        raise RecipeError(
            [Fault("fit.sparsity.end", expected, f"{spec.sparsity.end:g}", hint=hint)]
        )


def ends(spec: Fit, size: int, total: int | None) -> frozenset[int]:
    """The steps after which a cycle of the schedule ends, for a budget of so many samples."""
    steps = math.ceil(total / size) if total else 0
    found = (math.ceil(share * (total or 0) / size - 1e-6) for share in spec.schedule.ends())
    return frozenset(min(max(step, 1), steps) for step in found if steps)


def due(spec: Fit, number: int, before: float, after: float) -> bool:
    """Whether the validation split is judged after a step, as often as the recipe says.

    `before` and `after` are the shares of the budget that are spent before and after it.
    """
    if spec.evaluate_every:
        return number % spec.evaluate_every == 0
    return math.floor(after * EVALUATIONS) > math.floor(before * EVALUATIONS)


def arithmetic(spec: Fit, device: torch.device) -> AbstractContextManager[object]:
    """The autocast that `fit.precision` asks for."""
    if spec.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[spec.precision])


def key(seed: int, step: int, index: int) -> int:
    """A 63-bit seed for one micro-batch, by the finalizer of SplitMix64 (Steele et al., 2014)."""
    z = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03 + index * 0x8CB92BA72F3D8DD7) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return (z ^ (z >> 31)) >> 1


def seed_dropout(number: int, device: torch.device) -> None:
    """Set the generator that dropout draws from on this device."""
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


def _bad_inputs(batch: Batch) -> str:
    for tensor in batch.inputs:
        if tensor.is_floating_point():
            wrong = ~tensor.flatten(1).isfinite().all(1)
            if wrong.any():
                return _named(batch.ids[wrong.cpu().numpy()])
    return ""


def _named(ids: np.ndarray) -> str:
    more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
    return ", ".join(str(i) for i in ids[:8]) + more
