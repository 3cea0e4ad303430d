"""Together: what every process of a world does a part of, and which is done whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from zafu.artifact import begun, commit, digests, part_of
from zafu.errors import (
    Busy,
    Damaged,
    DataError,
    DiskFull,
    Interrupted,
    NonFinite,
    Refused,
    ZafuError,
)
from zafu.parallel.world import World

_KNOWN = {
    kind.__name__: kind
    for kind in (Busy, Damaged, DataError, DiskFull, Interrupted, NonFinite, Refused)
}


def agreed(world: World, work: Callable[[], Any]) -> list[Any]:
    """What `work` gave in each process, plain data, by rank.

    If it raised in any, all raise what it raised in the first of them, and none waits for ever.
    """
    try:
        found = work()
    except BaseException as error:  # the others wait to hear of it
        heard = world.all_of({"error": type(error).__name__, "text": str(error)})
        rank = next(rank for rank, said in enumerate(heard) if "error" in said)
        if rank == world.rank:
            raise
        raise _cause(heard[rank], rank) from error
    heard = world.all_of({"found": found})
    for rank, said in enumerate(heard):
        if "error" in said:
            raise _cause(said, rank)
    return [said["found"] for said in heard]


def publish(
    folder: Path,
    world: World,
    write: Callable[[Path], tuple[list[Path], Any]],
    finish: Callable[[Path, list[Any]], list[Path]],
    *,
    needed: int,
    facts: dict[str, Any],
) -> Path:
    """As `artifact.publish`, by all processes: they see the same file system.

    `write` fills the folder with this process's files and gives them, with plain data for the
    first process, whose `finish` hears that of all and gives the files that it has added. `needed`
    is how many bytes this process writes. If any process fails, all raise its error.
    """
    first, part = world.rank == 0, part_of(folder)
    total = sum(agreed(world, lambda: needed))

    def begin(stack: ExitStack) -> None:
        if first:
            stack.enter_context(begun(folder, needed=total))

    def fill() -> tuple[dict[str, str], Any]:
        if not part.is_dir():
            expected = "expected a folder that all processes see; use a shared file system"
            raise Refused(f"{part}: {expected}")
        files, told = write(part)
        return digests(part, *files), told

    def end(heard: list[Any]) -> None:
        if first:
            files = {name: digest for mine, _ in heard for name, digest in mine.items()}
            files |= digests(part, *finish(part, [told for _, told in heard]))
            commit(folder, dict(sorted(files.items())), facts)

    with ExitStack() as stack:  # what was begun is removed if any of this raises
        agreed(world, lambda: begin(stack))
        heard = agreed(world, fill)
        agreed(world, lambda: end(heard))
    return folder


def _cause(said: dict[str, str], rank: int) -> ZafuError:
    text = f"{said['text']} (process {rank})"
    if kind := _KNOWN.get(said["error"]):
        return kind(text)
    return ZafuError(f"{said['error']}: {text}")
