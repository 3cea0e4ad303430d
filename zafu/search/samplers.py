"""Samplers: points of [0, 1]^d, of a sequence or by a model of what is known.

The models are Optuna's (Akiba et al., 2019): TPE (Bergstra et al., 2011) and Gaussian processes.
Each time one is made anew from the whole history, with a seed that follows from its length, so
that nothing has to be kept. It runs on one thread: BLAS threads that wait for each other cost a
Gaussian process several times what it computes.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from zafu.errors import MissingExtra
from zafu.hashing import key, mix
from zafu.search.contract import Told, worth
from zafu.space import Choice, Settings, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Model = Literal["tpe", "gp"]


def uniforms(*numbers: int, count: int) -> np.ndarray:
    """Numbers in [0, 1), `(count,)`, that follow from these integers."""
    return mix(key(*numbers) ^ np.arange(count, dtype=np.uint64)) / 2.0**64


def drawn(
    start: int, count: int, dimensions: int, *, seed: int, sequence: str = "sobol"
) -> np.ndarray:
    """Points `(count, dimensions)` in [0, 1), those of a sequence from `start` on."""
    if count <= 0:
        return np.zeros((0, dimensions))
    if sequence == "independent":
        places = np.arange(start * dimensions, (start + count) * dimensions, dtype=np.uint64)
        return (mix(key(seed) ^ mix(places)) / 2.0**64).reshape(count, dimensions)
    import torch

    engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)
    engine.fast_forward(start)
    return engine.draw(count, dtype=torch.float64).numpy()


def points(space: Space, start: int, count: int, *, seed: int) -> list[Settings]:
    """The settings at these places of the Sobol sequence."""
    found = drawn(start, count, len(space.paths), seed=seed)
    return [space.at(point) for point in found.tolist()]


def suggested(
    space: Space, told: Sequence[Told], count: int, *, model: Model, higher: bool, seed: int
) -> list[Settings]:
    """So many settings that a model of these trials takes to be promising.

    They are asked for one after the other, each with the ones before it as trials under way
    (constant liar: Ginsbourger et al., 2010). A trial that diverged counts as the worst one.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtra("optuna", "tune") from None
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with one_thread():
            sampler = _sampler(model, seed=int(key(seed, len(told))[0] % 2**32))
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.add_trials(_history(space, told, higher=higher))
            distributions = _distributions(space)
            asked = [study.ask(distributions).params for _ in range(count)]
    finally:
        optuna.logging.set_verbosity(before)
    return [_settings(space, params) for params in asked]


@contextmanager
def one_thread() -> Generator[None]:
    """Inside, torch and the BLAS libraries compute on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            yield
        else:
            with threadpool_limits(1):
                yield
    finally:
        torch.set_num_threads(threads)


def _sampler(model: Model, *, seed: int) -> BaseSampler:
    import optuna

    if model == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=1, constant_liar=True)
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1)


def _history(space: Space, told: Sequence[Told], *, higher: bool) -> list[FrozenTrial]:
    import optuna

    sound = [worth(t, higher=higher) for t in told if t.value is not None]
    worst = min(sound, default=0.0)
    distributions = _distributions(space)
    found: list[FrozenTrial] = []
    for one in told:
        value = worst if one.value is None else worth(one, higher=higher)
        params = _params(space, one.ask.settings)
        found.append(
            optuna.trial.create_trial(params=params, distributions=distributions, value=value)
        )
    return found


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """Choices by their index; ranges as their share of the way, on their own scale."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        d.path: CategoricalDistribution(tuple(range(len(d.values))))
        if isinstance(d, Choice)
        else FloatDistribution(0.0, 1.0)
        for d in space.dimensions
    }


def _params(space: Space, settings: Settings) -> dict[str, float | int]:
    return {
        d.path: int(at * len(d.values)) if isinstance(d, Choice) else at
        for d, at in zip(space.dimensions, space.point(settings), strict=True)
    }


def _settings(space: Space, params: dict[str, float | int]) -> Settings:
    return space.at(
        [
            (params[d.path] + 0.5) / len(d.values) if isinstance(d, Choice) else params[d.path]
            for d in space.dimensions
        ]
    )
