"""MLP: a multilayer perceptron, for tables and small pictures. Sources: `zafu.nets.mlp`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Fault
from zafu.models.contract import Model, inputs_of
from zafu.signature import Columns, Pixels, Signature

if TYPE_CHECKING:
    from zafu.nets.mlp import MLP as Net


@final
class MLP(Model):
    """Numbers and embedded categories through fully connected layers; with 0 layers, linear."""

    kind: Literal["mlp"] = "mlp"
    ranges: ClassVar[dict[str, str]] = {"dropout": "0:0.6"}
    takes: ClassVar[frozenset[str]] = frozenset({"columns", "pixels"})
    width: int = Field(default=128, ge=1)
    """Size of each hidden layer, >= 1."""
    layers: int = Field(default=2, ge=0)
    """Hidden layers, >= 0."""
    activation: Literal["relu", "gelu", "silu"] = "relu"
    """What bends each hidden layer."""
    embedding: int = Field(default=16, ge=1)
    """Most dims for a category, >= 1; a column of n values has at most ceil(n / 2)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of each hidden layer's outputs set to 0 in training, 0 <= p < 1."""

    def fits(self, signature: Signature) -> Iterable[Fault]:
        """There must be something to read."""
        inputs = signature.inputs
        if isinstance(inputs, Columns) and not inputs.numbers and not inputs.categories:
            yield Fault("kind", "data with at least one input column", "none")

    def build(self, signature: Signature) -> Net:
        """The module `(batch, numbers), (batch, categories) -> (batch, outputs)`."""
        from zafu.nets.mlp import MLP as Net
        from zafu.nets.mlp import Shape

        numbers, embeddings = self._inputs(signature)
        return Net(
            Shape(
                numbers=numbers,
                embeddings=embeddings,
                width=self.width,
                layers=self.layers,
                outputs=signature.outputs,
                activation=self.activation,
                dropout=self.dropout,
            )
        )

    def widths(self) -> dict[str, int]:
        """The width, if there is a layer to cut."""
        return {"model.width": self.width} if self.layers else {}

    def depth(self) -> int:
        """The hidden layers."""
        return self.layers

    def parameter_count(self, signature: Signature) -> int:
        """The number of parameters, in closed form."""
        numbers, embeddings = self._inputs(signature)
        total = sum(values * dims for values, dims in embeddings)
        before = numbers + sum(dims for _, dims in embeddings)
        for _ in range(self.layers):
            total, before = total + (before + 1) * self.width, self.width
        return total + (before + 1) * signature.outputs

    def _inputs(self, signature: Signature) -> tuple[int, tuple[tuple[int, int], ...]]:
        inputs = signature.inputs
        if isinstance(inputs, Pixels):  # read row by row as one line of numbers
            return inputs.channels * inputs.height * inputs.width, ()
        columns = inputs_of(signature, Columns)
        dims = ((n, min(self.embedding, -(-n // 2))) for n in columns.categories)
        return columns.numbers, tuple(dims)
