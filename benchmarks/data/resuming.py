"""Who goes on exactly: an epoch on two ranks is cut off after 4 of 10 steps and ends on others.

240 samples in shuffled global batches of 24. Each loader's own state, as it tells it, is what goes
on. Ranks are simulated one after the other in this process, as the loaders allow.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from typing import Any

import numpy as np

N, GLOBAL, STEPS, BEFORE = 240, 24, 10, 4
Cut = Callable[[int, int], list[int]]  # (world afterwards, workers afterwards) -> all ids that came


def zafu(world: int, workers: int) -> list[int]:
    """Zafu."""
    from zafu.data.arrays import Rows
    from zafu.loading.contract import Request
    from zafu.loading.inline import Inline
    from zafu.loading.order import Order, share
    from zafu.loading.threads import Threads
    from zafu.reading import plain

    split = Rows((np.arange(float(N)),), np.arange(N))

    def steps(start: int, ranks: int, loader: Any) -> list[int]:
        found: list[int] = []
        for rank in range(ranks):
            order, end = Order(N, 0), BEFORE * GLOBAL if not start else N
            parts = (share(b, GLOBAL, rank=rank, world=ranks) for b in range(start, end, GLOBAL))
            requests = (Request(*order.seen(*part)) for part in parts)
            with loader.open(plain(split).source, requests) as batches:
                found += [i for batch in batches for i in batch.targets.tolist()]
        return found

    before = steps(0, 2, Inline())
    position = BEFORE * GLOBAL  # the state
    return before + steps(position, world, Threads(workers=workers) if workers else Inline())


def stateful(world: int, workers: int) -> list[int]:
    """Torchdata StatefulDataLoader with StatefulDistributedSampler."""
    from torchdata.stateful_dataloader import StatefulDataLoader
    from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler

    class Data:
        def __len__(self) -> int:
            return N

        def __getitem__(self, index: int) -> int:
            return index

    def loader(ranks: int, rank: int, count: int) -> Any:
        data: Any = Data()
        sampler: Any = StatefulDistributedSampler(data, ranks, rank, shuffle=True, seed=0)
        return StatefulDataLoader(data, GLOBAL // ranks, sampler=sampler, num_workers=count)

    found: list[int] = []
    states = []
    for rank in range(2):
        source = loader(2, rank, 0)
        for batch in islice(iter(source), BEFORE):
            found += batch.tolist()
        states.append(source.state_dict())
    for rank in range(world):
        source = loader(world, rank, workers)
        source.load_state_dict(copy.deepcopy(states[min(rank, 1)]))
        for batch in source:
            found += batch.tolist()
    return found


def hub(world: int, workers: int) -> list[int]:
    """Datasets IterableDataset, 8 shards, split by node, shuffled by a buffer of 60."""
    from datasets import Dataset
    from datasets.distributed import split_dataset_by_node
    from torchdata.stateful_dataloader import StatefulDataLoader

    def source(ranks: int, rank: int) -> Any:
        data = Dataset.from_dict({"i": np.arange(N)}).to_iterable_dataset(num_shards=8)
        data = split_dataset_by_node(data, rank, ranks)
        return data.shuffle(seed=0, buffer_size=60)

    found: list[int] = []
    states = []
    for rank in range(2):
        data = source(2, rank)
        found += [row["i"] for row in islice(iter(data), BEFORE * GLOBAL // 2)]
        states.append(data.state_dict())
    for rank in range(world):
        data = source(world, rank)
        data.load_state_dict(copy.deepcopy(states[min(rank, 1)]))
        rows = StatefulDataLoader(data, None, num_workers=workers) if workers else data
        found += [int(row["i"]) for row in rows]
    return found


def grain(world: int, workers: int) -> list[int]:
    """grain, the global batch made first and then cut for the ranks."""
    import grain.python as library

    def source(ranks: int, rank: int, count: int) -> Any:
        per = GLOBAL // ranks
        data = library.MapDataset.source(range(N)).seed(0).shuffle().batch(GLOBAL)
        data = data.map(lambda ids: ids[rank * per : (rank + 1) * per])
        threads = library.ReadOptions(num_threads=count, prefetch_buffer_size=count)
        return iter(data.to_iter_dataset(threads))

    found: list[int] = []
    states = []
    for rank in range(2):
        batches = source(2, rank, 0)
        for batch in islice(batches, BEFORE):
            found += batch.tolist()
        states.append(batches.get_state())
    for rank in range(world):
        batches = source(world, rank, workers)
        batches.set_state(copy.deepcopy(states[min(rank, 1)]))
        for batch in batches:
            found += batch.tolist()
    return found


CUTS: tuple[tuple[Cut, str], ...] = (
    (zafu, "zafu"),
    (stateful, "torchdata"),
    (hub, "datasets"),
    (grain, "grain"),
)
AFTER = ((2, 0), (1, 0), (4, 0), (2, 2))


def verdict(cut: Cut, world: int, workers: int) -> str:
    """Whether each sample came once, else what went wrong."""
    try:
        found = Counter(cut(world, workers))
    except (AssertionError, IndexError, ValueError, RuntimeError, TypeError, KeyError) as error:
        return f"fails: {type(error).__name__}"
    lost = N - len(found)
    again = sum(found.values()) - len(found)
    faults = [f"{lost} lost"] * bool(lost) + [f"{again} repeated"] * bool(again)
    return ", ".join(faults) or "exact"


def table() -> list[str]:
    """The table as Markdown."""
    lines = [
        "## Going on after 4 of 10 steps on 2 ranks: 240 shuffled samples, global batches of 24",
        "",
        "| | 2 ranks | 1 rank | 4 ranks | 2 ranks, 2 workers instead of none |",
        "|---|---|---|---|---|",
    ]
    for cut, package in CUTS:
        if find_spec(package):
            cells = " | ".join(verdict(cut, *after) for after in AFTER)
            lines.append(f"| {(cut.__doc__ or '').rstrip('.')} | {cells} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
