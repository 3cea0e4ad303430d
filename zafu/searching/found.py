"""Found: what a study has to say at its end, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zafu.errors import RecipeError
from zafu.measure import Measurement
from zafu.recipe import Recipe
from zafu.searching.confirm import Confirmed, confirmed, optimism
from zafu.space import Range, Space, applied
from zafu.study import Row, spent


@dataclass(frozen=True)
class Result:
    """The winner, what confirming said, and what was spent."""

    winner: Confirmed
    first: Confirmed  # the one that the search itself would have chosen
    confirmed: tuple[Confirmed, ...]  # the best first; one without values if nothing was confirmed
    optimism: Measurement | None  # of the search about its first
    edges: tuple[str, ...]  # sentences on values of the winner at an end of their range
    ledger: dict[str, dict[str, float]]  # of search and of confirm
    trials: tuple[dict[str, Any], ...]  # all of the search, as plain data

    def dump(self) -> dict[str, Any]:
        """Plain data for JSON."""
        optimism = self.optimism
        return {
            "winner": _plain(self.winner),
            "first": _plain(self.first, tests=False),
            "optimism": optimism.dump() if optimism else None,
            "confirmed": [_plain(one, tests=False) for one in self.confirmed],
            "edges": list(self.edges),
            "ledger": self.ledger,
            "trials": list(self.trials),
        }


def result(
    tuned: tuple[Recipe, Space],
    rows: Sequence[Row],
    done: Sequence[Row],
    origins: Sequence[int],
    *,
    higher: bool,
    samples: int,
) -> Result:
    """What these trials and their confirmations say of a recipe and a space.

    `samples` are those of one epoch.
    """
    found = confirmed(rows, done, origins)
    first = found[0]
    best = sorted(found, key=lambda one: one.worth(higher=higher), reverse=True) if done else found
    ledger = {"search": spent(rows), "confirm": spent(done)}
    for part in ledger.values():
        part["epochs"] = part["samples"] / max(samples, 1)
    return Result(
        winner=best[0],
        first=first,
        confirmed=tuple(best),
        optimism=optimism(first, higher=higher),
        edges=tuple(edges(*tuned, best[0].schedule[-1][1])),
        ledger=ledger,
        trials=tuple(_trial(row) for row in rows if row.over),
    )


def edges(recipe: Recipe, space: Space, settings: dict[str, Any]) -> list[str]:
    """A sentence for each value at an end of its range beyond which the recipe allows more."""
    ranges = {d.path: d for d in space.dimensions if isinstance(d, Range)}
    found: list[str] = []
    for path in space.edges(settings):
        one, value = ranges[path], settings[path]
        lower = one.unit(value) < 0.5
        if _allowed(recipe, {**settings, path: one.beyond(lower=lower)}):
            side = "lower" if lower else "upper"
            text = f"{path} = {value:g} is at the {side} end of {one.low:g} to {one.high:g}"
            found.append(f"{text}: better values may lie beyond")
    return found


def _allowed(recipe: Recipe, settings: dict[str, Any]) -> bool:
    try:
        applied(recipe, settings)
    except RecipeError:
        return False
    return True


def _trial(row: Row) -> dict[str, Any]:
    wanted, done = row.wanted, row.done
    return {
        "number": row.number,
        "settings": wanted.settings,
        "until": wanted.until,
        "of": wanted.of,
        "state": row.state,
        "value": done.value,
        "samples": done.samples,
        "updates": done.updates,
        "seconds": done.seconds,
        "reason": done.reason,
    }


def _plain(one: Confirmed, *, tests: bool = True) -> dict[str, Any]:
    """A candidate as plain data; what the test split says of it is not for choosing."""
    value, test = one.value, one.test
    return {
        "trial": one.origin,
        "settings": one.schedule[-1][1],
        "schedule": [[until, settings] for until, settings in one.schedule],
        "searched": one.searched,
        "confirmed": value.dump() if value else None,
        "values": one.values,
        "diverged": one.diverged,
        **({"test": test.dump() if test else None} if tests else {}),
    }
