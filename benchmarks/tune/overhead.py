"""What a search costs beside training: CPU milliseconds a trial, where a value is a formula.

`python benchmarks/tune/overhead.py` (`make bench-tune`) writes `overhead.json` and `results.md`;
`--quick` is a smoke test and writes nothing. Each of zafu's searches goes through its ledger, an
SQLite file, as `zafu tune` does; Optuna in memory and with SQLite, keras-tuner with its files.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from page import on_one_thread, where, write
from search_quality import OVER, SEARCHES, Searched, recipe

from zafu.search.contract import Ask, Told
from zafu.space import Space
from zafu.study import Done, Study, Wanted

TRIALS, ROUNDS = 50, 5


class Case(NamedTuple):
    """A search of so many trials with a seed, in a folder; how it notes them, and what it needs."""

    run: Callable[[int, int, Path], int]  # gives the number of trials that it did
    ledger: str
    needs: tuple[str, ...] = ()


def value(lr: float, decay: float, width: float, dropout: float) -> float:
    """A hill, with ripples as of noise."""
    far = (math.log(lr / 0.01) / 3) ** 2 + (math.log(width / 200) / 3) ** 2 + (dropout - 0.2) ** 2
    return 0.95 - 0.1 * far - 0.01 * decay + 0.01 * math.sin(1e3 * (lr + dropout))


def by_zafu(plain: dict[str, Any]) -> Callable[[int, int, Path], int]:
    """A search and its ledger, driven as `zafu tune` drives it."""

    def run(trials: int, seed: int, folder: Path) -> int:
        many = max(2, trials // 10) if plain["kind"] == "population" else trials  # of members
        search = Searched.parse({"search": {**plain, "trials": many}}).search
        space = Space.parse(list(OVER), recipe(0))
        study = Study.open(f"sqlite:///{folder / 'study.db'}", "dummy", {})
        done = 0
        while done < trials:
            rows = study.rows("search")
            told = [
                Told(row.number, Ask(w.settings, w.until, w.of), row.done.value)
                for row in rows
                for w in (row.wanted,)
            ]
            asks = search.next(space, told, higher=True, seed=seed)
            if not asks:
                break
            wanted = [Wanted(a.settings, None, a.until, a.of) for a in asks]
            study.add("search", len(rows), wanted)
            waiting = [row for row in study.rows("search") if row.state == "waiting"]
            for row in study.claim(waiting):
                s = row.wanted.settings
                at = value(*(s[path.partition("=")[0]] for path in OVER))
                study.finish(row, Done("done", at))
                done += 1
        return done

    return run


def by_optuna(model: str, url: str) -> Callable[[int, int, Path], int]:
    """Its samplers with its storage in memory, or in a file."""

    def run(trials: int, seed: int, folder: Path) -> int:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        known = {
            "random": optuna.samplers.RandomSampler,
            "tpe": optuna.samplers.TPESampler,
            "gp": optuna.samplers.GPSampler,
        }
        study = optuna.create_study(
            direction="maximize",
            sampler=known[model](seed=seed),
            storage=url.format(folder) if url else None,
        )

        def judge(trial: Any) -> float:
            return value(
                trial.suggest_float("lr", 1e-4, 0.3, log=True),
                trial.suggest_float("decay", 1e-6, 0.3, log=True),
                trial.suggest_int("width", 32, 512, log=True),
                trial.suggest_float("dropout", 0.0, 0.6),
            )

        study.optimize(judge, n_trials=trials)
        return trials

    return run


def by_keras_tuner(kind: str) -> Callable[[int, int, Path], int]:
    """One of its tuners, with an objective of one's own."""

    def run(trials: int, seed: int, folder: Path) -> int:
        import keras_tuner as kt

        known = {"random": kt.RandomSearch, "bayesian": kt.BayesianOptimization}

        class Own(known[kind]):
            def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
                hp = trial.hyperparameters
                return -value(
                    hp.Float("lr", 1e-4, 0.3, sampling="log"),
                    hp.Float("decay", 1e-6, 0.3, sampling="log"),
                    hp.Int("width", 32, 512, sampling="log"),
                    hp.Float("dropout", 0.0, 0.6),
                )

        tuner = Own(max_trials=trials, seed=seed, directory=folder, project_name="tuner")
        tuner.search(verbose=0)
        return trials

    return run


KERAS = ("keras", "keras_tuner")
CASES = {
    **{name: Case(by_zafu(plain), "SQLite") for name, plain in SEARCHES.items()},
    "Optuna, random": Case(by_optuna("random", ""), "memory", ("optuna",)),
    "Optuna, TPE": Case(by_optuna("tpe", ""), "memory", ("optuna",)),
    "Optuna, TPE, SQLite": Case(by_optuna("tpe", "sqlite:///{}/optuna.db"), "SQLite", ("optuna",)),
    "Optuna, GP": Case(by_optuna("gp", ""), "memory", ("optuna",)),
    "keras-tuner, random": Case(by_keras_tuner("random"), "JSON files", KERAS),
    "keras-tuner, Bayesian": Case(by_keras_tuner("bayesian"), "JSON files", KERAS),
}


def measured(names: list[str], trials: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each search, whose first study, which imports, is not counted."""
    chance = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        for name in chance.permutation(names).tolist():
            with tempfile.TemporaryDirectory() as scratch:
                begun = time.process_time()
                done = CASES[name].run(trials if number >= 0 else 3, number + 1, Path(scratch))
                spent = 1e3 * (time.process_time() - begun) / done
            if number >= 0:
                found[name].append(spent)
                said = f"round {number + 1}: {name}: {spent:.2f} CPU ms a trial"
                print(said, file=sys.stderr, flush=True)
    return {
        name: {
            "ledger": CASES[name].ledger,
            "milliseconds": [median(values), min(values), max(values)],
        }
        for name, values in found.items()
    }


def main() -> None:
    """Measure, write and print."""
    on_one_thread()
    parser = argparse.ArgumentParser(description="what a search costs beside training")
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes nothing")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    missing = [name for name, case in CASES.items() if not all(map(find_spec, case.needs))]
    if missing:
        print(f"without {', '.join(missing)}: not installed", file=sys.stderr)
    names = [name for name in CASES if name not in missing]
    trials, rounds = (12, 1) if arguments.quick else (TRIALS, ROUNDS)
    results = {
        "made": where(),
        "trials": trials,
        "rounds": rounds,
        "searches": measured(names, trials, rounds),
    }
    write("overhead", results, keep=not arguments.quick)


if __name__ == "__main__":
    main()
