"""One search by one contestant, in a process of its own: `contestant.py NAME SETTINGS FOLDER`.

All train the same network of two hidden layers with the same batch and epochs on the same folds
(zafu deals its own) with AdamW, except scikit-learn, whose Adam has L2 in place of decay. What
every package draws, shows or saves by default and can be told not to is off. The answer, a line of
JSON: CPU seconds until imports are done and from then on, and each setting's accuracy over folds.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sizes import BATCH, EPOCHS, FOLDS, WIDTH, Setting, folds, samples, settings

if TYPE_CHECKING:
    import torch

Accuracies = list[float]  # of each setting, the mean over folds
Search = Callable[[Sequence[Setting], Path], Accuracies]


class Clock:
    """CPU seconds of this process when its imports were done."""

    imported = 0.0

    @classmethod
    def ready(cls) -> None:
        """Imports are done."""
        cls.imported = time.process_time()


def zafu(chosen: Sequence[Setting], folder: Path) -> Accuracies:
    """Trials of the engine: all folds of all settings in one stack."""
    from zafu.engine import outcomes
    from zafu.recipe import Recipe
    from zafu.run import prepared
    from zafu.trial import Trial

    Recipe.parse(_recipe(1e-3, 0.0, 0))  # which imports the techniques that a recipe can name
    Clock.ready()
    trials, data = list[Trial](), dict[int, Path]()
    for lr, decay in chosen:
        for fold in range(FOLDS):
            recipe = Recipe.parse(_recipe(lr, decay, fold))
            if fold not in data:
                data[fold] = prepared(recipe, folder)
            trials.append(Trial(recipe, data[fold]))
    scores = dict[int, float]()
    for number, found in outcomes(trials, how="stacked"):
        scores[number] = found.score(trials[number])
    return _means([scores[number] for number in range(len(trials))])


def _recipe(lr: float, decay: float, fold: int) -> dict[str, Any]:
    dealt = {"validation": {"fold": fold, "of": FOLDS}, "test": 0.0, "stratify": True, "seed": 0}
    return {
        "task": "classification",
        "data": {"kind": "digits", "split": dealt},
        "model": {"kind": "mlp", "width": WIDTH, "layers": 2},
        "fit": {
            "optimizer": {"kind": "adamw", "lr": lr, "weight_decay": decay},
            "batch": BATCH,
            "epochs": EPOCHS,
            "device": "cpu",
            "threads": 1,
            "trackers": [],
        },
        "evaluate": {"baselines": [], "metric": "accuracy"},
    }


def torch_loop(chosen: Sequence[Setting], folder: Path) -> Accuracies:
    """The loop as one writes it for data in memory, with torch's fused AdamW."""
    Clock.ready()
    data = _tensors()
    scores = [_fitted(setting, part, data) for setting in chosen for part in data[2]]
    return _means(scores)


def optuna_loop(chosen: Sequence[Setting], folder: Path) -> Accuracies:
    """The same loop, a trial of Optuna for each setting."""
    import optuna

    Clock.ready()
    data = _tensors()

    def judge(setting: Setting) -> float:
        return _means([_fitted(setting, part, data) for part in data[2]])[0]

    return _by_optuna(optuna, chosen, judge)


def optuna_lightning(chosen: Sequence[Setting], folder: Path) -> Accuracies:
    """A `Trainer` of Lightning for each fold, a trial of Optuna for each setting."""
    import lightning
    import optuna
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset

    Clock.ready()
    x, y, parts = _tensors()

    class Net(lightning.LightningModule):
        def __init__(self, setting: Setting) -> None:
            super().__init__()
            self.net, self.setting = _network(), setting

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            return functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return _adamw(self.net, self.setting)

    def judge(setting: Setting) -> float:
        scores = list[float]()
        for train, held in parts:
            net = Net(setting)
            loader = DataLoader(TensorDataset(x[train], y[train]), BATCH, shuffle=True)
            lightning.Trainer(
                max_epochs=EPOCHS,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            ).fit(net, loader)
            scores.append(_accuracy(net.net, x[held], y[held]))
        return _means(scores)[0]

    return _by_optuna(optuna, chosen, judge)


