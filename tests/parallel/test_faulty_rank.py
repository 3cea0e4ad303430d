"""A training in which one rank computes wrongly says so, and goes on once it does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zafu.artifact import digest_file, read_json

PLUGIN = """\
import os
import time
from pathlib import Path
from typing import ClassVar, Literal, final

import torch
from torch import nn

from zafu.models.contract import Model

FLAW = Path(__file__).with_name("flaw")


class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.body, self.head = nn.Linear(inputs, 32), nn.Linear(32, outputs)
        self.passes = 0

    def forward(self, x, *_):
        self.passes += self.training
        if os.environ.get("RANK") == "1" and self.training:
            self.fail()
        return self.head(self.body(x.flatten(1)).relu())

    def fail(self):
        if self.passes == 70 and FLAW.exists() and FLAW.read_text() == "flip":
            FLAW.unlink()  # once
            word = self.body.weight.detach().view(-1).view(torch.int32)
            word[100] ^= 1  # the smallest change that there is


@final
class Faulty(Model):
    kind: Literal["faulty"] = "faulty"
    takes: ClassVar[frozenset[str]] = frozenset({"pixels"})

    def build(self, signature):
        return Net(64, signature.outputs)

    def parameter_count(self, signature):
        return 65 * 32 + 33 * signature.outputs
"""
RECIPE = """\
task: classification
data: digits
model: faulty
fit: {optimizer: adamw, batch: 16, steps: 120, evaluate_every: 1000, save_every: 30, threads: 1}
evaluate: {baselines: []}
plugins: [faulty.py]
"""


def train(folder: Path, out: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zafu", "train", "faulty.yaml", *overrides, "--out", out],
        cwd=folder,
        text=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a training by two replicas has ended undisturbed, as `whole`."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "faulty.py").write_text(PLUGIN)
    (folder / "faulty.yaml").write_text(RECIPE)
    found = train(folder, "whole", "layout.data=2")
    assert found.returncode == 0, found.stderr
    assert "what several ranks hold was the same throughout" in found.stderr
    return folder


def test_a_flipped_bit_ends_the_run_before_it_is_saved_and_the_same_command_goes_on(
    folder: Path,
) -> None:
    (folder / "flaw").write_text("flip")

    ended = train(folder, "flipped", "layout.data=2")
    status = read_json(folder / "flipped/status.json")
    again = train(folder, "flipped", "layout.data=2")

    assert ended.returncode == 1, ended.stderr
    assert "step 90: ranks 0, 1 have different bits of body.weight" in ended.stderr
    assert "they were the same after step 60" in ended.stderr
    assert "goes on from step-000000060" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert status["state"] == "failed"
    assert again.returncode == 0, again.stderr
    assert "goes on from step-000000060" in again.stderr
    weights = "model/model.safetensors"
    assert digest_file(folder / "flipped" / weights) == digest_file(folder / "whole" / weights)
