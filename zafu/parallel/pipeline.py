"""Pipeline: forward and backward over stages that lie on several processes.

Schedules and the split of backward into inputs and weights are torch's (`torch.distributed.
pipelining`); sources in `zafu.parallel.schedules`. Ours are static shapes, found once by passing
one micro-batch through, so that no object is pickled; sums of losses and gradients instead of
means; batches that micro-batches do not divide; and ends that share a tied parameter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.pipelining import PipelineStage
from torch.distributed.tensor import DTensor

from zafu.layout import held
from zafu.parallel.schedules import arranged, holder
from zafu.parallel.stages import tied
from zafu.parallel.world import World

Loss = Callable[[Tensor, Tensor], Tensor]  # (logits, targets) -> the sum over all targets
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool)
HEADER = 10  # numbers that describe a tensor: its type, its dims, their sizes


class Form(NamedTuple):
    """What passes between two stages: sizes `(micro-batch, ...)` and type."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def like(self, device: torch.device) -> Tensor:
        """Zeros of this form."""
        return torch.zeros(self.shape, dtype=self.dtype, device=device)


def _nothing() -> None:
    """Nothing is left to be summed."""


@final
class Pipeline:
    """The stages of this process, and how they work with those of the others.

    `stages` are those that `held` numbers, in that order, wrapped or sharded as it may be.
    `reduce` sums gradients over the processes of other axes, where no wrapper of the stages did:
    it runs once a step, before the ends of the pipeline share gradients of tied parameters.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        world: World,
        loss: Loss,
        *,
        reduce: Callable[[], None] = _nothing,
    ) -> None:
        logging.getLogger("torch.distributed.pipelining.schedules").setLevel(logging.CRITICAL)
        layout = world.layout
        self.world, self.pieces, self.last = world, layout.pieces, layout.stages - 1
        numbers = held(layout.schedule, world.index("pipeline"), layout.pipeline)
        self.stages = dict(zip(numbers, stages, strict=True))
        self._loss, self._reduce = loss, reduce
        self._forms: dict[int, tuple[Form, Form]] = {}  # by stage: what it takes and what it gives
        self._known: object = None  # of which inputs these are the forms
        self._order: Any = None  # the schedule
        self._ordered: object = None  # for which inputs it was made
        self._size = 0  # samples of its micro-batches
        self._factor = 1.0
        self._targets: tuple[Tensor, ...] = ()  # by micro-batch
        self._sums: list[Tensor] = []

    @property
    def copies(self) -> frozenset[str]:
        """Tied parameters of the last stage, if it is here: a norm must not count them again."""
        return frozenset(tied(self.stages[self.last])) if self.last in self.stages else frozenset()

    def backward(self, inputs: tuple[Tensor, ...], targets: Tensor, factor: float) -> Tensor:
        """Add the gradients of `factor` times the loss of a batch; its summed loss, without factor.

        After the last batch of a step comes `finish`. Every process of the pipeline passes the same
        batch. Where micro-batches do not divide it, its first sample is repeated to fill the last
        ones, and no loss is taken there.
        """
        rows = len(targets)
        size = self._ready(inputs, -(-rows // self.pieces))
        self._factor, self._sums = factor, []
        self._targets = tuple(targets[k * size : (k + 1) * size] for k in range(self.pieces))
        given = [_filled(x, size * self.pieces) for x in inputs] if 0 in self.stages else []
        if self.last in self.stages:
            numbers = torch.arange(self.pieces)  # `_loss_of` knows whose targets they stand for
            self._order.step(*given, target=numbers, return_outputs=False)
        else:
            self._order.step(*given, return_outputs=False)
        self._targets = ()
        total = torch.zeros((), device=self.world.device)
        if self._sums:
            total = torch.stack(self._sums).sum().to(total)
        return self.world.add(total, "pipeline")

    def finish(self) -> None:
        """Let gradients be those of the whole batch, once after all backward passes of a step."""
        self._reduce()
        self.tie()

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The model's answer, on every process of the pipeline; without gradients."""
        return self.judge(inputs, lambda logits: logits)

    @torch.no_grad()
    def judge(self, inputs: tuple[Tensor, ...], answer: Callable[[Tensor], Tensor]) -> Tensor:
        """What `answer` makes of the whole batch's logits, on every process of the pipeline.

        It is called where the last stage lies, so that logits need not travel.
        """
        rows = len(inputs[0])
        self._learn(inputs, min(rows, -(-rows // self.pieces)))
        ends = [rows * k // self.pieces for k in range(self.pieces + 1)]
        bounds = [(a, b) for a, b in pairwise(ends) if a < b]
        sent: list[tuple[dist.Work | None, Tensor]] = []
        here: list[Tensor] = []
        for number, stage in self.stages.items():
            given, here, later = here, [], list[Tensor]()
            for k, (begin, end) in enumerate(bounds):
                if number == 0:
                    out = stage(*(x[begin:end] for x in inputs))
                elif number - 1 in self.stages:
                    out = stage(given[k])
                else:
                    out = stage(self._received(number, end - begin))
                if number == self.last or number + 1 in self.stages:
                    here.append(out)
                elif number and self._holder(number - 1) == self._holder(number + 1):
                    later.append(out)  # NCCL hears nothing from who waits for its own message
                else:
                    sent.append((self._sent(number, out), out))
            sent += [(self._sent(number, out), out) for out in later]
        for work, _ in sent:
            if work is not None:
                work.wait()
        _reshard(self.stages)
        return self._told(answer(torch.cat(here)) if self.last in self.stages else None)

    def tie(self) -> None:
        """Sum the gradients of tied parameters over both ends, in place, the same bits on each.

        Those that are frozen have none.
        """
        first, last = self.stages.get(0), self.stages.get(self.last)
        if first is not None and last is not None:
            for name in _trained(last):
                mine, other = _gradient(first, name), _gradient(last, name)
                other.copy_(mine.add_(other))
        elif (end := first if first is not None else last) is not None:
            peer = self._holder(self.last if first is not None else 0)
            group = self.world.group("pipeline")
            for name in _trained(end):
                gradient = _gradient(end, name)
                mine, other = gradient.contiguous(), torch.empty_like(gradient)
                both = [
                    dist.P2POp(dist.isend, mine, group=group, group_peer=peer),
                    dist.P2POp(dist.irecv, other, group=group, group_peer=peer),
                ]
                for work in dist.batch_isend_irecv(both):
                    work.wait()
                gradient.add_(other)

    def _loss_of(self, logits: Tensor, number: Tensor) -> Tensor:
        """The loss of a micro-batch, times the factor; where there are no targets, 0."""
        targets = self._targets[int(number)]
        if not len(targets):
            return logits.sum() * 0
        loss = self._loss(logits[: len(targets)], targets)
        self._sums.append(loss.detach())
        return loss * self._factor

    def _ready(self, inputs: tuple[Tensor, ...], size: int) -> int:
        """Make the schedule for such inputs, unless there is one; the size of its micro-batches."""
        known = self._learn(inputs, size)
        if self._order is None or self._ordered != known or size > self._size:
            layout, device = self.world.layout, self.world.device
            made = [
                PipelineStage(
                    stage,
                    number,
                    layout.stages,
                    device,
                    input_args=self._example(number, inputs, size),
                    output_args=_stream(self._forms[number][1], size),
                    group=self.world.group("pipeline"),
                )
                for number, stage in self.stages.items()
            ]
            self._order = arranged(layout.schedule, made, self.pieces, self._loss_of)
            self._ordered, self._size = known, size
        return self._size

    def _example(self, number: int, inputs: tuple[Tensor, ...], size: int) -> tuple[Tensor, ...]:
        if number == 0:
            return tuple(x[:1].expand(size, *x.shape[1:]).to("meta").contiguous() for x in inputs)
        return (_stream(self._forms[number][0], size),)

    def _learn(self, inputs: tuple[Tensor, ...], size: int) -> object:
        """What is known of the inputs, by which stages' forms are kept; each takes and gives one.

        One micro-batch goes through all stages, without gradients and in evaluation, which draws
        no random numbers.
        """
        kind = self.world.device.type
        arithmetic = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)
        known = arithmetic, tuple((x.shape[1:], x.dtype) for x in inputs)
        if known == self._known:
            return known
        out = torch.empty(0)
        with torch.no_grad():
            for number, stage in self.stages.items():
                if number == 0:
                    given = tuple(_filled(x[:size], size) for x in inputs)
                elif number - 1 in self.stages:
                    given = (out,)
                else:
                    given = (self._heard_form(self._holder(number - 1)).like(self.world.device),)
                training = stage.training
                out = stage.eval()(*given)
                stage.train(training)
                self._forms[number] = (_form(given[0]), _form(out))
                if number < self.last and number + 1 not in self.stages:
                    header = _header(_form(out)).to(self.world.device)
                    group = self.world.group("pipeline")
                    dist.send(header, group=group, group_dst=self._holder(number + 1))
        _reshard(self.stages)
        self._known = known
        return known

    def _heard_form(self, peer: int) -> Form:
        header = torch.zeros(HEADER, dtype=torch.int64, device=self.world.device)
        dist.recv(header, group=self.world.group("pipeline"), group_src=peer)
        return _read(header)

    def _received(self, number: int, size: int) -> Tensor:
        """What the stage before sends to one of ours: `(size, ...)`."""
        shape, dtype = self._forms[number][0]
        found = Form((size, *shape[1:]), dtype).like(self.world.device)
        group = self.world.group("pipeline")
        dist.recv(found, group=group, group_src=self._holder(number - 1))
        return found

    def _told(self, answer: Tensor | None) -> Tensor:
        """What the process of the last stage has, on every process."""
        group, source = self.world.group("pipeline"), self._holder(self.last)
        header = torch.zeros(HEADER, dtype=torch.int64)
        if answer is not None:
            header = _header(_form(answer))
        header = header.to(self.world.device)
        dist.broadcast(header, group=group, group_src=source)
        found = _read(header).like(self.world.device) if answer is None else answer.contiguous()
        dist.broadcast(found, group=group, group_src=source)
        return found

    def _sent(self, number: int, out: Tensor) -> dist.Work | None:
        """What a stage gives, on its way to the next one."""
        peer, group = self._holder(number + 1), self.world.group("pipeline")
        return dist.isend(out, group=group, group_dst=peer)

    def _holder(self, number: int) -> int:
        return holder(self.world.layout.schedule, number, self.world.layout.pipeline)


def _stream(form: Form, size: int) -> Tensor:
    """An example, without memory, of what passes between stages for micro-batches of this size."""
    shape = (size, *form.shape[1:])
    return torch.empty(shape, dtype=form.dtype, device="meta", requires_grad=True)


def _form(x: Tensor) -> Form:
    return Form(tuple(x.shape), x.dtype)


def _header(form: Form) -> Tensor:
    numbers = [DTYPES.index(form.dtype), len(form.shape), *form.shape]
    return torch.tensor(numbers + [0] * (HEADER - len(numbers)))


def _read(header: Tensor) -> Form:
    dtype, dims, *sizes = header.tolist()
    return Form(tuple(sizes[:dims]), DTYPES[dtype])


def _filled(x: Tensor, rows: int) -> Tensor:
    """The samples, then the first one again until there are so many."""
    missing = rows - len(x)
    return x if missing <= 0 else torch.cat([x, x[:1].expand(missing, *x.shape[1:])])


def _trained(stage: nn.Module) -> list[str]:
    """The tied parameters of an end that are not frozen, on both ends alike."""
    return [name for name in tied(stage) if stage.get_parameter(name).requires_grad]


def _gradient(stage: nn.Module, name: str) -> Tensor:
    """The gradient of a parameter, as far as it is here: what is changed in it, is changed."""
    gradient = stage.get_parameter(name).grad
    if gradient is None:
        raise ValueError(f"expected a gradient of {name}, found none: no backward pass was made")
    return gradient.to_local() if isinstance(gradient, DTensor) else gradient


def _reshard(stages: dict[int, nn.Module]) -> None:
    """Let go of gathered parameters: the next update would not reach them."""
    for stage in stages.values():
        for module in stage.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
