"""Sensitivity to inputs: the metric on held-out samples as they are changed more and more.

Hendrycks & Dietterich, 2019 (arXiv:1903.12261), of corruptions by degrees. The changes are those of
zafu's augmentations, each at several strengths, on all samples; not those after which the metric
is of other targets, such as tokens that are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.explain.contract import ANY, Overview

if TYPE_CHECKING:
    from zafu.augment.contract import Augmentation
    from zafu.explain.runtime.scene import Scene

STRENGTHS: dict[str, tuple[str, tuple[float, ...]]] = {  # by kind: its setting, and values
    "rotation": ("degrees", (10, 20, 40, 80)),
    "translation": ("share", (0.05, 0.1, 0.2, 0.4)),
    "scaling": ("factor", (1.1, 1.25, 1.5, 2)),
    "shear": ("degrees", (10, 20, 40)),
    "noise": ("std", (0.05, 0.1, 0.2, 0.4)),
    "blur": ("sigma", (0.5, 1, 2)),
    "brightness": ("amount", (0.2, 0.4, 0.8)),
    "contrast": ("amount", (0.2, 0.4, 0.8)),
    "saturation": ("amount", (0.2, 0.4, 0.8)),
    "hue": ("degrees", (20, 60, 180)),
    "erasing": ("largest", (0.05, 0.1, 0.2, 0.4)),
    "column-noise": ("std", (0.05, 0.1, 0.2, 0.5, 1)),
    "column-swap": ("share", (0.05, 0.1, 0.2, 0.5)),
    "token-masking": ("share", (0.02, 0.05, 0.1, 0.2)),
    "token-swap": ("share", (0.02, 0.05, 0.1, 0.2)),
}


@final
class InputSensitivity(Overview):
    """How the main metric falls as samples are turned, moved, made noisy."""

    kind: Literal["input-sensitivity"] = "input-sensitivity"
    takes: ClassVar[frozenset[str]] = ANY
    samples: int = Field(default=400, ge=2)
    """Most held-out samples, >= 2; of text as many windows as have 4,096 tokens."""

    def over(self, scene: Scene) -> dict[str, Any]:
        """The metric as samples are, and for each change by strength."""
        from zafu.explain.runtime import held

        plain = held.batch(scene, self.samples)
        start = held.score(scene, plain, held.answers(scene, plain))
        curves: list[dict[str, Any]] = []
        for kind, (setting, values) in STRENGTHS.items():
            points: list[dict[str, Any]] = [{"strength": 0.0, "score": start.dump()}]
            for value in values:
                step = _step(kind, setting, value)
                if not step.takes & {scene.kind} or (step.colors and _gray(scene)):
                    break
                changed = self._changed(scene, step)
                found = held.score(scene, changed, held.answers(scene, changed))
                points.append({"strength": value, "score": found.dump()})
            if len(points) > 1:
                curves.append({"name": kind, "setting": setting, "points": points})
        metric, many = scene.recipe.metric, len(plain.ids)
        return {"metric": metric, "samples": many, "curves": curves}

    def _changed(self, scene: Scene, step: Augmentation) -> Any:
        from zafu.augment.runtime.chain import Chain
        from zafu.explain.runtime import held

        samples = held.raw(scene, self.samples)
        chain = Chain(
            [step],
            seed=scene.recipe.seed,
            outputs=scene.signature.outputs,
            read=lambda some: held.raw_at(scene, some),
            n=held.count(scene),
            white=scene.recipe.data.white,
        )
        return held.finished(scene, chain(samples, np.zeros(len(samples.ids), np.int64)))


def _step(kind: str, setting: str, value: float) -> Augmentation:
    from zafu.augment.contract import Augmentation

    given: dict[str, Any] = {"kind": kind, setting: float(value), "probability": 1.0}
    if kind == "erasing":
        given["smallest"] = float(value)
    return Augmentation.parse(given)


def _gray(scene: Scene) -> bool:
    from zafu.signature import Pixels

    inputs = scene.signature.inputs
    return isinstance(inputs, Pixels) and inputs.channels == 1
