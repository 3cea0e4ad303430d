"""The graph of a model, by `torch.export`."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from zafu.export.contract import Source, names_of
from zafu.signature import Tokens


def of_any(source: Source, module: nn.Module) -> ExportedProgram:
    """A graph for any number of samples, and for windows of any length."""
    dims = dimensions(source)
    parameters = inspect.signature(module.forward).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):  # it takes all as one tuple
        return captured(module, first(source, 2), (dims,))
    return captured(module, first(source, 2), dims)


def of_one(source: Source, module: nn.Module) -> ExportedProgram:
    """A graph for one sample, and for whole windows."""
    return captured(module, first(source, 1), None)


def dimensions(source: Source) -> tuple[dict[int, Any], ...]:
    """For each input the dims that may have any size."""
    dims: dict[int, Any] = {0: Dim("batch", min=1)}
    if isinstance(source.signature.inputs, Tokens):
        dims[1] = Dim("time", min=1, max=source.signature.inputs.context)
    return tuple(dims for _ in names_of(source))


def first(source: Source, count: int) -> tuple[Tensor, ...]:
    """Copies of some samples: a slice would be written with all that it was cut from."""
    return tuple(x[:count].clone() for x in source.inputs)


def captured(module: nn.Module, given: tuple[Any, ...], dims: Any) -> ExportedProgram:
    """The graph of what a module does with these inputs, of which some dims may have any size."""
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        return torch.export.export(module, given, dynamic_shapes=dims, strict=False)
