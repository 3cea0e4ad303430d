"""Inline: each batch is read when it is asked for. Best where reading is next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, final

from zafu.loading.contract import Batches, Loader, Request, Say, Source


@final
class Inline(Loader):
    """Read in the training thread, nothing ahead."""

    kind: Literal["inline"] = "inline"

    def batches(self, source: Source, requests: Iterator[Request], say: Say) -> Batches:
        """Batches in the order of the requests."""
        read = source.read
        return (read(request) for request in requests)
