"""Counting: what the processes of a layout say to each other in one step, and how long they wait.

All of torch's collectives, ours and those of its wrappers, pass its dispatcher; so a mode sees them
with their group, as torch's own CommDebugMode does. Counted are the bytes of a message as a ring
moves them (Patarasuk & Yuan, 2009). A mode costs microseconds for each operation, so one step is
counted and the others are left alone; the numbers that are computed are the same.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any, Protocol, TypeVar, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from zafu.costs import passed_on, together
from zafu.optim.runtime.update import Update
from zafu.parallel.spread import Spread
from zafu.parallel.world import World

NO_LIMIT = timedelta(0)  # of a wait; torch then takes that of the group
COUNTED = 3  # which step of a process
NUMBERS = 64  # bytes up to which a message is taken for a loss, a norm or a vote
PASSED_ON = ("send", "recv_")
Ring = Callable[[int, int], float]  # (bytes, ranks) -> bytes that a rank sends
RINGS: dict[str, tuple[int, Ring]] = {  # by operation: which argument is the whole tensor
    "allreduce_": (0, lambda b, n: 2 * (n - 1) / n * b),
    "_allgather_base_": (0, lambda b, n: (n - 1) / n * b),
    "allgather_": (1, lambda b, n: (n - 1) * b),
    "_reduce_scatter_base_": (1, lambda b, n: (n - 1) / n * b),
    "broadcast_": (0, lambda b, n: (n - 1) / n * b),
    "alltoall_base_": (1, lambda b, n: (n - 1) / n * b),
    "gather_": (1, lambda b, n: (n - 1) / n * b),  # on the average of the ranks
    "scatter_": (0, lambda b, n: (n - 1) / n * b),
    "send": (0, lambda b, _: b),
}


@dataclass
class Spoken:
    """What a rank said along some axes."""

    bytes: float = 0.0
    messages: int = 0
    numbers: int = 0  # messages of a few bytes, which are not counted above
    seconds: float = 0.0  # in which it waited


@dataclass
class Pending:
    """Sums that go on while others are computed: when the last was begun, and when it ended."""

    begun: float = 0.0
    ended: float = 0.0


@final
class Counting(TorchDispatchMode):
    """Inside, every message of this rank is counted, and the time for which it waits."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.spoken: dict[str, Spoken] = {}
        self.parameters = self.gradients = 0  # bytes, when all gradients of a step were there
        self.operations = 0  # that were looked at
        self._axes = {name: together(*axes) for name, axes in world.names().items()}
        self.waits = world.device.type == "cpu"  # elsewhere a wait returns before its end
        self._works: list[_Work] = []

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Compiled code stays compiled."""
        return True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do what is asked, and count it if it is a message."""
        self.operations += 1
        if func.namespace != "c10d":
            return func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        spoken, ranks = self._spoken(args, name)
        if name in RINGS:
            where, ring = RINGS[name]
            size = sum(x.nbytes for x in _tensors(args[where]))
            if size <= NUMBERS:
                spoken.numbers += 1
            else:
                spoken.messages += 1
                spoken.bytes += ring(size, ranks)
        begun = perf_counter()
        out = func(*args, **(kwargs or {}))
        spoken.seconds += perf_counter() - begun
        return self._timed(out, spoken) if self.waits else out

    @property
    def waited(self) -> float:
        """Seconds for which this rank waited for others; known after `end`, on a CPU."""
        return sum(spoken.seconds for spoken in self.spoken.values())

    def weigh(self, model: nn.Module) -> None:
        """Note how large the parameters and gradients are that are there."""
        self.parameters = size_of(model.parameters())
        found = [p.grad for p in model.parameters() if p.grad is not None]
        self.gradients = size_of(found)

    def end(self) -> None:
        """Add the time that was waited for what nobody waited for by name; after the step."""
        late: dict[int, tuple[Spoken, Pending]] = {}
        for work in self._works:
            if work.ended:
                spoken, last = late.setdefault(id(work.spoken), (work.spoken, Pending()))
                last.begun, last.ended = max(last.begun, work.begun), max(last.ended, work.ended)
        for spoken, last in late.values():  # backward was over when it began its last sum
            spoken.seconds += max(0.0, last.ended - last.begun)
        self._works.clear()

    def _spoken(self, args: tuple[Any, ...], name: str) -> tuple[Spoken, int]:
        group = next(
            dist.ProcessGroup.unbox(x)
            for x in args
            if isinstance(x, torch.ScriptObject) and "ProcessGroup" in str(x._type())
        )
        axes = self._axes.get(group.group_name, "others")
        if name in PASSED_ON:
            axes = passed_on(axes)
        return self.spoken.setdefault(axes, Spoken()), group.size()

    def _timed(self, out: Any, spoken: Spoken) -> Any:
        """The same answer, with a work that knows for how long it was waited for."""
        *tensors, work = out if isinstance(out, tuple) else (out,)
        made = _Work(dist.Work.unbox(work), spoken)
        self._works.append(made)  # C++ does not keep the Python half
        return (*tensors, made.boxed()) if isinstance(out, tuple) else made.boxed()


