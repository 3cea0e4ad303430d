"""Work on Ray: the pieces of a computation over a cluster, by Ray Data (Moritz et al., 2018).

What the recipe reads and the folder of runs must lie where every node sees them. The pieces are
the same as on one machine, and so are their bytes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from zafu import plugins
from zafu.errors import MissingExtra, ZafuError
from zafu.work import Do, Job, P, whole


@final
@dataclass(frozen=True)
class Ray:
    """As many pieces at a time as the cluster has processors; a local one if none is running."""

    plugins: tuple[str, ...] = ()

    def run(self, do: Do[P], jobs: Sequence[Job[P]]) -> Iterator[Path]:
        """Yields each job's folder as soon as it is whole."""
        if not jobs:
            return
        try:
            import ray  # pyright: ignore[reportMissingImports]
            from ray import cloudpickle, exceptions  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise MissingExtra("ray[data]", "ray") from None
        for name in plugins.load(map(Path, self.plugins)):
            cloudpickle.register_pickle_by_value(sys.modules[name])
        started = not ray.is_initialized()
        if started:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        kept = ray.put([(piece, folder.resolve()) for piece, folder in jobs])

        def one(row: dict[str, Any]) -> dict[str, Any]:
            piece, folder = ray.get(kept)[row["id"]]
            whole(do, piece, folder)
            return {"id": row["id"]}

        try:
            rows = ray.data.range(len(jobs), override_num_blocks=len(jobs)).map(one)
            for row in rows.iter_rows():
                yield jobs[row["id"]][1]
        except exceptions.RayError as error:
            raise _ours(error) from error
        finally:
            if started:
                ray.shutdown()


def _ours(error: BaseException) -> BaseException:
    """The error of ours that Ray wrapped, if there is one."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ZafuError):
            return found
        found = found.__cause__ or getattr(found, "cause", None)
    return error
