"""Artifacts: finished folders, written so that a half written one can never be mistaken for one.

A folder is written as `NAME.part`; each file is synced and its SHA-256 goes into `card.json`,
which is written last; then the folder is renamed and its parent synced. What has no card does not
exist. After a power cut either the whole folder is there or its name is not.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zafu.errors import Busy, Damaged, DiskFull, Refused
from zafu.spec import digest_of
from zafu.units import Bytes

CARD = "card.json"
MODEL = "model.safetensors"  # the weights in a model folder or a checkpoint


def publish(folder: Path, write: Callable[[Path], None], **facts: Any) -> Path:
    """Let `write` fill a folder, then give it its name; `facts` go into its card.

    A folder that already stands there is replaced. Raises DiskFull, with nothing left behind,
    when there is no room.
    """
    with begun(folder) as part:
        write(part)
        commit(folder, digests(part, *_files(part)), facts)
    return folder


@contextmanager
def begun(folder: Path, *, needed: int = 0) -> Generator[Path]:
    """A new `NAME.part` to be filled, and committed before the end; if not, nothing is left of it.

    Raises DiskFull unless `needed` bytes are free, or once there is no more room.
    """
    part, old = part_of(folder), _old_of(folder)
    try:
        with room(part, needed):
            folder.parent.mkdir(parents=True, exist_ok=True)
            for left in (part, old):
                shutil.rmtree(left, ignore_errors=True)
            part.mkdir()
            yield part
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def commit(folder: Path, files: dict[str, str], facts: dict[str, Any]) -> None:
    """Write the card of a folder that is begun, and give it its name; `files` are its digests."""
    part = part_of(folder)
    facts["files"] = files
    write_json(part / CARD, {**facts, "sha256": digest_of(facts)})
    for inner in [p for p in part.rglob("*") if p.is_dir()] + [part]:
        sync(inner)
    if folder.exists():
        folder.rename(_old_of(folder))
    part.rename(folder)
    sync(folder.parent)


def digests(part: Path, *files: Path) -> dict[str, str]:
    """SHA-256 of files by their names in a folder; their bytes are on the disk afterwards."""
    return {str(file.relative_to(part)): digest_file(file, sync=True) for file in files}


def part_of(folder: Path) -> Path:
    """Where a folder is filled before it gets its name."""
    return folder.with_name(folder.name + ".part")


def _old_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old.part")


def card(folder: Path) -> dict[str, Any]:
    """The card of a finished folder; raises Damaged if it has none or it cannot be read."""
    try:
        return json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{folder / CARD}: expected the card of a finished folder, {error}") from None


def model_folder(folder: Path) -> Path:
    """The model folder of a run folder or of itself; raises Refused if nothing is finished."""
    for candidate in (folder / "model", folder):
        if (candidate / CARD).is_file() and (candidate / MODEL).is_file():
            return candidate
    raise Refused(f"{folder}: expected a finished run; zafu train carries a recipe to its end")


def verify(folder: Path, *, dealt: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    """The card, after every file was found to be what was written; else raises Damaged.

    `dealt` is which part of the files to read: its number, and of how many.
    """
    facts = card(folder)
    try:
        if facts["sha256"] != digest_of({k: v for k, v in facts.items() if k != "sha256"}):
            raise Damaged(f"{folder / CARD}: was changed after it was written")
        for name, expected in list(facts["files"].items())[dealt[0] :: dealt[1]]:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise Damaged(f"{folder / CARD}: expected files of this folder, found {name}")
            if not (folder / name).is_file():  # a device or a pipe could be read for ever
                raise Damaged(f"{folder / name}: expected the file that was written, found none")
            if (found := digest_file(folder / name)) != expected:
                raise Damaged(
                    f"{folder / name}: expected SHA-256 {expected[:12]}…, found {found[:12]}…; "
                    "the file was changed after it was written"
                )
    except OSError as error:
        raise Damaged(f"{error.filename}: {error.strerror}") from None
    except (KeyError, AttributeError, TypeError, ValueError):
        raise Damaged(f"{folder / CARD}: expected the digests of its files") from None
    return facts


def write_json(path: Path, data: object) -> None:
    """Replace a file by `data` as JSON, in one step: readers see the old or the new one."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file by `text`, in one step and synced."""
    part = path.with_name(f".{path.name}.part")
    try:
        with room(part):
            with part.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The data of a JSON file; raises Damaged if it is absent or malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{path}: expected JSON, {error}") from None


def digest_file(path: Path, *, sync: bool = False) -> str:
    """SHA-256 of a file, 64 hex digits; with `sync`, its bytes are on the disk afterwards."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sync:
            os.fsync(file.fileno())
    return digest


def sync(folder: Path) -> None:
    """Return when the names in this folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def room(path: Path, needed: int = 0) -> Generator[None]:
    """Raise DiskFull, naming path, bytes needed and free, where writing finds no room."""
    free = free_bytes(path)
    if free < needed:
        raise DiskFull(
            f"{path}: needs {Bytes(needed)}, {Bytes(free)} are free; nothing was written"
        )
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        need = f"needs {Bytes(needed)}, " if needed else ""
        text = f"{path}: no room ({error.strerror}): {need}{Bytes(free_bytes(path))} are free"
        raise DiskFull(f"{text}; what was complete before is whole") from error


def free_bytes(path: Path) -> int:
    """Bytes free for a new file at `path`, whose folders need not exist yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


@contextmanager
def only_writer(folder: Path) -> Generator[None]:
    """Hold a folder for this process; raises Busy at once if another holds it.

    The kernel frees the lock with its process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read(20).strip() or "unknown"
            text = f"{folder}: another process (pid {owner}) is writing this run"
            raise Busy(f"{text}; wait for it or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def taking_turns(file: Path) -> Generator[None]:
    """Wait until no other process is between the same lines with the same lock file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())
