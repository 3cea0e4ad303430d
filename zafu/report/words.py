"""Words and numbers as a person would say them: a measurement, a comparison, the headline."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from zafu.measure import Measurement
from zafu.report.folder import Folder, Scores, mapping, number, scores, words
from zafu.task import Task
from zafu.units import Seconds

NAMES = {
    "bits_per_byte": "bits per byte",
    "f1_macro": "F1, macro",
    "ece": "ECE",
    "brier": "Brier score",
    "top_5": "top 5",
    "roc_auc_score": "ROC AUC",
    "matthews_corrcoef": "Matthews correlation",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
}
SHARES = frozenset({"accuracy", "balanced_accuracy", "top_5"})  # shown in percent
NARROW = "\u202f"  # a thin space that does not break


@dataclass(frozen=True)
class Contest:
    """What was judged at the end: the model beside its baselines, on one split."""

    split: str
    metric: str
    higher_is_better: bool
    model: Scores
    baselines: dict[str, Scores]
    higher: dict[str, Any] = field(
        default_factory=dict
    )  # of each metric, whether more of it is better

    def rivals(self, metric: str) -> dict[str, Measurement]:
        """The baselines that have this metric."""
        return {name: own[metric] for name, own in self.baselines.items() if metric in own}

    def best_rival(self) -> tuple[str, Measurement] | None:
        """The strongest baseline by the main metric."""
        sign = -1 if self.higher_is_better else 1
        ranked = sorted(self.rivals(self.metric).items(), key=lambda item: sign * item[1].value)
        return ranked[0] if ranked else None


def contest(folder: Folder) -> Contest | None:
    """The final judgement, if there is one with at least one measurement."""
    model = scores(folder.judged.get("scores"))
    if not model:
        return None
    metric = words(folder.judged.get("metric"))
    metric = metric if metric in model else next(iter(model))
    higher = folder.judged.get("higher_is_better")
    higher = higher if isinstance(higher, bool) else bool(better_when_higher(metric))
    rivals = mapping(folder.judged.get("baselines"))
    found = {name: scores(own) for name, own in rivals.items()}
    split, ways = words(folder.judged.get("split")) or "test", mapping(folder.judged.get("higher"))
    return Contest(split, metric, higher, model, found, ways)


def better_when_higher(metric: str) -> bool | None:
    """Whether more of a metric is better, or None for one that no task knows."""
    for task in Task.kinds().values():
        if metric in task.metrics:
            return task.metrics[metric]
    return None


def label(metric: str) -> str:
    """A metric's name in words."""
    return NAMES.get(metric, metric.replace("_", " "))


def unit(metric: str, of: Measurement) -> str:
    """The unit in which a measurement is shown."""
    return "%" if metric in SHARES and not of.unit else of.unit


def scale(metric: str, of: Measurement) -> float:
    """The factor from the measurement's own numbers to the ones shown."""
    return 100.0 if unit(metric, of) == "%" else 1.0


def value(metric: str, of: Measurement, places: int | None = None) -> str:
    """The value alone, with so many digits after the point, or as many as its interval bears."""
    places = digits(metric, of) if places is None else places
    return figure(of.value * scale(metric, of), places)


def interval(metric: str, of: Measurement, places: int | None = None) -> str:
    """The interval alone, `[1.58, 1.66]`, or nothing where none is known."""
    if of.low is None or of.high is None:
        return ""
    places = digits(metric, of) if places is None else places
    low, high = (figure(x * scale(metric, of), places) for x in (of.low, of.high))
    return f"[{low}, {high}]"


def bare(metric: str, of: Measurement, places: int | None = None) -> str:
    """Value and interval without name and unit, save for percent: `96.7 % [94.2, 99.2]`."""
    sign = f"{NARROW}%" if unit(metric, of) == "%" else ""
    return f"{value(metric, of, places)}{sign} {interval(metric, of, places)}".strip()


def digits(metric: str, of: Measurement) -> int:
    """Digits after the point: the interval's half width keeps one or two digits."""
    size = scale(metric, of)
    known = of.low is not None and of.high is not None and of.high > of.low
    half = (of.high - of.low) / 2 if known and of.low is not None and of.high is not None else 0.0
    step = half * size / 3 if half else abs(of.value) * size / 1000
    return min(max(0, -math.floor(math.log10(step))), 8) if step > 0 else 2


def figure(number: float, places: int = 3) -> str:
    """A number with so many digits after the point; very large and small ones with a power."""
    if not math.isfinite(number):
        return "–"
    if number and not 1e-5 <= abs(number) < 1e7:
        return f"{number:.2e}".replace("-", "−")
    return f"{number:,.{places}f}".replace("-", "−")


