"""Reading batches: zafu beside a memory copy and beside other loaders, and who resumes exactly.

```
pip install -r benchmarks/data/requirements.txt     # the peers, in an environment of their own
python benchmarks/data/loading.py                   # writes loading.md beside this file
```
Each contestant is a process of its own; they take turns in random order, so that what else the
machine does meets all alike. CPU is that of a contestant with its workers. Freed memory is kept for
all alike, as `zafu train` keeps it. A contestant whose package is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
CONTEXT, WINDOWS, TOKENS_BATCH, MANY = 1024, 32_768, 8, 64  # 64 MiB of uint16
ROWS, NUMBERS, ROWS_BATCH = 10_000, 784, 32
Batches = Iterator[Any]


def write(folder: Path) -> None:
    """The samples that all read."""
    chance = np.random.default_rng(0)
    np.save(folder / "tokens.npy", chance.integers(0, 50_000, WINDOWS * CONTEXT + 1, np.uint16))
    np.save(folder / "x.npy", chance.standard_normal((ROWS, NUMBERS), np.float32))
    np.save(folder / "y.npy", chance.integers(0, 10, ROWS))


def copy_of_memory(folder: Path) -> Batches:
    """Memory copy of as many bytes, int64 to int64, into two tensors."""
    import torch

    for inputs, targets in _copied(TOKENS_BATCH):
        yield torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy())


def copy_of_memory_64(folder: Path) -> Batches:
    """Memory copy of as many bytes, int64 to int64, into two tensors."""
    import torch

    for inputs, targets in _copied(MANY):
        yield torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy())


def bare_copy_of_memory(folder: Path) -> Batches:
    """The same copy, not made into tensors."""
    for inputs, targets in _copied(TOKENS_BATCH):
        yield inputs.copy(), targets.copy()


def big_copy_of_memory(folder: Path) -> Batches:
    """The same copy, all 512 MiB of an epoch at once."""
    batches = WINDOWS // TOKENS_BATCH
    stored = np.arange(2 * WINDOWS * CONTEXT)
    copied = np.empty_like(stored)
    while True:
        copied[:] = stored
        for _ in range(batches):
            yield copied


def _copied(batch: int) -> Iterator[np.ndarray]:
    size = 2 * batch * CONTEXT
    stored = np.arange(WINDOWS * CONTEXT).reshape(-1, 2, size // 2)  # 256 MiB of int64
    order = np.random.default_rng(1).permutation(len(stored)).tolist()
    while True:
        for place in order:
            yield stored[place]


def zafu_tokens(folder: Path) -> Batches:
    """Zafu: order, loader and split."""
    return _zafu(_windows(folder), TOKENS_BATCH)


def zafu_tokens_64(folder: Path) -> Batches:
    """Zafu: order, loader and split."""
    return _zafu(_windows(folder), MANY)


def _windows(folder: Path) -> Any:
    from zafu.data.windows import Windows

    tokens = np.asarray(np.load(folder / "tokens.npy", mmap_mode="r"))
    sizes = np.tile(np.array([[0, CONTEXT, 0]]), (WINDOWS, 1))
    return Windows(tokens, np.arange(WINDOWS) * CONTEXT, sizes, context=CONTEXT)


def zafu_rows(folder: Path) -> Batches:
    """Zafu, in the training thread."""
    from loading_worker import rows

    yield from _zafu(rows(folder), ROWS_BATCH)


def zafu_rows_threads(folder: Path) -> Batches:
    """Zafu with two threads."""
    from loading_worker import rows

    from zafu.loading.threads import Threads

    yield from _zafu(rows(folder), ROWS_BATCH, Threads())


def zafu_rows_processes(folder: Path) -> Batches:
    """Zafu with two processes."""
    from loading_worker import rows

    from zafu.loading.contract import Remote
    from zafu.loading.processes import Processes

    remote = Remote("loading_worker", {"folder": str(folder)})
    yield from _zafu(rows(folder), ROWS_BATCH, Processes(), remote)


def _zafu(split: Any, size: int, loader: Any = None, remote: Any = None) -> Batches:
    from zafu.loading.inline import Inline
    from zafu.loading.order import Order
    from zafu.loading.requests import steps
    from zafu.reading import plain

    source = plain(split).source._replace(remote=remote)
    with (loader or Inline()).open(source, steps(Order(len(split), 0), 0, size, None)) as batches:
        yield from batches


class _Tokens:
    """The windows as a torch dataset has them."""

    def __init__(self, folder: Path) -> None:
        self.tokens = np.load(folder / "tokens.npy", mmap_mode="r")

    def __len__(self) -> int:
        return WINDOWS

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        import torch

        found = self.tokens[index * CONTEXT : (index + 1) * CONTEXT + 1].astype(np.int64)
        return torch.from_numpy(found[:-1]), torch.from_numpy(found[1:])


def _epochs(make: Callable[[], Any]) -> Batches:
    loader = make()
    while True:
        yield from loader


def torch_tokens(folder: Path, workers: int = 0) -> Batches:
    """Torch DataLoader."""
    from torch.utils.data import DataLoader

    settings = {"num_workers": workers, "persistent_workers": bool(workers)}
    return _epochs(lambda: DataLoader(_Tokens(folder), TOKENS_BATCH, shuffle=True, **settings))


def torch_tokens_2(folder: Path) -> Batches:
    """Torch DataLoader, 2 workers."""
    return torch_tokens(folder, 2)


def _tensors(folder: Path) -> Any:
    import torch
    from torch.utils.data import TensorDataset

    return TensorDataset(*(torch.from_numpy(np.load(folder / f"{n}.npy")) for n in "xy"))


def torch_rows(folder: Path, workers: int = 0) -> Batches:
    """Torch DataLoader."""
    from torch.utils.data import DataLoader

    settings = {"num_workers": workers, "persistent_workers": bool(workers)}
    return _epochs(lambda: DataLoader(_tensors(folder), ROWS_BATCH, shuffle=True, **settings))


def torch_rows_2(folder: Path) -> Batches:
    """Torch DataLoader, 2 workers."""
    return torch_rows(folder, 2)


def stateful_rows(folder: Path) -> Batches:
    """Torchdata StatefulDataLoader."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    return _epochs(lambda: StatefulDataLoader(_tensors(folder), ROWS_BATCH, shuffle=True))


