"""What a model takes of a machine: bytes on disk, memory while it answers, time, and its limits.

The memory is measured in a process of its own, which loads the model from disk and answers: the
rise of its resident set. A pass cannot be faster than its weights are read, which gives a limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zafu import artifact
from zafu.artifact import MODEL
from zafu.errors import ZafuError
from zafu.latency import Cost, costs, median
from zafu.measure import Measurement
from zafu.nets.decoder import Decoder
from zafu.signals import Stop

PAGE = os.sysconf("SC_PAGE_SIZE")
COPIED = 2**27  # bytes of a copy by which the memory's speed is measured
BATCH = 32  # samples of the pass whose memory is measured
PROMPT, SPOKEN, TURNS = 32, 32, 5  # tokens read and said when decoding is timed, and how often
ENERGY = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def disk(folder: Path) -> int:
    """Bytes of the weights in a model folder."""
    return (folder / MODEL).stat().st_size


def memory(folder: Path, inputs: tuple[Tensor, ...]) -> dict[str, int]:
    """Bytes by which a fresh process grows: `weights` once loaded, `peak` while it answers."""
    shapes = [
        [str(x.dtype).removeprefix("torch."), list(x.shape[1:]), int(x.max()) if x.numel() else 0]
        for x in inputs
    ]
    command = [sys.executable, "-m", "zafu.shrink.footprint", str(folder), json.dumps(shapes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ZafuError(f"{folder}: its memory could not be measured ({done.returncode}): {last}")
    return json.loads(done.stdout)


def bandwidth() -> float:
    """Bytes a second that this process can read: a copy reads and writes each once."""
    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        begun = perf_counter()
        target.copy_(source)
        best = max(best, 2 * COPIED / (perf_counter() - begun))
    return best


def times(
    modules: Mapping[str, nn.Module], inputs: tuple[Tensor, ...], stop: Stop
) -> dict[str, Cost]:
    """What each model's passes take, timed in turn."""
    return dict(zip(modules, costs(modules, inputs, stop), strict=True))


def decoding(
    modules: Mapping[str, nn.Module], inputs: tuple[Tensor, ...]
) -> dict[str, Measurement]:
    """Milliseconds for each token that follows a short prompt, of decoders, timed in turn."""
    able = {name: module for name, module in modules.items() if isinstance(module, Decoder)}
    prompt = inputs[0][:1, :PROMPT]
    seconds = {name: list[float]() for name in able}
    for turn in range(TURNS + 2):
        for name, module in able.items():
            took = _spoken(module, prompt)
            if turn:
                seconds[name].append(took)
    return {name: median(found) for name, found in seconds.items()}


def _spoken(module: Decoder, prompt: Tensor) -> float:
    with torch.inference_mode():
        cache = module.new_cache()
        token = module(prompt, cache)[:, -1:].argmax(-1)
        begun = perf_counter()
        for _ in range(SPOKEN):
            token = module(token, cache)[:, -1:].argmax(-1)
        return (perf_counter() - begun) / SPOKEN


def joules(module: nn.Module, inputs: tuple[Tensor, ...]) -> Measurement | None:
    """Energy of a pass of the whole package, where the machine lets it be read; else None."""
    try:
        begin = int(ENERGY.read_text())
    except (OSError, ValueError):
        return None
    with torch.inference_mode():
        begun, passes = perf_counter(), 0
        while perf_counter() - begun < 1:
            module(*inputs)
            passes += 1
    used = int(ENERGY.read_text()) - begin
    if used < 0:  # the counter has begun anew
        used += int(ENERGY.with_name("max_energy_range_uj").read_text())
    each = used / 1e6 / passes
    return Measurement.exact(each, n=passes, unit="J", how="the package's counter, with idle")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _grown(folder: Path, shapes: Sequence[Sequence[Any]]) -> dict[str, int]:
    import gc

    from zafu.build import load_model

    torch.mm(torch.zeros(8, 8), torch.zeros(8, 8))  # loads what is no model's
    before = _resident()
    module, _, _ = load_model(folder)
    gc.collect()
    random = np.random.default_rng(0)
    inputs = tuple(_drawn(random, *shape) for shape in shapes)
    with torch.inference_mode():
        module(*(x[:1] for x in inputs))
        loaded = _resident() - before
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
        module(*inputs)
    return {"weights": loaded, "peak": _peak() - before}


def _drawn(random: np.random.Generator, dtype: str, shape: Sequence[int], most: int) -> Tensor:
    if dtype.startswith("int"):
        return torch.from_numpy(random.integers(0, max(1, most), (BATCH, *shape)))
    return torch.from_numpy(random.standard_normal((BATCH, *shape), np.float32))


if __name__ == "__main__":
    artifact.verify(Path(sys.argv[1]))
    print(json.dumps(_grown(Path(sys.argv[1]), json.loads(sys.argv[2]))))
