"""Rounding of layers: which, by what they read, and with what is lost made good for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from zafu.compress.contract import Work
from zafu.compress.runtime.calibration import in_turn, matrix, reading
from zafu.compress.runtime.compensate import compensated
from zafu.edits.contract import Edit
from zafu.edits.fake import Fake as Faked
from zafu.edits.fp8 import Fp8 as EditedFloat
from zafu.edits.int4 import Int4 as Edited4
from zafu.edits.int8 import Int8 as Edited8
from zafu.errors import Refused
from zafu.nets import fp8, int4, int8
from zafu.nets.fake import Fake
from zafu.nets.matrices import matrices
from zafu.nets.sparse import Sparse
from zafu.nets.surgery import called, padding_of, put
from zafu.nets.table import forms, inside

if TYPE_CHECKING:
    from zafu.compress.aware import Aware
    from zafu.compress.fp8 import Fp8
    from zafu.compress.int4 import Int4
    from zafu.compress.int8 import Int8

Layer = nn.Linear | nn.Conv2d | nn.Embedding
KINDS = (nn.Linear, nn.Conv2d, nn.Embedding)


class Patterns(Protocol):
    """What chooses layers by their names."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def layers(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def skip(self) -> tuple[str, ...]: ...  # noqa: D102


def to_int8(spec: Int8, work: Work) -> Iterable[Edit]:
    """Put layers of 8-bit integers in place."""
    layers = named(work.model, spec)
    for name in [n for n, m in layers.items() if isinstance(m, nn.Conv2d) and not padding_of(m)]:
        del layers[name]
        work.note(f"int8: {name} does not pad with as many zeros on both sides: it stays as it is")
    if not layers:
        raise Refused("int8: no linear layer, convolution or embedding of these names")
    ranges = _ranges(work, layers) if spec.reads == "static" else {}
    made = _forms("int8", layers, lambda layer: int8.blank(layer, spec.reads))
    for name, layer in layers.items():
        own = cast("int8.Int8", inside(made[name]))
        own.take(layer.weight)
        if name in ranges:
            own.seen.copy_(ranges[name])
        put(work.model, name, made[name])
    work.note(f"int8: {len(layers)} layers{_passed_over(work.model)}")
    return (Edited8(layers=tuple(layers), reads=spec.reads),)


def to_fp8(spec: Fp8, work: Work) -> Iterable[Edit]:
    """Put layers of 8-bit floats in place."""
    layers = named(work.model, spec)
    if not layers:
        raise Refused("fp8: no linear layer, convolution or embedding of these names")
    for name, form in _forms("fp8", layers, fp8.blank).items():
        cast("fp8.Fp8", inside(form)).take(layers[name].weight)
        put(work.model, name, form)
    work.note(f"fp8: {len(layers)} layers{_passed_over(work.model)}")
    return (EditedFloat(layers=tuple(layers)),)


def to_int4(spec: Int4, work: Work) -> Iterable[Edit]:
    """Put layers of 4-bit integers in place, one block after the other; the rest in 8 bits."""
    kinds = (nn.Linear, nn.Embedding) if spec.tables else (nn.Linear,)
    every = named(work.model, spec, kinds)
    able = {n: layer for n, layer in every.items() if not layer.weight.shape[1] % spec.group}
    if not able:
        raise Refused(f"int4: no linear layer whose inputs are a multiple of group={spec.group}")
    for name in every.keys() - able.keys():
        found = f"{name} reads {every[name].weight.shape[1]}"
        work.note(f"int4: {found}, no multiple of {spec.group}: it stays as it is")
    made = _forms("int4", able, lambda layer: int4.blank(layer, spec.group))
    for name, layer in able.items():
        if isinstance(layer, nn.Embedding):  # its rows are looked up: none makes good for another
            rounded(cast("int4.Int4Linear", inside(made[name])), layer.weight.detach(), None)
            put(work.model, name, made[name])
    linear = {name: layer for name, layer in matrices(work.model).items() if name in able}
    blind = iter([dict.fromkeys(linear)])
    for seen in in_turn(work.model, work.batches, linear) if spec.compensate else blind:
        for name, found in seen.items():
            learned = isinstance(able[name], Fake)  # for the nearest weights, and so has them
            gram = found.mean if found and not learned else None
            rounded(cast("int4.Int4Linear", made[name]), matrix(linear[name]), gram)
            put(work.model, name, made[name])
    work.note(f"int4: {len(able)} layers, groups of {spec.group}{_passed_over(work.model)}")
    return (Edited4(layers=tuple(able), group=spec.group),)


