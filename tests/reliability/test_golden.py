"""R11: two runs are bit-identical, and their losses are those that were committed.

`golden.json` was written by this file with `python tests/reliability/test_golden.py` on one thread
of an x86 CPU. On one machine losses are equal exactly; another CPU may add in another order, so
that across machines they agree to a relative 1e-4 (the differences grow with the steps).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks" / "reliability")]

import trial  # noqa: E402
from inside import Parts, parts, recipe_of  # noqa: E402

from zafu import loop  # noqa: E402

GOLDEN = HERE / "golden.json"
ACROSS_MACHINES = 1e-4
STEPS = 20
RECIPES = {
    "digits": """\
task: {kind: classification, label_smoothing: 0.1}
data: digits
model: {kind: convnet, width: 8}
fit:
  optimizer: {kind: adamw, lr: 2.0e-3, weight_decay: 0.05}
  schedule: {kind: cosine, warmup: 0.1}
  batch: 32
  micro_batch: 16
  steps: 20
  threads: 1
  device: cpu
""",
    "table": """\
task: regression
data: {kind: table, files: [FOLDER/houses.csv], target: price}
model: {kind: mlp, width: 32, dropout: 0.1}
fit:
  optimizer: {kind: sgd, lr: 0.05, momentum: 0.9}
  penalties: [{kind: l1, strength: 1.0e-3}]
  clip: {norm: 1.0}
  batch: 16
  steps: 20
  threads: 1
  device: cpu
""",
    "text": """\
task: language-modeling
data:
  {kind: text, files: [FOLDER/words.txt], delimiter: "\\n", context: 16,
   tokenizer: {kind: bpe, vocab: 270}}
model: {kind: decoder, width: 32, layers: 2, heads: 2, dropout: 0.1}
fit:
  optimizer: {kind: muon, lr: 0.02}
  schedule: {kind: wsd, warmup: 0.1}
  batch: 8
  steps: 20
  threads: 1
  device: cpu
""",
}


def _run(name: str, folder: Path) -> tuple[list[float], str]:
    """The loss of each step, and the digest of all bytes at the end."""
    made: Parts = parts(recipe_of(RECIPES[name].replace("FOLDER", str(folder))), folder)
    steps = loop.fit(made.objective, made.update, loop.begin(made.objective.spec))
    return [step.loss for step in steps], made.digest()


def _data(folder: Path) -> None:
    trial.write(folder)
    words = "\n".join(f"{i} times {i} is {i * i}, and {i} more is {i * i + i}" for i in range(300))
    (folder / "words.txt").write_text(words)


@pytest.mark.parametrize("name", RECIPES)
def test_two_runs_are_bit_identical_and_the_losses_are_the_committed_ones(
    name: str, tmp_path: Path
) -> None:
    _data(tmp_path)
    golden: list[float] = json.loads(GOLDEN.read_text())[name]

    first, second = _run(name, tmp_path), _run(name, tmp_path)

    assert first == second
    assert len(golden) == STEPS
    assert first[0] == pytest.approx(golden, rel=ACROSS_MACHINES)
    assert first[0][-1] < first[0][0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as there:
        _data(Path(there))
        losses = {name: _run(name, Path(there))[0] for name in RECIPES}
    GOLDEN.write_text(json.dumps(losses, indent=1) + "\n")
