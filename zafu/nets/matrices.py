"""Matrices of a model: the layers that are linear maps of what they read."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from zafu.nets.surgery import called

Matrix = nn.Linear | nn.Conv2d


def matrices(root: nn.Module) -> dict[str, Matrix]:
    """The linear layers and convolutions of a model by name, in the order of its modules.

    Convolutions that pad with anything but zeros have no forms of their own, and stay as they are.
    """
    return {
        name: layer
        for name, layer in root.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d))
        and layer.weight.is_floating_point()
        and called(layer)
        and not (isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros")
    }


def chosen(root: nn.Module, layers: Iterable[str], skip: Iterable[str]) -> dict[str, Matrix]:
    """The matrices whose names fit; of convolutions, those that see all channels."""
    layers, skip = tuple(layers), tuple(skip)
    return {
        name: layer
        for name, layer in matrices(root).items()
        if fits(name, layers, skip) and not (isinstance(layer, nn.Conv2d) and layer.groups > 1)
    }


def fits(name: str, layers: Iterable[str], skip: Iterable[str]) -> bool:
    """Whether a pattern of `layers` fits a name, and none of `skip`."""
    return any(fnmatchcase(name, pattern) for pattern in layers) and not any(
        fnmatchcase(name, pattern) for pattern in skip
    )
