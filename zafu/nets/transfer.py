"""Transfer over width: how weights and steps follow it, so that a narrow net's settings hold.

Yang et al., 2022 (arXiv:2203.03466), maximal update parametrization, as their table 3: all of it is
in the scale of initial weights and in the learning rate of each parameter, none in the forward
pass, so that a trained net is an ordinary one. A multiplier that they need elsewhere (of logits
where the head is tied, of attention where heads grow) is kept in a weight that it commutes with:
the weight starts at `factor` times its size and moves `factor` times as far. Steps of Muon: Yang,
Simon & Bernstein, 2023 (arXiv:2310.17813); of Adafactor: Everett et al., 2024 (arXiv:2407.05872).
"""

from collections.abc import Mapping
from math import sqrt
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Role = Literal["input", "hidden", "output"]  # sides that grow with the width: out, both, in
Rule = Literal["normalized", "gradient", "relative", "orthogonal", "orthogonal-rms"]


class Wider(NamedTuple):
    """What becomes of one parameter when a net is made wider."""

    role: Role
    ratio: float  # the width over that of the net from which settings are taken
    factor: float = 1.0  # a multiplier of the forward pass that this parameter holds

    @property
    def size(self) -> float:
        """How large its first numbers are, over those of the narrow net."""
        exponent = {"input": 0.0, "hidden": 0.5, "output": 1.0}[self.role]
        return self.factor / self.ratio**exponent

    def lr(self, rule: Rule) -> float:
        """The factor on its learning rate, by what the optimizer's step is proportional to.

        normalized: to nothing, as Adam's; gradient: to the gradient, as SGD's; relative: to the
        size of the weight besides, as Adafactor's; orthogonal: a matrix of singular values of 1,
        orthogonal-rms: one whose numbers have the size of Adam's, as Muon's.
        """
        step = self.factor * (1.0 if self.role == "input" else 1 / self.ratio)
        if rule == "gradient":
            ratio = {"input": self.ratio, "hidden": 1.0, "output": 1 / self.ratio}[self.role]
            return self.factor**2 * ratio
        if rule == "relative":
            return step / self.size
        if rule == "orthogonal":
            return self.factor
        return step * sqrt(self.ratio) if rule == "orthogonal-rms" else step


@runtime_checkable
class Widened(Protocol):
    """A net that says how its parameters follow its width."""

    def wider(self) -> Mapping[str, Wider]:
        """By name; a parameter without a name here is as in any net."""
        ...
