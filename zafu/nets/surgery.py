"""Surgery: a built module gets the form that compression found, before its weights are read.

Each function changes a module in place and says nothing of values: what a layer keeps is in its
weights. Layers are named as `named_modules` names them, so that any module can be changed, one of
a user too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn


def resize(root: nn.Module, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give parameters, by name, other shapes, and let their layers know; values are undefined."""
    for name, shape in shapes.items():
        owner, _, leaf = name.rpartition(".")
        module = root.get_submodule(owner)
        old = getattr(module, leaf)
        setattr(module, leaf, nn.Parameter(old.new_empty(tuple(shape)), old.requires_grad))
        measure(module)


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
            module.out_channels, module.in_channels = shape[0], shape[1] * module.groups
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = shape
        case nn.GroupNorm():
            module.num_channels = shape[0]
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
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


def drop(root: nn.Module, blocks: Iterable[str]) -> None:
    """Take blocks out of the lists in which they stand; the others move up."""
    for name in sorted(blocks, key=_place, reverse=True):
        owner, _, index = name.rpartition(".")
        del root.get_submodule(owner)[int(index)]  # pyright: ignore[reportIndexIssue]


def put(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Let a layer stand where the one of that name stood."""
    owner, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(owner), leaf, layer)


def _place(name: str) -> tuple[str, int]:
    owner, _, index = name.rpartition(".")
    return owner, int(index)
