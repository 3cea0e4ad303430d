"""Muon: hidden matrices move by an orthogonalized momentum, AdamW moves the rest.

Jordan et al., 2024 (kellerjordan.github.io/posts/muon): w <- (1 - lr * weight_decay) * w -
lr * scale * NS(momentum), where NS, five Newton-Schulz iterations in bfloat16, brings all singular
values near 1. Scale: Liu et al., 2025 (arXiv:2502.16982). `torch.optim.Muon` and
`torch.optim.AdamW`; on a CPU the iterations run in float32 by our own code, as bfloat16 is many
times slower there. A hidden matrix is a 2-dimensional `weight` that belongs neither to an
embedding nor to the last layer; embeddings, heads, norms, biases and filters are AdamW's.
State: one tensor of the parameter's size for hidden matrices, two for the rest.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Refused
from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer, Share

if TYPE_CHECKING:
    import torch


@final
class Muon(Optimizer):
    """Orthogonalized momentum for hidden matrices, AdamW for all else."""

    kind: Literal["muon"] = "muon"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-4:0.1", "weight_decay": "log:1e-4:1"}
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate, > 0: the step's scale before the schedule."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay, >= 0, of both parts; norms and biases are exempt as ever."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the mean of the gradients, 0 <= m < 1."""
    nesterov: bool = True
    """Orthogonalize the momentum as it would be after one more step."""
    ns_steps: int = Field(default=5, ge=1, lt=100)
    """Newton-Schulz iterations, 1 to 99."""
    adjust_lr: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    """Scale by the sides a, b: 0.2 * sqrt(max(a, b)), as AdamW's, or sqrt(max(1, a / b))."""
    arithmetic: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the iterations: bfloat16 is torch's own Muon; auto takes float32 on a CPU."""
    adamw_lr: float | None = Field(default=None, gt=0)
    """Learning rate of AdamW's part, > 0; the same if not given."""
    adamw_betas: tuple[Share, Share] = (0.9, 0.95)
    """Decay of AdamW's means of g and of g squared, each 0 <= b < 1."""
    adamw_eps: float = Field(default=1e-8, gt=0)
    """Added to AdamW's root, > 0, lest it be zero."""

    def looks_at_whole(self, *, hidden: bool) -> bool:
        """At the singular vectors of a hidden matrix."""
        return hidden

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps of hidden matrices are orthogonal in either scale, others are AdamW's."""
        if not hidden:
            return "normalized"
        return "orthogonal" if self.adjust_lr == "original" else "orthogonal-rms"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """A `torch.optim.Muon` over hidden matrices, a `torch.optim.AdamW` over the rest, if any.

        Raises Refused if there is no hidden matrix.
        """
        import torch

        from zafu.optim.runtime.implementation import choose

        hidden = [_part(group, group["hidden"], self.lr) for group in groups]
        rest = [_part(group, _others(group), self.adamw_lr or self.lr) for group in groups]
        hidden, rest = [g for g in hidden if g["params"]], [g for g in rest if g["params"]]
        if not hidden:
            raise Refused(
                "muon: expected a matrix before the last layer, found only "
                f"{', '.join(n for g in rest for n, _ in g['params'])}; take adamw"
            )
        muon = self._matrices(hidden)
        if not rest:
            return [muon]
        how = choose(rest, fused=("cpu", "cuda"))
        adamw = torch.optim.AdamW(
            rest,
            lr=self.adamw_lr or self.lr,
            betas=self.adamw_betas,
            eps=self.adamw_eps,
            weight_decay=self.weight_decay,
            foreach=how.foreach,
            fused=how.fused,
        )
        return [muon, adamw]

    def _matrices(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer of the hidden matrices, in the arithmetic that was asked for."""
        import torch

        from zafu.optim.runtime.muon import MuonFloat32

        on_cpu = all(p.device.type == "cpu" for group in groups for _, p in group["params"])
        in_full = self.arithmetic == "float32" or (self.arithmetic == "auto" and on_cpu)
        return (MuonFloat32 if in_full else torch.optim.Muon)(
            groups,
            lr=self.lr,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
            ns_steps=self.ns_steps,
            adjust_lr_fn=self.adjust_lr,
        )

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """The momentum of a hidden matrix; else both means, and the number of steps."""
        if hidden:
            return {"momentum_buffer": shape}
        return {"step": (), "exp_avg": shape, "exp_avg_sq": shape}


def _others(group: dict[str, Any]) -> set[str]:
    return {name for name, _ in group["params"]} - group["hidden"]


def _part(group: dict[str, Any], names: Container[str], lr: float) -> dict[str, Any]:
    params = [(name, p) for name, p in group["params"] if name in names]
    return {**group, "params": params, "lr": lr * group["lr_scale"]}
