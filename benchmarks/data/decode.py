"""Encoded pictures beside a DataLoader with Pillow, in one run, in turns.

`python benchmarks/data/decode.py` writes `decode.md`. Each contestant decodes JPEGs of 256 x 256,
cuts 224 x 224 at random, mirrors every other one and gives batches of 64 as bytes. They take turns
in random order, so that what else the machine does meets all alike; a ratio is one of the same
round. Reported are wall clock, which counts for who waits, and CPU time with that of workers, which
depends less on what else runs.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import active_children
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, Dataset

from zafu.data.images import Images
from zafu.work import Work

SIDE, CUT, BATCH, PICTURES = 256, 224, 64, 640
ROUNDS = 12
REFERENCE = "DataLoader, 2 workers, Pillow"
Epoch = Callable[[], Iterator[torch.Tensor]]


def write_pictures(folder: Path) -> list[bytes]:
    """Tiles of two photographs as JPEG, in two classes."""
    chance = np.random.default_rng(0)
    found = []
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for i in range(PICTURES // 2):
            top, left = (int(chance.integers(0, size - SIDE)) for size in photo.shape[:2])
            content = io.BytesIO()
            tile = Image.fromarray(photo[top : top + SIDE, left : left + SIDE])
            tile.save(content, "JPEG", quality=90)
            (folder / name / f"{i:04}.jpg").write_bytes(content.getvalue())
            found.append(content.getvalue())
    return found


def cut(picture: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A random part of a picture `(height, width, 3)`, perhaps mirrored."""
    top, left = chance.integers(0, SIDE - CUT, 2)
    shown = picture[top : top + CUT, left : left + CUT]
    return shown[:, ::-1] if chance.random() < 0.5 else shown


class WithPillow(Dataset[torch.Tensor]):
    """What the tutorials show: a picture at a time."""

    def __init__(self, files: list[bytes]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(io.BytesIO(self.files[index])).convert("RGB")
        shown = cut(np.asarray(image), np.random.default_rng(index))
        return torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1)))


def zafu(folder: Path, scratch: Path, decoder: str) -> Epoch:
    """The encoded store, its batches cut and mirrored as bytes."""
    data = Images.parse(
        {
            "folder": str(folder),
            "size": [SIDE, SIDE],
            "store": "encoded",
            "decoder": decoder,
            "split": {"validation": 0, "test": 0},
            "duplicates": {"exact": False},
        }
    )
    out = scratch / decoder
    out.mkdir()
    data.prepare(out, task="classification", seed=0, work=Work(scratch / f"{decoder}.work"))
    split = data.open(out, "train")

    def epoch() -> Iterator[torch.Tensor]:
        chance = np.random.default_rng(1)
        order = chance.permutation(len(split))
        for start in range(0, len(order), BATCH):
            raw = split.raw(order[start : start + BATCH]).inputs[0]
            yield cut_batch(raw.numpy(), chance)

    return epoch


def cut_batch(raw: np.ndarray, chance: np.random.Generator) -> torch.Tensor:
    """A random part of each picture `(batch, 3, height, width)`, half of them mirrored."""
    out = np.empty((len(raw), 3, CUT, CUT), np.uint8)
    tops, lefts = chance.integers(0, SIDE - CUT, (2, len(raw)))
    for i, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
        shown = raw[i, :, top : top + CUT, left : left + CUT]
        out[i] = shown[..., ::-1] if chance.random() < 0.5 else shown
    return torch.from_numpy(out)


def with_loader(files: list[bytes], workers: int) -> Epoch:
    """A DataLoader whose workers stay alive between turns."""
    return DataLoader(
        WithPillow(files),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    ).__iter__


def with_tensorflow(files: list[bytes]) -> Epoch:
    """tf.data, decoding in parallel."""
    import tensorflow as tf

    def one(content: object) -> object:
        shown = tf.image.random_crop(tf.io.decode_jpeg(content, channels=3), (CUT, CUT, 3))
        return tf.transpose(tf.image.random_flip_left_right(shown), (2, 0, 1))

    known = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files), 1)
    batches = known.map(one, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(1)

    def epoch() -> Iterator[torch.Tensor]:
        for batch in batches.as_numpy_iterator():
            yield torch.from_numpy(batch)

    return epoch


def cpu_seconds() -> float:
    """CPU time of this process and of its living workers."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = sum(os.times()[:2])
    for child in active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def turn(epoch: Epoch) -> tuple[float, float]:
    """Pictures a second of wall clock and of CPU, over an epoch."""
    wall, cpu = perf_counter(), cpu_seconds()
    count = 0
    for batch in epoch():
        assert batch.shape[1:] == (3, CUT, CUT)
        assert batch.dtype == torch.uint8
        count += len(batch)
    assert count == PICTURES
    return count / (perf_counter() - wall), count / (cpu_seconds() - cpu)


def race(contestants: dict[str, Epoch], rounds: int) -> dict[str, np.ndarray]:
    """Pictures a second `(rounds, 2)` of each, after a turn that does not count."""
    chance = np.random.default_rng(2)
    names = list(contestants)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for index in range(rounds + 1):
        for name in chance.permutation(names).tolist():
            speed = turn(contestants[name])
            if index:
                found[name].append(speed)
    return {name: np.array(speeds) for name, speeds in found.items()}


def table(found: dict[str, np.ndarray]) -> str:
    """Medians, and the ratio of the same round to the DataLoader: median, least and greatest."""
    lines = [
        "| reader | pictures/s | ratio (least to greatest) | pictures/CPU-s | ratio in CPU |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, speeds in found.items():
        ratio = speeds / found[REFERENCE]
        wall, cpu = ratio.T
        middle = np.median(speeds, 0)
        lines.append(
            f"| {name} | {middle[0]:,.0f} | {np.median(wall):.2f} ({wall.min():.2f} to "
            f"{wall.max():.2f}) | {middle[1]:,.0f} | {np.median(cpu):.2f} ({cpu.min():.2f} to "
            f"{cpu.max():.2f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="encoded pictures beside a DataLoader")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        files = write_pictures(Path(scratch) / "classes")
        contestants = {
            REFERENCE: with_loader(files, 2),
            "DataLoader, no workers, Pillow": with_loader(files, 0),
            "**zafu**, Pillow": zafu(Path(scratch) / "classes", Path(scratch), "pillow"),
            "**zafu**, simplejpeg": zafu(Path(scratch) / "classes", Path(scratch), "simplejpeg"),
        }
        if find_spec("tensorflow"):
            contestants["tf.data"] = with_tensorflow(files)
        found = race(contestants, arguments.rounds)
    packages = ("torch", "numpy", "pillow", "simplejpeg")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0))
    head = (
        "# Encoded pictures beside a DataLoader\n\n"
        f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, {versions}; "
        f"{arguments.rounds} rounds of {PICTURES} JPEGs of {SIDE} x {SIDE} (quality 90), batches "
        f"of {BATCH} cut to {CUT}. Written by `python benchmarks/data/decode.py`.\n"
    )
    arguments.out.write_text(f"{head}\n{table(found)}\n")
    print(arguments.out.read_text())


if __name__ == "__main__":
    sys.exit(main())
