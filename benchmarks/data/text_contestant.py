"""One way to clean, deduplicate and tokenize the corpus, timed inside its own process.

    python text_contestant.py NAME CORPUS TOKENIZER

prints JSON: CPU-seconds of this process and its children, wall seconds, documents and tokens kept.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ZAFU_STEPS = ["unicode", "control", "gopher", "personal-data"]


def tokenizer_alone(corpus: Path, tokenizer: Path) -> Callable[[], dict[str, int]]:
    """The limit: the same tokenizer on the same texts, in memory, and nothing else."""
    from zafu.tokenizers.encoder import load

    encoder = load(tokenizer)
    texts = [json.loads(line)["text"] for line in corpus.open(encoding="utf-8")]

    def run() -> dict[str, int]:
        return {"documents": len(texts), "tokens": sum(len(encoder.encode([t])[0]) for t in texts)}

    return run


def zafu(corpus: Path, tokenizer: Path, *, engine: str) -> Callable[[], dict[str, int]]:
    """Prepare: all of it, from the file to packed windows on disk."""
    import polars  # noqa: F401  (start-up is not what is compared)

    from zafu.data.text import Text
    from zafu.work import Inline, Pool, Work

    data = Text.parse(
        {
            "files": [str(corpus)],
            "clean": ZAFU_STEPS,
            "duplicates": {"exact": True, "near": {"threshold": 0.8}},
            "tokenizer": {"kind": "file", "path": str(tokenizer)},
            "context": 1024,
            "unreadable": "drop",
        }
    )
    folder = Path(tempfile.mkdtemp(dir=corpus.parent))
    work = Work(folder / "work", Pool(2) if engine == "pool" else Inline())

    def run() -> dict[str, int]:
        (folder / "out").mkdir()
        data.prepare(folder / "out", task="language-modeling", seed=0, work=work)
        said = json.loads((folder / "out" / "prepare.json").read_text())
        tokens = sum(split["tokens"] for split in said["tokens"].values())
        shutil.copy(folder / "out" / "removed.jsonl", corpus.parent / f"{engine}.jsonl")
        return {"documents": said["out"], "tokens": tokens}

    return run


def datasets_map(corpus: Path, tokenizer: Path) -> Callable[[], dict[str, int]]:
    """What most people write: a Python function a row, ftfy, regular expressions, tokenizers."""
    import ftfy
    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer

    disable_progress_bars()
    fast = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    control = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f]")
    personal = re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.]+\b|\b(?:\d{1,3}\.){3}\d{1,3}\b")
    stop = {"the", "be", "to", "of", "and", "that", "have", "with"}

    def good(row: dict[str, Any]) -> bool:
        words = row["text"].split()
        mean = sum(map(len, words)) / max(1, len(words))
        lines = row["text"].splitlines()
        bullets = sum(line.lstrip().startswith(("-", "*", "•")) for line in lines)
        ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
        alphabetic = sum(any(c.isalpha() for c in word) for word in words)
        return (
            50 <= len(words) <= 100_000
            and 3 <= mean <= 10
            and (row["text"].count("#") + row["text"].count("...")) / len(words) <= 0.1
            and bullets <= 0.9 * len(lines)
            and ellipses <= 0.3 * len(lines)
            and alphabetic >= 0.8 * len(words)
            and len(stop.intersection(map(str.lower, words))) >= 2
        )

    def clean(row: dict[str, Any]) -> dict[str, Any]:
        return {"text": personal.sub("<X>", control.sub("", ftfy.fix_text(row["text"])))}

    seen: set[int] = set()

    def fresh(row: dict[str, Any]) -> bool:
        known = hash(row["text"])
        return not (known in seen or seen.add(known))

    def run() -> dict[str, int]:
        rows = Dataset.from_json(str(corpus), cache_dir=tempfile.mkdtemp(dir=corpus.parent))
        kept = rows.map(clean).filter(good).filter(fresh)
        done = kept.map(lambda row: {"ids": fast.encode(row["text"]).ids}, remove_columns=["text"])
        return {"documents": len(done), "tokens": sum(len(row["ids"]) for row in done)}

    return run


def datatrove(corpus: Path, tokenizer: Path) -> Callable[[], dict[str, int]]:
    """Its local executor: Gopher's filter, personal data, then MinHash's signatures."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.filters import GopherQualityFilter
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from tokenizers import Tokenizer

    folder = Path(tempfile.mkdtemp(dir=corpus.parent))
    (folder / "in").mkdir()
    (folder / "in" / corpus.name).symlink_to(corpus)
    fast = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))

    def run() -> dict[str, int]:
        executor = LocalPipelineExecutor(
            [
                JsonlReader(str(folder / "in")),
                GopherQualityFilter(),
                PIIFormatter(),
                JsonlWriter(str(folder / "kept"), compression=None),
                MinhashDedupSignature(
                    str(folder / "signatures"),
                    config=MinhashConfig(hash_config=HashConfig(hash_fc="sha1", precision=64)),
                ),
            ],
            logging_dir=str(folder / "logs"),
        )
        executor.run()
        rows = [json.loads(line) for p in (folder / "kept").glob("*") for line in p.open()]
        return {
            "documents": len(rows),
            "tokens": sum(len(fast.encode(r["text"]).ids) for r in rows),
        }

    return run


CONTESTANTS: dict[str, Callable[[Path, Path], Callable[[], dict[str, int]]]] = {
    "tokenizer alone": tokenizer_alone,
    "zafu": lambda corpus, tokenizer: zafu(corpus, tokenizer, engine="inline"),
    "zafu, pool of 2": lambda corpus, tokenizer: zafu(corpus, tokenizer, engine="pool"),
    "datasets.map": datasets_map,
    "datatrove": datatrove,
}


def spent() -> float:
    """CPU-seconds of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def main() -> None:
    """Run one contestant."""
    name, corpus, tokenizer = sys.argv[1:]
    run = CONTESTANTS[name](Path(corpus), Path(tokenizer))
    cpu, wall = spent(), time.perf_counter()
    found = run()
    found |= {"cpu": spent() - cpu, "wall": time.perf_counter() - wall}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
