"""Forms of a model side by side, and which of them this machine answers with best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zafu.artifact import write_json
from zafu.bench import asking, measure
from zafu.bench.measure import Phase
from zafu.bench.server import running
from zafu.deploy.bundle import opened
from zafu.deploy.gate import FILE
from zafu.errors import Refused, ZafuError
from zafu.export.contract import Export
from zafu.extras import missing
from zafu.run import Run
from zafu.serve import start
from zafu.shrink.footprint import bandwidth

Say = Callable[[str], None]


@dataclass(frozen=True)
class Form:
    """A form of a model, and what was measured of it."""

    kind: str
    phases: list[Phase]
    bytes: int

    def dump(self, bandwidth: float) -> dict[str, Any]:
        """As plain data, with the least time of a pass: that in which its weights are read."""
        limit = 1000 * self.bytes / bandwidth
        phases = [phase.dump() for phase in self.phases]
        return {"kind": self.kind, "bytes": self.bytes, "limit_ms": limit, "phases": phases}


def forms(folder: Path, kinds: Sequence[str]) -> dict[str, Path]:
    """The folders of a run's forms that are there, or those that are asked for, by kind."""
    if (folder / FILE).is_file():
        if kinds:
            raise Refused(f"--kind: expected a run beside it, found the export {folder}")
        return {folder.name: folder}
    there = sorted(path.parent for path in (folder / "export").glob(f"*/{FILE}"))
    found = {"torch": folder, **{path.name: path for path in there}}
    if absent := [kind for kind in kinds if kind not in found]:
        raise Refused(
            f"--kind {absent[0]}: expected one of {', '.join(found)}; "
            f"zafu export {folder} --kind {absent[0]} makes it"
        )
    return {kind: found[kind] for kind in kinds or found}


def all_forms(folder: Path, say: Say) -> dict[str, Path]:
    """All forms that this machine can have of a run; those that are absent are exported."""
    found, model = {"torch": folder}, Run.open(folder).recipe.model
    for how in map(Export.parse, Export.kinds()):
        if faults := (*how.suits(model), *missing(how.needs, how.kind)):
            say(f"left out: {faults[0]}")
            continue
        try:
            found[how.kind] = start.form_of(folder, how.kind, say)
        except ZafuError as error:
            say(f"{how.kind}: left out: {str(error).splitlines()[0]}")
    return found


def measured(
    found: dict[str, Path], *, clients: int, seconds: float, say: Say
) -> tuple[list[Form], float]:
    """What each form does under load, and the bytes a second that this machine reads."""
    read, rows = bandwidth(), list[Form]()
    for kind, folder in found.items():
        bundle = opened(folder)
        ask = asking.of(bundle)
        del bundle  # the server's memory is its own
        say(f"{kind}: {folder}")
        try:
            with running(folder) as port:
                phases = measure.phases(port, ask, clients, seconds)
        except ZafuError as error:
            say(f"{kind}: left out: {error}")
            continue
        rows.append(Form(kind, phases, measure.weights(folder)))
    return rows, read


def compared(
    found: dict[str, Path], *, clients: int, seconds: float, say: Say
) -> tuple[list[Form], float]:
    """The same for forms of one model, whose servers are up at once and loaded in turn."""
    read = bandwidth()
    ask = asking.of(opened(found["torch"]))
    with ExitStack() as up:
        ports = dict[str, int]()
        for kind, folder in found.items():
            try:
                ports[kind] = up.enter_context(running(folder))
            except ZafuError as error:
                say(f"{kind}: left out: {error}")
        phases = measure.in_turns(ports, ask, clients, seconds)
    return [Form(kind, of, measure.weights(found[kind])) for kind, of in phases.items()], read


def best(rows: Sequence[Form]) -> dict[str, str]:
    """The form that answers one client soonest, and the one that answers most of many."""
    able = [row for row in rows if all(p.answered and not p.failed for p in row.phases[:2])]
    if not able:
        raise ZafuError("no form answered without a failure")
    speed = "tokens" if "tokens" in able[0].phases[1].found else "answers"
    one = min(able, key=lambda row: row.phases[0].found["p50"].value)
    many = max(able, key=lambda row: row.phases[1].found[speed].value)
    return {"one": one.kind, "many": many.kind}


def write(folder: Path, rows: Sequence[Form], chosen: dict[str, str], read: float) -> Path:
    """The choice, in RUN/export/pick.json: a server takes the form that answers most of many."""
    file = folder / "export" / start.PICK
    file.parent.mkdir(exist_ok=True)
    facts = {"bandwidth": read, "forms": [row.dump(read) for row in rows]}
    write_json(file, {"kind": chosen["many"], **chosen, **facts})
    return file
