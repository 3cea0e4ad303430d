"""Words: what a comparison found, in sentences that a person would quote."""

from __future__ import annotations

from collections.abc import Sequence

from zafu.compare.claims import Answered, Claimed
from zafu.compare.result import Answer, Row
from zafu.measure import Measurement
from zafu.report.words import NARROW, figure, label

PERCENT = frozenset({"accuracy", "f1_macro"})  # shares, which are shown in percent


def scale(metric: str) -> float:
    """From the metric's numbers to those that are shown."""
    return 100.0 if metric in PERCENT else 1.0


def sign(metric: str) -> str:
    """What follows a value."""
    return f"{NARROW}%" if metric in PERCENT else ""


def points(metric: str) -> str:
    """The unit of a difference."""
    return " points" if metric in PERCENT else ""


def places(*found: Measurement, factor: float = 1.0) -> int:
    """Digits after the point that the narrowest interval bears, 1 to 5: two of its half width."""
    halves = [
        (m.high - m.low) / 2 * factor for m in found if m.low is not None and m.high is not None
    ]
    narrow = min((half for half in halves if half > 0), default=0.5)
    return next((n for n in range(1, 5) if narrow * 10**n >= 3), 5)


def between(of: Measurement, digits: int, *, factor: float = 1.0, plus: bool = False) -> str:
    """Value and interval: `97.9 [97.6, 98.2]`."""
    value = _number(of.value * factor, digits, plus=plus)
    if of.low is None or of.high is None:
        return value
    low, high = (_number(v * factor, digits, plus=plus) for v in (of.low, of.high))
    return f"{value} [{low}, {high}]"


def p_value(p: float) -> str:
    """A p with two digits, or that it is small."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def sentence(answer: Answer) -> str:
    """What was found, in a sentence."""
    if answer.claim is not None:
        return f"On {answer.recipe}, “{answer.claim.says.rstrip('.')}” {_truth(answer.claim)}"
    shown = [(row.name, row.shown) for row in answer.rows if row.shown]
    base, metric = answer.base.name, answer.metric
    parts: list[str] = []
    for verdict, verb in (("better", "beats"), ("worse", "is worse than")):
        found = [(name, s.difference) for name, s in shown if s.verdict == verdict]
        if found:
            found.sort(key=lambda pair: -abs(pair[1].value))
            sizes = [_by(metric, name, of) for name, of in found]
            parts.append(_joined(sizes, f"{verb} {base} by"))
    if silent := [name for name, s in shown if s.verdict == "not shown"]:
        beside = "" if parts else f" from {base}"
        parts.append(f"no difference of {_and(silent)}{beside} is shown")
    return f"On {answer.recipe}, {'; '.join(parts)}"


def how(answer: Answer) -> str:
    """How it was found, in a sentence."""
    trials = {row.trials for row in answer.rows}
    tuned = f"tuned in {max(trials)} trials" if max(trials) else "as given, without tuning"
    metric = label(answer.metric)
    seeds = f"{answer.seeds} fresh paired seeds"
    return f"{len(answer.rows)} arms, each {tuned}, then {seeds} judged by test {metric}"


def _truth(claim: Claimed) -> str:
    verdicts = [one.verdict for one in claim.statements]
    if claim.verdict != "holds" and "holds" in verdicts:
        rest = "fails" if claim.verdict == "fails" else "is not shown"
        return f"holds in {verdicts.count('holds')} of {len(verdicts)} parts and {rest} in the rest"
    return "is not shown" if claim.verdict == "not shown" else claim.verdict


def _by(metric: str, name: str, of: Measurement) -> tuple[str, str]:
    factor = scale(metric)
    digits = places(of, factor=factor)
    size = of.model_copy(update={"value": abs(of.value), **_turned(of)})
    return name, f"{between(size, digits, factor=factor)}{points(metric)}"


def _turned(of: Measurement) -> dict[str, float | None]:
    if of.value >= 0 or of.low is None or of.high is None:
        return {}
    return {"low": -of.high, "high": -of.low}


def _joined(found: Sequence[tuple[str, str]], verb: str) -> str:
    (name, size), *rest = found
    more = [f"{name} by {size}" for name, size in rest]
    return _and([f"{name} {verb} {size}", *more])


def _and(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _number(value: float, digits: int, *, plus: bool) -> str:
    text = figure(value, digits)
    return f"+{text}" if plus and value > 0 else text


def settings(row: Row) -> str:
    """The best settings, by the last words of their paths."""
    found = [f"{_last(path)} {_plain(value)}" for path, value in row.settings.items()]
    return ", ".join(found) or "as given"


def edge(row: Row) -> str:
    """The warning about ends of ranges, or nothing."""
    if not row.edges:
        return ""
    return (
        f"{_and([_last(path) for path in row.edges])} at the end of its range: widen it by --over"
    )


def statement(one: Answered, metric: str) -> str:
    """The measured size of a statement about a metric."""
    if one.size.unit == "x":
        return f"{between(one.size, 2)} times"
    factor = 100.0 if one.quantity == "zeros" or metric in PERCENT else 1.0
    unit = f"{NARROW}%" if one.quantity == "zeros" else points(metric)
    return f"{between(one.size, places(one.size, factor=factor), factor=factor, plus=True)}{unit}"


def _last(path: str) -> str:
    return path.rpartition(".")[2].replace("_", " ")


def _plain(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def quartiles(of: Measurement | None) -> str:
    """A median and its quartiles, or that half of the seeds did not come there."""
    if of is None:
        return "–"
    numbers = [of.value] if of.low is None or of.high is None else [of.value, of.low, of.high]
    middle, *ends = [f"{v:.3g}" if v < 100 else f"{v:,.0f}" for v in numbers]
    return f"{middle} [{', '.join(ends)}]" if ends else middle
