"""The fleet computes what each trial computes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from torch import Tensor

from zafu import loop
from zafu.artifact import read_json
from zafu.batch import Batch
from zafu.build import build
from zafu.fleet import stack
from zafu.fleet.train import outcomes
from zafu.loop import Objective
from zafu.reading import plain
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.signature import Signature
from zafu.trial import Made, Outcome, Trial, outcome, trained

MLP: dict[str, Any] = {
    "task": "classification",
    "data": "digits",
    "model": {"kind": "mlp", "width": 24, "activation": "gelu"},
    "fit": {"optimizer": {"kind": "adamw", "lr": 3e-3}, "batch": 48, "epochs": 1, "device": "cpu"},
}
FOUR = {"fit.optimizer.lr": 3e-2, "seed": 1}, {"fit.optimizer.weight_decay": 0.1}, {"seed": 2}, {}


@final
class Doubled:
    """A split whose floats are in double precision, to compare beyond rounding."""

    portions = ()

    def __init__(self, trial: Trial) -> None:
        self._split = trial.recipe.data.open(trial.data, "train")

    def __len__(self) -> int:
        return len(self._split)

    def units(self, ids: np.ndarray) -> int:
        return self._split.units(ids)

    def count(self, ids: np.ndarray) -> int:
        return self._split.count(ids)

    def raw(self, ids: np.ndarray) -> Batch:
        return self._split.raw(ids)

    def finish(self, batch: Batch) -> Batch:
        found = self._split.finish(batch)
        inputs = tuple(map(doubled, found.inputs))
        return found._replace(inputs=inputs, targets=doubled(found.targets))

    def batch(self, ids: np.ndarray) -> Batch:
        return self.finish(self.raw(ids))


def doubled(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def alone(trial: Trial) -> Outcome:
    """What the sequential loop makes of a trial in double precision."""
    recipe = trial.recipe
    signature = Signature.parse(read_json(trial.data / "signature.json"))
    model, update, spread = build(recipe, signature)
    model.double()
    split = Doubled(trial)
    objective = Objective(model, recipe.task, split, recipe.fit, recipe.seed, plain(split), spread)
    made = Made(objective, update, loop.begin(recipe.fit))
    return trained(trial._replace(judged=()), made, lambda: "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def trials_of(
    folder: Path, base: Mapping[str, Any], settings: Sequence[Mapping[str, Any]], **more: Any
) -> list[Trial]:
    recipe = Recipe.parse(dict(base))
    data = prepared(recipe, folder)
    recipe = recipe.at("data.split.seed", recipe.seed)
    found: list[Trial] = []
    for some in settings:
        own = recipe
        for path, value in some.items():
            own = own.at(path, value)
        found.append(Trial(own, data, **more))
    return found


def assert_alike(trials: Sequence[Trial]) -> None:
    assert stack.stacks(trials) == [list(range(len(trials)))]
    together = dict(outcomes([t._replace(judged=()) for t in trials], dtype=torch.float64))
    for number, trial in enumerate(trials):
        own, other = alone(trial), together[number]
        assert (own.cost.samples, own.cost.updates) == (other.cost.samples, other.cost.updates)
        assert own.weights.keys() == other.weights.keys()
        for name, weight in own.weights.items():
            torch.testing.assert_close(other.weights[name], weight, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"kind": "sgd", "lr": 0.1},
        {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3},
        {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "dampening": 0.5},
        {"kind": "adam", "lr": 3e-3, "weight_decay": 1e-3},
        {"kind": "adamw", "lr": 3e-3},
        {"kind": "rmsprop", "lr": 1e-3, "weight_decay": 1e-3},
        {"kind": "rmsprop", "lr": 1e-3, "momentum": 0.5, "centered": True},
    ],
    ids=lambda o: "-".join(str(v) for v in o.values()),
)
def test_each_optimizer_moves_each_model_as_it_would_alone(
    folder: Path, optimizer: dict[str, Any]
) -> None:
    base = MLP | {"fit": MLP["fit"] | {"optimizer": optimizer}}

    assert_alike(trials_of(folder, base, FOUR))


@pytest.mark.parametrize(
    "settings",
    [
        [{"model.dropout": p} for p in (0.0, 0.2, 0.5)],
        [{"task.label_smoothing": s} for s in (0.0, 0.1)],
        [{"fit.schedule": {"kind": k, "warmup": 0.1}} for k in ("cosine", "linear", "wsd")],
        [{"fit.penalties": [{"kind": "l1", "strength": s}]} for s in (1e-3, 1e-2)],
        [{"fit.penalties": [{"kind": "elastic-net", "strength": s}]} for s in (1e-3, 1e-2)],
        [{"fit.penalties": [{"kind": "l2", "strength": s}]} for s in (1e-3, 1e-2)],
        [{"fit.clip": {"norm": 0.5, "value": 0.1}, "seed": s} for s in (0, 1)],
        [{"fit.epochs": e} for e in (0.3, 0.5, 1.0)],
    ],
    ids=["dropout", "smoothing", "schedule", "l1", "elastic-net", "l2", "clip", "epochs"],
)
def test_each_setting_is_each_models_own(folder: Path, settings: list[dict[str, Any]]) -> None:
    assert_alike(trials_of(folder, MLP, settings))


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "convnet", "width": 8, "stages": 1, "groups": 4},
        {"kind": "vit", "width": 16, "layers": 1, "heads": 2, "patch": 4},
    ],
    ids=lambda m: m["kind"],
)
def test_pictures_are_seen_alike_by_mapped_nets(folder: Path, model: dict[str, Any]) -> None:
    base = MLP | {"model": model, "fit": MLP["fit"] | {"epochs": 0.2}}

    assert_alike(trials_of(folder, base, [{"seed": s} for s in (0, 1)]))


def test_small_decoders_train_together(folder: Path) -> None:
    base = {
        "task": "language-modeling",
        "data": {
            "kind": "text",
            "files": ["stdlib:[a-c]*.py"],
            "context": 32,
            "tokenizer": {"kind": "bpe", "vocab": 300},
        },
        "model": {"kind": "decoder", "width": 16, "layers": 1, "heads": 2, "kv_heads": 1},
        "fit": MLP["fit"] | {"batch": 16, "epochs": None, "steps": 12},
    }

    assert_alike(trials_of(folder, base, [{"fit.optimizer.lr": lr} for lr in (1e-3, 1e-2)]))
    tied = base | {"model": base["model"] | {"tied": True}}
    assert_alike(trials_of(folder, tied, [{"seed": 1}, {"task.label_smoothing": 0.1}]))


def test_models_of_several_folds_train_together(folder: Path) -> None:
    first = trials_of(folder, MLP, [{"seed": 1}, {}])
    other = MLP | {"data": {"kind": "digits", "split": {"seed": 9, "validation": 0.13}}}
    assert_alike([*first, *trials_of(folder, other, [{}, {"seed": 3}])])


def test_one_that_diverges_leaves_the_others_as_they_were(folder: Path) -> None:
    fine = trials_of(folder, MLP, [{"seed": 1}, {"seed": 2}])
    [bad] = trials_of(folder, MLP, [{"fit.optimizer.lr": 1e30}])

    without, beside = dict(outcomes(fine)), dict(outcomes([fine[0], bad, fine[1]]))

    assert "not finite" in beside[1].diverged
    assert not beside[1].answers
    for a, b in ((0, 0), (1, 2)):
        for name, weight in without[a].weights.items():
            assert torch.equal(weight, beside[b].weights[name])


def test_curves_early_stops_and_answers_are_those_of_the_sequential_loop(folder: Path) -> None:
    base = MLP | {"fit": MLP["fit"] | {"epochs": 6, "early_stopping": {"patience": 1}}}
    settings = [{"fit.optimizer.lr": lr} for lr in (1e-3, 1e-2, 3e-2)]
    trials = trials_of(folder, base, settings, judged=("validation", "test"))

    together = dict(outcomes(trials))

    for number, trial in enumerate(trials):
        own, other = outcome(trial), together[number]
        assert [p[:2] for p in own.curve] == [p[:2] for p in other.curve]
        assert [p.value for p in own.curve] == pytest.approx([p.value for p in other.curve])
        assert own.score(trial, "test") == pytest.approx(other.score(trial, "test"), abs=0.006)
    assert len({outcome.cost.samples for outcome in together.values()}) > 1


@pytest.mark.parametrize("kind", ["sgd", "adam", "rmsprop"])
def test_a_trial_goes_on_in_either_engine(folder: Path, kind: str) -> None:
    optimizer = {"kind": kind, "lr": 1e-3} | ({"momentum": 0.9} if kind == "sgd" else {})
    base = MLP | {"fit": MLP["fit"] | {"optimizer": optimizer}}
    [whole] = trials_of(folder, base, [{}])
    half = whole._replace(until=0.5)
    ((_, stacked),) = outcomes([half])
    sequential = outcome(half)

    ends = [outcome(whole)]
    for begun in (stacked, sequential):
        rest = whole._replace(begin=begun.state)
        ends += [outcome(rest), *(found for _, found in outcomes([rest]))]

    for end in ends[1:]:
        for name, weight in ends[0].weights.items():
            torch.testing.assert_close(end.weights[name], weight, rtol=0, atol=2e-5)
        assert end.cost.updates < ends[0].cost.updates
    assert ends[0].state is not None
    assert all(end.state is not None and end.state.progress.step == 30 for end in ends[1:])


def test_what_a_stack_cannot_do_is_said_by_name(folder: Path) -> None:
    changes = {
        "fit.augment": [{"kind": "noise"}],
        "fit.average": {"kind": "ema"},
        "fit.optimizer": {"kind": "muon"},
        "fit.noise": {},
        "fit.sparsity": {},
        "fit.precision": "bf16",
        "model": {"kind": "convnet", "dropout": 0.1},
    }
    words = ["fit.augment", "fit.average", "fit.optimizer", "fit.noise", "fit.sparsity"]
    words += ["fit.precision", "dropout"]

    found = [stack.why_not(trials_of(folder, MLP, [{k: v}])[0]) for k, v in changes.items()]

    assert all(word in said for word, said in zip(words, found, strict=True))
    assert stack.why_not(trials_of(folder, MLP, [{}])[0]) == ""
