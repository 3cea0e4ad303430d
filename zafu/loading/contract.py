"""The contract of loading: batches are read ahead of the model, and how changes none of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from zafu.batch import Batch
from zafu.spec import Family

if TYPE_CHECKING:
    import numpy as np


class Request(NamedTuple):
    """Samples that are wanted together."""

    ids: np.ndarray  # (batch,) int64: positions in the split
    epochs: np.ndarray  # (batch,) int64: how often each was seen before; augmentation depends on it


Read = Callable[[Request], Batch]  # a pure function: equal requests, equal batches
Batches = Generator[Batch, None, None]


class Remote(NamedTuple):
    """How another process comes to the same function: by a module of ours that ends in `serve`."""

    module: str  # run as `python -m MODULE`
    told: dict[str, Any]  # plain data: all that it needs to know


class Source(NamedTuple):
    """Where batches come from."""

    read: Read
    remote: Remote | None = None  # None: it can be called in this process alone


class Choice(NamedTuple):
    """Which loader goes on, where one was to be found, and what was measured for it."""

    loader: Loader
    why: str
    seconds: dict[str, float]  # means for one batch


Say = Callable[[Choice], None]


class Loader(Family):
    """Who reads batches, and how far ahead."""

    kind: str

    @abstractmethod
    def batches(self, source: Source, requests: Iterator[Request], say: Say) -> Batches:
        """Batches in the order of the requests; whoever reads ahead ends with the generator.

        What `read` raises is raised where its batch would have come. Requests are taken in the
        thread that takes the batches. A batch belongs to whoever got it: nothing writes to it.
        """

    def open(
        self, source: Source, requests: Iterator[Request], say: Say = lambda _: None
    ) -> closing[Batches]:
        """`batches` as a context: on leaving, whoever reads ahead has ended."""
        return closing(self.batches(source, requests, say))

    def nearby(self) -> Loader:
        """The loader for a source that only this process can read, or that gives few batches."""
        return self
