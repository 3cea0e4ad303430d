"""Study: the ledger of a search, in any SQL database; SQLite in the study's folder by default.

```
studies   id, facts (JSON), made
trials    study, stage, number, settings (JSON), seed, until, of, origin, wants, state,
          value, scores (JSON), curve (JSON), gradient (JSON), samples, updates, seconds, wall,
          worker, heartbeat, reason
workers   study, worker, heartbeat: the processes that are at work
```
A trial is waiting, running, done, diverged or failed; a state is never taken back but for a claim
that is lost. Several processes and machines may share a study: a trial is claimed by one update
that only one of them can win, and a claim without a heartbeat for a minute, or of a process of
this machine that is gone, is lost. No pickle. A SQLite file is for processes of one machine; for
several, name a database server.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from zafu.errors import Damaged, MissingExtra, Refused

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData, Table, Update

BEATS, STALE = 10.0, 60.0  # seconds between heartbeats, and after which a claim is lost
OVER = ("done", "diverged", "failed")


class Wanted(NamedTuple):
    """A trial that is to be done."""

    settings: dict[str, Any]
    seed: int | None = None  # of weights and order; None: the recipe's own
    until: float = 1.0
    of: int | None = None  # the trial of the same stage that it goes on from
    origin: int | None = None  # the trial of the search that it confirms
    wants: str = ""  # "gradient"


class Done(NamedTuple):
    """What came of a trial."""

    state: str  # done, diverged or failed
    value: float | None = None
    scores: dict[str, float] = {}  # noqa: RUF012 a constant; by split
    curve: Sequence[tuple[int, float]] = ()  # samples, value
    gradient: dict[str, float] | None = None
    samples: int = 0
    updates: int = 0
    seconds: float = 0.0  # of training
    wall: float = 0.0  # its share of the time that passed
    reason: str = ""


class Row(NamedTuple):
    """A trial as the ledger has it."""

    stage: str
    number: int
    wanted: Wanted
    state: str
    done: Done
    worker: str

    @property
    def over(self) -> bool:
        """Whether it needs no more work."""
        return self.state in OVER


@dataclass
class Study:
    """The trials of one search, in a database."""

    engine: Engine
    id: str
    tables: dict[str, Table]
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")

    @classmethod
    def open(cls, url: str, name: str, facts: dict[str, Any]) -> Study:
        """The study of this name (made, if it is not there); raises Refused for a bad URL."""
        try:
            import sqlalchemy as sql
            from sqlalchemy import event
            from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
        except ImportError:
            raise MissingExtra("sqlalchemy", "tune") from None
        try:
            engine = sql.create_engine(url)
        except (ArgumentError, ImportError) as error:
            raise Refused(f"storage: expected a URL of SQLAlchemy, {error}") from None
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _sqlite)
        shown = engine.url.render_as_string(hide_password=True)
        meta = sql.MetaData()
        found = cls(engine, name, _tables(meta))
        try:
            with suppress(IntegrityError):  # another process was faster
                meta.create_all(engine)
            studies = found.tables["studies"]
            with engine.begin() as db, suppress(IntegrityError):
                if not db.execute(sql.select(studies.c.id).where(studies.c.id == name)).first():
                    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    new = {"id": name, "facts": json.dumps(facts), "made": now}
                    db.execute(studies.insert().values(**new))
        except SQLAlchemyError as error:
            raise Refused(f"storage {shown}: {error}") from None
        return found

    def rows(self, stage: str) -> list[Row]:
        """All trials of a stage, by number."""
        table = self.tables["trials"]
        wanted = table.select().where(table.c.study == self.id, table.c.stage == stage)
        with self.engine.connect() as db:
            found = db.execute(wanted.order_by(table.c.number)).mappings().all()
        rows = [_row(dict(one)) for one in found]
        if [row.number for row in rows] != list(range(len(rows))):
            raise Damaged(f"study {self.id}: expected the trials of {stage} without a gap")
        return rows

    def add(self, stage: str, start: int, wanted: Sequence[Wanted]) -> bool:
        """Add trials, numbered from `start` on; False where another process has done so."""
        from sqlalchemy.exc import IntegrityError

        rows = [
            {
                "study": self.id,
                "stage": stage,
                "number": start + index,
                **one._asdict(),
                "settings": json.dumps(one.settings),
                "state": "waiting",
            }
            for index, one in enumerate(wanted)
        ]
        try:
            with self.engine.begin() as db:
                db.execute(self.tables["trials"].insert(), rows)
        except IntegrityError:
            return False
        return True

    def claim(self, rows: Sequence[Row]) -> list[Row]:
        """Those of these waiting trials that this process is now the one to do."""
        new = {"state": "running", "worker": self.worker, "heartbeat": _now()}
        with self.engine.begin() as db:
            return [row for row in rows if db.execute(self._change(row, "waiting", new)).rowcount]

    def finish(self, row: Row, done: Done) -> bool:
        """Note what came of a trial; False where the claim was lost, and somebody else's counts."""
        values = done._asdict()
        for name in ("scores", "curve", "gradient"):
            values[name] = json.dumps(values[name])
        with self.engine.begin() as db:
            return db.execute(self._change(row, "running", values)).rowcount == 1

    def release(self) -> None:
        """Let go of all that this process has claimed and not finished."""
        table = self.tables["trials"]
        own = (table.c.study == self.id, table.c.worker == self.worker)
        with self.engine.begin() as db:
            free = table.update().where(*own, table.c.state == "running")
            db.execute(free.values(state="waiting", worker=""))

    def reclaim(self) -> int:
        """Make trials wait again whose process is gone; how many."""
        table = self.tables["trials"]
        running = (table.c.study == self.id, table.c.state == "running")
        with self.engine.connect() as db:
            found = db.execute(
                table.select().where(*running).with_only_columns(table.c.worker, table.c.heartbeat)
            ).all()
        gone = {w for w, beat in found if _now() - beat > STALE or _dead(w)} - {self.worker}
        count = 0
        for worker in sorted(gone):
            with self.engine.begin() as db:
                old = (*running, table.c.worker == worker)
                late = table.c.heartbeat <= _now() - (0 if _dead(worker) else STALE)
                again = table.update().where(*old, late).values(state="waiting", worker="")
                count += db.execute(again).rowcount
        return count

    def crew(self) -> int:
        """How many processes are at work, this one among them."""
        table = self.tables["workers"]
        alive = table.select().where(table.c.study == self.id, table.c.heartbeat > _now() - STALE)
        with self.engine.connect() as db:
            names = {str(row["worker"]) for row in db.execute(alive).mappings()}
        return len({name for name in names if not _dead(name)} | {self.worker})

    @contextmanager
    def beating(self) -> Generator[None]:
        """Inside, a thread says that this process is alive; then its unfinished claims are free."""
        over = threading.Event()
        table, trials = self.tables["workers"], self.tables["trials"]
        here = (table.c.study == self.id, table.c.worker == self.worker)
        own = (trials.c.study == self.id, trials.c.worker == self.worker)

        def beat() -> None:
            while not over.wait(BEATS):
                now, running = {"heartbeat": _now()}, trials.c.state == "running"
                with self.engine.begin() as db:
                    db.execute(table.update().where(*here).values(**now))
                    db.execute(trials.update().where(*own, running).values(**now))

        with self.engine.begin() as db:  # a process of the same name is gone
            db.execute(table.delete().where(*here))
            new = {"study": self.id, "worker": self.worker, "heartbeat": _now()}
            db.execute(table.insert().values(**new))
        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.release()
            with self.engine.begin() as db:
                db.execute(table.delete().where(*here))
            self.engine.dispose()

    def _change(self, row: Row, before: str, new: dict[str, Any]) -> Update:
        """New values for a trial that is still as it was, and not another process's."""
        table = self.tables["trials"]
        one = [
            table.c.study == self.id,
            table.c.stage == row.stage,
            table.c.number == row.number,
            table.c.state == before,
        ]
        if before == "running":
            one.append(table.c.worker == self.worker)
        return table.update().where(*one).values(**new)


