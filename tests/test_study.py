"""Studies: a ledger that several processes share."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from zafu.errors import Refused
from zafu.study import Done, Study, Wanted, spent

MANY = 40


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.open(f"sqlite:///{tmp_path}/study.db", "a", {})


def test_what_is_written_comes_back(study: Study) -> None:
    wanted = Wanted({"fit.optimizer.lr": 0.1, "fit.batch": "all"}, 3, 0.5, None, 7, "gradient")
    done = Done("done", 0.5, {"test": 0.4}, [[3, 0.1]], {"fit.optimizer.lr": -1.0}, 5, 6, 7.0, 8.0)

    study.add("search", 0, [wanted])
    (row,) = study.rows("search")
    assert study.claim([row]) == [row]
    assert study.finish(row, done)

    (found,) = study.rows("search")
    assert (found.wanted, found.done, found.state) == (wanted, done, "done")
    assert spent([found])["updates"] == 6
    study.engine.dispose()


def test_only_one_of_several_gets_a_trial(study: Study) -> None:
    study.add("search", 0, [Wanted({"x": n}) for n in range(MANY)])
    rows = study.rows("search")
    others = [replace(study, worker=f"elsewhere:{n}") for n in range(8)]

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda other: [r.number for r in other.claim(rows)], others))

    assert sorted(number for claim in claims for number in claim) == list(range(MANY))
    study.engine.dispose()


def test_asks_are_added_once_however_many_have_the_same_idea(study: Study) -> None:
    asks = [Wanted({"x": n}) for n in range(3)]

    assert study.add("search", 0, asks)
    assert not study.add("search", 0, asks)
    assert len(study.rows("search")) == 3
    study.engine.dispose()


def test_a_claim_of_a_process_that_is_gone_is_lost(study: Study) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    host = study.worker.rpartition(":")[0]
    dead = replace(study, worker=f"{host}:{int(gone.stdout)}")
    alive = replace(study, worker=f"{host}:{os.getppid()}")
    study.add("search", 0, [Wanted({"x": n}) for n in range(2)])
    rows = study.rows("search")
    dead.claim(rows[:1])
    alive.claim(rows[1:])

    assert study.reclaim() == 1
    assert [row.state for row in study.rows("search")] == ["waiting", "running"]
    assert not dead.finish(rows[0], Done("done", 1.0))
    study.engine.dispose()


def test_a_claim_without_a_heartbeat_is_lost(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    far = replace(study, worker="another-machine:1")
    study.add("search", 0, [Wanted({})])
    far.claim(study.rows("search"))
    assert study.reclaim() == 0

    monkeypatch.setattr("zafu.study.STALE", -1.0)

    assert study.reclaim() == 1
    study.engine.dispose()


def test_the_crew_is_those_who_are_at_work(study: Study) -> None:
    other = replace(study, worker="another-machine:1")

    with study.beating():
        assert study.crew() == 1
        with other.beating():
            assert study.crew() == 2
        assert study.crew() == 1


@pytest.mark.parametrize("url", ["nonsense", "postgrsql://host/db", "sqlite:////proc/nowhere/a.db"])
def test_a_storage_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="storage"):
        Study.open(url, "a", {})


def test_a_password_is_never_printed() -> None:
    with pytest.raises(Refused) as error:
        Study.open("sqlite://user:secret@host/proc/nowhere/a.db", "a", {})

    assert "secret" not in str(error.value)
