"""Job files: what a cluster is told, and that hostile names stay names."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from zafu import launch
from zafu.cli import main
from zafu.launch import Job
from zafu.layout import Layout

RECIPE = """\
task: {kind: classification}
data: {kind: digits}
model: {kind: mlp, width: 32, layers: 1}
fit: {epochs: 2, batch: 64, threads: 1, optimizer: {kind: adamw, lr: 3e-3}}
layout: {data: 2, shard: 2}
"""
HOSTILE = [
    "a b.yaml",
    "it's.yaml",
    'a"b.yaml',
    "a\n#SBATCH --x\nb",
    "$(touch hit)$X `id`;.yaml",
]
NAMES = [*HOSTILE, "y", "no", "1e3", "~", "é\u2028.yaml", "- a: b", "{x}", "#"]


def job(recipe: str = "big.yaml", **more: Any) -> Job:
    words = ("train", recipe, "fit.note=a 'b' \"c\" $(d)\n", "--runs", "my runs")
    told: dict[str, Any] = {"name": recipe, "words": words, "nodes": 2, "gpus": 2, **more}
    return Job(**told)


def directives(script: str) -> dict[str, str]:
    """What `sbatch` reads: comments before the first command."""
    found: dict[str, str] = {}
    for line in script.splitlines():
        if line and not line.startswith("#"):
            break
        if match := re.fullmatch(r"#SBATCH --([a-z-]+)(?:=([A-Za-z0-9:@.%_-]+))?", line):
            found[match[1]] = match[2] or ""
    return found


@pytest.mark.parametrize("recipe", HOSTILE)
def test_sbatch_is_told_what_was_asked_for(recipe: str) -> None:
    script = launch.slurm(job(recipe, time="24:00:00", cpus=6))

    found = directives(script)
    assert found.pop("job-name") in found.pop("output")
    assert found == {
        "nodes": "2",
        "ntasks-per-node": "2",
        "gpus-per-node": "2",
        "cpus-per-task": "6",
        "time": "24:00:00",
        "signal": "USR1@120",
        "requeue": "",
        "open-mode": "append",
    }
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


# What the script finds on a cluster: two tasks a machine, each with the numbers that Slurm gives.
COMMANDS = {
    "scontrol": 'if [ "$1" = show ]; then printf "node7\\nnode8\\n"; else echo "$@" >> queued; fi',
    "srun": (
        'while [ "${1#--}" != "$1" ]; do shift; done; code=0; for rank in 0 1 2 3; do '
        'SLURM_PROCID=$rank SLURM_LOCALID=$((rank % 2)) "$@" || code=$?; done; exit $code'
    ),
    "python": f'exec {shlex.quote(sys.executable)} told.py "$@"',
}
TOLD = """
import json, os, sys
names = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT".split()
with open("told.jsonl", "a") as file:
    print(json.dumps([sys.argv[1:], [os.environ[n] for n in names]]), file=file)
