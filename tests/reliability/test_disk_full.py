"""R4: a disk that is full or fails leaves what was whole, says what it needs, and can be freed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trial
from conftest import Workshop
from forks import Forks
from honest import honest

CALLS = ("mkdir", "rename", "replace", "fsync")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("code", "nth"), [("ENOSPC", 1), ("ENOSPC", 2), ("ENOSPC", 5), ("ENOSPC", 8), ("EIO", 2)]
)
def test_a_call_that_fails_inside_a_save(call: str, code: str, nth: int, short: Workshop) -> None:
    """The nth such call below `checkpoints/` fails once, as the kernel would make it fail."""
    label = f"{call}-{code}-{nth}"
    child, out = short.run(label, call=call, nth=nth, below="/checkpoints", errno=_number(code))

    if child.code:
        assert child.code == 1
        assert os.strerror(_number(code)) in child.said()
        if code == "ENOSPC":
            assert f"zafu: {out}/checkpoints" in child.said()
            assert "are free" in child.said()
    assert honest(child, out)
    assert short.ends_identically(label)


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("nth", [1, 6])
def test_a_call_that_fails_beside_the_checkpoints(call: str, nth: int, short: Workshop) -> None:
    """Status, recipe, environment, metrics, model and report meet a full disk as well."""
    label = f"beside-{call}-{nth}"
    child, out = short.run(label, call=call, nth=nth, below=f"/{label}/", errno=errno.ENOSPC)

    assert child.code == 1
    assert "are free" in child.said()
    assert not trial.unfinished(out)
    assert trial.status(out).get("state") != "finished" if (out / "status.json").exists() else True
    assert short.ends_identically(label)


@pytest.mark.parametrize("most_bytes", [9_000, 30_000, 50_000])
def test_a_limit_on_file_size_leaves_no_part_behind(most_bytes: int, short: Workshop) -> None:
    """The weights have 18 kB, the optimizer and the average 55 kB: one or both find no room."""
    label = f"limit-{most_bytes}"
    child, out = short.run(label, most_bytes=most_bytes)

    assert child.code == 1
    assert honest(child, out)
    file = "model" if most_bytes < 20_000 else "optimizer"
    assert f"{out}/checkpoints/step-000000008.part/{file}.safetensors: no room" in child.said()
    assert "File too large" in child.said()
    assert "needs " in child.said()
    assert " are free" in child.said()
    assert short.ends_identically(label)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; this takes root."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or not mount or not umount:
        pytest.skip("only root can mount a small file system")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False)
    if made.returncode:
        pytest.skip("this machine allows no mounts")
    yield folder
    subprocess.run([umount, "-l", folder], check=True)


def test_a_disk_that_fills_up_while_training(
    small_disk: Path, workshop: Workshop, forks: Forks
) -> None:
    out = small_disk / "runs" / "filled"
    shutil.copytree(workshop.folder / "runs" / "data", small_disk / "runs" / "data")
    words = ["train", workshop.recipe, "--out", out]
    child = forks.start(words, workshop.folder)
    while trial.saved(out) < 16:
        time.sleep(0.001)
    _fill(small_disk / "ballast")
    child.wait()
    assert child.code == 1
    assert "are free" in child.said()
    assert len(trial.checkpoints(out)) >= 2
    assert not trial.unfinished(out)
    assert trial.status(out)["state"] != "finished"

    (small_disk / "ballast").unlink()
    again = forks.run(words, workshop.folder)

    assert again.code == 0, again.said()
    assert trial.digests(out) == workshop.expected


def test_a_start_without_room_for_its_checkpoints_is_refused(
    small_disk: Path, workshop: Workshop, forks: Forks
) -> None:
    """Room for three checkpoints and the best is asked for before anything is trained."""
    out = small_disk / "runs" / "refused"
    shutil.copytree(workshop.folder / "runs" / "data", small_disk / "runs" / "data")
    _fill(small_disk / "ballast", leave=100_000)

    child = forks.run(["train", workshop.recipe, "--out", out], workshop.folder)

    assert child.code == 2
    assert "room for 4 checkpoints" in child.said()
    assert "free at" in child.said()
    assert not trial.checkpoints(out)


def _fill(ballast: Path, *, leave: int = 0) -> None:
    """Write until the disk is full, or until so many bytes are left."""
    free = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb", buffering=0) as file:
        try:
            file.write(b"\0" * (free - leave))
            while not leave:
                file.write(b"\0" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017


def _number(code: str) -> int:
    return {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}[code]
