"""Sensitivity to weights: how much the loss grows when one layer's are noisy or rounded.

Noise is a share of the spread of the layer's own weights (as of flatness: Keskar et al., 2016,
arXiv:1609.04836); rounding is to equal steps between the least and the largest of each output. On
held-out samples, one layer at a time, paired. A layer that is worth much may bear much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.explain.contract import ANY, Overview

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from zafu.explain.runtime.scene import Scene

DRAWS = 3  # of noise


@final
class LayerSensitivity(Overview):
    """What each layer's weights must keep exact."""

    kind: Literal["layer-sensitivity"] = "layer-sensitivity"
    takes: ClassVar[frozenset[str]] = ANY
    weights: ClassVar[bool] = True
    samples: int = Field(default=256, ge=2)
    """Most held-out samples, >= 2; of text as many windows as have 4,096 tokens."""
    noise: float = Field(default=0.2, gt=0)
    """Noise as a share of the spread of the layer's weights, > 0."""
    bits: int = Field(default=4, ge=1, le=16)
    """Bits to which weights are rounded, 1 to 16."""

    def refuses(self, module: nn.Module) -> str:
        """Nothing to change where no layer has floats."""
        return "" if _layers(module) else "no layer has weights that are floats"

    def over(self, scene: Scene) -> dict[str, Any]:
        """The loss, and for each layer how much it grows, with intervals."""
        import numpy as np
        import torch

        from zafu.explain.runtime import held
        from zafu.measure import bootstrap

        samples, module = held.batch(scene, self.samples), scene.module
        if module is None:
            return {}
        before = held.loss(scene, samples, module)

        def grown(weight: Tensor, other: Tensor) -> np.ndarray:
            own = weight.detach().clone()
            try:
                with torch.no_grad():
                    weight.copy_(other)
                return (held.loss(scene, samples, module) - before).numpy()
            finally:
                with torch.no_grad():
                    weight.copy_(own)

        def told(found: np.ndarray) -> dict[str, Any]:
            return bootstrap([found], lambda x: float(x.mean()), unit=_unit(scene)).dump()

        layers: list[dict[str, Any]] = []
        for name, weight in _layers(module).items():
            random = torch.Generator().manual_seed(0)
            noisy = [grown(weight, _noisy(weight, self.noise, random)) for _ in range(DRAWS)]
            layers.append(
                {
                    "name": name,
                    "numbers": weight.numel(),
                    "noise": told(np.mean(noisy, 0)),
                    "rounded": told(grown(weight, _rounded(weight, self.bits))),
                }
            )
        start = told(before.numpy())
        return {"loss": start, "noise": self.noise, "bits": self.bits, "layers": layers}


def _layers(module: nn.Module) -> dict[str, nn.Parameter]:
    return {
        name.removesuffix(".weight"): parameter
        for name, parameter in module.named_parameters()
        if parameter.dim() > 1 and parameter.is_floating_point()
    }


def _noisy(weight: Tensor, share: float, random: Generator) -> Tensor:
    import torch

    drawn = torch.randn(weight.shape, generator=random).to(weight)
    return weight.detach() + drawn * weight.detach().std() * share


def _rounded(weight: Tensor, bits: int) -> Tensor:
    rows = weight.detach().flatten(1)
    low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    step = ((high - low) / (2**bits - 1)).clamp(min=1e-12)
    return (((rows - low) / step).round() * step + low).view_as(weight)


def _unit(scene: Scene) -> str:
    return "nats" if scene.classes else ""
