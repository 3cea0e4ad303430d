"""Gradients with respect to the magnitudes of a chain.

What chance gives stays fixed, so the result is a function of the magnitudes, and its gradients are
those of the function (reparameterization). They are exact except at kinks: where a map hits pixels
exactly, where values are cut to a pixel's range. Mind that the loss of training alone drives
magnitudes to nothing: tune them on held-out samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from zafu.augment.runtime.chain import Chain
from zafu.augment.runtime.step import Magnitude
from zafu.batch import Batch
from zafu.errors import Fault, RecipeError


def differentiable(
    chain: Chain, magnitudes: Mapping[str, Tensor]
) -> Callable[[Batch, np.ndarray], Batch]:
    """A function like `chain` in which magnitudes are these tensors, so that gradients reach them.

    `magnitudes` has scalars by place and field, as in "0.degrees". Pictures in float64 stay so;
    bytes become float32. Raises RecipeError for what is no magnitude or has no gradient.
    """
    steps = {
        f"{index}.{name}": (index, name)
        for index, spec in enumerate(chain.specs)
        for name in spec.differentiable
    }
    known = ", ".join(steps) or "nothing: none of these steps is differentiable"
    if faults := [Fault(path, f"one of {known}", path) for path in magnitudes if path not in steps]:
        raise RecipeError(faults)
    given: dict[int, dict[str, Magnitude]] = {}
    for path, tensor in magnitudes.items():
        index, name = steps[path]
        given.setdefault(index, {})[name] = tensor.double().cpu()
    return chain.with_magnitudes(given)
