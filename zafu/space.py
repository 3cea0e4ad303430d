"""Space: which settings a search may choose, as dotted paths of a recipe with their values.

```
fit.optimizer.lr=log:1e-4:0.3         as often between 1e-4 and 1e-3 as between 1e-2 and 0.1
model.dropout=0:0.6                   evenly between the ends
model.width=32:512:32                 32, 64, …, 512
fit.optimizer.kind=sgd,adamw          a choice of YAML values
```
A field that holds whole numbers gets whole numbers. A setting that only some choices have (the
momentum of sgd) is left out where they are not chosen. Every value by itself is tried against the
recipe before anything is spent. A point of [0, 1]^d stands for settings, and back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from pydantic import Field

from zafu.errors import Fault, RecipeError
from zafu.source import parse_yaml
from zafu.spec import Spec, replaced, show

if TYPE_CHECKING:
    from zafu.recipe import Recipe

Settings = dict[str, Any]  # the value at each path
EDGE = 0.05  # share of a range within which a value is at its end
EXAMPLE = "for example fit.optimizer.lr=log:1e-4:0.3"
_DIGITS = 4  # of a value, so that a person can read it


class Given(Spec):
    """What another path must be for a path to mean something."""

    path: str
    values: tuple[Any, ...]


class Range(Spec):
    """Numbers from `low` to `high`, both among them."""

    path: str
    low: float
    high: float
    log: bool = False
    """Whether ratios count, not differences; then low > 0."""
    step: float | None = Field(default=None, gt=0)
    """Between neighbours, from `low` on; none: any number."""
    whole: bool = False
    given: Given | None = None

    def value(self, at: float) -> float | int:
        """The number at a share of the way, 0 to 1."""
        if self.step:
            number = self.low + min(int(at * self.many), self.many - 1) * self.step
        elif self.whole:
            number = math.floor(self._between(self.low - 0.5, self.high + 0.5, at) + 0.5)
        else:
            number = self._between(self.low, self.high, at)
        number = min(max(float(f"{number:.{12 if self.step else _DIGITS}g}"), self.low), self.high)
        return round(number) if self.whole else number

    def unit(self, value: float) -> float:
        """The share of the way at which a number lies, 0 to 1."""
        if self.step:
            return (round((value - self.low) / self.step) + 0.5) / self.many
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        if self.log:
            share = math.log(value / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        return min(max(share, 0.0), 1.0)

    @property
    def many(self) -> int:
        """How many numbers a stepped range has."""
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def levels(self, count: int) -> list[float | int]:
        """So many of its numbers, evenly, both ends among them; fewer if it has no more."""
        if self.step and count >= self.many:
            return [self.value((i + 0.5) / self.many) for i in range(self.many)]
        shares = [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
        return list(dict.fromkeys(self.value(share) for share in shares))

    def edge(self, value: float) -> bool:
        """Whether a number is within a twentieth of the way of an end."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return not EDGE < share < 1 - EDGE

    def beyond(self, *, lower: bool) -> float | int:
        """A number outside of the range, a tenth of it or one step from an end."""
        if self.log:
            number = self.low / 2 if lower else self.high * 2
        else:
            far = self.step or (1 if self.whole else (self.high - self.low) / 10)
            number = self.low - far if lower else self.high + far
        return round(number) if self.whole else number

    def _between(self, low: float, high: float, at: float) -> float:
        return low * (high / low) ** at if self.log else low + at * (high - low)


class Choice(Spec):
    """One of several values."""

    path: str
    values: tuple[Any, ...] = Field(min_length=2)
    given: Given | None = None

    def value(self, at: float) -> Any:
        """The value at a share of the way, 0 to 1."""
        return self.values[min(int(at * len(self.values)), len(self.values) - 1)]

    def unit(self, value: object) -> float:
        """The share of the way at which a value lies."""
        return (self.values.index(_frozen(value)) + 0.5) / len(self.values)

    def levels(self, count: int) -> list[Any]:
        """All of its values, however many are asked for."""
        return list(self.values)