@final
class _Work(dist.Work):
    """Another work, with a clock."""

    def __init__(self, inner: dist.Work, spoken: Spoken) -> None:
        super().__init__()
        self._inner, self.spoken = inner, spoken
        self.begun, self.ended = perf_counter(), 0.0

    def wait(self, timeout: timedelta = NO_LIMIT) -> bool:
        """As the other."""
        begun = perf_counter()
        found = self._inner.wait(timeout)
        self.spoken.seconds += perf_counter() - begun
        return found

    def get_future(self) -> Any:
        """As the other; who asks for it does not call `wait`."""
        future = self._inner.get_future()
        future.add_done_callback(self._end)
        return future

    def is_completed(self) -> bool:
        """As the other."""
        return self._inner.is_completed()

    def result(self) -> list[Tensor]:
        """As the other."""
        return self._inner.result()

    def _end(self, _: object) -> None:
        self.ended = perf_counter()


class Done(Protocol):
    """A step that was made."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...


S = TypeVar("S", bound=Done)


def counted(
    steps: Iterator[S], spread: Spread, update: Update, said: Callable[[S, list[Any]], None]
) -> Iterator[S]:
    """The same steps; of one of them `said` hears what it cost each rank, as plain data.

    That is the third that this process makes: before, torch makes its buffers.
    """
    for number, step in enumerate(iter(lambda: _next(steps, None), None), 1):
        yield step
        if number == COUNTED - 1 and not spread.world.alone:
            break
    else:
        return
    spread.counting = counting = Counting(spread.world)
    step = _next(steps, counting)
    spread.counting = None
    if step is None:
        return
    said(step, spread.world.all_of(_found(step, counting, spread, update)))
    yield step
    yield from steps


def _next(steps: Iterator[S], counting: Counting | None) -> S | None:
    with counting or nullcontext():
        return next(steps, None)


def _found(step: Done, counting: Counting, spread: Spread, update: Update) -> dict[str, Any]:
    """What one rank found, as plain data."""
    counting.end()
    return {
        "rank": spread.world.rank,
        "seconds": step.seconds,
        "operations": counting.operations,
        "traffic": {axes: asdict(found) for axes, found in counting.spoken.items()},
        "waits_known": counting.waits,
        "state": {
            "parameters": counting.parameters,
            "gradients": counting.gradients,
            "optimizer": size_of(update.tensors().values()),
        },
        "peak": peak_memory(spread.world.device),
    }


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of what is here of some tensors; what two of them share counts once."""
    found: dict[tuple[int, int], int] = {}
    for tensor in tensors:
        own: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor  # pyright: ignore[reportAssignmentType]
        found[own.data_ptr(), own.nbytes] = own.nbytes
    return sum(found.values())


def peak_memory(device: torch.device) -> int:
    """Most bytes that were in use so far: of the GPU, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)
