"""Work in pieces, by every engine: copying files of the standard library is the work."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zafu.data.files import find
from zafu.errors import Interrupted
from zafu.work import Engine, Inline, Pool, Work

PIECES = [str(path) for _, path in find(["stdlib:[b-c]*.py"])][:12]


def contents(folders: list[Path]) -> list[dict[str, bytes]]:
    return [{f.name: f.read_bytes() for f in folder.iterdir()} for folder in folders]


@pytest.mark.parametrize("engine", [Inline(), Pool(2), Pool(1)], ids=["inline", "pool", "one"])
def test_every_engine_does_every_piece_in_order(engine: Engine, tmp_path: Path) -> None:
    said: list[str] = []
    work = Work(tmp_path, engine, said.append)

    found = contents(work.map("copy", shutil.copy2, PIECES))

    assert found == [{Path(p).name: Path(p).read_bytes()} for p in PIECES]
    assert said[-1] == f"copy: {len(PIECES)} of {len(PIECES)}"


def test_ray_does_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    code = (
        "import shutil, sys, json; from pathlib import Path; from zafu.work import Work;"
        "from zafu.work_on_ray import Ray; folder, *pieces = sys.argv[1:];"
        "Work(Path(folder), Ray()).map('copy', shutil.copy2, pieces)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "ray"), *PIECES[:4]]

    subprocess.run(command, check=True, capture_output=True, timeout=120)

    expected = Work(tmp_path / "inline").map("copy", shutil.copy2, PIECES[:4])
    assert contents(sorted((tmp_path / "ray").iterdir())) == contents(expected)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    first = Work(tmp_path).map("copy", shutil.copy2, PIECES)
    shutil.rmtree(first[3])
    times = [f.stat().st_mtime_ns for f in first if f.exists()]
    said: list[str] = []

    again = Work(tmp_path, say=said.append).map("copy", shutil.copy2, PIECES)

    assert [f.stat().st_mtime_ns for f in again if f != first[3]] == times
    assert said == ["copy: 11 of 12 pieces were done before", "copy: 12 of 12"]


@pytest.mark.parametrize("engine", [Inline(), Pool(2)], ids=["inline", "pool"])
def test_an_error_comes_through_and_leaves_nothing_half_done(
    engine: Engine, tmp_path: Path
) -> None:
    pieces = [*PIECES[:5], "/nowhere", *PIECES[5:]]

    with pytest.raises(FileNotFoundError, match="/nowhere"):
        Work(tmp_path, engine).map("copy", shutil.copy2, pieces)

    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / "copy-00005").exists()


def test_a_signal_ends_it_between_two_pieces_and_keeps_what_is_done(tmp_path: Path) -> None:
    def stopped() -> str:
        return "SIGINT" if len(list(tmp_path.iterdir())) >= 3 else ""

    with pytest.raises(Interrupted, match=r"SIGINT: copy: 3 of 12 pieces are done and kept"):
        Work(tmp_path, stopped=stopped).map("copy", shutil.copy2, PIECES)

    assert len(Work(tmp_path).map("copy", shutil.copy2, PIECES)) == 12


def test_processes_of_a_pool_end_when_their_parent_is_killed() -> None:
    code = (
        "import os, sys; from concurrent.futures import ProcessPoolExecutor as P;"
        "from multiprocessing import get_context; from zafu.work import begin;"
        "pool = P(2, get_context('spawn'), initializer=begin, initargs=((),));"
        "print(pool.submit(os.getpid).result(), flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    child = int(parent.stdout.readline())

    parent.send_signal(signal.SIGKILL)
    parent.communicate()

    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
