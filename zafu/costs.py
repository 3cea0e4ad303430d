"""Costs: what a layout has to send and to hold, in closed form, before anything is trained.

Bytes are those that one rank sends in one step, where n ranks pass a tensor of b bytes round a ring
(Patarasuk & Yuan, 2009): 2 (n - 1) / n b for a sum on all, (n - 1) / n b to gather it or to sum it
in shards. Replicas: Li et al., 2020 (arXiv:2006.15704). Shards: Rajbhandari et al., 2020
(arXiv:1910.02054). Pipelines: Narayanan et al., 2021 (arXiv:2104.04473). Rings of keys and values:
Liu et al., 2023 (arXiv:2310.01889). Tensors with sequences: Korthikanti et al., 2022
(arXiv:2205.05198). Left out are losses, norms and votes: a few numbers a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from zafu.layout import Layout, held, share
from zafu.models.contract import Depth
from zafu.recipe import Recipe
from zafu.signature import Signature
from zafu.units import Bytes

NAME = "costs.json"  # in a run's folder
BYTES = 4  # of one fp32 number
LOW = 2  # of one in bf16 or fp16


class Traffic(NamedTuple):
    """What one rank sends along some axes in one step."""

    bytes: float
    messages: int | None  # collectives, and sends to one other; None: torch bundles as it likes


class State(NamedTuple):
    """Bytes that one rank holds when the gradients of a step are there."""

    parameters: float
    gradients: float
    optimizer: float  # with the average of weights, if there is one

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self)


@dataclass(frozen=True)
class Costs:
    """The costs of one step on one rank."""

    traffic: Mapping[str, Traffic]  # by axes, such as `data` or `data+context`
    state: State
    copy: float  # bytes of main memory for what a save writes while training goes on

    def dump(self) -> dict[str, Any]:
        """As plain data."""
        traffic = {axes: found._asdict() for axes, found in self.traffic.items()}
        return {"traffic": traffic, "state": self.state._asdict(), "copy": self.copy}


def together(*axes: str) -> str:
    """How collectives over some axes are named."""
    return "+".join(axes)


def passed_on(axis: str) -> str:
    """How messages from one rank of an axis to one other are named."""
    return f"{axis}, passed on"


def of_ranks(recipe: Recipe, signature: Signature, *, samples: int) -> list[Costs]:
    """What a step on so many samples costs each rank of the recipe's layout.

    Of what the model does not say by depth (`Model.by_depth`), nothing is foreseen.
    """
    layout, depth = recipe.layout, recipe.model.by_depth(signature)
    whole = recipe.model.parameter_count(signature)
    found: list[Costs] = []
    for rank in range(layout.world):
        here = _Here(recipe, depth, samples / layout.batch_ranks, rank)
        mine = here.parameters(whole)
        own = BYTES * mine / layout.shard
        moved = own - BYTES * here.twice / layout.shard
        state, place = State(own, own, moved * recipe.fit.state_per_weight), layout.place(rank)
        first = not any(place[axis] for axis in ("data", "context"))  # of those that hold the same
        copy = moved + state.optimizer if first else 0.0
        found.append(Costs(dict(here.traffic(mine)), state, copy))
    return found


def said(found: Mapping[str, Any]) -> Iterator[str]:
    """What a step cost, as a run's `costs.json` has it, in a line for each axis and for memory."""
    ranks = found["ranks"]
    for axes in sorted({axes for rank in ranks for axes in rank["traffic"]}):
        rank = most(ranks, axes)
        own, theory = rank["traffic"][axes], rank["theory"]["traffic"].get(axes)
        if not own["messages"]:
            continue
        beside = f" (theory {Bytes(theory['bytes'])})" if theory else ""
        waits = f", {waited(ranks, axes):.1%} of it waiting" if rank["waits_known"] else ""
        sent = f"{Bytes(own['bytes'])}{beside} in {own['messages']} messages"
        yield f"along {axes} a rank sends {sent} a step{waits}"
    rank = max(ranks, key=lambda rank: sum(rank["state"].values()))
    own, theory = sum(rank["state"].values()), sum(rank["theory"]["state"].values())
    peak = Bytes(max(rank["peak"] for rank in ranks))
    yield f"a rank holds {Bytes(own)} of state (theory {Bytes(theory)}), {peak} at the most in all"