def tensorflow_rows(folder: Path) -> Batches:
    """tf.data: from_tensor_slices, shuffle, batch, prefetch."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(tuple(np.load(folder / f"{n}.npy") for n in "xy"))
    return _epochs(
        lambda: data.shuffle(ROWS).batch(ROWS_BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    )


def tensorflow_rows_in_order(folder: Path) -> Batches:
    """tf.data without shuffling."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(tuple(np.load(folder / f"{n}.npy") for n in "xy"))
    return _epochs(lambda: data.batch(ROWS_BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE))


class _Pairs:
    """The rows as grain has them."""

    def __init__(self, folder: Path) -> None:
        self.x, self.y = np.load(folder / "x.npy"), np.load(folder / "y.npy")

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        return self.x[index], self.y[index]


def grain_rows(folder: Path) -> Batches:
    """Grain MapDataset, read by the thread that asks."""
    import grain.python as grain

    data = grain.MapDataset.source(_Pairs(folder)).seed(0).shuffle().repeat().batch(ROWS_BATCH)
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))


def datasets_rows(folder: Path) -> Batches:
    """datasets, torch format, shuffled, batched."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    columns = {n: np.load(folder / f"{n}.npy") for n in "xy"}
    data = Dataset.from_dict({"x": list(columns["x"]), "y": columns["y"]}).with_format("torch")
    while True:
        yield from data.shuffle(seed=0).iter(ROWS_BATCH, drop_last_batch=True)


RACES: dict[str, tuple[str, tuple[Callable[[Path], Batches], ...], int, str]] = {
    "tokens": (
        f"{WINDOWS:,} windows of {CONTEXT} + 1 uint16 tokens (64 MiB, mapped), shuffled, batches "
        f"of {TOKENS_BATCH}, inputs and targets as int64",
        (
            *(copy_of_memory, bare_copy_of_memory, big_copy_of_memory),
            *(zafu_tokens, torch_tokens, torch_tokens_2),
        ),
        TOKENS_BATCH * CONTEXT,
        "tokens",
    ),
    "many tokens": (
        f"The same in batches of {MANY}",
        (copy_of_memory_64, zafu_tokens_64),
        MANY * CONTEXT,
        "tokens",
    ),
    "rows": (
        f"{ROWS:,} rows of {NUMBERS} float32 and a class, shuffled, batches of {ROWS_BATCH}",
        (
            *(tensorflow_rows, tensorflow_rows_in_order),
            *(zafu_rows, zafu_rows_threads, zafu_rows_processes),
            *(torch_rows, torch_rows_2, stateful_rows, grain_rows, datasets_rows),
        ),
        ROWS_BATCH,
        "rows",
    ),
}
NEEDS = {
    "tensorflow": "tensorflow",
    "grain": "grain",
    "datasets": "datasets",
    "stateful": "torchdata",
}
CONTESTANTS = {c.__name__: c for _, race, _, _ in RACES.values() for c in race}
SECONDS = 0.25  # of a turn


def contest(name: str, folder: Path) -> None:
    """Be a contestant: for each number of batches on standard input, read them and say the time."""
    warnings.simplefilter("ignore")
    batches = CONTESTANTS[name](folder)
    if name.startswith(("zafu", "torch", "stateful")):
        import torch

        torch.set_num_threads(1)
    next(batches)
    print("ready", flush=True)
    for line in sys.stdin:
        cpu, begun = _cpu(), time.perf_counter()
        for _ in range(int(line)):
            next(batches)
        wall = time.perf_counter() - begun
        print(json.dumps([wall, _cpu() - cpu]), flush=True)


def _cpu() -> float:
    """Seconds of CPU of this process and of all below it."""
    found, ticks = time.process_time(), os.sysconf("SC_CLK_TCK")
    waiting = _children(os.getpid())
    while waiting:
        pid = waiting.pop()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / ticks
        waiting += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


class Process:
    """A contestant, started and waiting for its turn."""

    def __init__(self, name: str, folder: Path) -> None:
        command = [sys.executable, str(Path(__file__)), "--contestant", name, str(folder)]
        pipe = subprocess.PIPE
        environment = {**os.environ, **ENVIRONMENT}
        self.child = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment, stderr=subprocess.DEVNULL
        )
        self.ready = self._line() == "ready"
        self.batches = 8
        while self.ready and self.turn()[0] < SECONDS / 2:
            self.batches *= 2

    def turn(self) -> tuple[float, float]:
        """Seconds of wall clock and of CPU for as many batches as a turn has."""
        assert self.child.stdin
        self.child.stdin.write(f"{self.batches}\n")
        self.child.stdin.flush()
        wall, cpu = json.loads(self._line())
        return wall, cpu

    def end(self) -> None:
        """End it."""
        assert self.child.stdin
        self.child.stdin.close()
        self.child.kill()
        self.child.wait()

    def _line(self) -> str:
        assert self.child.stdout
        return self.child.stdout.readline().strip()


def race(name: str, folder: Path, turns: int) -> list[str]:
    """The table of a race: speeds, and ratios to the reference of the same turn."""
    title, contestants, per_batch, unit = RACES[name]
    running: dict[str, Process] = {}
    for contestant in contestants:
        package = NEEDS.get(contestant.__name__.partition("_")[0])
        if package and find_spec(package) is None:
            continue
        process = Process(contestant.__name__, folder)
        if process.ready:
            running[contestant.__name__] = process
        else:
            print(f"{contestant.__name__} did not start", file=sys.stderr)
    chance = np.random.default_rng(0)
    speeds: dict[str, list[tuple[float, float]]] = {key: [] for key in running}
    for _ in range(turns):
        for key in chance.permutation(list(running)).tolist():
            wall, cpu = running[key].turn()
            done = running[key].batches * per_batch
            speeds[key].append((done / wall, done / max(cpu, 1e-9)))
    for process in running.values():
        process.end()
    return [f"## {title}", "", *_table(speeds, unit)]


def _table(speeds: dict[str, list[tuple[float, float]]], unit: str) -> list[str]:
    base = np.array(next(iter(speeds.values())))
    named = "ratio to the first"
    lines = [
        f"| | {unit}/s | {unit}/CPU-s | {named}: wall | middle half | CPU | middle half |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for key, found in speeds.items():
        array = np.array(found)
        ratios = array / base
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75], axis=0)
        wall, cpu = np.median(array, 0)
        spread = [f"{low[i]:.2f} to {high[i]:.2f}" for i in (0, 1)]
        lines.append(
            f"| {_title(key)} | {_scaled(wall)} | {_scaled(cpu)} | {middle[0]:.2f} | {spread[0]} "
            f"| {middle[1]:.2f} | {spread[1]} |"
        )
    return lines


def _title(key: str) -> str:
    return (CONTESTANTS[key].__doc__ or key).partition("\n")[0].rstrip(".")


def _scaled(value: float) -> str:
    return f"{value / 1e6:,.0f} M" if value >= 1e7 else f"{value / 1e3:,.0f} k"


def main() -> None:
    parser = argparse.ArgumentParser(description="reading batches, zafu beside others")
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--out", type=Path, default=HERE / "loading.md")
    arguments = parser.parse_args()
    if arguments.contestant:
        contest(arguments.contestant[0], Path(arguments.contestant[1]))
        return
    import resuming

    lines = ["# Reading batches", "", *_facts(), ""]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder)
        for name in RACES:
            lines += [*race(name, folder, arguments.turns), ""]
    lines += resuming.table()
    arguments.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _facts() -> list[str]:
    packages = ("numpy", "torch", "tensorflow-cpu", "torchdata", "grain", "datasets")
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.is_file() else []
    cpu = next((n.partition(":")[2].strip() for n in names if n.startswith("model name")), "?")
    when = time.strftime("%Y-%m-%d")
    return [
        f"{when}, {cpu}, {os.cpu_count()} cores, {', '.join(found)}. "
        "Written by `python benchmarks/data/loading.py`.",
        "",
        f"Turns of about {SECONDS} s in random order; a ratio is that of two contestants in the "
        "same turn: its median and the middle half of all turns. Wall clock depends on what else "
        "the machine does; CPU includes workers and background threads.",
        "",
        "What bounds tokens is the copy: zafu reads 2 bytes and writes 16 for each token, as input "
        "and as target, in memory of their own, so that either may be changed. A batch of 8 is "
        "small (128 KiB): the calls of numpy and torch weigh as much as the bytes, as batches "
        "of 64 show.",
    ]


if __name__ == "__main__":
    main()
