"""zafu: one typed recipe carries a model from raw data to production; exact, foreseen, measured.

```python
import zafu

run = zafu.train("digits.yaml", "fit.optimizer.lr=1e-3")
print(zafu.evaluate(run.folder)["accuracy"])
```

Names are loaded when they are first used, so that `import zafu` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zafu.crossval import cross_validate, out_of_fold
    from zafu.deploy.bundle import predict
    from zafu.errors import RecipeError, ZafuError
    from zafu.measure import Measurement
    from zafu.pipeline import evaluate, events, load_model, train
    from zafu.recipe import Recipe
    from zafu.run import Run

_HOME = {
    "Measurement": "zafu.measure",
    "Recipe": "zafu.recipe",
    "RecipeError": "zafu.errors",
    "Run": "zafu.run",
    "ZafuError": "zafu.errors",
    "cross_validate": "zafu.crossval",
    "evaluate": "zafu.pipeline",
    "events": "zafu.pipeline",
    "load_model": "zafu.pipeline",
    "out_of_fold": "zafu.crossval",
    "predict": "zafu.deploy.bundle",
    "train": "zafu.pipeline",
}

__all__ = [
    "Measurement",
    "Recipe",
    "RecipeError",
    "Run",
    "ZafuError",
    "cross_validate",
    "evaluate",
    "events",
    "load_model",
    "out_of_fold",
    "predict",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zafu' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
