"""Power: how often `zafu compare` finds a difference that is there, and one that is not.

The seeds of simulated comparisons go through the deciding code itself, looks and all:
`python benchmarks/tune/power.py` prints a line for each planted difference.
"""

from __future__ import annotations

import argparse

import numpy as np

from zafu.compare.decide import Plan, Shown, escalated, shown, undecided

GAPS = (0.0, 0.005, 0.01, 0.02, 0.03)
SD = 0.016  # of one arm over seeds: a small MLP on digits


def compared(random: np.random.Generator, gap: float, plan: Plan, *, sd: float, shared: float):
    """One comparison of two arms: the seeds that it took, and what it shows of the second."""
    common = random.normal(0, sd * shared**0.5, plan.most)
    own = random.normal(0, sd * (1 - shared) ** 0.5, (2, plan.most))
    values = {"a": 0.9 + common + own[0], "b": 0.9 + gap + common + own[1]}

    def judge(n: int) -> dict[str, Shown]:
        return shown(plan, {name: row[:n] for name, row in values.items()}, higher=True)

    n, found = escalated(plan, judge, open_=undecided)
    return n, found["b"].verdict


def main() -> None:
    """Print the counts as a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1000)
    parser.add_argument("--sd", type=float, default=SD)
    parser.add_argument("--shared", type=float, default=0.23, help="correlation of paired seeds")
    parser.add_argument("--seeds", type=int, nargs=2, default=(10, 30))
    given = parser.parse_args()
    plan = Plan(first=given.seeds[0], most=given.seeds[1])
    print(f"sd {given.sd} an arm, correlation {given.shared} of paired seeds, looks {plan.looks}\n")
    print("| planted, points | better | worse | not shown | seeds: mean |")
    print("|---|---|---|---|---|")
    for gap in GAPS:
        random = np.random.default_rng(0)
        found = [
            compared(random, gap, plan, sd=given.sd, shared=given.shared)
            for _ in range(given.comparisons)
        ]
        counts = [sum(v == name for _, v in found) for name in ("better", "worse", "not shown")]
        shares = " | ".join(f"{100 * count / given.comparisons:.1f} %" for count in counts)
        print(f"| {100 * gap:.1f} | {shares} | {np.mean([n for n, _ in found]):.1f} |")


if __name__ == "__main__":
    main()
