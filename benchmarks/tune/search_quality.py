"""What each search finds for how many epochs: zafu's beside Optuna and keras-tuner alone.

`python benchmarks/tune/search_quality.py` (`make bench-tune`) writes `quality.json` and
`results.md`; `--quick` is a smoke test and writes nothing. All train by zafu's loop, so that
searches alone differ. What a search says of its choice is the best of many noisy values; here its
choice is trained again with fresh seeds, and judged on samples that no search has seen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from page import on_one_thread, where, write

from zafu.engine import outcomes
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.search.contract import Search
from zafu.searching.confirm import Confirm
from zafu.searching.tuning import Budget, Tuning
from zafu.space import Space, applied
from zafu.spec import Spec
from zafu.trial import Trial
from zafu.tune import Finished, events

EPOCHS = 12  # of a trial
BUDGETS, REPEATS = (120, 600), 5
TOP, SEEDS = 8, 6  # of confirming
FRESH = 1000  # the first of the seeds with which a peer's choice is trained again
OVER = (
    "fit.optimizer.lr=log:1e-4:0.3",
    "fit.optimizer.weight_decay=log:1e-6:0.3",
    "model.width=log:32:512",
    "model.dropout=0:0.6",
)
SEARCHES: dict[str, dict[str, Any]] = {
    "zafu, grid": {"kind": "grid"},
    "zafu, random (Sobol)": {"kind": "random"},
    "zafu, bayes (TPE)": {"kind": "bayes"},
    "zafu, bayes (GP)": {"kind": "bayes", "sampler": "gp"},
    "zafu, halving": {"kind": "halving"},
    "zafu, asha": {"kind": "asha"},
    "zafu, population": {"kind": "population"},
}
Found = dict[str, float]  # what is known of a search at a budget
Objective = Callable[[dict[str, Any]], float]


class Searched(Spec):
    """As a study holds it."""

    search: Search


class Peer(NamedTuple):
    """A tuner that is given an objective and a number of trials, and what it needs."""

    run: Callable[[Objective, Space, int, int, Path], None]
    needs: tuple[str, ...]


def recipe(repeat: int) -> Recipe:
    """An MLP on 400 digits."""
    split = {"validation": 600 / 1797, "test": 797 / 1797, "by": "random", "seed": repeat}
    return Recipe.parse(
        {
            "task": "classification",
            "data": {"kind": "digits", "split": split},
            "model": {"kind": "mlp", "width": 64, "layers": 2},
            "fit": {
                "optimizer": {"kind": "adamw"},
                "batch": 64,
                "epochs": EPOCHS,
                "device": "cpu",
                "threads": 1,
                "trackers": [],
            },
            "evaluate": {"baselines": [], "metric": "accuracy"},
            "seed": repeat,
        }
    )


def by_zafu(plain: dict[str, Any], repeat: int, budget: int, folder: Path) -> Found:
    """A study from its beginning to its end."""
    if plain["kind"] == "population":
        plain = {**plain, "trials": budget // EPOCHS}
    chosen = recipe(repeat)
    tuning = Tuning(
        chosen,
        Space.parse(list(OVER), chosen),
        Searched.parse({"search": plain}).search,
        folder=folder / "study",
        runs=folder,
        budget=Budget(epochs=budget),
        confirm=Confirm(TOP, SEEDS),
        seed=repeat,
    )
    for event in events(tuning):
        if isinstance(event, Finished):
            result = event.result
            first, winner = result.first, result.winner
            assert first.test is not None
            assert winner.test is not None
            assert first.value is not None
            return {
                "first": first.test.value,
                "winner": winner.test.value,
                "optimism": first.searched - first.value.value,
                "confirming": result.ledger["confirm"]["epochs"],
            }
    raise SystemExit("a study had no end")


def by_peer(peer: Peer, repeat: int, folder: Path, budgets: tuple[int, ...]) -> Iterator[Found]:
    """What its best is after each of the budgets, which are parts of one study."""
    base = recipe(repeat)
    tried: list[tuple[float, dict[str, Any]]] = []

    def objective(settings: dict[str, Any]) -> float:
        value = judged(applied(base, settings), folder, [repeat], "validation")[0]
        tried.append((value, settings))
        return value

    many = max(budgets) // EPOCHS
    peer.run(objective, Space.parse(list(OVER), base), many, repeat, folder)
    seeds = [FRESH + repeat * SEEDS + n for n in range(SEEDS)]
    for budget in budgets:
        value, settings = max(tried[: budget // EPOCHS], key=lambda one: one[0])
        best = applied(base, settings)
        again = {s: judged(best, folder, seeds, s) for s in ("validation", "test")}
        means = {split: sum(values) / SEEDS for split, values in again.items()}
        yield {"first": means["test"], "optimism": value - means["validation"]}


def judged(chosen: Recipe, folder: Path, seeds: list[int], split: str) -> list[float]:
    """The accuracy of a training with each seed; 0 where it diverged."""
    trials = [
        Trial(one, prepared(one, folder), (split,))
        for s in seeds
        for one in (chosen.at("seed", s),)
    ]
    how = "stacked" if len(trials) > 1 else "sequential"
    found = {n: one.score(trials[n], split) for n, one in outcomes(trials, how=how)}
    return [0.0 if found[n] != found[n] else found[n] for n in range(len(trials))]


def by_optuna(model: str) -> Callable[[Objective, Space, int, int, Path], None]:
    """Its samplers, asked for one trial after the other."""

    def run(objective: Objective, space: Space, trials: int, seed: int, folder: Path) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        known = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}
        study = optuna.create_study(direction="maximize", sampler=known[model](seed=seed))

        def judge(trial: Any) -> float:
            return objective(
                {
                    "fit.optimizer.lr": trial.suggest_float("lr", 1e-4, 0.3, log=True),
                    "fit.optimizer.weight_decay": trial.suggest_float("wd", 1e-6, 0.3, log=True),
                    "model.width": trial.suggest_int("width", 32, 512, log=True),
                    "model.dropout": trial.suggest_float("dropout", 0.0, 0.6),
                }
            )

        study.optimize(judge, n_trials=trials)

    return run


def by_keras_tuner(
    objective: Objective, space: Space, trials: int, seed: int, folder: Path
) -> None:
    """Its `BayesianOptimization`, with an objective that is not Keras's."""
    import keras_tuner as kt

    class Own(kt.BayesianOptimization):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            hp = trial.hyperparameters
            settings = {
                "fit.optimizer.lr": hp.Float("lr", 1e-4, 0.3, sampling="log"),
                "fit.optimizer.weight_decay": hp.Float("wd", 1e-6, 0.3, sampling="log"),
                "model.width": hp.Int("width", 32, 512, sampling="log"),
                "model.dropout": hp.Float("dropout", 0.0, 0.6),
            }
            return -objective(settings)

    tuner = Own(
        max_trials=trials, seed=seed, directory=folder, project_name="tuner", overwrite=True
    )
    tuner.search(verbose=0)