def short(number: float) -> str:
    """A number with four digits at most, for places where it has no interval."""
    if not math.isfinite(number):
        return "–"
    if float(number).is_integer() and abs(number) < 1e15:
        return f"{number:,.0f}".replace("-", "−")
    size = math.floor(math.log10(abs(number))) if number else 0
    return figure(number, min(max(0, 3 - size), 8))


def quoted(metric: str, of: Measurement) -> str:
    """Value, unit and interval as in a sentence: `1.62 bits/byte [1.58, 1.66]`."""
    said, between = value(metric, of), interval(metric, of)
    if unit(metric, of) == "%":
        said = f"{said}{NARROW}% {label(metric)}"
    elif of.unit:
        named = "" if metric in ("bits_per_byte", "loss") else f" {label(metric)}"
        said = f"{said} {of.unit}{named}"
    else:
        said = f"{label(metric)} {said}"
    return f"{said} {between}".strip()


def gap(metric: str, size: Measurement) -> str:
    """A difference with its sign and interval: `+1.2 points [0.4, 2.0]`."""
    places, factor = digits(metric, size), scale(metric, size)
    sign = "+" if size.value > 0 else ""
    name = " points" if unit(metric, size) == "%" else f" {size.unit}".rstrip()
    said = f"{sign}{figure(size.value * factor, places)}{name}"
    return f"{said} {interval(metric, size, places)}".strip()


def compared(contest: Contest) -> str:
    """How the model stands to its strongest baseline, or nothing without one.

    Where the intervals meet, no difference is claimed.
    """
    found = contest.best_rival()
    if not found:
        return ""
    name, rival = found
    own = contest.model[contest.metric]
    if meet(own, rival):
        return f"not clearly different from {name}"
    gap = own.value - rival.value
    if contest.higher_is_better:
        way = "above" if gap > 0 else "below"
        percent = unit(contest.metric, own) == "%"
        amount = f"{abs(gap) * 100:.1f} points" if percent else short(abs(gap))
        return f"{amount} {way} {name}"
    less = "fewer" if "bit" in own.unit else "less"
    if rival.value <= 0 or own.value < 0:
        return f"{short(abs(gap))} {less if gap < 0 else 'more'} than {name}"
    share = abs(gap) / rival.value
    percent = f"{share * 100:.0f}" if share >= 0.0095 else f"{share * 100:.1f}"
    return f"{percent}{NARROW}% {less if gap < 0 else 'more'} than {name}"


def meet(one: Measurement, other: Measurement) -> bool:
    """Whether two intervals share a point, or two bare values are equal."""
    (a, b), (c, d) = bounds(one), bounds(other)
    return a <= d and c <= b


def bounds(of: Measurement) -> tuple[float, float]:
    """The interval, or twice the value where none is known."""
    low = of.value if of.low is None else of.low
    return min(low, of.value), max(of.value if of.high is None else of.high, of.value)


def headline(folder: Folder) -> str:
    """One sentence about the run that a person would quote."""
    final = contest(folder)
    if final:
        own = final.model[final.metric]
        text = "text" if own.unit == "bits/byte" else "data"
        split = f"held-out {text}" if final.split == "test" else f"the {final.split} split"
        parts = [f"{quoted(final.metric, own)} on {split}", compared(final)]
        seconds = number(folder.status.get("seconds"))
        parts.append(f"in {Seconds(seconds)}" if seconds > 0 else "")
        return ", ".join(filter(None, parts))
    last = next((e for e in reversed(folder.evaluations) if e.scores), None)
    if last is None:
        state = words(folder.status.get("state"))
        return f"{state.capitalize() or 'No status yet'}{progress(folder)}"
    metric = words(mapping(folder.recipe.get("evaluate")).get("metric"))
    metric = metric if metric in last.scores else next(iter(last.scores))
    own, split, of = (
        last.scores[metric],
        last.split or "validation",
        number(folder.status.get("of")),
    )
    until = f" of {short(of)}" if of > 0 else ""
    return f"{quoted(metric, own)} on the {split} split at step {short(last.step)}{until}"


def progress(folder: Folder) -> str:
    """`" at step 300 of 1,000"`, as far as it is known."""
    step, of = number(folder.status.get("step")), number(folder.status.get("of"))
    if not math.isfinite(step):
        return ""
    return f" at step {short(step)}" + (f" of {short(of)}" if of > 0 else "")