def most(ranks: Sequence[Mapping[str, Any]], axes: str) -> Mapping[str, Any]:
    """The rank that sends most along some axes."""
    there = [rank for rank in ranks if axes in rank["traffic"]]
    return max(there, key=lambda rank: rank["traffic"][axes]["bytes"])


def waited(ranks: Sequence[Mapping[str, Any]], axes: str) -> float:
    """The share of a step that ranks wait for others along some axes, on the average."""
    none = {"seconds": 0.0}
    shares = [r["traffic"].get(axes, none)["seconds"] / r["seconds"] for r in ranks]
    return sum(shares) / len(shares)


@dataclass(frozen=True)
class _Here:
    """One rank's share of a model and of a batch."""

    recipe: Recipe
    depth: Depth | None
    rows: float  # samples of a step that are dealt to it
    rank: int

    @property
    def layout(self) -> Layout:
        """The recipe's."""
        return self.recipe.layout

    @property
    def stages(self) -> tuple[int, ...]:
        """Those that are here."""
        layout = self.layout
        place = layout.place(self.rank)["pipeline"]
        return held(layout.schedule, place, layout.pipeline) if layout.pipeline > 1 else (0,)

    @property
    def blocks(self) -> int:
        """How many of the model's are here."""
        stages, depth = self.layout.stages, self.recipe.model.depth()
        return sum(len(share(stage, stages, depth)) for stage in self.stages)

    @property
    def calls(self) -> int:
        """How often the model, or the whole pipeline, is passed through in a step."""
        most = self.recipe.fit.micro_batch or self.rows
        return max(1, -(-int(self.rows) // int(max(most, 1))))

    @property
    def passes(self) -> int:
        """Micro-batches of a step."""
        return self.calls * (self.layout.pieces if self.layout.pipeline > 1 else 1)

    def parameters(self, whole: int) -> float:
        """Those of the stages that are here, before shards; evenly cut, where depth is unknown."""
        layout, depth = self.layout, self.depth
        if depth is None:
            return whole / layout.pipeline / layout.tensor
        if layout.pipeline == 1:
            return whole / layout.tensor + self._uncut(depth)
        tied = depth.tied * self.ends[1]  # both ends keep what they share
        found = self._held(depth.first, depth.block, depth.last) + tied
        return found / layout.tensor + self._uncut(depth)

    @property
    def ends(self) -> tuple[bool, bool]:
        """Whether what stands before the blocks is here, and what stands behind them."""
        return 0 in self.stages, self.layout.stages - 1 in self.stages

    def _held(self, first: int, block: int, last: int) -> int:
        """What is here of something that each part of a model has."""
        return first * self.ends[0] + block * self.blocks + last * self.ends[1]

    def _uncut(self, depth: Depth) -> float:
        """Parameters that each process of `tensor` has whole, beyond its share of them."""
        count = self.layout.tensor
        return self._held(*depth.whole) * (count - 1) / count

    @property
    def twice(self) -> float:
        """Parameters that both ends have, where both are here: the optimizer moves them once."""
        ends = all(self.ends) and self.layout.pipeline > 1
        return self.depth.tied / self.layout.tensor if ends and self.depth else 0.0

    def traffic(self, mine: float) -> Iterator[tuple[str, Traffic]]:
        """Along all axes of which this is known."""
        layout = self.layout
        if layout.shard > 1:
            yield "shard", self._shards(mine)
        replicas = [axis for axis in ("data", "context") if getattr(layout, axis) > 1]
        if replicas:
            count = layout.data * layout.context
            numbers = mine / layout.shard + (layout.shard * layout.pipeline == 1)  # with the loss
            sent = 2 * (count - 1) / count * BYTES * numbers
            messages = self._units() if layout.shard > 1 else None
            yield together(*replicas), Traffic(sent, messages)
        if self.depth is None:
            return
        if layout.context > 1 and self.depth.keys:
            yield passed_on("context"), self._rings(self.depth)
        if layout.pipeline > 1:
            yield passed_on("pipeline"), self._boundaries(self.depth)
        if layout.tensor > 1:
            yield "tensor", self._tensors(self.depth)

    def _shards(self, mine: float) -> Traffic:
        """Parameters are gathered for each pass and again in backward, if nobody keeps them whole.

        Else they are gathered once a step; in a pipeline, each time that it is filled.
        """
        passes, level = self.passes, self.layout.level
        gathers = 2 * passes if level == "parameters" else 1
        if self.layout.pipeline > 1:
            passes = gathers = self.calls
        sums = 1 if level == "optimizer" and self.layout.pipeline == 1 else passes
        count, units = self.layout.shard, self._units()
        messages = None if units is None else (gathers + sums) * units
        return Traffic((gathers + sums) * (count - 1) / count * BYTES * mine, messages)

    def _rings(self, depth: Depth) -> Traffic:
        """Keys and values go round in both passes; their gradients go round and home in fp32."""
        count = self.layout.context
        low = LOW if self.recipe.fit.precision != "fp32" else BYTES
        rounds = (count - 1) * (3 if self.recipe.fit.recompute else 2)
        chunk = self._samples() * depth.keys / count / self.layout.tensor
        sent = rounds * low + count * BYTES
        return Traffic(self.blocks * chunk * sent, self.blocks * self.passes * (rounds + count))

    def _boundaries(self, depth: Depth) -> Traffic:
        """Each micro-batch goes to the next stage, and its gradient comes back."""
        here, last = self.stages, self.layout.stages - 1
        down = sum(stage < last and stage + 1 not in here for stage in here)
        up = sum(stage > 0 and stage - 1 not in here for stage in here)
        stream = depth.stream / self.layout.context / self.layout.tensor
        ends = self.ends[0] != self.ends[1]
        shared = depth.tied / self.layout.shard / self.layout.tensor * ends
        sent = BYTES * (self._samples() * stream * (down + up) + shared)
        return Traffic(sent, self.passes * (down + up) + (ends and depth.tied > 0))

    def _tensors(self, depth: Depth) -> Traffic:
        """Per block 4 sums of the stream; where it is cut, each is one in shards and a gather.

        Where it is cut so are both ends: the embedding's sum, what the head reads, four numbers
        for the loss of each answer, and the gradients of what is whole but saw a part. Sums are of
        fp32 in any arithmetic, and so are the norms' answers that are gathered; only gradients that
        are gathered may be narrower.
        """
        count, low = self.layout.tensor, LOW if self.recipe.fit.precision != "fp32" else BYTES
        ring, samples = (count - 1) / count, self._samples() / self.layout.context
        if not self.recipe.model.cuts_stream():
            sent = 8 * self.blocks * BYTES * samples * depth.stream
            return Traffic(ring * sent, 4 * self.blocks * self.passes)
        calls = 8 * self.blocks + 2 * sum(self.ends)
        halves = calls * BYTES - 2 * self.blocks * (BYTES - low)
        losses = 4 * samples * depth.answers * self.ends[1]
        norms = self._held(*depth.whole) / self.layout.shard
        sent = ring * (halves * samples * depth.stream + 2 * BYTES * (losses + norms))
        return Traffic(sent, (calls + 2 * self.ends[1]) * self.passes + (norms > 0))

    def _samples(self) -> float:
        """Samples of a step that pass here: a pipeline fills its last micro-batches."""
        if self.layout.pipeline == 1:
            return self.rows
        size = self.calls * self.layout.pieces
        return -(-self.rows // size) * size

    def _units(self) -> int | None:
        """How many parts torch gathers one by one: blocks, and what stands around them."""
        ends = {0, self.layout.stages - 1} & {*self.stages}
        return self.blocks + len(ends) if self.depth else None
