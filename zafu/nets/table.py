"""Tables of vectors in few bits: the matrix of a rounded layer, read by its rows.

A head that shares its weights with an embedding (Press & Wolf, 2017, arXiv:1608.05859) goes on
sharing them: one rounded layer is read by rows at the one end and multiplies at the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from zafu.nets.fp8 import Fp8Linear
from zafu.nets.int4 import Int4Linear
from zafu.nets.int8 import Int8Linear
from zafu.nets.surgery import put

Matrix = Int8Linear | Int4Linear | Fp8Linear


class Table(nn.Module):
    """An embedding whose vectors are the rows of a rounded layer."""

    def __init__(self, rows: Matrix) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, ids: Tensor) -> Tensor:
        """`(...)` to `(..., dims)`."""
        return self.rows.vectors(ids)

    def project(self, x: Tensor) -> Tensor:
        """The products with all vectors, as a tied head has them: `(..., dims)` to `(..., ids)`."""
        return self.rows(x)


def forms(
    layers: Mapping[str, nn.Module], blank: Callable[[nn.Module], nn.Module]
) -> dict[str, nn.Module]:
    """What may stand in place of layers, by name; what shares its weights is one rounded layer.

    Raises KeyError, naming the layer, where `blank` knows no form of it.
    """
    made, ties = dict[str, nn.Module](), dict[int, nn.Module]()
    # heads first: their biases are no part of a table
    for name in sorted(layers, key=lambda n: isinstance(layers[n], nn.Embedding)):
        layer = layers[name]
        try:
            own = ties.setdefault(id(layer.weight), blank(layer)).eval()
        except KeyError as error:
            raise KeyError(f"{name}: {error.args[0]}") from None
        table = isinstance(layer, nn.Embedding)
        made[name] = Table(own).eval() if table else own  # pyright: ignore[reportArgumentType]
    return {name: made[name] for name in layers}


def exchange(
    root: nn.Module, names: Iterable[str], blank: Callable[[nn.Module], nn.Module]
) -> None:
    """In place: let the forms of these layers stand where they stood."""
    made = forms({name: root.get_submodule(name) for name in names}, blank)
    for name, layer in made.items():
        put(root, name, layer)


def inside(form: nn.Module) -> nn.Module:
    """The layer that holds the numbers."""
    return form.rows if isinstance(form, Table) else form