def sklearn(chosen: Sequence[Setting], folder: Path) -> Accuracies:
    """`GridSearchCV` of `MLPClassifier`, one process."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    Clock.ready()
    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = samples()
    net = MLPClassifier(
        (WIDTH, WIDTH), batch_size=BATCH, max_iter=EPOCHS, tol=0, n_iter_no_change=EPOCHS + 1
    )
    grid = [{"learning_rate_init": [lr], "alpha": [decay]} for lr, decay in chosen]
    search = GridSearchCV(net, grid, cv=folds(y), refit=False).fit(x, y)
    return search.cv_results_["mean_test_score"].tolist()


def keras_tuner(chosen: Sequence[Setting], folder: Path) -> Accuracies:
    """Its grid search, Keras on torch; folds by a `run_trial` of one's own, as its guide shows."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import keras_tuner as kt

    Clock.ready()
    x, y = samples()
    parts = folds(y)
    found = dict[int, float]()

    def build(hp: Any) -> Any:
        lr, decay = chosen[hp.Choice("setting", list(range(len(chosen))))]
        layers = keras.layers
        net = keras.Sequential(
            [
                keras.Input((x.shape[1],)),
                layers.Dense(WIDTH, activation="relu"),
                layers.Dense(WIDTH, activation="relu"),
                layers.Dense(10),
            ]
        )
        net.compile(
            keras.optimizers.AdamW(learning_rate=lr, weight_decay=decay),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return net

    class Folded(kt.GridSearch):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            scores = list[float]()
            for train, held in parts:
                net = self.hypermodel.build(trial.hyperparameters)
                net.fit(x[train], y[train], batch_size=BATCH, epochs=EPOCHS, verbose=0)
                scores.append(net.evaluate(x[held], y[held], verbose=0)[1])
            found[trial.hyperparameters.get("setting")] = _means(scores)[0]
            return -_means(scores)[0]

    tuner = Folded(build, directory=folder, project_name="tuner", overwrite=True)
    tuner.search(verbose=0)
    return [found[number] for number in range(len(chosen))]


CONTESTANTS: dict[str, Search] = {
    "zafu": zafu,
    "sklearn": sklearn,
    "torch": torch_loop,
    "optuna": optuna_loop,
    "lightning": optuna_lightning,
    "keras-tuner": keras_tuner,
}


def _tensors() -> tuple[torch.Tensor, torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
    import torch

    x, y = samples()
    parts = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in folds(y)]
    return torch.from_numpy(x), torch.from_numpy(y), parts


def _network() -> torch.nn.Sequential:
    from torch import nn

    return nn.Sequential(
        nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)
    )


def _adamw(net: torch.nn.Module, setting: Setting) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW(
        net.parameters(), lr=setting.lr, weight_decay=setting.weight_decay, fused=True
    )


def _fitted(setting: Setting, part: tuple[torch.Tensor, torch.Tensor], data: Any) -> float:
    import torch
    from torch.nn import functional

    x, y, _ = data
    train, held = part
    net = _network()
    optimizer = _adamw(net, setting)
    for _ in range(EPOCHS):
        for ids in train[torch.randperm(len(train))].split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(net(x[ids]), y[ids]).backward()
            optimizer.step()
    return _accuracy(net, x[held], y[held])


def _accuracy(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    import torch

    with torch.no_grad():
        return (net(x).argmax(1) == y).double().mean().item()


def _by_optuna(
    optuna: Any, chosen: Sequence[Setting], judge: Callable[[Setting], float]
) -> Accuracies:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    numbers = list(range(len(chosen)))
    sampler = optuna.samplers.GridSampler({"setting": numbers})
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda t: judge(chosen[t.suggest_categorical("setting", numbers)]))
    found = {trial.params["setting"]: trial.value for trial in study.trials}
    return [found[number] for number in numbers]


def _means(scores: Sequence[float]) -> Accuracies:
    """Of each setting's folds."""
    return [sum(scores[i : i + FOLDS]) / FOLDS for i in range(0, len(scores), FOLDS)]


def main() -> None:
    name, count, folder = sys.argv[1:]
    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    found = CONTESTANTS[name](settings(int(count)), Path(folder))
    answer = {
        "imports": Clock.imported,
        "search": time.process_time() - Clock.imported,
        "wall": time.perf_counter() - begun,
        "accuracies": found,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
