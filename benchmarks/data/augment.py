"""Chains of augmentation beside kornia and Pillow, in one process, one thread, in turns.

`python benchmarks/data/augment.py` prints the table of `augment.md`. Each chain turns, enlarges,
moves and mirrors, then changes brightness, contrast and saturation, on batches of 64 pictures of
bytes cut from two photographs. Time is the process's CPU time, so that a loaded machine is fair to
all. Freed memory is kept for all alike, as `zafu train` keeps it.
"""

from __future__ import annotations

import ctypes
import platform
import statistics
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import process_time

import cv2
import kornia.augmentation as K
import numpy as np
import sklearn.datasets
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from zafu.augment.colors import Brightness, Contrast, Saturation
from zafu.augment.flips import HorizontalFlip
from zafu.augment.geometry import Rotation, Scaling, Translation
from zafu.augment.runtime.chain import Chain
from zafu.batch import Batch

BATCH = 64
ROUNDS = {32: 60, 224: 12}
CHAIN = (
    Rotation(degrees=15.0),
    Scaling(factor=1.2),
    Translation(share=0.1),
    HorizontalFlip(),
    Brightness(amount=0.2),
    Contrast(amount=0.2),
    Saturation(amount=0.2),
)


def pictures(side: int) -> Tensor:
    """64 tiles of two photographs, `(64, 3, side, side)` uint8."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    found = []
    for name in ("china.jpg", "flower.jpg"):
        picture = np.asarray(Image.open(folder / name)).transpose(2, 0, 1)
        for i in range(BATCH // 2):
            top, left = i * 6 % (428 - side), i * 13 % (641 - side)
            found.append(picture[:, top : top + side, left : left + side])
    return torch.from_numpy(np.stack(found)).contiguous()  # as the arrays of a split are


def zafu_chain(raw: Tensor, backend: str) -> Callable[[], Tensor]:
    def read(ids: np.ndarray) -> Batch:
        return Batch((raw[ids],), torch.zeros(len(ids), dtype=torch.int64), ids)

    assert backend in ("torch", "opencv")
    how = "torch" if backend == "torch" else "opencv"
    chain = Chain(CHAIN, seed=0, outputs=2, read=read, n=BATCH, backend=how)
    batch, epoch = read(np.arange(BATCH)), iter(range(10**9))
    return lambda: chain(batch, np.full(BATCH, next(epoch))).inputs[0]


def kornia_chain(raw: Tensor) -> Callable[[], Tensor]:
    steps = torch.nn.Sequential(
        K.RandomAffine(degrees=15.0, translate=(0.1, 0.1), scale=(1 / 1.2, 1.2), p=1.0),
        K.RandomHorizontalFlip(p=0.5),
        K.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, p=1.0),
    )
    return lambda: steps(raw.float() / 255)


def pillow_chain(raw: Tensor) -> Callable[[], Tensor]:
    images = [Image.fromarray(x) for x in raw.permute(0, 2, 3, 1).contiguous().numpy()]
    random, side = np.random.default_rng(0), raw.shape[-1]

    def one(image: Image.Image) -> np.ndarray:
        u = random.uniform(-1, 1, 8)
        angle, scale = np.radians(15 * u[0]), 1.2 ** -u[1]
        a, b = np.cos(angle) * scale, np.sin(angle) * scale
        middle = (side - 1) / 2
        left = middle - a * middle + b * middle + 0.1 * side * u[2]
        top = middle - b * middle - a * middle + 0.1 * side * u[3]
        matrix = (a, -b, left, b, a, top)
        how = Image.Transform.AFFINE
        image = image.transform(image.size, how, matrix, Image.Resampling.BILINEAR)
        if u[4] > 0:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for enhance, x in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), u[5:], strict=True
        ):
            image = enhance(image).enhance(1 + 0.2 * x)
        return np.asarray(image)

    return lambda: torch.from_numpy(np.stack([one(i) for i in images])).permute(0, 3, 1, 2)


def finished(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """With what every model wants after it: float32, normalized, channels first."""
    mean, scale = (torch.tensor(x).view(3, 1, 1) for x in ([120.0, 115.0, 99.0], [1 / 64] * 3))
    return lambda: (run().float() - mean) * scale


def seconds(runs: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each run, in turns, so that a slow moment meets all."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds + 2):
        for name, run in runs.items():
            begin = process_time()
            run()
            if index >= 2:  # the first two fill caches
                found[name].append(process_time() - begin)
    return found


def table(side: int, *, whole: bool) -> list[str]:
    raw = pictures(side)
    runs = {
        "zafu (torch)": zafu_chain(raw, "torch"),
        "zafu (opencv)": zafu_chain(raw, "opencv"),
        f"kornia {version('kornia')}": kornia_chain(raw),
        f"Pillow {version('pillow')}": pillow_chain(raw),
    }
    runs = {name: finished(run) for name, run in runs.items()} if whole else runs
    took = seconds(runs, ROUNDS[side])
    kornia = took[next(name for name in took if name.startswith("kornia"))]
    lines = []
    for name, times in took.items():
        ratios = sorted(k / t for k, t in zip(kornia, times, strict=True))
        low, high = (ratios[round(q * (len(ratios) - 1))] for q in (0.1, 0.9))
        rate = BATCH / statistics.median(times)
        ratio = f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
        how = "and normalized" if whole else "augmented"
        lines.append(f"| {side} | {how} | {name} | {rate:,.0f} | {ratio} |")
    return lines


def keep_freed_memory() -> None:
    """As `zafu train` does: arrays of the next batch take the memory of the last."""
    trim_threshold, mmap_threshold = -1, -3  # of mallopt(3)
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(mmap_threshold, 2**25)


def main() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")  # kornia's deprecations
    versions = f"torch {torch.__version__}, OpenCV {cv2.__version__}, {platform.machine()}"
    print("# Augmentation beside its peers\n")
    print(f"`{' '.join(['python', *sys.argv])}`: {versions}; 1 thread, CPU time.\n")
    print("Turn, enlarge, move, mirror, brightness, contrast, saturation; batches of 64 pictures.")
    print("The ratio is kornia's time over the chain's in the same round: median (10 % to 90 %).\n")
    print("| side | what | chain | pictures/core-s | times as fast as kornia |")
    print("|---|---|---|---|---|")
    for side in ROUNDS:
        for whole in (False, True):
            print("\n".join(table(side, whole=whole)), flush=True)


if __name__ == "__main__":
    main()
