"""Arms: what is compared, each a recipe that differs from the others in what its name says.

What an arm names is tuned over the range that the technique itself declares (its `ranges`): the
first setting of each technique that it introduces, and always the learning rate. What it gives as
a value is held. `path=?` tunes a setting over its declared range, `path=?RANGE` over another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from zafu.errors import Fault, RecipeError, Refused
from zafu.recipe import Recipe
from zafu.source import Source, parse_yaml
from zafu.space import Space
from zafu.spec import Family, Spec, did_you_mean

LR = "fit.optimizer.lr"
EMPTY: Mapping[str, str] = {}
PIECES = 256  # samples of a full batch that are summed at a time, where nothing is said
_SETTING = re.compile(r"(?<!\S)(?=\w+(?:\.\w+)*=)")  # where a word of an arm begins


@dataclass(frozen=True)
class Arm:
    """A name, its recipe, and what of it is tuned."""

    name: str
    recipe: Recipe
    space: Space | None = None  # None: nothing is tuned


@dataclass(frozen=True)
class Wanted:
    """An arm as it was asked for: `path=value` words, of which `?` begins a range."""

    name: str
    words: tuple[str, ...]

    @property
    def held(self) -> list[str]:
        """The words that give a value."""
        return [word for word in self.words if not word.partition("=")[2].startswith("?")]

    @property
    def ranges(self) -> dict[str, str]:
        """The range of each path that is to be tuned; "" for the declared one."""
        pairs = (word.partition("=") for word in self.words if word not in self.held)
        return {path: value[1:].strip() for path, _, value in pairs}


def varied(texts: Sequence[str]) -> list[Wanted]:
    """The product of `path=a,b,c` texts, the last one changing fastest; raises RecipeError."""
    axes: list[list[tuple[str, str]]] = []
    for text in texts:
        path, sign, values = text.partition("=")
        found = _split(values)
        if not sign or not re.fullmatch(r"\w+(\.\w+)*", path) or len(found) < 2:
            hint = "for example fit.optimizer.kind=sgd,adam"
            raise RecipeError([Fault("", "path=a,b,…", repr(text), "--vary", hint)])
        axes.append([(_named(path, value), f"{path}={value}") for value in found])
    arms: list[Wanted] = []
    for choice in product(*axes) if axes else ():
        arms.append(Wanted(" ".join(name for name, _ in choice), tuple(w for _, w in choice)))
    return arms


def described(text: str) -> Wanted:
    """The arm of `name: path=value path=value`, a name alone for the recipe as it is."""
    name, _, rest = text.partition(":")
    words = [word.strip() for word in _SETTING.split(rest) if word.strip()]
    if not name.strip() or "=" in name or any("=" not in word for word in words):
        hint = "for example 'nesterov: fit.optimizer.kind=sgd fit.optimizer.momentum=0.9'"
        raise RecipeError([Fault("", "name: path=value path=value", repr(text), "--arm", hint)])
    return Wanted(" ".join(name.split()), tuple(words))


def arms(
    base: Source, wanted: Sequence[Wanted], *, over: Sequence[str] = (), tuned: bool = True
) -> list[Arm]:
    """The arms over a recipe, each checked; raises RecipeError with the faults of all of them.

    `over` adds `path=range` to the space of every arm, `name: path=range` to that of one.
    """
    names = [one.name for one in wanted]
    if len(wanted) < 2 or len(set(names)) < len(names):
        asked = ", ".join(names) or "none"
        raise Refused(f"compare: expected at least two arms with names of their own, found {asked}")
    seed = Recipe.from_source(base).split_seed
    # trainings in memory read for themselves: many of them run side by side
    held = base.override([f"data.split.seed={seed}", "fit.loader={kind: inline}"])
    ranges, faults = _shared(over, names)
    found: list[Arm] = []
    for one in wanted:
        try:
            found.append(arm(held, one, ranges[one.name], tuned=tuned))
        except RecipeError as error:
            faults += [replace(f, where=f"arm {one.name}") for f in error.faults]
    if not faults:
        faults += _unequal(found)
    if faults:
        raise RecipeError(list(dict.fromkeys(faults)))
    return found


def arm(
    base: Source, wanted: Wanted, over: Mapping[str, str] = EMPTY, *, tuned: bool = True
) -> Arm:
    """One arm; raises RecipeError."""
    source = base.override(wanted.held)
    if _at(source.data, "fit.batch") == "all" and _at(source.data, "fit.micro_batch") is None:
        source = source.override([f"fit.micro_batch={PIECES}"])
    recipe = Recipe.from_source(source)
    faults = list(_unsuited(recipe))
    asked = {**wanted.ranges, **over}
    if not tuned and asked:
        faults += [Fault(path, "no range where nothing is tuned", "--trials 0") for path in asked]
    if faults:
        raise RecipeError(faults)
    if not tuned:
        return Arm(wanted.name, recipe)
    texts = {**_declared(recipe, wanted), **asked}
    missing = [path for path, text in texts.items() if not text]
    known = {path: _range_at(recipe, path) for path in missing}
    faults = [
        Fault(path, "a range, as none is declared for it", "?", hint=f"write {path}=?low:high")
        for path, text in known.items()
        if not text
    ]
    if faults:
        raise RecipeError(faults)
    ordered = {**texts, **known}
    first = [LR] if LR in ordered else []
    rest = [path for path in ordered if path != LR]
    spelled = [f"{path}={ordered[path]}" for path in (*first, *rest)]
    return Arm(wanted.name, recipe, Space.parse(spelled, recipe) if spelled else None)


def _declared(recipe: Recipe, wanted: Wanted) -> dict[str, str]:
    """What is tuned without being asked for: path and range."""
    given = {word.partition("=")[0]: word.partition("=")[2] for word in wanted.held}
    found: dict[str, str] = {}
    for path, technique in _techniques("", recipe):
        new = any(_introduces(name, path) for name in given)
        if technique.ranges and (new or path == "fit.optimizer"):
            key = next(iter(technique.ranges))
            if isinstance(dict(technique).get(key), Spec):
                continue  # it finds its own value, as `lr: auto` does
            if f"{path}.{key}" not in given and not _said(given, path, key):
                found[f"{path}.{key}"] = technique.ranges[key]
    return found


def _introduces(given: str, path: str) -> bool:
    """Whether setting one path brings in the technique at another."""
    return given in (path, f"{path}.kind") or path.startswith(f"{given}.")


def _said(given: Mapping[str, str], path: str, key: str) -> bool:
    """Whether a value that holds the technique at a path gives its setting as well."""
    for above, text in given.items():
        if path == above or path.startswith(f"{above}."):
            inside = _at(parse_yaml(text, "").data, path[len(above) + 1 :])
            if isinstance(inside, dict) and key in inside:
                return True
    return False


def _range_at(recipe: Recipe, path: str) -> str:
    """The range that the technique above a path declares for it, or ""."""
    above, _, key = path.rpartition(".")
    found = [t.ranges.get(key, "") for p, t in _techniques("", recipe) if p == above]
    return found[0] if found else ""


def _techniques(path: str, value: object) -> Iterator[tuple[str, Family]]:
    if isinstance(value, Family):
        yield path, value
    if isinstance(value, Spec):
        for name, inner in value:
            yield from _techniques(f"{path}.{name}" if path else name, inner)
    if isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _techniques(f"{path}.{index}", inner)


def _unsuited(recipe: Recipe) -> Iterator[Fault]:
    """What a comparison can't be made with, though a run can."""
    if recipe.fit.seconds:
        hint = "set fit.seconds=null fit.epochs=10"
        yield Fault("fit.seconds", "a budget in epochs, so that arms get the same", hint=hint)
    for name, share in (
        ("validation", recipe.data.split.validation),
        ("test", recipe.data.split.test),
    ):
        if share == 0:
            why = "tunes" if name == "validation" else "judges"
            yield Fault(f"data.split.{name}", f"a {name} split, which {why}", "0")
    if recipe.layout.world > 1:
        yield Fault(
            "layout", "one process, as arms are trained in memory", str(recipe.layout.world)
        )


