"""Hypergradients through steps: the steps are zafu's, the slopes those of finite differences."""

from pathlib import Path
from typing import Any

import pytest
import torch

from zafu import loop, reading
from zafu.artifact import read_json
from zafu.batch import Batch
from zafu.build import build
from zafu.errors import RecipeError
from zafu.hypergradient.settings import Settings
from zafu.hypergradient.unrolled import Begun, begun, carried, finite_differences, hypergradient
from zafu.loading.contract import Request, Source
from zafu.loop import Objective
from zafu.reading import Reading
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.signature import Signature
from zafu.trial import Trial

DOUBLE = torch.float64
RECIPE: dict[str, Any] = {
    "task": {"kind": "classification", "label_smoothing": 0.1},
    "data": {"kind": "digits", "split": {"validation": 0.1, "test": 0.8}},
    "model": {"kind": "mlp", "width": 8, "layers": 1, "activation": "gelu", "dropout": 0.1},
    "fit": {
        "optimizer": {"kind": "sgd", "lr": 0.2, "momentum": 0.9, "weight_decay": 1e-3},
        "schedule": {"kind": "cosine", "warmup": 0.2},
        "batch": 32,
        "micro_batch": 16,
        "steps": 8,
        "trackers": [],
        "device": "cpu",
    },
}
GROUPS = [{"match": "*bias", "lr_scale": 0.5}, {"match": "head*", "weight_decay": 0.02}]
L2 = {"kind": "l2", "strength": 0.01}
L1 = {"kind": "l1", "strength": 0.001, "method": "subgradient"}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"kind": "sgd", "lr": 0.3, "weight_decay": 0.01, "groups": GROUPS},
    "momentum": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.1},
    "nesterov": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    "adam": {"kind": "adam", "lr": 0.01, "weight_decay": 0.01, "groups": GROUPS},
    "adamw": {"kind": "adamw", "lr": 0.01, "weight_decay": 0.1},
}


def recipe_of(**fit: Any) -> Recipe:
    return Recipe.parse({**RECIPE, "fit": {**RECIPE["fit"], **fit}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(Recipe.parse(RECIPE), tmp_path_factory.mktemp("runs"))


def trained(recipe: Recipe, data: Path) -> dict[str, torch.Tensor]:
    """The weights after zafu's own loop, in float64."""
    signature = Signature.parse(read_json(data / "signature.json"))
    model, _, _ = build(recipe, signature)
    model.to(DOUBLE)
    from zafu.optim.runtime.update import Update

    fit = recipe.fit
    update = Update(
        model,
        optimizer=fit.optimizer,
        schedule=fit.schedule,
        penalties=fit.penalties,
        clip=fit.clip,
        seed=recipe.seed,
    )
    split = recipe.data.open(data, "train")
    read = reading.training(recipe, data / "recipe.yaml", data, device=torch.device("cpu"))

    def doubled(request: Request) -> Batch:
        batch = read.batch(request, torch.device("cpu"))
        return batch._replace(inputs=tuple(x.double() for x in batch.inputs))

    objective = Objective(model, recipe.task, split, fit, recipe.seed, Reading(Source(doubled)))
    list(loop.fit(objective, update, loop.begin(fit)))
    return {name: p.detach() for name, p in model.named_parameters()}


def farthest(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max((found[name] - expected[name]).abs().max().item() for name in found)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_the_loop(data: Path, name: str) -> None:
    """With micro-batches, dropout, a schedule, groups, two penalties and clipping."""
    proximal = {"kind": "elastic-net", "strength": 0.002}
    recipe = recipe_of(optimizer=OPTIMIZERS[name], penalties=[L2, L1, proximal], clip={"norm": 0.5})
    before = begun(Trial(recipe, data), 8, DOUBLE)

    found = carried(before, Settings.of(recipe, [], DOUBLE))

    assert farthest(found, trained(recipe, data)) < 1e-12


CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "sgd": (
        {"optimizer": OPTIMIZERS["sgd"], "penalties": [L2, L1]},
        (
            "fit.optimizer.lr",
            "fit.optimizer.weight_decay",
            "fit.optimizer.groups.0.lr_scale",
            "fit.optimizer.groups.1.weight_decay",
            "fit.penalties.0.strength",
            "fit.penalties.1.strength",
            "task.label_smoothing",
        ),
    ),
    "nesterov": ({"optimizer": OPTIMIZERS["nesterov"]}, ("fit.optimizer.lr",)),
    "adam": (
        {"optimizer": OPTIMIZERS["adam"], "clip": {"norm": 0.5}},
        ("fit.optimizer.lr", "fit.optimizer.weight_decay", "fit.optimizer.groups.0.lr_scale"),
    ),
    "adamw": (
        {"optimizer": OPTIMIZERS["adamw"]},
        ("fit.optimizer.lr", "fit.optimizer.weight_decay", "task.label_smoothing"),
    ),
}
WIDTHS = {"fit.optimizer.groups.0.lr_scale": 1e-3, "task.label_smoothing": 2e-4}


@pytest.mark.parametrize("name", CASES)
def test_slopes_are_those_of_finite_differences(data: Path, name: str) -> None:
    fit, paths = CASES[name]
    recipe = recipe_of(**fit)
    trial = Trial(recipe, data)
    before = begun(trial, 8, DOUBLE)

    found = hypergradient(trial, paths, steps=8, dtype=DOUBLE)

    for path in paths:
        expected = slope(trial, before, path)
        assert found.gradient[path] == pytest.approx(expected, rel=1e-6), path


def slope(trial: Trial, before: Begun, path: str) -> float:
    own = Settings.of(trial.recipe, [path], DOUBLE).values[path].item()
    return finite_differences(trial, before, path, width=WIDTHS.get(path, own / 100))


def test_the_last_steps_alone_are_differentiated_where_they_are_asked_for(data: Path) -> None:
    """The steps before them are taken as ever, in float32."""
    recipe = recipe_of(optimizer=OPTIMIZERS["adamw"])
    trial = Trial(recipe, data)
    before = begun(trial, 3, DOUBLE)

    found = hypergradient(trial, ["fit.optimizer.lr"], steps=3, dtype=DOUBLE)

    assert (before.steps, before.progress.step) == (3, 5)
    expected = slope(trial, before, "fit.optimizer.lr")
    assert found.gradient["fit.optimizer.lr"] == pytest.approx(expected, rel=1e-6)
    whole = carried(before, Settings.of(recipe, [], DOUBLE))
    assert farthest(whole, trained(recipe, data)) < 1e-5  # float32 until then


def test_the_magnitude_of_augmentation_has_the_slope_of_finite_differences(data: Path) -> None:
    recipe = recipe_of(augment=[{"kind": "brightness"}])
    (name,) = recipe.fit.augment[0].differentiable
    path = f"fit.augment.0.{name}"
    trial = Trial(recipe, data)
    before = begun(trial, 4, DOUBLE)

    found = hypergradient(trial, [path], steps=4, dtype=DOUBLE)

    expected = finite_differences(trial, before, path, width=1e-5)  # no pixel comes to its bound
    assert found.gradient[path] == pytest.approx(expected, rel=1e-6)


def test_what_has_no_slope_is_refused_by_name(data: Path) -> None:
    muon = recipe_of(optimizer="muon", average="ema", sparsity={})

    with pytest.raises(RecipeError) as caught:
        hypergradient(Trial(muon, data), ["model.dropout", "fit.batch"], steps=2)

    assert [fault.path for fault in caught.value.faults] == [
        "model.dropout",
        "fit.batch",
        "fit.optimizer.kind",
        "fit.average",
        "fit.sparsity",
    ]