def to_fake(spec: Aware, work: Work) -> Iterable[Edit]:
    """Let linear layers compute with rounded weights, in place."""
    group = spec.group or (32 if spec.bits == 4 else 0)
    layers = tuple(
        name
        for name, layer in _chosen(work.model, spec, (nn.Linear,)).items()
        if not (group and layer.weight.shape[1] % group)
    )
    if not layers:
        raise Refused("aware: no linear layer of these names whose inputs the groups divide")
    edit = Faked(layers=layers, bits=spec.bits, group=group)
    edit.apply(work.model)
    return (edit,)


def rounded(made: int4.Int4Linear, weight: Tensor, gram: Tensor | None) -> None:
    """In place: the nearest 4-bit weights; with a Gram matrix, later ones adapt to earlier ones."""
    group = made.group
    levels = torch.empty(weight.shape, dtype=torch.uint8)
    scales = torch.empty(len(weight), weight.shape[1] // group)
    lows = torch.empty_like(scales)

    def begin(start: int, block: Tensor, _: Tensor) -> None:
        scale, low = int4.best_grid(block)
        scales[:, start // group], lows[:, start // group] = scale, low

    def change(at: int, column: Tensor) -> Tensor:
        scale, low = scales[:, at // group], lows[:, at // group]
        levels[:, at] = level = ((column - low) / scale).round().clamp(0, 15)
        return level * scale + low

    if gram is None:
        for start in range(0, weight.shape[1], group):
            block = weight[:, start : start + group]
            begin(start, block, block)
            for at in range(group):
                change(start + at, block[:, at])
    else:
        compensated(weight, gram, change, begin=begin, every=group)
    made.take(levels, scales, lows)


def named(
    root: nn.Module, spec: Patterns, kinds: tuple[type[nn.Module], ...] = KINDS
) -> dict[str, Layer]:
    """The layers of these kinds that patterns of names choose.

    Raises Refused where one shares its weights with another that is not chosen.
    """
    chosen = _chosen(root, spec, kinds)
    ours = {id(layer.weight): name for name, layer in chosen.items()}
    for name, layer in root.named_modules():
        other = ours.get(id(layer.weight)) if _plain(layer) and name not in chosen else None
        if other:
            text = f"{other} shares its weights with {name}: choose both or none of them"
            raise Refused(f"{spec.kind}: {text}")
    return chosen


def _chosen(
    root: nn.Module, spec: Patterns, kinds: tuple[type[nn.Module], ...]
) -> dict[str, Layer]:
    return {
        name: cast("Layer", layer)
        for name, layer in root.named_modules()
        if _plain(layer)
        and isinstance(layer, kinds)
        and called(layer)
        and any(fnmatchcase(name, pattern) for pattern in spec.layers)
        and not any(fnmatchcase(name, pattern) for pattern in spec.skip)
    }


def _plain(layer: nn.Module) -> bool:
    """Whether it is a layer that could be rounded; a table that does more than look up is not."""
    if isinstance(layer, nn.Embedding):
        return type(layer).forward is nn.Embedding.forward and layer.max_norm is None
    return isinstance(layer, (nn.Linear, nn.Conv2d))


def _forms(
    kind: str, layers: Mapping[str, Layer], blank: Callable[[nn.Module], nn.Module]
) -> dict[str, nn.Module]:
    try:
        return forms(layers, blank)
    except KeyError as error:
        raise Refused(f"{kind}: {error.args[0]}; name it under skip") from None


def _passed_over(root: nn.Module) -> str:
    """What a note says of sparse layers, whose values stay floats."""
    count = sum(isinstance(layer, Sparse) for layer in root.modules())
    return f"; {count} sparse layers stay as they are" if count else ""


def _ranges(work: Work, layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """The least and the largest number that each layer reads."""
    names = {id(m): name for name, m in layers.items() if not isinstance(m, nn.Embedding)}
    found: dict[str, Tensor] = {}

    def see(layer: nn.Module, x: Tensor) -> None:
        own, name = torch.stack(x.aminmax()), names[id(layer)]
        before = found.get(name, own)
        found[name] = torch.stack(
            [torch.minimum(before[0], own[0]), torch.maximum(before[1], own[1])]
        )

    read = [layer for layer in layers.values() if id(layer) in names]
    with torch.no_grad(), reading(read, see):
        for batch in work.batches:
            work.model(*batch.inputs)
    return found
