"""Places: the units of a module that does not list them, each tried before it is offered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zafu.compress.contract import Work
from zafu.compress.runtime.tracking import (
    ANSWER,
    Change,
    Probe,
    dependence,
    few,
    mixes,
    passes,
    without_statistics,
)
from zafu.errors import Refused
from zafu.nets.surgery import replace, tensor_of
from zafu.nets.unit_kinds import What
from zafu.nets.units import Slice, Units, cut, gone


class Side(NamedTuple):
    """Entries that go together with units: outputs, channels read, or a parameter's own."""

    layer: str  # or the name of a parameter or buffer
    role: str  # writes, reads, passes, own, answer
    dim: int = 0


Entry = tuple[Side, int]


class Sets:
    """Entries that go together (Tarjan, 1975)."""

    def __init__(self) -> None:
        self.above: dict[Entry, Entry] = {}

    def first(self, entry: Entry) -> Entry:
        """The one that stands for all that go with this one."""
        self.above.setdefault(entry, entry)
        while (above := self.above[entry]) != entry:
            self.above[entry] = entry = self.above[above]
        return entry

    def join(self, one: Entry, other: Entry) -> None:
        """In place: these go together, and all that go with either."""
        self.above[self.first(other)] = self.first(one)


def tracked(work: Work) -> list[Units]:
    """The units of a model that lists none; raises Refused, with reasons, where there are none."""
    inputs = work.batches[0].inputs
    try:
        probe = Probe(work.model, inputs)
        sets = _joined(probe)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        kind = type(work.model).__name__
        raise Refused(f"prune: {kind} has no units() and cannot be tracked: {error}") from None
    able, faults = list[Units](), dict[str, str]()
    seen, tied = list(_places(probe, sets)), _tied(work.model)
    for units in seen:
        shared = sorted(tied & {of.parameter for of in units.slices})
        fault = f"{shared[0]} has another name, too" if shared else ""
        if fault := fault or _fault(work.model, few(inputs), units):
            faults[f"{units.name} ({units.what})"] = fault
        else:
            able.append(units)
    stays = [*_grouped(faults), *_grouped(_rest(probe, sets, seen))]
    if not able:
        found = f"{type(work.model).__name__}, of which {'; '.join(stays)}"
        raise Refused(f"prune: expected a model with units that can go, found {found}")
    for line in stays:
        work.note(f"prune: {line}")
    return able


def _grouped(faults: Mapping[str, str]) -> Iterator[str]:
    """What stays, by the reason."""
    for fault in dict.fromkeys(faults.values()):
        names = [name for name, own in faults.items() if own == fault]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{', '.join(names[:3])}{more} stay as they are: {fault}"


def _rest(probe: Probe, sets: Sets, places: Sequence[Units]) -> dict[str, str]:
    """Why of some layers nothing can go, but for those that give the answer."""
    seen = {of.parameter.rpartition(".")[0] for units in places for of in units.slices}
    answer = sets.first((Side(ANSWER, "answer"), 0))
    faults = dict[str, str]()
    for name in sorted(probe.width.keys() - seen):
        if isinstance(probe.layers[name], nn.MultiheadAttention):
            faults[name] = "torch has their heads to itself"
        elif sets.first((Side(name, "writes"), 0)) != answer:
            faults[name] = "what they write is mixed with what stays before it is read"
    for name in _loose(probe):
        owner = name.rpartition(".")[0]
        layer = probe.root.get_submodule(owner)
        if owner not in seen and owner and tensor_of(probe.root, name).dim() > 1:
            faults[owner] = f"{type(layer).__name__} is no layer that is known"
    return faults


def _joined(probe: Probe) -> Sets:
    sets = Sets()
    for name, count in probe.width.items():
        found = dependence(partial(probe.run, name), count)
        _join(sets, probe, Side(name, "writes"), found)
    for name in _loose(probe):
        if found := _best_dim(probe, name):
            _join(sets, probe, *found)
    return sets


def _loose(probe: Probe) -> list[str]:
    """Numbers outside of the layers that are known: positions, scales, other layers' weights."""
    stored = probe.root.state_dict(keep_vars=True)
    return [
        name
        for name, tensor in stored.items()
        if tensor.is_floating_point()
        and max(tensor.shape, default=1) > 1
        and not any(name.startswith(f"{layer}.") for layer in probe.layers)
    ]


def _best_dim(probe: Probe, name: str) -> tuple[Side, Mapping[str, Tensor]] | None:
    """The dim of a loose tensor whose entries each touch the fewest channels, and which."""
    shape = tensor_of(probe.root, name).shape
    options = list[tuple[int, Side, Mapping[str, Tensor]]]()
    for dim in [d for d in range(len(shape)) if shape[d] > 1]:
        change: Change = partial(probe.with_numbers, name, dim)
        if not (found := dependence(change, shape[dim])):
            return None
        most = max(int(of.sum(1).max()) for of in found.values())
        options.append((most, Side(name, "own", dim), found))
    _, side, found = min(options, key=lambda option: option[0])
    return side, found


def _join(sets: Sets, probe: Probe, side: Side, found: Mapping[str, Tensor]) -> None:
    for name, depends in found.items():
        reader = Side(name, _role(probe, name))
        patterns, which = depends.unique(dim=0, return_inverse=True)
        firsts = list[Entry | None]()
        for row in patterns:
            units: list[int] = row.nonzero().flatten().tolist()
            for unit in units[1:]:
                sets.join((side, units[0]), (side, unit))
            firsts.append((side, units[0]) if units else None)
        for channel, pattern in enumerate(which.tolist()):
            if first := firsts[pattern]:
                sets.join(first, (reader, channel))


