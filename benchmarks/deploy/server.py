"""zafu's server beside a bare endpoint, under abuse, by chance; writes server.json and server.md.

    python benchmarks/deploy/server.py            # about 15 minutes on two quiet cores
    python benchmarks/deploy/server.py --quick    # about 2 minutes; the figures say little
    python benchmarks/deploy/server.py --only abuse     # the rest of the page stays as it is

Throughput: of the client counts 1, 2, 4, ... the most answers a second whose p99 is at most twice
that of the bare endpoint with one client. The bare endpoint runs as torch has it, with a thread for
each core, and once more with one thread; all servers run at once and are loaded in turn.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import abuse
import fuzz
from served import MODELS, p99, plan_of, serving

import zafu
from zafu.bench.load import Plan, run
from zafu.recipe import Recipe
from zafu.run import environment

HERE = Path(__file__).parent
BARE, ONE = str(HERE / "bare.py"), "bare, one thread"


def whole(plan: Plan) -> Plan:
    """The same, of an endpoint that does not stream."""
    if not plan.streams:
        return plan
    bodies = [json.loads(base64.b64decode(body)) for body in plan.bodies]
    kept = [{k: b[k] for k in ("prompt", "max_tokens", "temperature")} for b in bodies]
    coded = [base64.b64encode(json.dumps(b).encode()).decode() for b in kept]
    return replace(plan, bodies=coded, streams=False)


def side_by_side(folder: Path, seconds: float) -> dict[str, Any]:
    """Answers a second of all servers by the number of clients, loaded in turn."""
    ours, bare = ("-m", "zafu", "serve", str(folder), "--port", "0"), (BARE, str(folder))
    with ExitStack() as up:
        first, _ = up.enter_context(serving(*ours))
        plans = {"zafu": whole(plan_of(folder, first, seconds))}
        for name, threads in (("bare", None), (ONE, 1)):
            port, _ = up.enter_context(serving(*bare, threads=threads))
            plans[name] = replace(plans["zafu"], port=port)
        for plan in plans.values():
            run(replace(plan, clients=4, seconds=1))
        budget = 2 * p99(run(plans["bare"]))
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in plans}
        for clients in (1, 2, 4, 8, 16, 32, 64):
            for name, plan in plans.items():
                heard = run(replace(plan, clients=clients))
                rate = len(heard.took) / heard.seconds
                facts = {"clients": clients, "rate": rate, "p99": p99(heard)}
                rows[name].append({**facts, "refused": len(heard.refused), "failed": heard.failed})
                print(f"  {name:17}{clients:4} clients  {rate:8.1f}/s  p99 {p99(heard):8.1f} ms")
    within = {
        name: max((r["rate"] for r in found if r["p99"] <= budget), default=0.0)
        for name, found in rows.items()
    }
    most = {name: max(r["rate"] for r in found) for name, found in rows.items()}
    return {"budget": budget, "rows": rows, "within": within, "most": most}


def throughput(folder: Path, *, quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, recipe in MODELS.items():
        print(name, flush=True)
        trained = zafu.train(Recipe.parse(recipe), runs=folder)
        found[name] = side_by_side(trained.folder, 1.0 if quick else 6.0)
    return found


def page(found: dict[str, Any]) -> str:
    """What was measured, as a page."""
    lines = ["# The server, measured", ""]
    if "throughput" in found:
        lines += ["Answers a second with p99 within twice the bare endpoint's with one client, and"]
        lines += ["at most; in brackets of zafu how many times those of the bare endpoints.", ""]
        lines += [f"| model | p99 within | bare | {ONE} | zafu | at most: bare | {ONE} | zafu |"]
        lines += ["|---|--:|--:|--:|--:|--:|--:|--:|"]
        lines += [_line(name, one) for name, one in found["throughput"].items()]
        lines += ["", found["where"]["throughput"], ""]
    rows = [*found.get("abuse", []), *([found["fuzz"]] if "fuzz" in found else [])]
    if rows:
        lines += ["| abuse | measured | mark | kept |", "|---|---|---|---|"]
    for row in rows:
        kept = "yes" if row["kept"] else "**no**"
        lines.append(f"| {row['what']} | {row['measured']} | {row['mark']} | {kept} |")
    lines += ["", *sorted({found["where"][n] for n in ("abuse", "fuzz") if n in found})]
    return "\n".join([*lines, ""])


def _line(name: str, one: dict[str, Any]) -> str:
    cells = [f"{one['budget']:.1f} ms"]
    for kind in ("within", "most"):
        bare, single, ours = (one[kind][of] for of in ("bare", ONE, "zafu"))
        times = ", ".join(f"{ours / of:.2f}" if of else "–" for of in (bare, single))
        cells += [f"{bare:.0f}", f"{single:.0f}", f"{ours:.0f} ({times})"]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts: dict[str, Callable[..., Any]] = {
        "throughput": throughput,
        "abuse": abuse.measured,
        "fuzz": fuzz.fuzzed,
    }
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=list(parts))
    parser.add_argument("--to", type=Path, default=HERE)
    given = parser.parse_args()
    file = given.to / "server.json"
    facts: dict[str, Any] = json.loads(file.read_text()) if given.only and file.is_file() else {}
    here = environment(len(os.sched_getaffinity(0)))
    where = f"{here['time'][:10]}, {here['cpu']}, {here['threads']} cores, load {{:.1f}} before."
    for name, part in parts.items():
        if given.only in (None, name):
            facts.setdefault("where", {})[name] = where.format(os.getloadavg()[0])
            with tempfile.TemporaryDirectory() as folder:
                facts[name] = part(Path(folder), quick=given.quick)
    file.write_text(json.dumps(facts, indent=1) + "\n")
    (given.to / "server.md").write_text(page(facts))
    print(page(facts))


if __name__ == "__main__":
    main()
