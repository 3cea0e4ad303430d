"""Ensemble: several models of any kinds as one. Sources: `zafu.nets.ensemble`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Fault
from zafu.models.contract import Model
from zafu.signature import Signature, Tokens

if TYPE_CHECKING:
    from zafu.nets.ensemble import Ensemble as Net

PROBABILITIES = ("soft", "hard", "stack")  # joins that only classes and tokens have


@final
class Ensemble(Model):
    """Members read the same sample and are joined; trained as such, they all learn together."""

    kind: Literal["ensemble"] = "ensemble"
    takes: ClassVar[frozenset[str]] = frozenset({"tokens", "pixels", "columns"})
    members: tuple[Model, ...]
    """The models, one at least; their kinds and sizes may differ."""
    join: Literal["soft", "hard", "mean", "stack", "linear"] = "soft"
    """What is made of their answers: soft, the mean of probabilities; hard, the share of votes (it
    cannot be trained); mean, of the outputs; stack, a learned weight for each member and class on
    logarithms of probabilities; linear, the same on the outputs."""
    weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """How much each member counts, >= 0, for soft, hard and mean; null: all alike."""

    def check(self) -> Iterable[Fault]:
        """One weight a member, where weights are not learned."""
        if not self.members:
            yield Fault("members", "one model at least", "none")
        if self.weights is None:
            return
        if self.join in ("stack", "linear"):
            yield Fault("weights", f"null, as {self.join} learns them", "a list")
        if len(self.weights) != len(self.members):
            yield Fault("weights", f"{len(self.members)} numbers", str(len(self.weights)))
        if not any(self.weights):
            yield Fault("weights", "one at least > 0", "none")

    def suits(self, task: str) -> Iterable[Fault]:
        """Numbers have no probabilities."""
        if task == "regression" and self.join in PROBABILITIES:
            yield Fault("join", "mean or linear for regression", self.join)
        yield from self._inside(member.suits(task) for member in self.members)

    def fits(self, signature: Signature) -> Iterable[Fault]:
        """Each member must take such data; a hard vote has no gradient."""
        if self.join == "hard":
            hint = "join: soft; zafu fuse takes votes of trained models"
            yield Fault("join", "one that can be trained", "hard", hint=hint)
        for index, member in enumerate(self.members):
            if signature.inputs.kind not in member.takes:
                expected = f"a model that takes {signature.inputs.kind}"
                yield Fault(f"members.{index}.kind", expected, member.kind)
        yield from self._inside(
            member.fits(signature) if signature.inputs.kind in member.takes else ()
            for member in self.members
        )

    def build(self, signature: Signature) -> Net:
        """The module `(batch, ...) -> (batch, ..., outputs)`; members are built in their order."""
        from zafu.nets.ensemble import Ensemble as Net

        inputs = signature.inputs
        return Net(
            [member.build(signature) for member in self.members],
            join=self.join,
            weights=self.weights or (1.0,) * len(self.members),
            outputs=signature.outputs,
            context=inputs.context if isinstance(inputs, Tokens) else None,
        )

    def parameter_count(self, signature: Signature) -> int:
        """Those of the members, and of what joins them."""
        joins = (len(self.members) + 1) * signature.outputs
        own = joins if self.join in ("stack", "linear") else 0
        return own + sum(member.parameter_count(signature) for member in self.members)

    def widths(self) -> dict[str, int]:
        """None: members are not cut."""
        return {}

    def random_paths(self) -> bool:
        """If a member has some."""
        return any(member.random_paths() for member in self.members)

    def _inside(self, faults: Iterable[Iterable[Fault]]) -> Iterable[Fault]:
        for index, found in enumerate(faults):
            for fault in found:
                yield replace(fault, path=f"members.{index}.{fault.path}")
