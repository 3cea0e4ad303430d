"""Preparing text: zafu beside the bare tokenizer, `datasets.map` and datatrove, in one run.

```
python benchmarks/data/text.py            # with the peers of requirements.txt where they are there
python benchmarks/data/text.py --rounds 5
```

Every contestant is a process of its own with one thread, timed inside after its imports; they take
turns. The bare tokenizer, on the whole corpus, is the limit of what the others can do. The slow
peers have every tenth document. Peers follow rules of their own, so what they keep differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import corpus_of_packages
import numpy as np

from zafu.tokenizers.bpe import BPE

HERE = Path(__file__).parent
WHOLE = ("tokenizer alone", "zafu", "zafu, pool of 2")
SLOW = ("datasets.map", "datatrove")
ONE = dict.fromkeys(("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"), "1")
ONE |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def main() -> None:
    """Make the corpus, let the contestants take turns, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpus, tenth, tokenizer = folder / "all.jsonl", folder / "tenth.jsonl", folder / "tokens"
        facts = corpus_of_packages.write(corpus)
        lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)[::10]
        tenth.write_text("".join(lines), encoding="utf-8")
        sizes = {corpus: facts["bytes"]}
        sizes[tenth] = sum(len(json.loads(line)["text"].encode()) for line in lines)
        tokenizer.mkdir()
        texts = (json.loads(line)["text"] for line in lines)
        BPE(vocab=8192).train(texts, tokenizer, context=1024)
        speeds: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for name in (*WHOLE, *SLOW):
                used = corpus if name in WHOLE else tenth
                if found := turn(name, used, tokenizer):
                    rate = sizes[used] / 1e6
                    speeds.setdefault(name, []).append((rate / found["cpu"], rate / found["wall"]))
        text = table(facts, speeds, duplicates(corpus, folder / "inline.jsonl"))
    print(text)
    (HERE / "text.md").write_text(text, encoding="utf-8")


def turn(name: str, corpus: Path, tokenizer: Path) -> dict[str, float] | None:
    """What a contestant did and how long it took; None if its package is not there."""
    done = subprocess.run(
        [sys.executable, str(HERE / "text_contestant.py"), name, str(corpus), str(tokenizer)],
        capture_output=True,
        text=True,
        env=os.environ | ONE,
        check=False,
    )
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name}: {found}", file=sys.stderr)
    return found


def duplicates(corpus: Path, removed: Path) -> str:
    """How many of the planted pairs lost one, of those that cleaning left whole."""
    named = [json.loads(line)["id"] for line in corpus.open(encoding="utf-8")]
    steps: dict[str, str] = {}
    for row in map(json.loads, removed.open(encoding="utf-8")):
        steps[named[int(row["id"].rpartition(":")[2]) - 1]] = row["step"]
    said: list[str] = []
    for kind in ("exact", "near"):
        pairs = [(n.rpartition("|")[0], n) for n in named if n.endswith(f"|{kind}")]
        whole = [p for p in pairs if all(steps.get(n) in (None, "duplicates") for n in p)]
        found = sum(any(n in steps for n in pair) for pair in whole)
        said.append(f"{kind} {found} of {len(whole)}")
    return " and ".join(said)


def table(facts: dict[str, int], speeds: dict[str, list[tuple[float, float]]], found: str) -> str:
    """The figures as Markdown; ratios are of turns of the same round."""
    limit = np.array([cpu for cpu, _ in speeds["tokenizer alone"]])
    rows = [
        f"{facts['bytes'] / 1e6:.0f} MB in {facts['documents']:,} documents "
        f"({facts['exact']} exact and {facts['near']} near duplicates planted); one thread each, "
        f"{time.strftime('%Y-%m-%d')}.",
        "",
        "| | MB a core-second | MB a second | share of the limit | zafu is so many times as fast |",
        "|---|---|---|---|---|",
    ]
    own = np.array([cpu for cpu, _ in speeds["zafu"]])
    for name, turns in speeds.items():
        cpu, wall = np.array(turns).T
        share, times = cpu / limit[: len(cpu)], own[: len(cpu)] / cpu
        rows.append(
            f"| {name} | {median(cpu):.2f} | {median(wall):.2f} | {spread(share)} "
            f"| {spread(times)} |"
        )
    return "\n".join(
        [*rows, "", f"Planted duplicates found, of pairs that cleaning left: {found}.", ""]
    )


def spread(values: np.ndarray) -> str:
    """Median with least and most."""
    return f"{np.median(values):.2f} [{values.min():.2f}, {values.max():.2f}]"


if __name__ == "__main__":
    main()
