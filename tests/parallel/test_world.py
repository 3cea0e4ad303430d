"""Who is whose neighbour, and what they hear of each other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from zafu.errors import Refused
from zafu.layout import AXES, Layout
from zafu.parallel.world import World, take_gpu


def test_every_rank_has_its_own_place_and_finds_itself_among_its_peers() -> None:
    layout = Layout(data=2, shard=3, tensor=2, pipeline=2, context=2)

    places = [layout.place(rank) for rank in range(layout.world)]

    assert len({tuple(place.values()) for place in places}) == layout.world == 48
    for rank in range(layout.world):
        peers = layout.peers(rank, "data", "shard")
        assert peers[World(layout, rank).index("data", "shard")] == rank


def speak(rank: int, layout: dict[str, Any]) -> Any:
    world = World(Layout.parse(layout), rank)
    world.connect()
    sums = {
        axis: world.add(torch.tensor([float(rank)]), axis).item() for axis in ("data", "tensor")
    }
    return {"sums": sums, "heard": world.all_of({"rank": rank, "text": "ü" * rank})}


def test_processes_add_along_an_axis_and_hear_all(worlds: Callable[[int], Any]) -> None:
    found = worlds(4)(speak, layout={"data": 2, "tensor": 2})

    assert [f["sums"]["data"] for f in found] == [2.0, 4.0, 2.0, 4.0]
    assert [f["sums"]["tensor"] for f in found] == [1.0, 1.0, 5.0, 5.0]
    assert all(f["heard"] == [{"rank": r, "text": "ü" * r} for r in range(4)] for f in found)


def test_alone_nothing_is_said() -> None:
    world = World(Layout())

    assert world.all_of("a") == ["a"]
    assert world.add(torch.ones(1), *AXES).item() == 1
    assert world.group("data") is None


def test_more_processes_than_gpus_on_a_machine_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")

    with pytest.raises(Refused, match=r"a GPU for each of the 2 processes.* found 1; .*=cpu"):
        take_gpu()
