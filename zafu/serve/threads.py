"""Threads: how many compute a pass of a served model, by measurement.

Where a pass is long, more threads shorten it. Where it is short they wait for each other longer
than they compute, and take the processors from the thread that speaks HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from zafu.deploy import bundle
from zafu.deploy.bundle import Bundle
from zafu.serve import voices
from zafu.serve.samples import noise
from zafu.signature import Tokens

TURNS, LONGEST = 20, 0.5  # of trying a number, and seconds after which none is begun
PAYS = 0.65  # of the time that half as many threads take, at most: two that gain less are dearer
FEW, WORDS = 8, 16  # samples of a pass, or texts; tokens of a text
LARGE = 2**30  # bytes of a model whose passes are long: it is not opened twice to find that out


def opened(folder: Path, threads: int | None = None) -> tuple[Bundle, int]:
    """A finished run or an export, and how many threads it has; as many as pay where None."""
    threads = threads or fitting(folder)
    torch.set_num_threads(threads)
    return bundle.opened(folder, threads=threads), threads


def fitting(folder: Path) -> int:
    """The number of threads that pays: each doubling takes much of the time of a pass away."""
    most = torch.get_num_threads()
    if most == 1 or sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) > LARGE:
        return most
    try:
        return paying(lambda threads: seconds(folder, threads), most)
    finally:
        torch.set_num_threads(most)


def paying(seconds: Callable[[int], float], most: int) -> int:
    """The last number of 1, 2, 4, … and `most` that paid; `seconds` measures one."""
    best, least = 1, seconds(1)
    while best < most:
        more = min(2 * best, most)
        took = seconds(more)
        if took > PAYS ** math.log2(more / best) * least:
            break
        best, least = more, took
    return best


def seconds(folder: Path, threads: int) -> float:
    """The usual time of a server's work with so many threads.

    In a thread of its own, whose helpers end with it: they would go on to wait in circles, and be
    in the way of what is measured next.
    """

    def usual() -> float:
        torch.set_num_threads(threads)
        one = work(bundle.opened(folder, threads=threads))
        took, begun = list[float](), perf_counter()
        while len(took) < TURNS + 1 and (len(took) < 3 or perf_counter() - begun < LONGEST):
            start = perf_counter()
            one()
            took.append(perf_counter() - start)
        return median(took[1:])  # the first fills caches

    with ThreadPoolExecutor(1, "model") as alone:
        return alone.submit(usual).result()


def work(bundle: Bundle) -> Callable[[], object]:
    """What a server does most: passes of one sample and of some, or tokens of one text and some."""
    if bundle.recipe.task.kind != "language-modeling":
        one, some = noise(bundle.signature, 1), noise(bundle.signature, FEW)
        return lambda: (bundle.answers(*one), bundle.answers(*some))
    voice = voices.of(bundle, FEW)
    assert isinstance(bundle.signature.inputs, Tokens)  # noqa: S101  (of a language model)
    tokens = [0] * min(WORDS, voice.context // 4)
    slots = range(voice.slots)

    def write() -> None:
        for slot in slots:
            voice.read(slot, tokens)
        for _ in tokens:
            voice.step([0], [0])
            voice.step(list(slots), [0] * len(slots))

    return write
