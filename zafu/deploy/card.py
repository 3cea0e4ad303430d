"""The README of an exported folder: what it is, how to open it, and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zafu.artifact import read_json
from zafu.export.contract import Export, Source
from zafu.measure import Measurement
from zafu.run import Run
from zafu.units import Bytes


def text(run: Run, how: Export, source: Source, found: dict[str, Any], step: int | None) -> str:
    """Markdown."""
    lines = [*how.front(source), f"# {run.name}", "", *_scores(run, step), ""]
    if usage := list(how.usage(source)):
        lines += ["## Use", "", *usage, ""]
    lines += ["## As it was measured", "", *_parity(how, found), "", *_times(how, found), ""]
    recipe = (run.folder / "recipe.yaml").read_text(encoding="utf-8").rstrip()
    return "\n".join([*lines, "## Recipe", "", "```yaml", recipe, "```", ""])


def _scores(run: Run, step: int | None) -> Iterator[str]:
    if step is not None:
        yield f"Trained by zafu, as it was after step {step}. Not judged on held-out data."
        return
    judged = read_json(run.folder / "evaluation.json")
    yield f"Trained by zafu. On held-out data ({judged['split']}):"
    yield ""
    yield "| metric | value | samples | how |"
    yield "|---|---|--:|---|"
    for name, plain in judged["scores"].items():
        score = Measurement.parse(plain)
        yield f"| {name} | {score} | {score.n} | {score.how} |"


def _parity(how: Export, found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"Logits of {found['samples']} held-out samples differ from those of the model by "
        f"{found['difference']:.1e} of the largest."
    )
    for row in found["scores"]:
        gap = Measurement.parse(row["difference"])
        yield f"{row['metric']}: {row['other']:.6g} before, {row['this']:.6g} here, {gap} more."
    yield from language(found)
    yield f"{Bytes(found['bytes'])} in all."


def language(found: dict[str, Any]) -> Iterator[str]:
    """What was measured of a language model alone."""
    if (nats := found.get("divergence")) is not None:
        yield f"Likelihoods of tokens diverge from the model's by {nats:.2g} nats a token."
    if (written := found.get("written")) is not None:
        yield f"Of {written['tokens']} likeliest tokens that both write {written['equal']} agree."


def _times(how: Export, found: dict[str, Any]) -> Iterator[str]:
    yield f"| samples | torch, ms | {how.kind}, ms |"
    yield "|--:|--:|--:|"
    for size, row in found["latency"].items():
        both = [Measurement.parse(row[name]) for name in ("torch", how.kind)]
        yield f"| {size} | {both[0]} | {both[1]} |"
    yield ""
    yield f"Medians of passes in turn, {found['threads']} threads."
