"""R8: the exit code is 0 if and only if the recipe was carried to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import trial
from conftest import Workshop
from honest import honest


def test_a_finished_run_says_so(short: Workshop) -> None:
    child, out = short.run("exit-finished")

    assert child.code == 0
    assert honest(child, out)


@pytest.mark.parametrize("broken", [[1], [2], [1, 2]])
def test_a_reader_that_goes_away_does_not_turn_unfinished_into_0(
    broken: list[int], short: Workshop
) -> None:
    """As `zafu train ... 2>&1 | head -1` does. A result that nobody could read is not 0 either."""
    label = f"broken-{len(broken)}-{broken[0]}"
    child, out = short.run(label, broken=broken)

    assert child.code == 1
    assert trial.status(out)["state"] in ("finished", "interrupted")
    assert short.ends_identically(label)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["fit.steps=0"], 2),
        (["fit.stepz=3"], 2),
        (["data.target=prize"], 2),
        (["data.files=[absent.csv]"], 2),
        (["--nonsense"], 2),
        (["fit.optimizer.groups=[{match: nothing}]"], 2),
    ],
)
def test_a_request_that_is_refused_says_2_and_never_finished(
    words: list[str], code: int, short: Workshop
) -> None:
    out = short.folder / "runs" / f"refused-{abs(hash(words[0]))}"

    child = short.forks.run(["train", short.recipe, "--out", out, *words], short.folder)

    assert child.code == code, child.said()
    assert "Traceback" not in child.said()
    if (out / "status.json").exists():
        assert trial.status(out)["state"] == "failed"


def test_an_error_of_ours_says_1_and_failed(short: Workshop, tmp_path: Path) -> None:
    """A plugin whose model raises in its forward pass: not an error that zafu knows."""
    plugin = tmp_path / "raising.py"
    plugin.write_text(PLUGIN)
    recipe = tmp_path / "recipe.yaml"
    text = short.recipe.read_text().replace("kind: mlp, width: 64, dropout: 0.2", "kind: raising")
    recipe.write_text(text + "plugins: [raising.py]\n")
    out = tmp_path / "runs" / "raising"

    child = short.forks.run(["train", recipe, "--out", out], tmp_path)

    assert child.code == 1, child.said()
    assert "RuntimeError: on purpose" in child.said()
    assert honest(child, out)
    assert trial.status(out)["message"] == "on purpose"


PLUGIN = """\
from typing import ClassVar, Literal, final

from torch import nn

from zafu.models.contract import Model


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(1, 1)

    def forward(self, *inputs):
        raise RuntimeError("on purpose")


@final
class Raising(Model):
    kind: Literal["raising"] = "raising"
    takes: ClassVar[frozenset[str]] = frozenset({"columns"})

    def build(self, signature):
        return Net()
"""
