"""Ranks: a model on the ranks of a layout, and what each of its backward passes has to do there.

Replicas use torch's DistributedDataParallel, shards its fully_shard; both are told to sum gradients
and not to average them, since a loss is a sum of which each rank has a part.
"""

from collections import Counter
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.parallel import DistributedDataParallel

from zafu.batch import Batch
from zafu.errors import Refused
from zafu.layout import held as held_stages
from zafu.parallel import context, tensor
from zafu.parallel.owners import owned
from zafu.parallel.pipeline import Pipeline
from zafu.parallel.spread import Arithmetic, Loss, Spread
from zafu.parallel.stages import cut
from zafu.parallel.vocabulary import SharedLogits
from zafu.parallel.world import World
from zafu.pieces import Held, Piece, held_by

KEPT_APART = ("pipeline", "shard", "tensor")  # along these axes ranks hold different pieces


class Ranks(Spread):
    """One rank's part of a model."""

    def __init__(
        self,
        model: nn.Module,
        world: World,
        task: Loss,
        looked_at_whole: Container[str] = (),
        *,
        narrow: bool = False,
    ) -> None:
        """Cut the model; `self.model` is what is left of it here. Some tensors are moved whole.

        `narrow`: gradients are near their largest number, as those of fp16 are.
        """
        super().__init__(world)
        refuse_batch_norm(model)
        whole = {n: p.detach().clone() for n, p in model.named_parameters() if n in looked_at_whole}
        buffers = held_by(model).buffers
        self._shared = tensor.apply(model, world)
        context.apply(model, world)
        self._pipeline: Pipeline | None = None
        self._carried: _Carried | None = None  # where gradients of replicas are summed
        self._task = _of_share(task, self._shared, world)
        stages = [model]
        if world.degree("pipeline") > 1:
            stages = staged(model, world)
            model = nn.ModuleList(stages)
        else:
            tensor.whole_in_eval(model, self._shared, world)
            context.whole_in_eval(model, world)
        self.model, self._called, self._shards = model, model, list[FSDPModule]()
        self._stages = stages
        if world.degree("shard") > 1:
            self._shards = [part for stage in stages for part in sharded(stage, world)]
        elif world.degree("pipeline") == 1:
            self._called, self._carried = replicated(model, world, narrow=narrow)
        if world.degree("pipeline") > 1:
            reduce = _nothing if self._shards else self._add
            self._pipeline = Pipeline(
                stages,
                world,
                lambda logits, targets: self._task.losses(logits, targets).sum(),
                reduce=reduce,
            )
        named = [pair for stage in stages for pair in stage.named_parameters()]
        copies = self._pipeline.copies if self._pipeline else frozenset[str]()
        self._named = dict(named)
        parts, self._doubles = _parts(named, world, self._shared.cuts, copies)
        self._owned = {
            o.part.name: o for o in owned(parts, world, looked_at_whole, whole.__getitem__)
        }
        pieces = [self._owned[p.name].piece() if p.name in self._owned else p for p in parts]
        self.parts = parts
        add = partial(_added, world) if world.degree(*KEPT_APART) > 1 else None
        self.held = Held(pieces, buffers, add, world.rank == 0, self.changed)

    def compile(self, model: nn.Module) -> None:
        """Each stage of a pipeline, as nobody calls them together."""
        for stage in self._stages:
            stage.compile()

    def backward(
        self, task: Loss, model: nn.Module, batch: Batch, factor: float, arithmetic: Arithmetic
    ) -> Tensor:
        """Add the gradients of this rank's part; the sum of its losses."""
        if self.world.degree("context") > 1:
            batch = context.share(batch, self.world)
        if self._carried is not None:
            with arithmetic():
                loss = self._task.loss(self._called, batch)
            self._carried.on(loss, factor).backward(loss.new_full((), factor * self._carried.times))
            return loss.detach()
        if self._pipeline is None:
            return super().backward(self._task, self._called, batch, factor, arithmetic)
        with arithmetic():
            return self._pipeline.backward(batch.inputs, batch.targets, factor)

    def total(self, loss: Tensor) -> Tensor:
        """The sum of a step's loss over all ranks that have a part of it; once a step."""
        return super().total(loss) if self._carried is None else self._carried.taken(loss)

    def answer(self, task: Loss, model: nn.Module, batch: Batch) -> Tensor:
        """What judging needs of each sample, on every rank of a replica."""
        if self._pipeline is None:
            return super().answer(task, model, batch)
        given = batch.inputs
        if self.world.degree("context") > 1:
            given = context.share(batch, self.world).inputs
        return self._pipeline.judge(
            given,
            lambda logits: self._task.answer(context.together(logits, self.world), batch.targets),
        )

    @contextmanager
    def passing(self, *, last: bool) -> Generator[None]:
        """Sums of gradients over ranks after the last pass; of shards by their level."""
        level = self.world.layout.level
        early = level != "optimizer"
        for module in self._shards if self._pipeline is None else ():  # which does so itself
            module.set_requires_gradient_sync(last or early, recurse=False)
            module.set_requires_all_reduce(last, recurse=False)
            module.set_reshard_after_backward(last or level == "parameters", recurse=False)
            module.set_is_last_backward(last)
        ddp = self._called if isinstance(self._called, DistributedDataParallel) else None
        with ddp.no_sync() if ddp and not last else nullcontext():
            yield

    @property
    def drawn(self) -> tuple[int, int]:
        """As of any rank, where those of the tensor axis have different tokens too.

        Other stages have other layers.
        """
        tensor = ("tensor",) if self._shared.sequence else ()
        axes = ("pipeline", "data", "context", "shard", *tensor)
        return self.world.index(*axes), self.world.degree(*axes)

    def finish(self) -> None:
        """Add up what other ranks have of gradients: in a pipeline, and along the tensor axis.

        If the step is counted, note what gradients weigh.
        """
        if self._pipeline:
            self._pipeline.finish()
        tensor.finish(self._named, self._shared, self.world)
        if self.counting:
            self.counting.weigh(self.model)

    def changed(self) -> None:
        """Let the model have what was changed in pieces that stand for parts of it."""
        for whole in self._owned.values():
            whole.deal()
        with torch.no_grad():
            for double, piece in self._doubles:
                _shown(double).copy_(piece.own)
                double.grad = None  # of the parameter itself: its shard has none

    def _add(self) -> None:
        """Sum the gradients of replicas, in one message."""
        group = self.world.group("data", "context")
        found = [p.grad for p in self.model.parameters() if p.grad is not None]
        if group is None or not found:
            return
        flat = torch.cat([g.reshape(-1) for g in found])
        dist.all_reduce(flat, group=group)
        for gradient, total in zip(found, flat.split([g.numel() for g in found]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def settle(self) -> None:
        """Drop the whole parameters of shards, which may have been others than are trained."""
        for module in self._shards:
            module.reshard()


@final
class _Carried(nn.Module):
    """A model, and its loss in the guise of a gradient: who sums those needs no further message."""

    def __init__(self, model: nn.Module, device: torch.device, times: int) -> None:
        """`times` is by how much gradients are too large before they are summed."""
        super().__init__()
        self.loss, self.model = nn.Parameter(torch.zeros((), device=device)), model
        self.times = times

    def forward(self, *inputs: Tensor) -> Tensor:
        """As the model."""
        return self.model(*inputs)

    def on(self, loss: Tensor, factor: float) -> Tensor:
        """The same loss; `factor` times it goes backward, and leaves the loss as it is."""
        return loss + self.loss * (loss.detach() / factor if factor else loss.detach() * 0)

    def taken(self, loss: Tensor) -> Tensor:
        """The sum over replicas and micro-batches, which is forgotten here."""
        found, self.loss.grad = self.loss.grad, None
        if found is None:
            raise RuntimeError("expected a backward pass before its loss is summed")
        return found.to(loss.dtype, copy=True)


def replicated(
    model: nn.Module, world: World, *, narrow: bool
) -> tuple[nn.Module, _Carried | None]:
    """The model as DistributedDataParallel, with gradients and losses summed over replicas.

    It takes means. For 2, 4, 8, ... of them the mean of numbers that are as much larger is their
    sum to the bit, unless they overflow; else a hook in Python sums, which costs 0.1 ms a bucket.
    """
    group, count = world.group("data", "context"), world.degree("data", "context")
    if group is None:
        return model, None
    means = not narrow and count & (count - 1) == 0
    carried = _Carried(model, world.device, times=count if means else 1)
    ddp = DistributedDataParallel(
        carried,
        process_group=group,
        init_sync=False,  # weights are a function of the seed
        forward_sync_buffers=False,
        gradient_as_bucket_view=True,
    )
    if not means:
        ddp.register_comm_hook(group, _summed)
    return ddp, carried


def _summed(group: Any, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    work = dist.all_reduce(bucket.buffer(), group=group, async_op=True)
    assert work is not None  # noqa: S101  (it is asynchronous)
    return work.get_future().then(lambda done: done.value()[0])


def sharded(model: nn.Module, world: World) -> Iterator[FSDPModule]:
    """In place: cut all parameters over the shard axis; block by block, so that few are whole.

    In a pipeline they stay whole from the first micro-batch to the last. To gather them for each
    costs as much as micro-batches, and schedules that split a backward pass would lose gradients:
    torch lets go of parameters between the halves.
    """
    mesh = mesh_of(world)
    again = world.layout.level == "parameters" and world.degree("pipeline") == 1
    for part in [*blocks(model), model]:
        if next(part.parameters(), None) is None:
            continue
        module = fully_shard(part, mesh=mesh, reshard_after_forward=again)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum
        yield module


def blocks(model: nn.Module) -> list[nn.Module]:
    """What repeats: the members of the outermost lists of modules."""
    found: list[nn.Module] = []
    for child in model.children():
        found += [*child] if isinstance(child, nn.ModuleList) else blocks(child)
    return found


def mesh_of(world: World) -> DeviceMesh:
    """The ranks of this one's stage and tensor slice, as (replicas, shards) or (shards)."""
    device, shards = world.device.type, world.group("shard")
    replicas = world.group("data", "context")
    if shards is None:
        raise ValueError("expected a layout with shards")
    if replicas is None:
        return DeviceMesh.from_group(shards, device, mesh_dim_names=("shard",))
    ranks = world.layout.peers(world.rank, "data", "context", "shard")
    mesh = torch.tensor(ranks).view(-1, world.degree("shard"))
    names = ("replica", "shard")
    return DeviceMesh.from_group([replicas, shards], device, mesh, mesh_dim_names=names)


def refuse_batch_norm(model: nn.Module) -> None:
    """Raise Refused for layers whose answer depends on who else is in a rank's batch."""
    found = [n for n, m in model.named_modules() if isinstance(m, _BatchNorm)]
    if found:
        raise Refused(
            f"layout: {', '.join(found[:4])} normalizes over the samples of a batch, of which each "
            "process has a part; take a norm over each sample, such as GroupNorm"
        )


def staged(model: nn.Module, world: World) -> list[nn.Module]:
    """This rank's stages of a pipeline."""
    layout = world.layout
    numbers = held_stages(layout.schedule, world.index("pipeline"), layout.pipeline)
    stages = [cut(model, number, layout.stages) for number in numbers]
    for number, stage in zip(numbers, stages, strict=True):
        if next(stage.parameters(), None) is None:
            raise Refused(
                f"layout.pipeline: stage {number} of {layout.stages} would have no parameters; "
                "take fewer stages"
            )
    return stages


def _added(world: World, values: Tensor) -> Tensor:
    """The sum over the ranks of one replica."""
    return world.add(values, *KEPT_APART)


def _nothing() -> None:
    """Gradients of shards are summed already."""


def _of_share(task: Loss, shared: tensor.Shared, world: World) -> Loss:
    """The task, for logits of which each process has a share."""
    group = world.group("tensor")
    if group is None or shared.vocabulary is None:
        return task
    return SharedLogits(task, group, shared.vocabulary)


def _parts(
    named: list[tuple[str, nn.Parameter]],
    world: World,
    cuts: Mapping[str, tensor.Cut],
    copies: Container[str],
) -> tuple[list[Piece], list[tuple[nn.Parameter, Piece]]]:
    """What is here of each parameter, and which of these have a double here.

    `copies` are those of the last stage that the first has as well: they count once.
    """
    parts: dict[str, Piece] = {}
    doubles: list[tuple[nn.Parameter, Piece]] = []
    twice = {name for name, count in Counter(name for name, _ in named).items() if count > 1}
    for name, parameter in named:
        if name in parts:
            doubles.append((parameter, parts[name]))
        else:
            copy = name in copies and name not in twice
            parts[name] = _piece(name, parameter, world, cut=cuts.get(name), copy=copy)
    return list(parts.values()), doubles


def _shown(parameter: nn.Parameter) -> Tensor:
    return parameter.to_local().detach() if isinstance(parameter, DTensor) else parameter


def _piece(
    name: str, parameter: nn.Parameter, world: World, *, cut: tensor.Cut | None, copy: bool
) -> Piece:
    alike = ("data", "context") if cut else ("data", "context", "tensor")
    first = world.index(*alike) == 0 and not copy
    share = (not copy) / (1 if cut else world.degree("tensor"))
    shape, offset = list(parameter.shape), [0] * parameter.dim()
    own, gradient = parameter, _plain(parameter)
    if isinstance(parameter, DTensor):
        own = nn.Parameter(parameter.to_local().detach(), requires_grad=parameter.requires_grad)
        gradient = _local(parameter)
        rows = -(-shape[0] // world.degree("shard"))  # as torch.chunk cuts
        offset[0] = min(world.index("shard") * rows, shape[0])
    else:
        first, share = first and world.index("shard") == 0, share / world.degree("shard")
    if cut:
        shape[cut.dim] = cut.size
        offset[cut.dim] += cut.start
    return Piece(name, own, tuple(shape), tuple(offset), gradient, share, first)


def _plain(parameter: nn.Parameter) -> Callable[[], Tensor | None]:
    return lambda: parameter.grad


def _local(parameter: DTensor) -> Callable[[], Tensor | None]:
    def gradient() -> Tensor | None:
        found, parameter.grad = parameter.grad, None
        return found.to_local() if isinstance(found, DTensor) else None

    return gradient
