"""What a study looks like in a terminal: a line of progress, each new best, and the result."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from zafu.measure import Measurement
from zafu.searching.found import Result
from zafu.session import Note
from zafu.tune import Began, Event, Finished, Tried
from zafu.units import Count, Seconds

TOP = 8  # rows of the result
SECONDS_BETWEEN_DRAWS = 0.1


def show(events: Iterable[Event], *, quiet: bool = False, silent: bool = False) -> Result | None:
    """Read all events; draw them unless quiet, and print the result unless silent."""
    console = Console(stderr=True, quiet=quiet or silent, highlight=False)
    line, result = Line(), None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for event in events:
            if isinstance(event, Tried):
                if text := line.take(event):
                    console.print(text)
                if line.due and console.is_terminal:
                    live.update(line.text(), refresh=True)
            elif isinstance(event, Began):
                console.print(_began(event))
                line.of = event.tuning.search.trials
                line.done = event.done
            elif isinstance(event, Note):
                console.print(f"[dim]{escape(event.text)}[/dim]")
            else:
                live.update("", refresh=True)
                result = event.result
                if not silent:
                    _result(Console(highlight=False), event)
    return result


class Line:
    """The moving line: how many trials are over, the best of them, and the pace."""

    def __init__(self) -> None:
        self.of: int | None = None
        self.done = 0
        self.stage = "search"
        self.best: float | None = None
        self.begun = self.drawn = perf_counter()
        self.here = 0

    @property
    def due(self) -> bool:
        """Whether it is time to draw."""
        now = perf_counter()
        if now - self.drawn < SECONDS_BETWEEN_DRAWS:
            return False
        self.drawn = now
        return True

    def take(self, event: Tried) -> str:
        """Count a trial; a sentence where it is worth one."""
        row = event.row
        self.done, self.here = self.done + 1, self.here + 1
        if row.stage != self.stage:
            self.stage, self.done, self.best, self.of = row.stage, 1, None, None
        if row.state != "done":
            return (
                f"[dim]  {self.stage} {row.number:>4}  {row.state}: {_first(row.done.reason)}[/dim]"
            )
        new = event.best is not None and event.best == row.done.value and event.best != self.best
        self.best = event.best
        if not new or self.stage != "search" or row.wanted.until < 1:
            return ""
        return f"  trial {row.number:>4}  {row.done.value:.4g}  {escape(said(row.wanted.settings))}"

    def text(self) -> Text:
        """The line as it stands."""
        of = f" of {self.of}" if self.of and self.stage == "search" else ""
        best = f"best {self.best:.4g}" if self.best is not None else ""
        pace = f"{Seconds((perf_counter() - self.begun) / max(self.here, 1))} a trial"
        return Text("  ".join(filter(None, [f"{self.stage}: {self.done}{of} trials", best, pace])))


def said(settings: dict[str, Any]) -> str:
    """Settings on a line, by the last words of their paths."""
    return "  ".join(f"{path.removeprefix('fit.')}={_value(v)}" for path, v in settings.items())


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _began(event: Began) -> str:
    tuning = event.tuning
    goes_on = f"; {event.done} trials are done already" if event.done else ""
    paths = ", ".join(tuning.space.paths)
    name = escape(tuning.folder.name)
    return f"[bold]{name}[/bold]: {tuning.search.kind} over {escape(paths)}{goes_on}"


def _result(console: Console, event: Finished) -> None:
    found, tuning = event.result, event.tuning
    metric = tuning.recipe.metric
    console.print(_table(found, metric))
    for sentence in sentences(found, metric):
        console.print(escape(sentence))
    if tuning.search.schedules:
        plan = len(found.winner.schedule)
        console.print(f"schedule of {plan} parts  {tuning.folder / 'schedule.json'}")
        console.print(f"next    zafu evaluate {tuning.folder / 'winner'}")
    else:
        console.print(f"next    zafu train {tuning.folder / 'best.yaml'}")
    console.print(f"report  {event.report}")


def _table(found: Result, metric: str) -> Table:
    table = Table(title=f"{metric} on the validation split", title_justify="left", box=SIMPLE)
    for name in ("trial", "in the search", "fresh seeds"):
        table.add_column(name, justify="right")
    shown = found.confirmed[:TOP]
    paths = list(dict.fromkeys(path for one in shown for path in one.schedule[-1][1]))
    for path in paths:
        table.add_column(path.rpartition(".")[2], overflow="fold")
    for one in shown:
        bad = f" ({one.diverged} diverged)" if one.diverged else ""
        mean, settings = f"{one.value or ''}{bad}", one.schedule[-1][1]
        values = [_value(settings[path]) if path in settings else "" for path in paths]
        table.add_row(str(one.origin), f"{one.searched:.4g}", mean, *values)
    return table


def sentences(found: Result, metric: str) -> list[str]:
    """What a person should know of the result."""
    said: list[str] = []
    if found.optimism:
        value = found.first.value
        text = f"the search said {found.first.searched:.4g} of its first; with fresh seeds it is"
        said.append(f"optimism of the search: {_signed(found.optimism)} ({text} {value})")
    elif not found.winner.values:
        said.append("nothing was confirmed: the value of the first is the best of many, too good")
    if test := found.winner.test:
        said.append(f"test split, looked at once, for the winner: {metric} {test} ({test.how})")
    said += [f"edge: {edge}" for edge in found.edges]
    search, confirm = found.ledger["search"], found.ledger["confirm"]
    for name, part in (("search", search), ("confirm", confirm)):
        if part["trials"]:
            said.append(f"{name}: {spending(part)}")
    return said


def spending(part: dict[str, float]) -> str:
    """What trials cost together, in words."""
    words = [
        f"{part['trials']:.0f} trials",
        f"{part['epochs']:.4g} epochs",
        f"{Count(part['samples'])} samples",
        f"{Count(part['updates'])} gradient evaluations",
        f"{Seconds(part['seconds'])} of training",
        f"{part['diverged']:.0f} diverged",
    ]
    failed = [f"{part['failed']:.0f} refused"] if part["failed"] else []
    return ", ".join([*words, *failed])


def _signed(value: Measurement) -> str:
    interval = "" if value.low is None else f" [{value.low:+.4f}, {value.high:+.4f}]"
    return f"{value.value:+.4f}{interval}"


def _first(text: str) -> str:
    return escape(" ".join(text.split())[:100])