Dimension = Range | Choice


@dataclass(frozen=True)
class Space:
    """Dimensions, of which a point names a value each."""

    dimensions: tuple[Dimension, ...]

    @classmethod
    def parse(cls, texts: Sequence[str], recipe: Recipe) -> Space:
        """The space that texts of the form `path=values` describe.

        Every end and every choice was tried against the recipe, each by itself; raises
        RecipeError with all faults.
        """
        found: list[Dimension] = []
        faults: list[Fault] = []
        for text in texts:
            try:
                found.append(_read(text))
            except RecipeError as error:
                faults += error.faults
        twice = {d.path for d in found if [e.path for e in found].count(d.path) > 1}
        faults += [Fault(path, "each path once", "it again", "--over") for path in sorted(twice)]
        if not texts:
            faults.append(Fault("", "at least one path to search over", hint=f"{EXAMPLE}"))
        tried: list[Dimension] = []
        for one in found:
            try:
                tried.append(_tried(one, _governing(one, found), recipe))
            except RecipeError as error:
                faults += error.faults
        if faults:
            raise RecipeError(list(dict.fromkeys(faults)))
        return cls(dimensions=tuple(tried))

    def dump(self) -> list[dict[str, Any]]:
        """Plain data: all that decides which settings a point stands for."""
        return [d.dump() for d in self.dimensions]

    @property
    def paths(self) -> list[str]:
        """The paths of its dimensions, in their order."""
        return [d.path for d in self.dimensions]

    def at(self, point: Sequence[float]) -> Settings:
        """The settings at a point of [0, 1]^d, without those that mean nothing there."""
        pairs = zip(self.dimensions, point, strict=True)
        return self.meant({d.path: d.value(at) for d, at in pairs})

    def point(self, settings: Settings) -> list[float]:
        """A point at which these settings are; 0.5 for a path that they leave out."""
        return [d.unit(settings[d.path]) if d.path in settings else 0.5 for d in self.dimensions]

    def meant(self, settings: Settings) -> Settings:
        """The settings without those whose path does not exist beside the others."""
        given = {d.path: d.given for d in self.dimensions}
        return {
            path: value
            for path, value in settings.items()
            if (need := given.get(path)) is None or _frozen(settings.get(need.path)) in need.values
        }

    def grid(self, points: int) -> Iterator[Settings]:
        """All combinations of so many values of each dimension, the last one changing fastest."""
        seen: set[str] = set()
        levels = [d.levels(points) for d in self.dimensions]
        conditional = any(d.given for d in self.dimensions)
        for values in product(*levels):
            settings = self.meant(dict(zip(self.paths, values, strict=True)))
            if conditional:
                if (said := repr(settings)) in seen:
                    continue
                seen.add(said)
            yield settings

    def edges(self, settings: Settings) -> list[str]:
        """The paths whose value is within 5 % of its range's end; a choice has no end."""
        return [
            d.path
            for d in self.dimensions
            if isinstance(d, Range) and d.path in settings and d.edge(settings[d.path])
        ]

    def applied(self, recipe: Recipe, settings: Settings) -> Recipe:
        """The recipe with these settings; raises RecipeError where they do not go together."""
        return applied(recipe, settings)


