"""Surgery: a built module gets the form that compression found, before its weights are read.

Each function changes a module in place and says nothing of values: what a layer keeps is in its
weights. Layers are named as `named_modules` names them, so that any module can be changed, one of
a user too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear


def resize(root: nn.Module, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give parameters, by name, other shapes, and let their layers know; values are undefined."""
    for name, shape in shapes.items():
        replace(root, name, tensor_of(root, name).detach().new_empty(tuple(shape)))


def tensor_of(root: nn.Module, name: str) -> Tensor:
    """The parameter or buffer of that name; AttributeError where there is none."""
    owner, _, leaf = name.rpartition(".")
    return getattr(root.get_submodule(owner), leaf)


def replace(root: nn.Module, name: str, tensor: Tensor) -> None:
    """Let a tensor stand for the parameter or buffer of that name, and let its layer know."""
    owner, _, leaf = name.rpartition(".")
    module, old = root.get_submodule(owner), tensor_of(root, name)
    learns = isinstance(old, nn.Parameter)
    setattr(module, leaf, nn.Parameter(tensor, old.requires_grad) if learns else tensor)
    measure(module)


def depthwise(layer: nn.Module) -> bool:
    """Whether it is a convolution of each channel by itself."""
    if not isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return False
    return layer.groups == layer.in_channels == layer.out_channels > 1


def measure(module: nn.Module) -> None:
    """Let a layer of torch say of itself what the shape of its weight says."""
    weight = getattr(module, "weight", None)
    if weight is None:
        return
    shape = tuple(weight.shape)
    match module:
        case nn.Linear():
            module.out_features, module.in_features = shape
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            if depthwise(module):
                module.groups = shape[0]
            module.out_channels, module.in_channels = shape[0], shape[1] * module.groups
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = shape
        case nn.GroupNorm():
            module.num_channels = shape[0]
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
            module.num_features = shape[0]
        case nn.InstanceNorm1d() | nn.InstanceNorm2d() | nn.InstanceNorm3d():
            module.num_features = shape[0]
        case nn.LayerNorm() | nn.RMSNorm():
            module.normalized_shape = shape
        case _:
            pass


def bias_of(layer: nn.Module) -> Tensor | None:
    """The bias of a layer that may have been built without one."""
    return layer._parameters.get("bias")  # pyright: ignore[reportPrivateUsage]


def copied_bias(layer: nn.Module) -> Tensor | None:
    """A copy of its bias, if it has one, which does not learn."""
    bias = bias_of(layer)
    return None if bias is None else bias.detach().clone()


def padding_of(layer: nn.Conv2d) -> tuple[int, ...] | None:
    """How many zeros stand on either side by dim; None where it pads otherwise."""
    if layer.padding_mode != "zeros":
        return None
    sides = layer._reversed_padding_repeated_twice[::-1]  # of `same` as well
    return tuple(sides[::2]) if sides[::2] == sides[1::2] else None


def drop(root: nn.Module, blocks: Iterable[str]) -> None:
    """Take blocks out of the lists in which they stand; the others move up."""
    for name in sorted(blocks, key=_place, reverse=True):
        owner, _, index = name.rpartition(".")
        del root.get_submodule(owner)[int(index)]  # pyright: ignore[reportIndexIssue]


def put(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Let a layer stand where the one of that name stood."""
    owner, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(owner), leaf, layer)
    call(root, name)


def call(root: nn.Module, name: str) -> None:
    """In place: let a layer of that name be called, not only its weight be read.

    When torch's encoder layer evaluates, it hands the weights of its layers to a kernel of its own,
    unless its activation is one that the kernel does not know.
    """
    owner = root.get_submodule(name.rpartition(".")[0])
    if isinstance(owner, nn.TransformerEncoderLayer):
        owner.activation_relu_or_gelu = 0


def called(layer: nn.Module) -> bool:
    """Whether it is ever called: torch's attention reads the weight of its last layer instead."""
    return not isinstance(layer, NonDynamicallyQuantizableLinear)


def _place(name: str) -> tuple[str, int]:
    owner, _, index = name.rpartition(".")
    return owner, int(index)
