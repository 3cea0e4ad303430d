"""A training on several processes: killed, stopped, started otherwise, it ends with the same."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from zafu.artifact import digest_file, read_json
from zafu.errors import Refused
from zafu.launch import Job, ray
from zafu.layout import Layout
from zafu.nets.decoder import Decoder
from zafu.parallel.local import elastic
from zafu.parallel.world import World
from zafu.pipeline import load_model, prepared
from zafu.recipe import Recipe
from zafu.source import parse_yaml
from zafu.track import metrics
from zafu.verify import compared, plain, traced, write

RECIPE = """\
task: language-modeling
data: {kind: text, files: ["stdlib:asyncio/*.py"], context: 16, tokenizer: {kind: bpe, vocab: 300}}
model: {kind: decoder, width: 16, layers: 2, heads: 2}
fit: {optimizer: adamw, batch: 8, steps: 60, evaluate_every: 25, save_every: 10, threads: 1}
evaluate: {baselines: [], during: 64}
"""


def start(folder: Path, out: str, *overrides: str) -> subprocess.Popen[str]:
    (folder / "small.yaml").write_text(RECIPE)
    words = ["train", "small.yaml", *overrides, "--out", out, "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-m", "zafu", *words],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def done(process: subprocess.Popen[str], code: int = 0) -> str:
    text = process.communicate(timeout=200)[0]
    assert process.returncode == code, text
    return text


def saved(process: subprocess.Popen[str], run: Path) -> None:
    """Return when the run has a checkpoint."""
    while process.poll() is None and not [*run.glob("checkpoints/step-0000000[1-9]0")]:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[0]


def children(process: subprocess.Popen[str]) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in tasks.read_text().split()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a training by two shards has ended undisturbed, as `whole`."""
    folder = tmp_path_factory.mktemp("runs")
    done(start(folder, "whole", "layout.shard=2"))
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes under /proc")
def test_a_rank_that_is_killed_changes_nothing(folder: Path) -> None:
    process = start(folder, "killed", "layout.shard=2")
    saved(process, folder / "killed")
    os.kill(children(process)[1], 9)

    text = done(process)

    assert "rank 1 was ended by SIGKILL: all start again" in text
    assert "rank 1 is lost" in text
    assert "Traceback" not in text  # it is in a log
    assert "Traceback" in (folder / "killed/ranks/0.stacks").read_text()
    weights = "model/model.safetensors"
    assert digest_file(folder / "killed" / weights) == digest_file(folder / "whole" / weights)


