"""What the proofs share: the fork server, and a small training whose end is known to the byte."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks" / "reliability")]

import trial  # noqa: E402
from forks import Child, Forks  # noqa: E402


@dataclass
class Workshop:
    """A folder with a recipe that was carried to its end once, undisturbed."""

    forks: Forks
    folder: Path
    recipe: Path
    expected: dict[str, str] = field(default_factory=dict[str, str])
    losses: dict[int, float] = field(default_factory=dict[int, float])

    def start(self, name: str, **fault: object) -> tuple[Child, Path]:
        """Start or go on with the training in a folder of this name, under a fault."""
        out = self.folder / "runs" / name
        words = ["train", self.recipe, "--out", out]
        return self.forks.start(words, self.folder, **fault), out

    def run(self, name: str, **fault: object) -> tuple[Child, Path]:
        """The same, and wait for its end."""
        child, out = self.start(name, **fault)
        child.wait()
        return child, out

    def ends_identically(self, name: str) -> bool:
        """Run the same command again, without a fault: whether it ends as if nothing had been."""
        child, out = self.run(name)
        assert child.code == 0, child.said()
        assert trial.losses(out) == self.losses
        return trial.digests(out) == self.expected


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A server of children that have loaded torch."""
    with Forks() as server:
        yield server


@pytest.fixture(scope="session")
def workshop(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The training of 80 steps."""
    return _workshop(forks, tmp_path_factory.mktemp("workshop"), trial.RECIPE)


@pytest.fixture(scope="session")
def short(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The training of 24 steps."""
    return _workshop(forks, tmp_path_factory.mktemp("short"), trial.SHORT)


def _workshop(forks: Forks, folder: Path, recipe: str) -> Workshop:
    shop = Workshop(forks, folder, trial.write(folder, recipe))
    child, out = shop.run("undisturbed")
    assert child.code == 0, child.said()
    shop.expected, shop.losses = trial.digests(out), trial.losses(out)
    return shop
