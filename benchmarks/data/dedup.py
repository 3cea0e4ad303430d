"""Duplicates among real documents: what is found of those planted, and what it costs.

    python benchmarks/data/dedup.py [FOLDER ...]

Documents are the Python files of the standard library, or below the folders given, and their
paragraphs of 60 words or more. A tenth is planted again as it is, a twentieth with one word in 60
changed. Beside zafu runs MinHash as it is defined (Broder, 1997: 128 permutations of the hashed
shingles of each document, bands of 6 rows), a document at a time, on as many documents as it can do
in a few seconds. Seconds are of one core; set POLARS_MAX_THREADS=1.

The columns: the share found of the exact copies; of the near ones, which is to say in one cluster
with their source; of those whose Jaccard index is still 0.8 or more; and of all joined pairs the
share whose index is above 0.7.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from zlib import crc32

import numpy as np
import polars as pl

from zafu.data.duplicates import NearDuplicates, clusters, components
from zafu.data.files import find
from zafu.data.minhash import banding
from zafu.hashing import fingerprints

FEW = 1500  # documents for the reference
NEAR = NearDuplicates()
T = TypeVar("T")
Pairs = set[tuple[int, int]]


def main(folders: Sequence[str]) -> None:
    documents = read([f"{folder}/**/*.py" for folder in folders] or ["stdlib:**/*.py"])
    rng = np.random.default_rng(0)
    heads = "".join(f"{head:>8}" for head in ("exact", "near", ">= 0.8", "> 0.7"))
    print(f"{'':22}{'texts':>9}{'MB':>8}{'MB/core-s':>11}{heads}")
    for name, find_pairs, texts in (
        ("zafu", ours, documents),
        ("zafu, fewer", ours, documents[:FEW]),
        ("128 permutations", reference, documents[:FEW]),
    ):
        copies = rng.permutation(len(texts))[: len(texts) // 10]
        sources = rng.permutation(len(texts))[: len(texts) // 20]
        planted = [changed(texts[i], rng) for i in sources]
        together = [*texts, *(texts[i] for i in copies), *planted]
        size = sum(len(text.encode()) for text in together) / 1e6
        exact, near, seconds = find_pairs(together)
        first = len(texts) + len(copies)
        groups = components(len(together), np.array(sorted(near)).reshape(-1, 2))
        hits = groups[first:] == groups[sources]
        like = [jaccard(texts[i], new) >= 0.8 for i, new in zip(sources, planted, strict=True)]
        joined = [jaccard(together[i], together[j]) > 0.7 for i, j in sorted(near)[::7]]
        print(
            f"{name:22}{len(together):9,}{size:8.1f}{size / sum(seconds.values()):11.0f}"
            f"{exact[len(texts) : first].mean():8.2%}{hits.mean():8.2%}{hits[like].mean():8.2%}"
            f"{np.mean(joined):8.2%}"
        )
        for part, spent in seconds.items():
            print(f"  {part:20}{'':17}{size / spent:11.0f}")


def ours(texts: list[str]) -> tuple[np.ndarray, Pairs, dict[str, float]]:
    """What zafu finds, and the seconds of each part."""
    series = pl.Series(texts)
    seconds: dict[str, float] = {}
    sketches = timed(seconds, "sketch", lambda: NEAR.sketch(series))
    raw = [text.encode() for text in texts]
    prints = timed(seconds, "fingerprints", lambda: fingerprints(raw))
    found = timed(
        seconds, "pairs and clusters", lambda: clusters(prints, lambda i: NEAR.pairs(sketches[i]))
    )
    return found.exact, set(map(tuple, found.pairs.tolist())), seconds


def reference(texts: list[str]) -> tuple[np.ndarray, Pairs, dict[str, float]]:
    """MinHash by its definition, one document after the other."""
    seconds: dict[str, float] = {}
    return *timed(seconds, "in all", lambda: by_definition(texts)), seconds


def by_definition(texts: list[str]) -> tuple[np.ndarray, Pairs]:
    rng = np.random.default_rng(1)
    prime = np.uint64(2**31 - 1)
    slope, shift = rng.integers(1, 2**31 - 1, (2, 128, 1), dtype=np.uint64)
    known: dict[str, int] = {}
    buckets: dict[tuple[int, bytes], list[int]] = {}
    exact, near, sketches = np.zeros(len(texts), bool), set[tuple[int, int]](), []
    plan = banding(0.8)
    for index, text in enumerate(texts):
        exact[index] = known.setdefault(text, index) != index
        codes = [crc32(" ".join(run).encode()) >> 1 for run in shingles(text)]
        values = np.array(codes or [0], np.uint64)
        sketches.append(((slope * values + shift) % prime).min(axis=1))
        if exact[index]:
            continue
        for b in range(plan.bands):
            band = sketches[index][b * plan.rows : (b + 1) * plan.rows]
            bucket = buckets.setdefault((b, band.tobytes()), [])
            near |= {
                (other, index)
                for other in bucket
                if (sketches[other] == sketches[index]).sum() >= plan.agree
            }
            bucket.append(index)
    return exact, near


def timed(seconds: dict[str, float], name: str, do: Callable[[], T]) -> T:
    start = time.process_time()
    result = do()
    seconds[name] = time.process_time() - start
    return result


def read(globs: list[str]) -> list[str]:
    files = [path.read_text(encoding="utf-8", errors="replace") for _, path in find(globs)]
    parts = (part for text in files for part in re.split(r"\n\s*\n", text))
    paragraphs = [part for part in parts if len(re.findall(r"\w+", part)) >= 60]
    return list(dict.fromkeys([*paragraphs, *files]))


def changed(text: str, rng: np.random.Generator) -> str:
    """The text with one word in 60 spelled backwards and a letter longer."""
    parts = re.split(r"(\w+)", text)
    words = range(1, len(parts), 2)
    for place in words[int(rng.integers(min(60, max(1, len(words))))) :: 60]:
        parts[place] = parts[place][::-1] + "x"
    return "".join(parts)


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9_]+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(left: str, right: str) -> float:
    one, two = shingles(left), shingles(right)
    return len(one & two) / max(1, len(one | two))


if __name__ == "__main__":
    main(sys.argv[1:])
