"""The contract of loading: batches are read ahead of the model, and how changes none of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

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


class Loader(Family):
    """Who reads batches, and how far ahead."""

    kind: str

    @abstractmethod
    def open(self, read: Read, requests: Iterator[Request]) -> AbstractContextManager[Batches]:
        """Batches in the order of the requests; on leaving, whoever reads ahead has ended.

        What `read` raises is raised where its batch would have come.
        """