def _role(probe: Probe, name: str) -> str:
    if name == ANSWER or isinstance(probe.layers[name], nn.MultiheadAttention):
        return "answer"
    return "reads" if mixes(probe.layers[name]) else "passes"


def _places(probe: Probe, sets: Sets) -> Iterator[Units]:
    """Sets that stand in the same tensors, with as many entries of each, are units of one place."""
    own = defaultdict[Entry, dict[Side, list[int]]](lambda: defaultdict(list))
    for side, index in list(sets.above):
        own[sets.first((side, index))][side].append(index)
    alike = defaultdict[tuple[Any, ...], list[dict[Side, list[int]]]](list)
    for sides in own.values():
        alike[tuple(sorted((side, len(at)) for side, at in sides.items()))].append(sides)
    for key, found in alike.items():
        sides = [side for side, _ in key]
        writers = [s for s in sides if s.role == "writes"]
        attention = [s for s in writers if isinstance(probe.layers[s.layer], nn.MultiheadAttention)]
        roles = {side.role for side in sides}
        if len(found) < 2 or attention or "answer" in roles or not {"writes", "reads"} <= roles:
            continue
        if units := _units(probe, sides, found):
            yield units


def _units(probe: Probe, sides: Sequence[Side], found: list[dict[Side, list[int]]]) -> Units | None:
    writers = sorted((s for s in sides if s.role == "writes"), key=lambda s: probe.order[s.layer])
    found = sorted(found, key=lambda own: min(own[writers[0]]))
    slices, readers, groups = list[Slice](), list[Slice](), 1
    for side in (*writers, *(s for s in sides if s.role != "writes")):
        at = torch.tensor([sorted(own[side]) for own in found])
        slices += (new := list(_slices(probe, side, at)))
        readers += new if side.role == "reads" else []
        layer = probe.layers.get(side.layer)
        if isinstance(layer, nn.GroupNorm) and side.role == "passes":
            in_order = at.flatten().tolist() == list(range(at.numel()))
            if groups not in (1, layer.num_groups) or not in_order:
                return None
            groups = layer.num_groups
    what = _what(probe, writers, found[0])
    return Units(writers[0].layer, what, len(found), tuple(slices), tuple(readers), groups)


def _slices(probe: Probe, side: Side, at: Tensor) -> Iterator[Slice]:
    each = at.shape[1]
    if side.role == "own":
        yield Slice(side.layer, side.dim, each, at)
        return
    layer = probe.layers[side.layer]
    if side.role == "reads" or isinstance(layer, nn.Embedding):
        yield Slice(f"{side.layer}.weight", 1, each, at)
    else:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            if {**layer._parameters, **layer._buffers}.get(leaf) is not None:
                yield Slice(f"{side.layer}.{leaf}", 0, each, at)


def _what(probe: Probe, writers: Sequence[Side], unit: Mapping[Side, Sequence[int]]) -> What:
    """Stream: what is read before all of it is written, or is normalized as a whole."""
    readers = [side for side in unit if side.role == "reads"]
    layers = [probe.layers[side.layer] for side in unit if side.layer in probe.layers]
    whole = any(isinstance(m, (nn.LayerNorm, nn.RMSNorm, nn.Embedding)) for m in layers)
    last = max(probe.order[side.layer] for side in writers)
    if whole or min(probe.order[side.layer] for side in readers) < last:
        return "stream"
    if not isinstance(probe.layers[writers[0].layer], nn.Linear):
        return "channels"
    return "heads" if min(len(unit[side]) for side in (*writers, *readers)) > 1 else "hidden"


def _tied(root: nn.Module) -> set[str]:
    """Parameters that have more than one name."""
    names = defaultdict[int, list[str]](list)
    for name, parameter in root.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return {name for several in names.values() if len(several) > 1 for name in several}


def _fault(root: nn.Module, inputs: Sequence[Tensor], units: Units) -> str:
    """Why units cannot go: without some of them, the model says other than if none reads them."""
    per = units.many // units.groups
    if per == 1:
        return "its channels are normalized in groups that go whole"
    kept = (torch.arange(units.many) % per < per - max(1, per // 2)).nonzero().flatten()
    before = {of.parameter: tensor_of(root, of.parameter) for of in units.slices}
    norms = [root.get_submodule(of.parameter.rpartition(".")[0]) for of in units.slices]
    summed = [m for m in dict.fromkeys(norms) if passes(m) and not isinstance(m, _BY_CHANNEL)]
    try:
        with torch.no_grad(), without_statistics(summed):
            for of in units.readers:
                unread = tensor_of(root, of.parameter).detach().clone()
                unread.movedim(of.dim, 0)[gone(of, units, kept)] = 0
                replace(root, of.parameter, unread)
            expected = root(*inputs)
            cut(root, [(units, kept)])
            found = root(*inputs)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return f"without some it does not run ({str(error).splitlines()[0]})"
    finally:
        for name, tensor in before.items():
            replace(root, name, tensor)
    near = float((found - expected).abs().max()) <= 1e-3 * float(expected.abs().max())
    return "" if near else "without some it computes something else"


_BY_CHANNEL = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Conv1d, nn.Conv2d, nn.Conv3d)