def spent(rows: Iterable[Row]) -> dict[str, float]:
    """What trials cost together: trials, samples, updates (gradient evaluations), seconds, wall."""
    over = [row for row in rows if row.over]
    return {
        "trials": len(over),
        "diverged": sum(row.state == "diverged" for row in over),
        "failed": sum(row.state == "failed" for row in over),
        "samples": sum(row.done.samples for row in over),
        "updates": sum(row.done.updates for row in over),
        "seconds": sum(row.done.seconds for row in over),
        "wall": sum(row.done.wall for row in over),
    }


def _tables(meta: MetaData) -> dict[str, Table]:
    from sqlalchemy import Column, Float, ForeignKey, Integer, String, Table, Text

    studies = Table(
        "studies",
        meta,
        Column("id", String(80), primary_key=True),
        Column("facts", Text, nullable=False),
        Column("made", String(20), nullable=False),
    )
    trials = Table(
        "trials",
        meta,
        Column("study", String(80), ForeignKey("studies.id"), primary_key=True),
        Column("stage", String(20), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("settings", Text, nullable=False),
        Column("seed", Integer),
        Column("until", Float, nullable=False),
        Column("of", Integer),
        Column("origin", Integer),
        Column("wants", String(20), nullable=False),
        Column("state", String(10), nullable=False),
        Column("value", Float),
        Column("scores", Text),
        Column("curve", Text),
        Column("gradient", Text),
        Column("samples", Integer, nullable=False, default=0),
        Column("updates", Integer, nullable=False, default=0),
        Column("seconds", Float, nullable=False, default=0.0),
        Column("wall", Float, nullable=False, default=0.0),
        Column("worker", String(200), nullable=False, default=""),
        Column("heartbeat", Float),
        Column("reason", Text, nullable=False, default=""),
    )
    workers = Table(
        "workers",
        meta,
        Column("study", String(80), ForeignKey("studies.id"), primary_key=True),
        Column("worker", String(200), primary_key=True),
        Column("heartbeat", Float, nullable=False),
    )
    return {"studies": studies, "trials": trials, "workers": workers}


def _row(found: dict[str, Any]) -> Row:
    for name, empty in (
        ("settings", "{}"),
        ("scores", "{}"),
        ("curve", "[]"),
        ("gradient", "null"),
    ):
        found[name] = json.loads(found[name] or empty)
    wanted = Wanted(**{name: found[name] for name in Wanted._fields})
    done = Done(**{name: found[name] for name in Done._fields})
    return Row(found["stage"], found["number"], wanted, found["state"], done, found["worker"])


def _sqlite(connection: Any, _: object) -> None:
    """Wait for others; append to a log, which a kill leaves whole, instead of syncing each time."""
    for said in ("busy_timeout = 60000", "journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {said}")


def _now() -> float:
    return time.time()


def _dead(worker: str) -> bool:
    """Whether a process of this machine is gone."""
    host, _, pid = worker.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
