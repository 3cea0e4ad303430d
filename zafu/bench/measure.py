"""What a served model does under load: latency, throughput, and what memory would allow.

Quantiles have intervals of their order statistics (Conover, 1999), throughput one of its slices of
time; answers that follow each other depend on each other, so both are rather too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zafu.bench.asking import Asking
from zafu.bench.load import Heard, Plan, run
from zafu.deploy.gate import FITTED
from zafu.measure import Z95, Measurement, bootstrap

TURNS = 3  # of servers that are compared
SLICES = 20  # of a phase, whose throughputs are compared
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Phase:
    """How a server is loaded, and what was heard of it."""

    name: str
    found: dict[str, Measurement]
    answered: int
    refused: int
    failed: int

    def dump(self) -> dict[str, Any]:
        """As plain data."""
        found = {name: of.dump() for name, of in self.found.items()}
        counts = {"answered": self.answered, "refused": self.refused, "failed": self.failed}
        return {"name": self.name, **counts, "found": found}


def phases(port: int, asking: Asking, clients: int, seconds: float) -> list[Phase]:
    """One client, many, and 70 % of what these had in an open loop."""
    run(_plan(port, asking, clients, min(1.0, seconds / 4)))  # caches and threads are warm
    one = phase("1 client", _plan(port, asking, 1, seconds))
    many = phase(f"{clients} clients", _plan(port, asking, clients, seconds))
    rate = 0.7 * many.found["answers"].value
    if not rate:
        return [one, many]
    plan = _plan(port, asking, clients, seconds, rate)
    return [one, many, phase(f"{rate:.3g}/s by chance", plan)]


def _plan(
    port: int, asking: Asking, clients: int, seconds: float, rate: float | None = None
) -> Plan:
    return Plan(port=port, **asking.plan(), clients=clients, seconds=seconds, rate=rate)


def in_turns(
    ports: Mapping[str, int], asking: Asking, clients: int, seconds: float
) -> dict[str, list[Phase]]:
    """One client and many, of several servers in turn: what else goes on meets them alike."""
    plans = {
        kind: {n: _plan(port, asking, n, seconds / TURNS) for n in (1, clients)}
        for kind, port in ports.items()
    }
    heard = {(kind, n): list[Heard]() for kind, of in plans.items() for n in of}
    for kind in plans:
        run(_plan(ports[kind], asking, clients, min(1.0, seconds / 4)))
    for _ in range(TURNS):
        for kind, n in heard:
            heard[kind, n].append(run(plans[kind][n]))
    names = {1: "1 client", clients: f"{clients} clients"}
    return {
        kind: [told(names[n], joined(heard[kind, n])) for n in of] for kind, of in plans.items()
    }


def joined(parts: Sequence[Heard]) -> Heard:
    """What was heard in several turns, as if they had followed each other."""
    whole = Heard()
    for part in parts:
        whole.ends += [end + whole.seconds for end in part.ends]
        whole.took += part.took
        whole.first += part.first
        whole.tokens += part.tokens
        whole.refused += part.refused
        whole.failed += part.failed
        whole.seconds += part.seconds
    return whole


def phase(name: str, plan: Plan) -> Phase:
    """What is heard of a server under a load."""
    return told(name, run(plan))


def told(name: str, heard: Heard) -> Phase:
    """What was heard, in figures."""
    found = {"answers": per_second(heard, np.ones(len(heard.ends)), "/s")}
    if heard.took:
        found |= {k: quantile(heard.took, share) for k, share in QUANTILES.items()}
    if heard.first:
        found |= {f"first {k}": quantile(heard.first, QUANTILES[k]) for k in ("p50", "p99")}
        found["tokens"] = per_second(heard, np.array(heard.tokens, float), "tokens/s")
    return Phase(name, found, len(heard.took), len(heard.refused), heard.failed)


def quantile(seconds: Sequence[float], share: float) -> Measurement:
    """A quantile in milliseconds, with the interval of its rank."""
    ordered, n = np.sort(seconds) * 1000, len(seconds)
    half = Z95 * math.sqrt(n * share * (1 - share))
    ranks = (n * share - half, n * share, math.ceil(n * share + half))
    low, at, high = (int(np.clip(math.floor(rank), 0, n - 1)) for rank in ranks)
    how = f"quantile of {n} answers"
    if n * share + half >= n:
        how += ", too few for its upper end"
    value, lower, upper = (float(ordered[i]) for i in (at, low, high))
    return Measurement(value=value, unit="ms", n=n, low=lower, high=upper, how=how)


def per_second(heard: Heard, amounts: np.ndarray, unit: str) -> Measurement:
    """What is had in a second, over equal slices of the time."""
    edges = np.linspace(0, heard.seconds, SLICES + 1)
    counts, _ = np.histogram(np.array(heard.ends), edges, weights=amounts)
    rates = counts * SLICES / heard.seconds
    return bootstrap([rates], lambda x: float(x.mean()), unit=unit, n=len(amounts))


def weights(folder: Path) -> int:
    """Bytes that a pass reads of a model or exported folder: its files, less what was fitted."""
    model = folder / "model" if (folder / "model").is_dir() else folder
    files = (f for f in model.rglob("*") if f.is_file() and FITTED not in f.parts)
    words = {".json", ".md", ".yaml", ".txt", ".html", ".jsonl"}
    return sum(f.stat().st_size for f in files if f.suffix not in words)