def applied(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with the value at each path replaced: kinds before what belongs to them."""
    data: Any = recipe.dump()
    for path in sorted(settings, key=lambda p: (p.count("."), not p.endswith(".kind"))):
        data = replaced(data, path, settings[path])
    return recipe.parse(data)


def _read(text: str) -> Dimension:
    """A dimension as it is written; raises RecipeError."""
    path, sign, values = text.partition("=")
    if not sign or not re.fullmatch(r"\w+(\.\w+)+|\w+", path) or not values.strip():
        raise RecipeError([Fault("", "path=values to search over", repr(text), "--over", EXAMPLE)])
    choice = parse_yaml(f"[{values}]", "--over").data
    if len(choice) > 1:
        frozen = tuple(_frozen(value) for value in choice)
        if len({show(value) for value in choice}) < len(choice):
            raise RecipeError([Fault(path, "each choice once", values, "--over")])
        return Choice(path=path, values=frozen)
    parts = values.strip().split(":")
    log = parts[0] == "log"
    numbers = [parse_yaml(part, "--over").data for part in parts[log:]]
    plain = [float(n) for n in numbers if isinstance(n, (int, float)) and math.isfinite(n)]
    if len(plain) != len(numbers) or not 2 <= len(plain) <= (2 if log else 3):
        expected = "low:high, low:high:step, log:low:high or a,b,…"
        raise RecipeError([Fault(path, expected, values, "--over")])
    low, high, *step = plain
    if low >= high or (log and low <= 0) or (step and not 0 < step[0] <= high - low):
        expected = (
            "0 < low < high" if log else "low < high" + (", and a step within" if step else "")
        )
        raise RecipeError([Fault(path, expected, values, "--over")])
    return Range(path=path, low=low, high=high, log=log, step=step[0] if step else None)


def _governing(one: Dimension, all_: Iterable[Dimension]) -> Choice | None:
    """The choice above a path, if the space has one: of a kind beside it, or of what holds it."""
    found: list[tuple[int, Choice]] = []
    for other in all_:
        above = other.path.removesuffix(".kind") + "."
        inside = one.path != other.path and one.path.startswith(above)
        if isinstance(other, Choice) and inside:
            found.append((len(above), other))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _tried(one: Dimension, choice: Choice | None, recipe: Recipe) -> Dimension:
    """The dimension, with what the recipe says of it; raises RecipeError if it refuses a value."""
    absent: list[Fault] = []
    values: list[Any] = []
    whole = False
    for value in choice.values if choice else [None]:
        beside = {choice.path: value} if choice else {}
        missing, found = _ends(one, beside, recipe)
        if missing:
            absent += missing
        else:
            values.append(value)
            whole |= found
    if not values:
        raise RecipeError(absent)
    given = None
    if choice and len(values) < len(choice.values):
        given = Given(path=choice.path, values=tuple(values))
    return one.model_copy(
        update={"given": given} if isinstance(one, Choice) else {"given": given, "whole": whole}
    )


def _ends(one: Dimension, beside: Settings, recipe: Recipe) -> tuple[list[Fault], bool]:
    """Faults that say that there is no such path, and whether it holds whole numbers.

    Raises RecipeError if there is one, and it refuses a value.
    """
    whole = isinstance(one, Range) and _whole(one, beside, recipe)
    values = list(one.values) if isinstance(one, Choice) else [one.low, one.high]
    if whole and isinstance(one, Range):
        numbers = [*values, *([one.step] if one.step else [])]
        if broken := [number for number in numbers if not number.is_integer()]:
            raise RecipeError([Fault(one.path, "whole numbers", f"{broken[0]:g}", "--over")])
        values = [round(value) for value in values]
    absent: list[Fault] = []
    faults: list[Fault] = []
    for value in values:
        own = [replace(f, where="--over") for f in _faults({**beside, one.path: value}, recipe)]
        parents = one.path.split(".")
        above = {".".join(parents[: n + 1]) for n in range(len(parents))}
        gone = [f for f in own if f.expected == "no such key" and f.path in above]
        absent += gone
        faults += [f for f in own if f not in gone]
    if absent:
        return absent[:1], False
    if faults and beside and _faults(beside, recipe):  # said where the choice itself is tried
        return [], whole
    if faults:
        raise RecipeError(list(dict.fromkeys(faults)))
    return [], whole


def _whole(one: Range, beside: Settings, recipe: Recipe) -> bool:
    """Whether the field at a path takes whole numbers alone."""
    broken = math.floor(one.low) + 0.5
    found = _faults({**beside, one.path: broken}, recipe)
    return any(f.path == one.path and "a whole number" in f.expected for f in found)


def _faults(settings: Settings, recipe: Recipe) -> tuple[Fault, ...]:
    try:
        applied(recipe, settings)
    except RecipeError as error:
        return error.faults
    return ()


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
