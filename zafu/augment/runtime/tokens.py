"""Noise on windows of tokens, in which the target of each place is the token that follows it.

A window is the text `inputs[0], ..., inputs[-1], targets[-1]`. What changes the text itself
changes inputs and targets alike, so that no input gives away a target that it should not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zafu.augment.runtime.draws import bits, chance, threshold
from zafu.augment.runtime.step import Draw, Scene
from zafu.batch import Batch
from zafu.errors import Refused

ABSENT = -100  # a target without a loss


def masking(batch: Batch, draw: Draw, scene: Scene, *, span: int, token: int | None) -> Batch:
    """Spans of inputs give way to `token`, or to random tokens; targets stay the true ones."""
    (inputs,) = batch.inputs
    time = inputs.shape[1]
    share = float(draw.magnitudes["share"])
    start = threshold(1 - (1 - share) ** (1 / span))  # so that each place is hidden with `share`
    begins = chance(draw.keys, time + span - 1, inputs.device) < start
    hidden = begins[:, :time].clone()
    for late in range(1, span):
        hidden |= begins[:, late : late + time]
    hidden &= _on(draw, inputs)
    if token is None:
        random = bits(~draw.keys, time, inputs.device).remainder(scene.outputs)
        return batch._replace(inputs=(torch.where(hidden, random, inputs),))
    return batch._replace(inputs=(inputs.masked_fill(hidden, token),))


def known(batch: Batch, scene: Scene, *, token: int | None) -> None:
    """Raises Refused where the token is none of the vocabulary."""
    if token is not None and token >= scene.outputs:
        raise Refused(f"token: expected 0 to {scene.outputs - 1}, found {token}")


def deletion(batch: Batch, draw: Draw, scene: Scene) -> Batch:
    """Tokens of the text are left out, the first and the last excepted; the rest moves up.

    The places that become free at the end have no target (-100), and inputs that no target sees.
    """
    (inputs,) = batch.inputs
    share = threshold(float(draw.magnitudes["share"]))
    stays = (chance(draw.keys, inputs.shape[1], inputs.device) >= share) | ~_on(draw, inputs)
    stays[:, 0] = True
    # a token that is an input here is the target of the place before
    as_target = torch.cat([stays[:, 1:], torch.ones_like(stays[:, :1])], 1)
    left = _moved_up(inputs, stays, fill=inputs[:, -1:])
    targets = _moved_up(batch.targets, as_target, fill=torch.full_like(inputs[:, -1:], ABSENT))
    return batch._replace(inputs=(left,), targets=targets)


def swap(batch: Batch, draw: Draw, scene: Scene) -> Batch:
    """Neighbours in the text change places, about `share` of the tokens, in inputs and targets."""
    (inputs,) = batch.inputs
    targets, time = batch.targets, inputs.shape[1]
    if time < 3:  # the first token is no target, and the last no input
        return batch
    share = threshold(float(draw.magnitudes["share"]))
    phase = (draw.uniform[0] < 0.5).long().to(inputs.device)[:, None]
    at = torch.arange(1, time, device=inputs.device)  # the first of a pair, (time - 1,)
    chosen = chance(draw.keys, time - 1, inputs.device) < share
    chosen = chosen & (at % 2 == phase) & (at < time - 1) & _on(draw, inputs)
    # a token stands as input at `at` and as target at `at - 1`
    known = targets >= 0
    chosen &= known[:, :-1] == known[:, 1:]
    order = torch.arange(time, device=inputs.device).repeat(len(inputs), 1)
    order[:, 1:] += chosen.long()
    order[:, 2:] -= chosen[:, :-1].long()
    shown = targets.gather(1, (order[:, 1:] - 1))
    shown = torch.where(known[:, :-1], shown, targets[:, :-1])
    return batch._replace(
        inputs=(inputs.gather(1, order),), targets=torch.cat([shown, targets[:, -1:]], 1)
    )


def _moved_up(values: Tensor, stays: Tensor, fill: Tensor) -> Tensor:
    """What stays of each row, in order, then `fill` `(batch, 1)`."""
    order = (~stays).to(torch.uint8).argsort(dim=1, stable=True)
    kept = stays.sum(1, keepdim=True)
    free = torch.arange(values.shape[1], device=values.device) >= kept
    return torch.where(free, fill, values.gather(1, order))


def _on(draw: Draw, like: Tensor) -> Tensor:
    """Where the step falls, `(batch, 1)` bool."""
    if draw.on is None:
        return torch.ones(len(like), 1, dtype=torch.bool, device=like.device)
    return draw.on.to(like.device)[:, None]
