"""Distillation, as a recipe says it: what a student learns from a teacher beside the targets.

Hinton et al., 2015 (arXiv:1503.02531). The arithmetic is in `zafu.teaching`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zafu.spec import Spec


class Distil(Spec):
    """A finished model whose answers are learned from."""

    teacher: str
    """A finished run, or its model folder; a fused one too."""
    share: float = Field(default=0.9, ge=0, le=1)
    """Share of the loss that is the distance to the teacher's answers; the rest is the task's."""
    temperature: float = Field(default=2.0, gt=0)
    """By which logits of both are divided, > 0; not for numbers."""
    divergence: Literal["forward", "reverse", "jensen"] = "forward"
    """Which way probabilities are compared: forward covers all that the teacher says, reverse keeps
    to what it says most (Gu et al., 2023, arXiv:2306.08543), jensen lies between."""
    features: float = Field(default=0.0, ge=0)
    """Weight of the distance between what is alike among the tokens, or samples, of a batch at the
    end of the stream (Tung & Mori, 2019, arXiv:1907.09682); sizes may differ. 0: not compared."""
