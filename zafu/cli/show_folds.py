"""What a cross-validation looks like in a terminal: a line for each fold, and the result."""

from __future__ import annotations

from collections.abc import Iterable
from json import dumps

from rich.console import Console
from rich.markup import escape

from zafu.crossval import Began, Event, Finished, Folded
from zafu.measure import Measurement
from zafu.paired import Compared
from zafu.parts import Part, Result
from zafu.units import Seconds


def show(events: Iterable[Event | Compared], *, quiet: bool, json: bool) -> int:
    """Read all events; print folds unless quiet, and the result, or its JSON; the exit code."""
    console = Console(stderr=True, quiet=quiet or json, highlight=False, soft_wrap=True)
    last: Finished | Compared | None = None
    metric = ""
    for event in events:
        if isinstance(event, Began):
            metric = event.crossval.recipe.metric
            console.print(_began(event))
        elif isinstance(event, Folded):
            console.print(_folded(event, metric))
        elif isinstance(event, (Finished, Compared)):
            last = event
            if not json:
                print("\n".join(_said(event)), flush=True)
        else:
            console.print(f"[dim]{escape(event.text)}[/dim]")
    if json and last:
        found = last.result if isinstance(last, Finished) else last.difference
        print(dumps(found.dump(), indent=1))
    return 0


def _said(event: Finished | Compared) -> list[str]:
    return result(event) if isinstance(event, Finished) else compared(event)


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


def result(event: Finished) -> list[str]:
    """The metrics, and what to know of them."""
    found = event.result
    repeats = f" x {found.repeats} repeats" if found.repeats > 1 else ""
    title = f"{found.folds} folds{repeats}"
    lines = [f"{title:22}{'mean over folds':28}{'folds':19}all answers together"]
    for name, mean in found.means.items():
        own, pooled = values(found.parts, name), found.pooled.get(name)
        spread = f"{min(own):.4g} to {max(own):.4g}"
        whole = f"{pooled.value:.4g} {between(pooled)}" if pooled else ""
        lines.append(f"{name:22}{f'{mean.value:.4g} {between(mean)}':28}{spread:19}{whole}")
    folder = event.crossval.folder
    return [*lines, *sentences(found), f"answers {folder / 'oof.npy'}", f"report  {event.report}"]


def compared(event: Compared) -> list[str]:
    """The verdict on the second recipe, and what it rests on."""
    found = event.difference
    size, (first, second) = found.effect.size, found.means
    changed = ", ".join(f"{p}={pair[1]}" for p, pair in list(found.changed.items())[:3])
    said = {
        "better": "better than the first recipe",
        "worse": "worse than the first recipe",
        "not shown": "no difference from the first recipe was shown",
    }[found.verdict]
    seconds = (
        []
        if found.seconds is None
        else [f"  trained for {Seconds(found.seconds[1])} against {Seconds(found.seconds[0])}"]
    )
    return [
        f"{changed}: {said}",
        f"  {found.metric} {second:.4g} against {first:.4g}: {size.value:+.4g} {between(size)}, "
        f"p = {found.effect.p:.2g} ({size.how})",
        *seconds,
        f"report  {event.report}",
    ]


def sentences(found: Result) -> list[str]:
    """What a person should know of the numbers."""
    said = list(found.notes)
    if found.score:
        said.append(f"interval: {found.score.how}; that of all answers: of the samples alone")
    if found.optimism:
        gap = found.optimism
        said.append(f"the searches said {gap.value:.4g} {between(gap)} too much of what they chose")
    return said


def values(parts: Iterable[Part], metric: str) -> list[float]:
    """A metric of each fold that came to an answer."""
    return [part.scores[metric] for part in parts if not part.diverged]


def between(of: Measurement) -> str:
    """The interval, `[0.95, 0.97]`; nothing where none is known."""
    return "" if of.low is None else f"[{of.low:.4g}, {of.high:.4g}]"
