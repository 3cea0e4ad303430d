"""What a cross-validation looks like in a terminal: a line for each fold, and the result."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zafu.crossval import Began, Event, Finished, Folded
from zafu.measure import Measurement
from zafu.parts import Part, Result
from zafu.units import Seconds


def show(events: Iterable[Event], *, quiet: bool, silent: bool) -> Finished | None:
    """Read all events; print folds unless quiet, and the result unless silent."""
    console = Console(stderr=True, quiet=quiet or silent, highlight=False)
    last: Finished | None = None
    metric = ""
    for event in events:
        if isinstance(event, Began):
            metric = event.crossval.recipe.metric
            console.print(_began(event))
        elif isinstance(event, Folded):
            console.print(_folded(event, metric))
        elif isinstance(event, Finished):
            last = event
            if not silent:
                result(Console(highlight=False), event)
        else:
            console.print(f"[dim]{escape(event.text)}[/dim]")
    return last


def _began(event: Began) -> str:
    crossval = event.crossval
    many = len(crossval.recipes)
    goes_on = f"; {event.done} of them are judged already" if event.done else ""
    return f"[bold]{escape(crossval.folder.name)}[/bold]: {many} folds{goes_on}"


def _folded(event: Folded, metric: str) -> str:
    part = event.part
    where = f"  {event.done:>3} of {event.of}  repeat {part.repeat} fold {part.fold}"
    if part.diverged:
        return f"{where}  diverged: {escape(part.diverged[:80])}"
    chosen = ""
    if part.settings:
        said = "  ".join(f"{path}={value}" for path, value in part.settings.items())
        chosen = f"  [dim]{escape(said)}  (in the search {part.searched:.4g})[/dim]"
    return f"{where}  {metric} {part.scores[metric]:.4g}  {Seconds(part.seconds)}{chosen}"


def result(console: Console, event: Finished) -> None:
    """Print the table of metrics, and what to know of it."""
    found = event.result
    repeats = f" x {found.repeats} repeats" if found.repeats > 1 else ""
    table = Table(title=f"{found.folds} folds{repeats}", title_justify="left")
    table.add_column("")
    for name in ("mean over folds", "95 % interval", "folds from", "to", "all answers"):
        table.add_column(name, justify="right")
    for name, mean in found.means.items():
        own = values(found.parts, name)
        pooled = found.pooled.get(name)
        shown = [f"{mean.value:.4g}", between(mean), f"{min(own):.4g}", f"{max(own):.4g}"]
        table.add_row(name, *shown, f"{pooled.value:.4g} {between(pooled)}" if pooled else "")
    console.print(table)
    for sentence in sentences(found):
        console.print(escape(sentence))
    console.print(f"answers {event.crossval.folder / 'oof.npy'}\nreport  {event.report}")
    sys.stdout.flush()


def sentences(found: Result) -> list[str]:
    """What a person should know of the numbers."""
    said = list(found.notes)
    if found.score:
        said.append(f"interval: {found.score.how}; that of all answers: of the samples alone")
    if found.optimism:
        gap = found.optimism
        said.append(
            f"the searches said {gap.value:.4g} {between(gap)} too much of what they chose"
        )
    return said


def values(parts: Iterable[Part], metric: str) -> list[float]:
    """A metric of each fold that came to an answer."""
    return [part.scores[metric] for part in parts if not part.diverged]


def between(of: Measurement) -> str:
    """The interval, `[0.95, 0.97]`; nothing where none is known."""
    return "" if of.low is None else f"[{of.low:.4g}, {of.high:.4g}]"