def _unequal(arms: Sequence[Arm]) -> Iterator[Fault]:
    """Faults of arms that would not get the same number of samples."""
    batches = {arm.recipe.fit.batch for arm in arms}
    if len(batches) > 1 and any(arm.recipe.fit.steps for arm in arms):
        hint = "set fit.steps=null fit.epochs=10"
        yield Fault("fit.steps", "a budget in epochs, as the arms differ in batch", hint=hint)
    metrics = {arm.recipe.metric for arm in arms}
    if len(metrics) > 1:
        yield Fault("evaluate.metric", "the same in all arms", ", ".join(sorted(metrics)))


def _shared(
    over: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, dict[str, str]], list[Fault]]:
    """The further ranges of each arm, and faults."""
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    faults: list[Fault] = []
    for text in over:
        head, colon, rest = text.partition(":")
        own = colon and "=" not in head
        path, sign, values = (rest if own else text).strip().partition("=")
        if not sign or not values:
            hint = "for example fit.optimizer.lr=log:1e-4:0.3"
            faults.append(Fault("", "path=range, or arm: path=range", repr(text), "--over", hint))
        elif own and head.strip() not in names:
            hint = did_you_mean(head.strip(), names) or f"arms: {', '.join(names)}"
            faults.append(Fault("", "an arm", repr(head.strip()), "--over", hint))
        else:
            for name in [head.strip()] if own else names:
                found[name][path] = values
    return found, faults


def _split(values: str) -> list[str]:
    """The parts of a text between commas that no bracket or quote holds."""
    found, depth, quote = [""], 0, ""
    for letter in values:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in "[{") - (letter in "]}") if not quote else 0
        if letter == "," and not depth and not quote:
            found.append("")
        else:
            found[-1] += letter
    return [part.strip() for part in found if part.strip()]


def _named(path: str, value: str) -> str:
    """What to call a value: a kind by itself, else with the last word of its path."""
    plain = value.strip("\"'")
    if path.endswith("kind"):
        return plain
    key = path.rpartition(".")[2]
    kinds = re.findall(r"kind: *([\w-]+)", plain)
    if plain in ("[]", "null"):
        return f"no {key}"
    return " ".join(kinds) if kinds else f"{key} {plain}"


def _at(data: Any, path: str) -> Any:
    """The plain value at a path, None where there is none."""
    for key in filter(None, path.split(".")):
        if isinstance(data, Mapping):
            data = data.get(key)
        elif isinstance(data, Sequence) and not isinstance(data, str) and key.isdigit():
            data = data[int(key)] if int(key) < len(data) else None
        else:
            return None
    return data
