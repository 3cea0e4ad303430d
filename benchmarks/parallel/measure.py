"""What layouts send, hold and wait for beside theory, and zafu's step beside its peers, in one run.

```
make bench-parallel                               # in an environment with the peers
python benchmarks/parallel/measure.py volume idle     # some parts; the others keep their figures
```
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import idle
import race
import volume
from page import markdown

HERE = Path(__file__).parent


def raced() -> dict[str, Any]:
    """Each size, three times with fresh processes."""
    turns = {name: turns for name, (_, turns) in race.BLOCKS.items()}
    return {name: race.race(name, rounds=3, turns=count) for name, count in turns.items()}


PARTS: dict[str, Callable[[], Any]] = {
    "volume": volume.measured,
    "idle": idle.measured,
    "race": raced,
}


def main() -> None:
    """Measure, and write `results.json` and `results.md`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    chosen = parser.parse_args().parts or [*PARTS]
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"expected {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    path = HERE / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for part in chosen:
        results[part] = {"made": race.where(), "found": PARTS[part]()}
        path.write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "results.md").write_text(markdown(results))
    print(markdown(results))


if __name__ == "__main__":
    main()