PEERS = {
    "Optuna, TPE": Peer(by_optuna("tpe"), ("optuna",)),
    "Optuna, GP": Peer(by_optuna("gp"), ("optuna",)),
    "keras-tuner, Bayesian": Peer(by_keras_tuner, ("keras", "keras_tuner")),
}


def say(name: str, repeat: int, found: dict[int, Found], begun: float) -> None:
    """A line of progress."""
    scores = ", ".join(f"{budget}: {one['first']:.3f}" for budget, one in found.items())
    spent = time.process_time() - begun
    print(f"repeat {repeat + 1}: {name}: {scores} ({spent:.0f} CPU s)", file=sys.stderr, flush=True)


def measured(repeats: int, budgets: tuple[int, ...], names: list[str]) -> dict[str, Any]:
    """All searches, one repeat after the other."""
    methods: dict[str, dict[str, dict[str, list[float]]]] = {name: {} for name in names}
    for repeat in range(repeats):
        for name in names:
            begun = time.process_time()
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                if name in SEARCHES:
                    at = {b: by_zafu(SEARCHES[name], repeat, b, folder / str(b)) for b in budgets}
                else:
                    found = by_peer(PEERS[name], repeat, folder, budgets)
                    at = dict(zip(budgets, found, strict=True))
            for budget, one in at.items():
                kept = methods[name].setdefault(str(budget), {})
                for key, value in one.items():
                    kept.setdefault(key, []).append(value)
            say(name, repeat, at, begun)
    return methods


def main() -> None:
    """Measure, write and print."""
    on_one_thread()
    parser = argparse.ArgumentParser(description="what each search finds for how many epochs")
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes nothing")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", nargs="+", choices=[*SEARCHES, *PEERS], metavar="NAME")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    missing = [name for name, peer in PEERS.items() if not all(map(find_spec, peer.needs))]
    if missing:
        print(f"without {', '.join(missing)}: not installed", file=sys.stderr)
    names = [n for n in (*SEARCHES, *PEERS) if n not in missing]
    names = [n for n in names if not arguments.only or n in arguments.only]
    repeats, budgets = (1, (48, 144)) if arguments.quick else (arguments.repeats, BUDGETS)
    results = {
        "made": where(),
        "budgets": budgets,
        "repeats": repeats,
        "seeds": SEEDS,
        "methods": measured(repeats, budgets, names),
    }
    write("quality", results, keep=not arguments.quick and not arguments.only)


if __name__ == "__main__":
    main()
