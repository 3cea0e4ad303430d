"""Which layer gets how many bits: the least sum of measured costs within a number of bytes.

What layers cost that are rounded alone is taken to add up. All assignments that no other beats
in bytes and loss are found by dynamic programming, layer by layer (Cai et al., 2020,
arXiv:2001.00281); Yao et al., 2021 (arXiv:2011.10680) solve the same as an integer program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from zafu import tensors
from zafu.compress.contract import Reshaping, Work
from zafu.compress.int4 import Int4
from zafu.compress.int8 import Int8
from zafu.compress.runtime.sensitivity import Judge, bits, rounded, tied
from zafu.edits.contract import Edit
from zafu.edits.int4 import Int4 as Edited4
from zafu.edits.int8 import Int8 as Edited8
from zafu.errors import Refused
from zafu.nets.surgery import put

if TYPE_CHECKING:
    from zafu.compress.mixed import Mixed

BITS = {4: "4 bits", 8: "8 bits", 0: "as before"}
MOST = 20_000  # assignments that are kept; of more, those of which others are near in bytes go


class Choice(NamedTuple):
    """A form of a layer."""

    bytes: int
    loss: float  # that it adds, >= 0


class Front(NamedTuple):
    """Assignments of which none is beaten: with more bytes, less loss."""

    bytes: np.ndarray  # (assignments,) ascending
    loss: np.ndarray  # (assignments,) descending
    picks: np.ndarray  # (assignments, layers): which choice


class _Option(NamedTuple):
    """A form in which layers that share their weights can be."""

    bits: int  # 0: as it was
    forms: dict[str, nn.Module]
    choice: Choice


def to_mixed(spec: Mixed, work: Work) -> Iterable[Edit]:
    """Give each layer the bits that the budget allows, in place."""
    options = _options(spec, work)
    found = front([[one.choice for one in own] for own in options])
    whole = tensors.size(tensors.of_module(work.model))
    rest = whole - sum(own[0].choice.bytes for own in options)
    at = _within(spec, found, whole, rest)
    chosen = [own[pick] for own, pick in zip(options, found.picks[at].tolist(), strict=True)]
    for one in chosen:
        for name, form in one.forms.items():
            put(work.model, name, form)
    by_bits = {many: [n for one in chosen if one.bits == many for n in one.forms] for many in BITS}
    for many, names in by_bits.items():
        if names:
            work.note(f"mixed: {BITS[many]}: {', '.join(names)}")
    share, loss = (rest + int(found.bytes[at])) / whole, found.loss[at]
    work.note(f"mixed: {share:.3g} of the bytes; layers, one by one, add {loss:.3g} to the loss")
    return _edits(spec, by_bits)


def front(layers: Sequence[Sequence[Choice]]) -> Front:
    """All assignments that are worth it, of one choice for each layer."""
    size, loss = np.zeros(1, np.int64), np.zeros(1)
    picks = np.zeros((1, 0), np.int8)
    for own in layers:
        size = np.concatenate([size + choice.bytes for choice in own])
        loss = np.concatenate([loss + choice.loss for choice in own])
        picks = np.concatenate([np.insert(picks, picks.shape[1], i, 1) for i in range(len(own))])
        order = np.lexsort((loss, size))
        least = np.minimum.accumulate(loss[order])
        order = order[np.concatenate([[True], loss[order][1:] < least[:-1]])]
        if len(order) > MOST:
            order = order[np.linspace(0, len(order) - 1, MOST).round().astype(int)]
        size, loss, picks = size[order], loss[order], picks[order]
    return Front(size, loss, picks)


def _within(spec: Mixed, found: Front, whole: int, rest: int) -> int:
    """The assignment that is asked for; Refused where there is none."""
    able = int(np.searchsorted(found.bytes, round(spec.bytes * whole) - rest, side="right"))
    least = (rest + int(found.bytes[0])) / whole
    if not able:
        raise Refused(f"mixed: expected bytes={least:.3f} or more here, found {spec.bytes}")
    if spec.loss is None:
        return able - 1
    if found.loss[able - 1] > spec.loss:
        best = f"{found.loss[able - 1]:.3g} with bytes={spec.bytes}"
        raise Refused(f"mixed: expected loss={spec.loss} to be possible, found {best}")
    return int(np.argmax(found.loss[:able] <= spec.loss))


def _options(spec: Mixed, work: Work) -> list[list[_Option]]:
    """For layers that share their weights: as they are, then their rounded forms."""
    four = Int4(group=spec.group, layers=spec.layers, skip=spec.skip, tables=True)
    eight = Int8(reads=spec.reads, layers=spec.layers, skip=spec.skip)
    made = [*_forms(eight, work, needed=True), *_forms(four, work, needed=False)]
    ties = tied(work.model, made[0])
    able = [
        (at, {name: forms[name] for name in names})
        for at, names in enumerate(ties)
        for forms in made
        if names[0] in forms
    ]
    judge = Judge(work.model, work.loss, [forms for _, forms in able])
    for batch in work.batches:
        judge.see(batch)
    found = [[_option({n: work.model.get_submodule(n) for n in names}, 0, 0.0)] for names in ties]
    for (at, forms), cost in zip(able, judge.found(), strict=True):
        found[at].append(_option(forms, bits(forms[ties[at][0]]), cost.moved))
    return found


def _option(forms: dict[str, nn.Module], many: int, loss: float) -> _Option:
    """What layers take together; what they share counts once."""
    stored = tensors.size(tensors.of_module(nn.ModuleList(forms.values())))
    return _Option(many, forms, Choice(stored, loss))


def _forms(link: Reshaping, work: Work, *, needed: bool) -> Iterator[dict[str, nn.Module]]:
    """The layers of the model after a link."""
    own = deepcopy(work.model)
    try:
        tuple(link.apply(work._replace(model=own, note=lambda _: None)))
    except Refused as error:
        if needed:
            raise Refused(f"mixed: {error}") from None
        work.note(f"mixed: {error}")
        return
    yield rounded(work.model, own)


def _edits(spec: Mixed, by_bits: dict[int, list[str]]) -> Iterator[Edit]:
    if by_bits[4]:
        yield Edited4(layers=tuple(by_bits[4]), group=spec.group)
    if by_bits[8]:
        yield Edited8(layers=tuple(by_bits[8]), reads=spec.reads)
