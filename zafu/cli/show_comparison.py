"""What a comparison looks like in a terminal: a line of progress, then the sentence and a table."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zafu.compare import page, words
from zafu.compare.protocol import Comparison, compare
from zafu.compare.result import Answer
from zafu.report.words import label
from zafu.signals import stoppable
from zafu.units import Seconds

WIDTH = 150  # characters of a line that no terminal limits


def show(comparison: Comparison, runs: Path, *, quiet: bool = False) -> Answer:
    """Compare, drawing progress unless quiet; print what was found and write the page."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    with stoppable() as stop, console.status("begins") as status:
        folder, answer = compare(
            comparison, runs, say=lambda t: status.update(escape(t)), stopped=lambda: stop.signal
        )
    path = page.write(folder, answer)
    if not quiet:
        printed(_console(), answer, path)
    return answer


def _console() -> Console:
    """As wide as the terminal; a file gets lines that hold the table."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


def printed(console: Console, answer: Answer, path: Path) -> None:
    """Print the sentence, the table and the warnings."""
    console.print(f"[bold]{escape(words.sentence(answer))}.[/bold]", soft_wrap=True)
    how = f"{words.how(answer)}, in {Seconds(answer.seconds)}"
    console.print(f"[dim]{escape(how)}[/dim]", soft_wrap=True)
    if answer.claim is not None:
        for one in answer.claim.statements:
            said = f"{one.says}: {words.statement(one, answer.metric)}"
            console.print(f"  {one.verdict:10}{escape(said)}", soft_wrap=True)
    console.print(_table(answer))
    for row in answer.rows:
        if row.edges:
            console.print(f"[yellow]{escape(f'{row.name}: {words.edge(row)}')}[/yellow]")
    console.print(f"report   {path}", soft_wrap=True)


def _table(answer: Answer) -> Table:
    factor, unit = words.scale(answer.metric), ", %" if words.sign(answer.metric) else ""
    digits = words.places(*(row.final for row in answer.rows), factor=factor)
    table = Table()
    table.add_column("arm")
    heads = (f"test {label(answer.metric)}{unit}", f"less {answer.base.name}", "p")
    for head in (*heads, "updates to target", "reached", "x", "good lr"):
        table.add_column(head, justify="right")
    table.add_column("verdict")
    for index, row in enumerate(answer.rows):
        one = row.shown
        table.add_row(
            escape(row.name),
            escape(words.between(row.final, digits, factor=factor)),
            escape(words.between(one.difference, digits, factor=factor, plus=True)) if one else "–",
            words.p_value(one.p) if one else "–",
            escape(words.quartiles(row.to_target.get("updates"))),
            f"{round(row.reached.value * answer.seeds)}/{answer.seeds}",
            f"{row.ratio.value:.2f}" if index else "1",
            f"{row.lr_width.value:.1f} dec" if row.lr_width else "–",
            one.verdict if one else "baseline",
        )
    return table
