"""Reading a run folder for its report: nothing in it is trusted, anything may be absent.

A file that cannot be read becomes a fault that the page shows; the rest is shown all the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from zafu.errors import RecipeError
from zafu.measure import Measurement
from zafu.source import parse_yaml

COLUMNS = (
    *("step", "steps", "loss", "grad_norm", "lr", "samples", "tokens", "targets", "seconds"),
    *("seconds_data", "seconds_forward_backward", "seconds_update"),
    *("seconds_save", "seconds_evaluate"),
)
LARGEST = 1e100  # beyond it a number is as good as infinite, and differences would overflow
Scores = dict[str, Measurement]


@dataclass(frozen=True)
class Evaluation:
    """The scores of a split at a step, and what was measured of the weights then."""

    step: float
    split: str
    scores: Scores
    weights: dict[str, float]


@dataclass(frozen=True)
class Folder:
    """What a run folder says, in plain data; what it does not say is empty."""

    name: str
    text: str  # of recipe.yaml
    recipe: dict[str, Any]
    environment: dict[str, Any]
    status: dict[str, Any]
    prepare: dict[str, Any]
    judged: dict[str, Any]  # evaluation.json
    card: dict[str, Any]
    fusion: dict[str, Any]  # of which members it was made, if of any
    compression: dict[str, Any]  # what of it was made smaller, and of which others it was chosen
    samples: list[dict[str, Any]]
    costs: dict[str, Any]  # of the layout, where there was more than one process
    slow: list[tuple[float, dict[str, Any]]]  # after which step which process was behind the others
    columns: dict[str, np.ndarray]  # of training steps, each (rows,) float64; NaN where absent
    evaluations: list[Evaluation]
    spent: dict[str, float]  # seconds of rows that are no step: "save", "evaluate"
    faults: list[str]


def read(run: Path) -> Folder:
    """Everything that can be read under `run`."""
    faults: list[str] = []
    text = _text(run / "recipe.yaml", faults)
    found = _rows(run / "metrics.jsonl", faults)
    rows = [row for row in found if math.isfinite(number(row.get("step")))]
    rows.sort(key=lambda row: number(row["step"]))
    return Folder(
        name=run.resolve().name,
        text=text,
        recipe=mapping(_yaml(text, faults)),
        environment=mapping(_json(run / "environment.json", faults)),
        status=mapping(_json(run / "status.json", faults)),
        prepare=mapping(_json(run / "prepare.json", faults)),
        judged=mapping(_json(run / "evaluation.json", faults)),
        card=mapping(_json(run / "model" / "card.json", faults)),
        fusion=mapping(_json(run / "fusion.json", faults)),
        compression=mapping(_json(run / "compression.json", faults)),
        samples=mappings(_json(run / "samples.json", faults)),
        costs=mapping(_json(run / "costs.json", faults)),
        slow=[(row["step"], there) for row in rows for there in mappings(row.get("slow"))],
        columns=_columns([row for row in rows if "loss" in row and "scores" not in row]),
        evaluations=[_evaluation(row) for row in rows if "scores" in row],
        spent={
            "save": _seconds(row for row in rows if "saved" in row),
            "evaluate": _seconds(row for row in rows if "scores" in row),
        },
        faults=faults,
    )


def number(value: object) -> float:
    """A finite float, or NaN: for text, nothing, infinities, and what is too large to draw."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return float(value) if abs(value) <= LARGEST else math.nan


def mapping(value: object) -> dict[str, Any]:
    """The value if it is a mapping, or an empty one."""
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[dict[str, Any]]:
    """The mappings in a list that hold anything."""
    found = [mapping(item) for item in value] if isinstance(value, list) else []
    return [item for item in found if item]


def words(value: object) -> str:
    """Any plain data as a person would write it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def scores(value: object) -> Scores:
    """The measurements in a mapping by metric; what is no measurement is left out."""
    found = {name: measurement(item) for name, item in mapping(value).items()}
    return {name: item for name, item in found.items() if item}


def measurement(value: object) -> Measurement | None:
    """The measurement that plain data describes, if it is a finite one."""
    try:
        one = Measurement.model_validate(value)
    except ValidationError:
        return None
    numbers = [x for x in (one.value, one.low, one.high) if x is not None]
    return one if all(abs(x) <= LARGEST for x in numbers) else None


def _evaluation(row: dict[str, Any]) -> Evaluation:
    weights = {name: number(x) for name, x in mapping(row.get("weights")).items()}
    step, split = number(row.get("step")), words(row.get("split"))
    return Evaluation(step, split, scores(row.get("scores")), weights)


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {name: np.array([number(row.get(name)) for row in rows], float) for name in COLUMNS}


def _seconds(rows: Iterator[dict[str, Any]]) -> float:
    spent = [number(row.get("seconds")) for row in rows]
    return sum(seconds for seconds in spent if seconds > 0)


def _rows(path: Path, faults: list[str]) -> Iterator[dict[str, Any]]:
    lines = _text(path, faults).split("\n")
    for index, line in enumerate(lines, 1):
        row = _parsed(line)
        if isinstance(row, dict):
            yield row
        elif index < len(lines):  # what follows the last newline is still being written
            faults.append(f"{path.name}:{index}: expected a JSON object; the line is left out")


def _json(path: Path, faults: list[str]) -> Any:
    text = _text(path, faults)
    if not text:
        return None
    value = _parsed(text)
    if value is None:
        faults.append(f"{path.name}: expected JSON; the file is left out")
    return value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text(path: Path, faults: list[str]) -> str:
    if not path.exists():
        return ""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        faults.append(f"{path.name}: {error.strerror}; the file is left out")
        return ""


def _yaml(text: str, faults: list[str]) -> Any:
    try:
        return parse_yaml(text, "recipe.yaml").data
    except RecipeError as error:
        faults.extend(map(str, error.faults))
        return None
