"""Fit: how a model is trained, as a recipe says it. The loop itself is in `loop.py`.

Stochastic, mini-batch and full-batch gradient descent are one switch, `batch: 1 | 32 | all`, and
the budget is given in exactly one of steps, epochs, samples, tokens or seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from zafu.augment.contract import Augmentation
from zafu.distil import Distil
from zafu.errors import Fault
from zafu.loading.auto import Auto
from zafu.loading.contract import Loader
from zafu.optim.adamw import AdamW
from zafu.optim.averaging import Average
from zafu.optim.clashes import clashes
from zafu.optim.contract import Optimizer
from zafu.optim.gradient import Clip, Noise
from zafu.optim.penalties import Penalty
from zafu.optim.schedules import Constant, Schedule
from zafu.optim.sparsity import Sparsity
from zafu.spec import Spec
from zafu.track.contract import Tracker
from zafu.track.tensorboard import TensorBoard

BUDGETS = ("steps", "epochs", "samples", "tokens", "seconds")


class EarlyStopping(Spec):
    """End when the evaluation metric has not improved for a while; the best weights are kept."""

    patience: int = Field(default=5, ge=1)
    """Evaluations without improvement that are borne, >= 1."""
    min_delta: float = Field(default=0.0, ge=0)
    """Change of the metric that counts as improvement, >= 0."""


class Fit(Spec):
    """How weights are found: by which optimizer, on which batches, for how long."""

    optimizer: Optimizer = AdamW()
    """How gradients change weights."""
    schedule: Schedule = Constant()
    """How the learning rate moves over the budget."""
    batch: Annotated[int, Field(ge=1)] | Literal["all"] = 32
    """Samples per step: 1 is stochastic, "all" is full-batch gradient descent."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Most samples in one forward pass; a larger batch is summed over several, exactly."""

    steps: int | None = Field(default=None, ge=1)
    """Budget: number of updates."""
    epochs: float | None = Field(default=None, gt=0)
    """Budget: passes over the training split; fractions are allowed."""
    samples: int | None = Field(default=None, ge=1)
    """Budget: samples seen."""
    tokens: int | None = Field(default=None, ge=1)
    """Budget: tokens seen, for language models."""
    seconds: float | None = Field(default=None, gt=0)
    """Budget: seconds of training; its end depends on the machine, so runs are not repeatable."""

    start: str | None = None
    """A finished run whose weights are the first ones; None: they are drawn from the seed."""

    distil: Distil | None = None
    """A finished model from whose answers it learns, beside the targets."""

    augment: tuple[Augmentation, ...] = ()
    """Random changes of training samples, in this order, anew in each epoch."""
    augment_backend: Literal["torch", "opencv"] = "torch"
    """Who changes pictures: torch on any device, or OpenCV on the CPU."""
    loader: Loader = Auto()
    """Who reads batches, and how far ahead; it changes none of them."""

    penalties: tuple[Penalty, ...] = ()
    """Penalties on the weights, such as l1."""
    clip: Clip | None = None
    """Limit on the gradient."""
    noise: Noise | None = None
    """Noise on the gradient."""
    average: Average | None = None
    """Average of the weights over time, which is evaluated and shipped in place of the last."""
    sparsity: Sparsity | None = None
    """Which weights become 0 while it is trained, and stay so; the model folder stores the others
    and a bit for each."""
    early_stopping: EarlyStopping | None = None
    """When to end before the budget does."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward pass; weights and optimizer state stay in fp32."""
    compile: bool = False
    """Whether torch.compile turns the model into fused code (slow start, faster steps)."""
    recompute: bool = False
    """Whether activations are computed again in the backward pass: less memory, more time."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """What a NaN or infinite loss or gradient does; it is never applied nor saved."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes the GPU if there is one."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of CPU arithmetic; part of what makes bytes repeatable. None: torch's choice."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations on the validation split; None: ten over the budget."""
    save_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; None: about once a minute."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints kept, >= 1, beside the best one."""
    trackers: tuple[Tracker, ...] = (TensorBoard(),)
    """Where measurements go beside metrics.jsonl."""

    def check(self) -> Iterable[Fault]:
        """Exactly one budget; micro-batches that cut the batch evenly."""
        given = self._budgets()
        if len(given) != 1:
            found = " and ".join(f"{name}={value:g}" for name, value in given.items()) or "none"
            hint = f"drop one, as in fit.{next(iter(given))}=null" if given else "add fit.epochs=3"
            yield Fault("", f"one budget ({', '.join(BUDGETS)})", found, hint=hint)
        if self.micro_batch and self.batch != "all" and self.batch % self.micro_batch:
            near = math.gcd(self.batch, self.micro_batch)
            found = f"{self.micro_batch} for a batch of {self.batch}"
            yield Fault("micro_batch", "a divisor of batch", found, hint=f"for example {near}")
        if self.micro_batch is None and self.batch == "all":
            hint = "micro_batch=256 sums the whole split in pieces that fit into memory"
            yield Fault("micro_batch", "a size, as batch is all", "nothing", hint=hint)
        if self.augment_backend != "torch" and not self.augment:
            found = self.augment_backend
            yield Fault("augment_backend", "torch, as nothing is augmented", found)
        if self.seconds and self.schedule.ends():
            expected = f"a budget in {', '.join(BUDGETS[:-1])}, of which each cycle has its part"
            yield Fault("seconds", expected, f"schedule {self.schedule.kind}")
        if self.sparsity and self.seconds:
            expected = f"a budget in {', '.join(BUDGETS[:-1])}, in shares of which weights go"
            yield Fault("seconds", expected, "sparsity")
        if self.sparsity and self.early_stopping:
            expected = "none with sparsity, before all of which the best weights may be found"
            yield Fault("early_stopping", expected, "one")
        yield from clashes(self.optimizer, self.penalties, self.average)

    @property
    def state_per_weight(self) -> float:
        """Numbers beside each weight: the optimizer's, an average, what sparsity ranks by."""
        others = (self.average is not None) + (self.sparsity is not None)
        return self.optimizer.state_per_parameter + others

    def goal(self) -> str:
        """The budget in words, such as `300 steps`."""
        return " and ".join(f"{value:g} {name}" for name, value in self._budgets().items())

    def total_samples(self, samples: int, tokens: int) -> int | None:
        """Samples that the budget buys on a split of so many samples and tokens; None: seconds."""
        if self.steps:
            return self.steps * self.batch_size(samples)
        if self.epochs:
            return max(1, round(self.epochs * samples))
        if self.tokens:
            return max(1, math.ceil(self.tokens * samples / tokens))
        return self.samples

    def batch_size(self, samples: int) -> int:
        """Samples per step on a split of so many."""
        return samples if self.batch == "all" else self.batch

    def _budgets(self) -> dict[str, float]:
        values = (self.steps, self.epochs, self.samples, self.tokens, self.seconds)
        return {name: value for name, value in zip(BUDGETS, values, strict=True) if value}
