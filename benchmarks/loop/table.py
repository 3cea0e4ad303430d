"""The results as Markdown."""

from __future__ import annotations

from typing import Any

NAMES = {
    "bare": "bare torch loop, with `loss.item()` and clipping",
    "minimal": "bare torch loop, with neither",
    "loader": "bare torch loop over a `DataLoader`",
    "zafu-fit": "**zafu**, `zafu.loop.fit`",
    "zafu-train": "**zafu**, all of `zafu train`",
    "transformers": "`transformers.Trainer`, logging and saving off",
    "lightning": "Lightning `Trainer`, logging and saving off",
}
HEAD = """\
# The training loop beside its peers

{date}, {cpu}, {threads} thread, {versions}. Written by `make bench`.

Each loop trains the same module on the same samples with torch's fused AdamW, in a process of its
own, three times over; the processes take turns. A ratio above 1 means more steps than the bare loop
did in the same turn: the median over all turns, its 95 % interval (bootstrap) and the range. The
same ratio in seconds of CPU, which depend less on what else the machine does, and that of the sums
over all turns, which count what happens seldom, such as zafu's checkpoint.
"""


def markdown(results: dict[str, Any]) -> str:
    """Everything that was measured, for a reader."""
    named = {"date": results["date"][:10], "cpu": results["cpu"], "threads": results["threads"]}
    found = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    parts = [HEAD.format(**named, versions=found)]
    for size in results["sizes"].values():
        parts.append(_size(size))
    parts.append(_starts(results["starts"]))
    return "\n".join(parts)


def _size(size: dict[str, Any]) -> str:
    lines = [
        f"## {size['title']}",
        "",
        f"{size['turns']} turns of {size['steps_per_turn']} steps.",
        "",
        "| loop | steps/s | ms a step | ratio to bare | 95 % interval | range | CPU | of sums |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for loop, found in size["loops"].items():
        wall, cpu = found["ratio_wall"], found["ratio_cpu"]
        cells = [
            NAMES[loop],
            f"{found['steps_per_second']:,.0f}"
            if found["milliseconds"] < 10
            else f"{found['steps_per_second']:,.1f}",
            f"{found['milliseconds']:.2f}",
            f"{wall['median']:.3f}",
            f"{wall['low']:.3f} to {wall['high']:.3f}",
            f"{wall['min']:.2f} to {wall['max']:.2f}",
            f"{cpu['median']:.3f}",
            f"{cpu['of_sums']:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _starts(found: dict[str, Any]) -> str:
    lines = [
        "## From a cold process",
        "",
        "The smallest model, medians of fresh processes: seconds until imports are done and until",
        "the first step is, CPU seconds of the latter, and the most memory held in 21 steps.",
        "",
        "| loop | imports | first step | CPU | memory |",
        "|---|--:|--:|--:|--:|",
    ]
    for loop, start in found.items():
        cells = [
            NAMES[loop],
            f"{start['import_seconds']:.2f} s",
            f"{start['first_step_seconds']:.2f} s",
            f"{start['first_step_cpu_seconds']:.2f} s",
            f"{start['peak_bytes'] / 1e6:,.0f} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
