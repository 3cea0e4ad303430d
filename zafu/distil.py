"""Distillation, as a recipe says it: what a student learns from a teacher beside the targets.

Hinton et al., 2015 (arXiv:1503.02531). The arithmetic is in `zafu.teaching`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zafu.spec import Spec


class Lesson(Spec):
    """What is learned of a teacher, and how: in `fit.distil` and in the link `distil` alike."""

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
    attention: float = Field(default=0.0, ge=0)
    """Weight of the distance between what the last blocks of both look at and between their values
    (Wang et al., 2020, arXiv:2002.10957); heads may differ. 0: not compared."""
    own: float = Field(default=0.0, ge=0, le=1)
    """Share of the windows whose second half the student writes itself, to be corrected by the
    teacher alone (Agarwal et al., 2023, arXiv:2306.13649); language models."""

    @property
    def looks_inside(self) -> bool:
        """Whether more of a net is asked for than its answers."""
        return self.features > 0 or self.attention > 0


class Distil(Lesson):
    """A finished model whose answers are learned from."""

    teacher: str
    """A finished run, a fused or compressed one too, or its model folder; for a language model also
    a folder of `transformers` with the tokenizer of the data."""