def test_ctrl_c_saves_and_ends_all_and_another_layout_goes_on(folder: Path) -> None:
    process = start(folder, "moved", "layout.shard=2")
    saved(process, folder / "moved")
    ranks = children(process)
    process.send_signal(2)

    text = done(process, code=75)
    done(start(folder, "moved", "layout.pipeline=2"))

    assert "SIGINT: step" in text
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    losses = [
        read_json(folder / name / "evaluation.json")["scores"]["loss"]["value"]
        for name in ("whole", "moved")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert isinstance(load_model(folder / "moved" / "model")[0], Decoder)


def test_a_budget_in_seconds_is_judged_by_all_ranks_alike(folder: Path) -> None:
    """An evaluation is due after a share of the time that the first rank has counted."""
    budget = ("fit.steps=null", "fit.seconds=4", "fit.evaluate_every=null", "fit.save_every=null")
    done(start(folder, "timed", "layout.data=2", *budget))

    judged = [row for row in metrics.read(folder / "timed/metrics.jsonl") if "scores" in row]
    assert len(judged) >= 2  # each tenth, if no step takes as long


SLOW_END = """\
import os, signal, time
from zafu import checkpoint
real = checkpoint.prune
def prune(*words, **more):
    time.sleep(8)
    return real(*words, **more)
checkpoint.prune = prune
"""


def test_a_first_rank_that_ends_slowly_after_a_signal_is_no_failure(folder: Path) -> None:
    (folder / "slow_end.py").write_text(SLOW_END)
    process = start(folder, "signalled", "layout.data=2", "plugins=[slow_end.py]", "fit.steps=5000")
    while process.poll() is None and not (folder / "signalled/costs.json").exists():
        time.sleep(0.02)
    process.send_signal(2)

    text = done(process, code=75)

    assert "SIGINT: step" in text
    assert read_json(folder / "signalled/status.json")["state"] == "interrupted"


def agent(folder: Path, *words: str, options: tuple[str, ...]) -> subprocess.Popen[str]:
    """torch's elastic launcher with `zafu train`."""
    command = ["-m", "torch.distributed.run", *options, "-m", "zafu", "train", "small.yaml"]
    return subprocess.Popen(
        [sys.executable, *command, *words, "--quiet"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes under /proc")
def test_torchs_launcher_starts_again_what_was_killed(folder: Path) -> None:
    options = ("--standalone", "--nproc-per-node=2", "--max-restarts=2")
    process = agent(folder, "layout.shard=2", "--out", "launched", options=options)
    saved(process, folder / "launched")
    os.kill(children(process)[1], 9)

    done(process)

    weights = "model/model.safetensors"
    assert digest_file(folder / "launched" / weights) == digest_file(folder / "whole" / weights)
    assert losses(folder / "launched") == losses(folder / "whole")


@pytest.mark.slow
def test_ray_trains_on_two_workers(folder: Path) -> None:
    """What `zafu launch ray` submits, on a cluster that Ray starts on this machine."""
    pytest.importorskip("ray")
    job = Job("r", ("train", "small.yaml", "layout.shard=2", "--out", "on-ray"), nodes=1, gpus=2)
    words = ray(job)
    told = words[words.index("zafu.launch_on_ray") + 1 :]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where `python` is ours
    share = {"--gpus": "0", "--cpus": "0.5", "--folder": str(folder)}
    for option, value in share.items():
        told[told.index(option) + 1] = value

    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "zafu.launch_on_ray", *told],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": path},
        check=True,
        timeout=200,
    )

    weights = "model/model.safetensors"
    assert digest_file(folder / "on-ray" / weights) == digest_file(folder / "whole" / weights)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes under /proc")
def test_a_machine_is_lost_and_the_others_go_on_with_the_same_samples(folder: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = (
        *("--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d"),
        *(f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=1"),
    )
    settings = "--rdzv-conf=keep_alive_interval=1,keep_alive_max_attempt=2,last_call_timeout=8"
    words = ("--elastic", "--out", "elastic")
    first, second = (
        agent(folder, *words, options=(*options, f"{settings},is_host={host}")) for host in (1, 0)
    )
    saved(first, folder / "elastic")
    ranks = children(second)
    second.kill()
    second.communicate()

    text = done(first)

    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)  # they end with their launcher
    assert "is lost" in text
    ours, theirs = losses(folder / "elastic"), losses(folder / "whole")
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, rel=1e-4)  # AdamW makes rounding large
    judged = read_json(folder / "elastic" / "evaluation.json")["scores"]["loss"]["value"]
    whole = read_json(folder / "whole" / "evaluation.json")["scores"]["loss"]["value"]
    assert judged == pytest.approx(whole, rel=1e-4)


def losses(run: Path) -> dict[int, float]:
    """The recorded loss of each step."""
    return {
        row["step"]: row["loss"] for row in metrics.read(run / "metrics.jsonl") if "loss" in row
    }  # pyright: ignore[reportReturnType]


def test_replicas_are_as_many_as_processes_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.parse(parse_yaml(RECIPE).data).at("layout.shard", 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(Refused, match="expected a launcher"):
        elastic(recipe)

    monkeypatch.setenv("WORLD_SIZE", "6")
    six = elastic(recipe)
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(Refused, match=r"a multiple of 2 processes.*started 5"):
        elastic(recipe)

    assert six.layout.data == 3
    assert six.identity() == recipe.identity()


def test_another_number_of_processes_than_the_layout_has_is_refused(folder: Path) -> None:
    environment = {**os.environ, "WORLD_SIZE": "4", "RANK": "0"}

    found = subprocess.run(
        [sys.executable, "-m", "zafu", "train", "small.yaml", "layout.shard=2", "--out", "no"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert found.returncode == 2
    assert "the layout has 2 processes, the launcher started 4; set layout.data=2" in found.stderr


def test_the_proof_sees_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    recipe = plain(Recipe.load(folder / "small.yaml"))
    data = prepared(recipe, folder)
    reference = traced(recipe, data, World(Layout()))
    write(reference, tmp_path, 0)
    write(reference, tmp_path, 1)

    same = compared(reference, tmp_path, Layout(data=2))
    name = reference.pieces[-1].name
    reference.gradients[1][name].mul_(1.001)  # as if a rank had not been heard
    found = compared(reference, tmp_path, Layout(data=2))

    assert not any(difference.beyond for difference in same)
    assert {(d.what, d.name, d.step) for d in found if d.beyond} == {("gradient", name, 2)}
    assert found[0].relative == pytest.approx(1e-3, rel=0.01)


def test_the_command_proves_a_layout(folder: Path) -> None:
    command: list[Any] = [sys.executable, "-m", "zafu", "verify-layout", "small.yaml"]

    found = subprocess.run(
        [*command, "layout.shard=2"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    assert "comparisons, worst first: the same" in found.stdout
