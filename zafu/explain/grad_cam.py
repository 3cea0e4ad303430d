"""Grad-CAM: where in a picture the last features lie that speak for an answer.

Selvaraju et al., 2017 (arXiv:1610.02391). Features are those of the deepest block whose grid has
at least 4 cells along its shorter side; of a transformer, the tokens of its last block laid out as
they lie in the picture. Each channel counts by its mean gradient. The map is as coarse as that
grid, and shows what speaks for the answer alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from zafu.explain.contract import PIXELS, Attribution, Values

if TYPE_CHECKING:
    from torch import nn

    from zafu.explain.runtime.subject import Subject


@final
class GradCAM(Attribution):
    """Channels of a late layer, weighed by their gradients, where they add up above 0."""

    kind: Literal["grad-cam"] = "grad-cam"
    takes: ClassVar[frozenset[str]] = PIXELS
    beware: ClassVar[str] = "As coarse as its grid; what speaks against is left out."
    gradients: ClassVar[bool] = True
    signed: ClassVar[bool] = False

    def refuses(self, module: nn.Module) -> str:
        """A net without blocks has no grid."""
        from zafu.explain.runtime.grids import no_grid

        return no_grid(module)

    def of(self, subject: Subject) -> Values:
        """`(height, width)`, >= 0."""
        import torch
        from torch.nn import functional

        from zafu.explain.runtime.grids import gridded, grids

        found, size = grids(subject), subject.features.shape
        with torch.enable_grad():
            score = subject.score(found.said).sum()
            slopes = torch.autograd.grad(score, found.streams)
        total = torch.zeros(size)
        for stream, slope in zip(found.streams, slopes, strict=True):
            grid, by = (gridded(x.detach().float(), size) for x in (stream, slope))
            cam = (by.mean((2, 3), keepdim=True) * grid).sum(1, keepdim=True).relu()
            wide = functional.interpolate(cam, list(size), mode="bilinear", align_corners=False)
            total += wide[0, 0].cpu()
        shapes = [gridded(stream, size).shape[2:] for stream in found.streams]
        sizes = " and ".join(f"{down} x {across}" for down, across in shapes)
        return Values(total, how=f"a grid of {sizes}")
