"""What a training looks like in a terminal: a line of progress, and a line for each event."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from zafu.loop import Step
from zafu.measure import Measurement
from zafu.pipeline import Began, Event, Finished, Note
from zafu.session import Judged
from zafu.units import Count, Seconds

SECONDS_BETWEEN_DRAWS = 0.1
BAR = 24  # characters
MOST = 4  # metrics in a line
WORTH_SAYING = 0.01  # share of the time that was spent waiting for data


def show(events: Iterable[Event], *, quiet: bool = False) -> None:
    """Read all events; draw them unless quiet, and print the result in any case."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    line = Line()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for event in events:
            if isinstance(event, Step):
                if line.take(event) and console.is_terminal:
                    live.update(line.text(), refresh=True)
            elif isinstance(event, Began):
                line.begin(event)
                console.print(_began(event))
            elif isinstance(event, Judged):
                console.print(_judged(event))
            elif isinstance(event, Note):
                console.print(f"[dim]{escape(event.text)}[/dim]")
            else:
                live.update("", refresh=True)
                _result(Console(highlight=False), event)


class Line:
    """The moving line: how far, the loss, the speed and the time left."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0
        self.unit = "samples"
        self.loss = self.speed = self.data = 0.0
        self.index = 0
        self.recent: list[Step] = []
        self.drawn = perf_counter()

    def begin(self, event: Began) -> None:
        """Take the size of the budget."""
        self.total, self.done = event.total, event.done
        language = event.run.recipe.task.kind == "language-modeling"
        self.unit = "tokens" if language else "samples"

    def take(self, step: Step) -> bool:
        """Count a step; whether it is time to draw."""
        self.done += step.samples
        self.recent.append(step)
        if (now := perf_counter()) - self.drawn < SECONDS_BETWEEN_DRAWS:
            return False
        seconds = sum(s.seconds for s in self.recent)
        targets = sum(s.targets for s in self.recent)
        fresh = sum(s.loss * s.targets for s in self.recent) / targets
        self.loss = fresh if not self.loss else 0.8 * self.loss + 0.2 * fresh
        counted = targets if self.unit == "tokens" else sum(s.samples for s in self.recent)
        self.speed = counted / seconds
        self.data = sum(s.seconds_data for s in self.recent) / seconds
        self.per_sample = seconds / sum(s.samples for s in self.recent)
        self.index, self.recent, self.drawn = step.number, [], now
        return True

    def text(self) -> Text:
        """The line as it stands."""
        parts = [f"step {self.index:,}", f"loss {self.loss:.4f}"]
        parts.append(f"{Count(round(self.speed))} {self.unit}/s")
        if self.data > WORTH_SAYING:
            parts.append(f"data {self.data:.0%}")
        bar = ""
        if self.total:
            share = min(self.done / self.total, 1)
            filled = round(share * BAR)
            bar = "━" * filled + "─" * (BAR - filled) + f" {share:4.0%}  "
            parts.append(f"{Seconds((self.total - self.done) * self.per_sample)} left")
        return Text(bar, style="cyan").append("  ".join(parts), style="default")


def _began(event: Began) -> str:
    recipe = event.run.recipe
    budget = f"{Count(event.total)} samples" if event.total else f"{recipe.fit.seconds:g} s"
    return (
        f"[bold]{escape(event.run.name)}[/bold]: {recipe.model.kind} of "
        f"{Count(event.parameters)} parameters, {recipe.fit.optimizer.kind}, "
        f"{Count(event.samples)} training samples, budget {budget}, on {event.device}"
    )


def _judged(event: Judged) -> str:
    first = list(event.scores.items())[:MOST]
    scores = "  ".join(f"{name} {score.value:.4g}" for name, score in first)
    return f"  step {event.step:>6,}  {event.split:10} {scores}"


def _result(console: Console, event: Finished) -> None:
    found = event.evaluation
    metric = found["metric"]
    table = Table(title=f"{metric} on the {found['split']} split", title_justify="left")
    for heading in ("", metric, "95 % interval"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows: dict[str, dict[str, Any]] = {event.run.recipe.model.kind: found["scores"]}
    for name, scores in (rows | found["baselines"]).items():
        if metric in scores:
            score = Measurement.parse(scores[metric])
            bounds = "" if score.low is None else f"{score.low:.4g} to {score.high:.4g}"
            table.add_row(name, f"{score.value:.4g}", bounds)
    console.print(table)
    folder = event.run.folder
    console.print(f"model   {folder / 'model'}\nreport  {event.report}")
    console.print(f"next    {_next(event.run.recipe.task.kind, folder)}")
    sys.stdout.flush()


def _next(task: str, folder: Path) -> str:
    if task == "language-modeling":
        return f'zafu generate {folder} --prompt "def "'
    return f"zafu evaluate {folder}"