sys.exit(int(os.environ["CODE"]))
"""


@pytest.mark.parametrize(("recipe", "code"), [("big.yaml", 75), *((name, 0) for name in HOSTILE)])
def test_the_script_starts_every_rank_and_queues_again_what_was_saved(
    recipe: str, code: int, tmp_path: Path
) -> None:
    for name, body in COMMANDS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "told.py").write_text(TOLD)
    found = job(recipe)
    slurm = {"SLURM_JOB_ID": "10123", "SLURM_JOB_NODELIST": "node[7-8]", "CODE": str(code)}
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    ended = subprocess.run(
        ["bash"], input=launch.slurm(found), text=True, cwd=tmp_path, env=environment
    )

    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert [words for words, _ in told] == [["-m", "zafu", *found.words]] * 4
    local = ["0", "1", "0", "1"]
    assert [values for _, values in told] == [
        [str(rank), "4", local[rank], "2", "node7", "20123"] for rank in range(4)
    ]
    assert ended.returncode == code
    queued = tmp_path / "queued"
    assert (queued.read_text() == "requeue 10123\n") if code == 75 else not queued.exists()
    assert not (tmp_path / "hit").exists()


REQUIRED: dict[str, dict[str, Any]] = {  # fields and types of the API's reference
    "Service": {
        "apiVersion": "v1",
        "metadata.name": str,
        "spec.clusterIP": "None",
        "spec.selector": dict,
        "spec.publishNotReadyAddresses": bool,
        "spec.ports.0.port": int,
    },
    "Job": {
        "apiVersion": "batch/v1",
        "metadata.name": str,
        "spec.completionMode": "Indexed",
        "spec.completions": int,
        "spec.parallelism": int,
        "spec.backoffLimit": int,
        "spec.activeDeadlineSeconds": int,
        "spec.podFailurePolicy.rules.0.action": "Ignore",
        "spec.podFailurePolicy.rules.0.onPodConditions.0.type": "DisruptionTarget",
        "spec.podFailurePolicy.rules.0.onPodConditions.0.status": "True",
        "spec.template.spec.restartPolicy": "Never",  # a pod failure policy asks for it
        "spec.template.spec.subdomain": str,
        "spec.template.spec.terminationGracePeriodSeconds": int,
        "spec.template.spec.containers.0.name": str,
        "spec.template.spec.containers.0.image": str,
        "spec.template.spec.containers.0.workingDir": str,
        "spec.template.spec.containers.0.env.0.name": str,
        "spec.template.spec.containers.0.env.0.valueFrom.fieldRef.fieldPath": str,
        "spec.template.spec.containers.0.resources.limits": dict,
        "spec.template.spec.containers.0.volumeMounts.0.mountPath": str,
        "spec.template.spec.volumes.0.persistentVolumeClaim.claimName": str,
    },
}


def at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


@pytest.mark.parametrize("recipe", NAMES)
def test_kubernetes_is_given_sound_objects_whatever_the_names(recipe: str) -> None:
    found = job(recipe, image="me/zafu:1", claim="y", time="1:00:00")

    text = launch.kubernetes(found)

    objects = {item["kind"]: item for item in yaml.safe_load_all(text)}
    for kind, fields in REQUIRED.items():
        for path, wanted in fields.items():
            value = at(objects[kind], path)
            assert isinstance(value, wanted) if isinstance(wanted, type) else value == wanted, path
    name = objects["Job"]["metadata"]["name"]
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 50
    pod = objects["Job"]["spec"]["template"]["spec"]
    assert name == pod["subdomain"] == objects["Service"]["metadata"]["name"]
    assert list(objects["Service"]["spec"]["selector"].values()) == [name]
    container = pod["containers"][0]
    assert f"--master-addr={name}-0.{name}" in container["command"]
    assert tuple(expanded(word) for word in container["args"]) == found.words
    assert all(isinstance(word, str) for word in container["args"] + container["command"])


def expanded(word: str) -> str:
    """As the kubelet does: `$$` is a dollar; no variable may be left."""
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", word)
    return word.replace("$$", "$")


@pytest.mark.parametrize("name", ["y", "on", "NO", "1e3", "0x1f", "null", "~", "12:30:00"])
def test_words_that_some_yaml_reads_as_something_else_are_quoted(name: str) -> None:
    text = launch.kubernetes(job(name, image="i", claim="c"))

    assert f'- "{name}"' in text


def test_a_long_name_keeps_the_digest_at_its_end() -> None:
    found = launch.label(f"{'é long name ' * 9}-0a1b2c3d")

    assert found.endswith("-0a1b2c3d")
    assert len(found) <= 40


def test_torch_takes_the_options_that_pods_give() -> None:
    from torch.distributed.run import get_args_parser

    container = launch.manifests(job(image="i", claim="c"))[1]["spec"]["template"]["spec"]
    words = [*container["containers"][0]["command"][1:], *container["containers"][0]["args"]]
    words[2] = "--node-rank=1"

    found = get_args_parser().parse_args(words)

    assert (found.nnodes, found.nproc_per_node, found.node_rank) == ("2", "2", 1)
    assert (found.module, found.training_script) == (True, "zafu")
    assert tuple(expanded(word) for word in found.training_script_args) == job().words


@pytest.mark.parametrize("recipe", HOSTILE)
def test_rays_words_come_back_from_the_shell(recipe: str) -> None:
    words = launch.ray(job(recipe, folder="/a b"))

    assert words[:4] == ["ray", "job", "submit", "--"]
    assert tuple(words[-len(job().words) :]) == job(recipe).words
    assert words[words.index("--processes") + 1] == "4"
    assert shlex.split(shlex.join(words)) == words


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "big one.yaml").write_text(RECIPE)
    return str(tmp_path / "big one.yaml")


@pytest.mark.parametrize("system", ["slurm", "ray"])
def test_a_sound_job_is_printed(
    system: str, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["launch", system, recipe, "fit.epochs=3", "--nodes", "2", "--gpus-per-node", "2"])

    assert code == 0
    said = shlex.split(capsys.readouterr().out, comments=system == "slurm")
    start = said.index("train")
    assert said[start : start + 3] == ["train", recipe, "fit.epochs=3"]


def test_all_faults_of_recipe_and_job_are_told_at_once(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["launch", "kubernetes", recipe, "fit.epochs=0", "--nodes", "0", "--time", "1 day"]

    code = main(words)

    said = capsys.readouterr().err
    assert code == 2
    for path in ("fit.epochs", "--nodes", "--time", "--image", "--claim"):
        assert f"{path}: expected" in said


def test_another_number_of_processes_is_refused_with_the_nearest_layout(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["launch", "slurm", recipe, "--nodes", "2", "--gpus-per-node", "8"])

    said = capsys.readouterr().err
    assert code == 2
    assert "2 x 8 = 16 processes, found 4" in said
    assert "layout.data=8, 16 processes" in said


def test_what_does_not_divide_has_a_nearest_layout_too() -> None:
    fault = next(launch.mismatched(job(nodes=3), Layout(data=2, shard=4)))

    assert "layout.data=2, 8 processes" in fault.hint


@pytest.mark.parametrize(
    ("system", "more", "option"),
    [
        ("ray", {"time": "1:00:00"}, "--time"),
        ("slurm", {"image": "me"}, "--image"),
        ("slurm", {"time": "0:02:00"}, "--time"),
        ("kubernetes", {"image": "i", "claim": "c", "folder": "here"}, "--mount"),
        ("kubernetes", {"image": "i", "claim": "c", "cpus": 0}, "--cpus-per-gpu"),
    ],
)
def test_an_option_that_could_not_take_effect_is_a_fault(
    system: str, more: dict[str, Any], option: str
) -> None:
    assert [fault.path for fault in launch.misplaced(job(**more), system)] == [option]


def test_submitting_without_the_systems_command_is_refused(
    recipe: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    code = main(["launch", "slurm", recipe, "--nodes", "2", "--gpus-per-node", "2", "--submit"])

    assert code == 2
    assert "sbatch" in capsys.readouterr().err


@pytest.mark.slow
def test_ray_starts_ranks_that_know_their_place(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "told.py").write_text(TOLD)
    command = [
        *(sys.executable, "-W", "ignore", "-m", "zafu.launch_on_ray"),
        *("--processes", "2", "--cpus", "0.5", "--folder", str(tmp_path), "--"),
        *(sys.executable, "told.py", "a b"),
    ]
    environment = {**os.environ, "CODE": "75", "PYTHONPATH": str(Path(__file__).parents[1])}

    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 75, ended.stderr[-3000:]
    told = sorted(
        (json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()),
        key=lambda found: found[1],
    )
    assert [words for words, _ in told] == [["a b"], ["a b"]]
    assert [values[:4] for _, values in told] == [["0", "2", "0", "1"], ["1", "2", "0", "1"]]
    assert told[0][1][4:] == told[1][1][4:]
    assert int(told[0][1][5]) > 0
