"""Run: a folder that holds everything about one execution of one recipe.

```
runs/data/DIGEST/       prepared data, shared by all runs that ask for the same
runs/NAME-DIGEST/
  recipe.yaml           the resolved recipe
  environment.json      versions, machine, threads, commit
  status.json           how far, and how it ended
  metrics.jsonl         a line for each logged step and each evaluation
  checkpoints/step-N/   all that is needed to go on
  model/                the finished model: weights, what was fitted with it, and its card
  evaluation.json       held-out scores with intervals, beside the baselines
  report.html
```
The name follows from the recipe, so the same command finds the same run.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from zafu import artifact
from zafu.artifact import digest_file, publish, read_json, verify, write_json, write_text
from zafu.data.wrong_labels import plant
from zafu.errors import Damaged, Fault, Refused
from zafu.recipe import Recipe
from zafu.signature import Signature
from zafu.source import to_yaml
from zafu.spec import digest_of
from zafu.units import Bytes
from zafu.work import Engine, Pool, Work

MODEL = "model"
DECIDES_BYTES = ("zafu", "torch", "cpu", "threads", "device")  # of an environment
BYTES = 4  # of one fp32 number
PREPARES = (
    "hashing.py",
    *(f"{p}/*.py" for p in ("data", "clean", "features", "tokenizers")),
)  # our code that prepares data
LIBRARIES = (
    "numpy",
    "polars",
    "tokenizers",
    "tiktoken",
    "ftfy",
    "pillow",
    "simplejpeg",
    "scikit-learn",
)


@dataclass(frozen=True)
class Run:
    """The folder of a run and the recipe that it carries out."""

    folder: Path
    recipe: Recipe

    @classmethod
    def named(cls, recipe: Recipe, name: str, runs: Path) -> Run:
        """The run of this recipe under `runs`; the folder need not exist yet."""
        return cls(runs / f"{name}-{recipe.identity()[:8]}", recipe)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """An existing run; raises Refused if the folder holds none."""
        file = folder / "recipe.yaml"
        if not file.is_file():
            known = sorted(p.parent.name for p in folder.parent.glob("*/recipe.yaml"))
            near = f"; runs beside it: {', '.join(known[:8])}" if known else ""
            raise Refused(f"{folder}: expected a run folder with recipe.yaml{near}")
        return cls(folder, Recipe.stored(file))

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.folder.name

    @property
    def stem(self) -> str:
        """The name of its recipe, without the digest."""
        return self.name.rpartition("-")[0] or self.name

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        """Where the finished model is, once there is one."""
        return self.folder / MODEL

    @property
    def finished(self) -> bool:
        """Whether the run is at its end: by its own word, with model and report to show."""
        shown = (self.model / artifact.CARD, self.folder / "report.html")
        return self.status().get("state") == "finished" and all(f.is_file() for f in shown)

    def status(self) -> dict[str, Any]:
        """What the run last said about itself; empty if it never began or cannot be read."""
        try:
            found = read_json(self.folder / "status.json")
        except Damaged:
            return {}
        return found if isinstance(found, dict) else {}

    def say(self, state: str, **facts: Any) -> None:
        """Note how the run stands: running, interrupted, failed or finished."""
        write_json(self.folder / "status.json", {"state": state, "time": time.time(), **facts})

    def refuse_other(self) -> None:
        """Raise Refused if the folder holds the run of another recipe."""
        file = self.folder / "recipe.yaml"
        if file.is_file():
            there = Recipe.stored(file)
            if there.identity() != self.recipe.identity():
                text = f"{self.folder}: holds the run of another recipe"
                raise Refused(f"{text} ({_difference(there, self.recipe)}); choose another --out")

    def begin(self) -> list[str]:
        """Write down recipe and environment; what of the latter has changed since the last time.

        Raises Refused if the folder is another recipe's.
        """
        self.refuse_other()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "recipe.yaml", to_yaml(self.recipe.dump()))
        file, now = self.folder / "environment.json", environment(self.recipe.fit.threads)
        try:
            before = read_json(file) if file.is_file() else now
        except Damaged:  # it is written anew below
            before = now
        write_json(file, now)
        decide = ((key, before.get(key), now[key]) for key in DECIDES_BYTES)
        return [f"{key} {old} became {new}" for key, old, new in decide if old != new]


def foresee(recipe: Recipe, folder: Path, signature: Signature | None = None) -> list[Fault]:
    """What would stop this recipe from being written to `folder`: permission and room.

    Room is needed for the checkpoints that are kept and the one that replaces them. Without a
    signature the size is that of what is known before the data is read.
    """
    place = folder
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        return [Fault("", "an output folder that can be written", str(folder), hint="choose --out")]
    signature = signature or recipe.data.foreseen(recipe.task.kind)
    if signature is None or recipe.data.gives not in recipe.model.takes:
        return []
    best = recipe.fit.early_stopping is not None
    count = recipe.fit.keep + 1 + best + len(recipe.fit.schedule.ends())
    needed = Bytes(checkpoint_bytes(recipe, signature) * count)
    free = Bytes(artifact.free_bytes(folder))
    there = sum(f.stat().st_size for f in (folder / "checkpoints").glob("step-*/*"))
    if needed <= free + there:
        return []
    expected = f"room for {count} checkpoints ({needed})"
    return [
        Fault("fit.keep", expected, f"{free} free at {place}", hint="free some or choose --out")
    ]


def checkpoint_bytes(recipe: Recipe, signature: Signature) -> int:
    """Bytes of one checkpoint: weights, and the state of what moves them."""
    per_weight = 1 + recipe.fit.state_per_weight
    return round(recipe.model.parameter_count(signature) * per_weight * BYTES)


def prepared(
    recipe: Recipe,
    runs: Path,
    *,
    engine: Engine | None = None,
    say: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], str] = lambda: "",
    trusted: bool = False,
) -> Path:
    """The folder of this recipe's prepared data, made if it is not there or not whole.

    `trusted`: one that is there is not verified, as another process of the layout does that.

    `engine` does the pieces of it (default: a pool of processes), `say` hears how far it is, and
    `stopped` gives the signal that asks to stop: what is done is then kept, and Interrupted raised.
    """
    files = recipe.data.sources()
    base = Path(os.path.commonpath(files)) if len(files) > 1 else Path("/")
    seed = recipe.split_seed
    key = {
        "data": recipe.data.at("split.seed", None).dump(),
        "task": recipe.task.kind,
        "seed": seed,
        "files": [
            [f.name if len(files) == 1 else str(f.relative_to(base)), digest_file(f)] for f in files
        ],
        "plugins": [digest_file(Path(name)) for name in recipe.plugins],
        "code": _code(),
        "rows": recipe.data.fingerprint(),
    }
    digest = digest_of(key)
    folder = runs / "data" / digest[:16]
    with artifact.taking_turns(runs / "data" / f".{folder.name}.lock"):
        if folder.is_dir():
            try:
                if not trusted:
                    verify(folder)
            except Damaged:
                pass  # it is a cache: made again below
            else:
                return folder
        work = Work(
            folder.with_name(f".{folder.name}.work"),
            engine or Pool(plugins=recipe.plugins),
            say,
            stopped,
        )

        def write(part: Path) -> None:
            recipe.data.prepare(part, task=recipe.task.kind, seed=seed, work=work)
            if recipe.data.wrong_labels:
                plant(part, recipe.data.wrong_labels)

        publish(folder, write, kind="data", digest=digest)
        shutil.rmtree(work.folder, ignore_errors=True)
    return folder


@cache
def _code() -> dict[str, str]:
    """What of our own code and of others' decides the bytes of prepared data."""
    package = Path(__file__).parent
    inside = sorted(f for name in PREPARES for f in package.glob(name))
    ours = digest_of([[str(f.relative_to(package)), digest_file(f)] for f in inside])
    found = {"zafu": ours}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def environment(threads: int | None = None) -> dict[str, Any]:
    """What else than the recipe may decide the bytes: versions, machine, threads, commit.

    `threads` are those that the recipe asks for; None: torch's choice.
    """
    import torch

    cuda = torch.cuda.is_available()
    return {
        "zafu": version("zafu"),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "threads": threads or torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "git": _git(),
        "command": " ".join(["zafu", *sys.argv[1:]]),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git() -> dict[str, Any]:
    """The commit of the folder that the user stands in, if it is a git checkout."""
    commands = (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain", "-uno"])
    try:
        commit, changes = (
            subprocess.run(c, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for c in commands
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "dirty": bool(changes)}


def _difference(a: Recipe, b: Recipe) -> str:
    left, right = _flat(a.dump()), _flat(b.dump())
    changed = [key for key in left | right if left.get(key) != right.get(key)]
    return ", ".join(changed[:5]) + (" …" if len(changed) > 5 else "")


def _flat(data: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {path: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{path}.{key}" if path else key)
    return flat
