"""Metrics of a server in the text that Prometheus reads (its exposition format 0.0.4)."""

from __future__ import annotations

import resource
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import final

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
HELP = {
    "requests_total": ("counter", "requests that were answered, by route and status"),
    "request_seconds": ("histogram", "from the headers of a request to the end of its answer"),
    "batch_samples": ("histogram", "samples, or sequences, in one pass of the model"),
    "pass_seconds": ("histogram", "time of one pass of the model"),
    "first_token_seconds": ("histogram", "from a prompt to its first token"),
    "prompt_tokens_total": ("counter", "tokens of prompts that were read"),
    "tokens_total": ("counter", "tokens that were written"),
    "refused_total": ("counter", "requests that were refused because the server was full"),
    "waiting": ("gauge", "samples, or sequences, that wait"),
    "open_requests": ("gauge", "requests that are being answered"),
    "memory_bytes": ("gauge", "resident memory of the server"),
}

Labels = tuple[tuple[str, str], ...]


@final
class Metrics:
    """What a server counted; changed from its event loop alone."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._seen: dict[str, dict[Labels, list[float]]] = defaultdict(dict)

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """A counter or gauge grows by an amount."""
        self._values[name][tuple(sorted(labels.items()))] += amount

    def put(self, name: str, value: float) -> None:
        """A gauge has a value."""
        self._values[name][()] = value

    def see(self, name: str, value: float, **labels: str) -> None:
        """A histogram gets a value."""
        bounds = SIZES if name.endswith("_samples") else SECONDS
        key = tuple(sorted(labels.items()))
        counts = self._seen[name].setdefault(key, [0.0] * (len(bounds) + 2))
        counts[bisect_left(bounds, value)] += 1
        counts[-1] += value  # the sum

    def value(self, name: str) -> float:
        """The sum of a counter or gauge over its labels."""
        return sum(self._values[name].values())

    def text(self) -> str:
        """All of them."""
        self.put("memory_bytes", memory())
        lines = list[str]()
        for name, (kind, said) in HELP.items():
            lines += [f"# HELP zafu_{name} {said}", f"# TYPE zafu_{name} {kind}"]
            for key, value in self._values[name].items():
                lines.append(f"zafu_{name}{_braced(key)} {value:g}")
            for key, counts in self._seen[name].items():
                lines += _histogram(name, key, counts)
        return "\n".join(lines) + "\n"


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _histogram(name: str, key: Labels, counts: list[float]) -> list[str]:
    bounds = SIZES if name.endswith("_samples") else SECONDS
    lines, total = list[str](), 0.0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=False):
        total += count
        lines.append(f"zafu_{name}_bucket{_braced((*key, ('le', bound)))} {total:g}")
    lines.append(f"zafu_{name}_sum{_braced(key)} {counts[-1]:.6g}")
    return [*lines, f"zafu_{name}_count{_braced(key)} {total:g}"]


def _braced(key: Labels) -> str:
    return "{" + ",".join(f'{k}="{v}"' for k, v in key) + "}" if key else ""
