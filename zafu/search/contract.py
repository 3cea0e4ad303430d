"""The contract of searching: a pure function from what is known to what to try next.

`next` depends on its arguments alone, so that a study that was killed, or that several processes
share, goes on as an undisturbed one would. Nothing here trains; `zafu.tune` does what is asked.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

from pydantic import Field

from zafu.errors import Fault
from zafu.space import Settings, Space
from zafu.spec import Family

BATCH = 32  # settings that a search asks for together, where they do not depend on answers


class Ask(NamedTuple):
    """A trial that is wanted."""

    settings: Settings
    until: float = 1.0  # share of the recipe's budget at which it ends, 0 < u <= 1
    of: int | None = None  # number of the trial whose weights and optimizer state it goes on from
    gradient: bool = False  # whether the gradient of its value by the settings is wanted


class Told(NamedTuple):
    """A trial that is over, or under way."""

    number: int  # its place in the order in which trials were asked for
    ask: Ask
    value: float | None  # of the recipe's metric; None where it diverged, or is under way
    gradient: dict[str, float] | None = None  # by path
    running: bool = False  # only an asynchronous search is told of these


class Search(Family):
    """How the next settings are chosen."""

    kind: str
    trials: int | None = Field(default=None, ge=1)
    """Different settings that are tried at most; none: as many as the study's budget pays for."""
    ends: ClassVar[bool] = False  # whether it ends by itself where `trials` is none
    goes_on: ClassVar[bool] = False  # whether trials go on from others, whose state must be kept
    schedules: ClassVar[bool] = False  # whether settings change on the way
    asynchronous: ClassVar[bool] = False  # whether it is asked while trials are under way

    @abstractmethod
    def next(self, space: Space, told: Sequence[Told], *, higher: bool, seed: int) -> list[Ask]:
        """The trials to be done now; none: the search is over, or (asynchronous) is to wait.

        `told` are all trials in the order of their numbers, which go up by one from 0; `higher`
        is whether more is better. A function of these and `seed`, and of nothing else.
        """

    def refused(self, space: Space) -> Iterable[Fault]:
        """Why it cannot search this space, if it cannot."""
        return ()


def worth(told: Told, *, higher: bool) -> float:
    """A value that is greater where a trial is better; minus infinity where it diverged."""
    if told.value is None:
        return float("-inf")
    return told.value if higher else -told.value


def best_first(told: Iterable[Told], *, higher: bool) -> list[Told]:
    """The same trials, the best first; equal ones in their order."""
    return sorted(told, key=lambda t: (-worth(t, higher=higher), t.number))
