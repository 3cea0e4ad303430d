"""Trials on Ray: each training is a task of a cluster (Moritz et al., 2018), or of a local one.

Call inside `joined`. The folder of runs must lie where every node sees it. A worker imports torch
before its first trial, which takes seconds: for trainings of minutes, not of seconds.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zafu import plugins
from zafu.errors import Interrupted, MissingExtra
from zafu.recipe import Recipe
from zafu.searching import sharded_trials
from zafu.study import Done
from zafu.trial import Outcome, Trial, outcome

Stopped = Callable[[], str]
POLL = 0.5  # seconds between two looks at whether a signal came


def outcomes(
    trials: Sequence[Trial], stopped: Stopped = lambda: ""
) -> Iterator[tuple[int, Outcome]]:
    """Yields each trial's number in the sequence and its outcome, as soon as that is known.

    A task reserves as many processors as its layout has processes, at least one, and as many GPUs
    where it trains on them. Raises Interrupted after a signal: what was not yielded is lost.
    """
    import ray  # pyright: ignore[reportMissingImports]

    task = ray.remote(max_retries=2)(_computed)
    waiting = {
        task.options(**_needs(trial.recipe)).remote(_absolute(trial)): number
        for number, trial in enumerate(trials)
    }
    while waiting:
        if reason := stopped():
            for one in waiting:
                ray.cancel(one)
            raise Interrupted(f"{reason}: trials on Ray were left")
        done, _ = ray.wait(list(waiting), num_returns=1, timeout=POLL)
        for one in done:
            yield waiting.pop(one), ray.get(one)


def ran(recipe: Recipe, folder: Path, judged: tuple[str, ...], stopped: Stopped) -> Done:
    """What a run of this recipe in this folder came to, on a node with room for its processes."""
    import ray  # pyright: ignore[reportMissingImports]

    task = ray.remote(max_retries=2)(_ran).options(**_needs(recipe))
    waiting = task.remote(recipe, folder.resolve(), judged)
    while not ray.wait([waiting], timeout=POLL)[0]:
        if reason := stopped():
            ray.cancel(waiting)
            raise Interrupted(f"{reason}: a run on Ray was left; its checkpoints are kept")
    return ray.get(waiting)


@contextmanager
def joined(recipe: Recipe) -> Generator[None]:
    """Inside, Ray runs: the cluster that is named by its environment, or one of this machine."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray import cloudpickle  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtra("ray[data]", "ray") from None
    for name in plugins.load(map(Path, recipe.plugins)):
        cloudpickle.register_pickle_by_value(sys.modules[name])
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _ran(recipe: Recipe, folder: Path, judged: tuple[str, ...]) -> Done:
    return sharded_trials.ran(recipe, folder, judged, lambda: "")


def _computed(trial: Trial) -> Outcome:
    return outcome(trial)


def _absolute(trial: Trial) -> Trial:
    return trial._replace(data=trial.data.resolve())


def _needs(recipe: Recipe) -> dict[str, float]:
    import torch

    many = max(recipe.layout.world, 1)
    return {"num_cpus": many, "num_gpus": many if torch.cuda.is_available() else 0}
