"""Launch: job files that run `zafu train` on many machines, by Slurm, Kubernetes or Ray.

Each process runs the user's own command with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT; the run's folder is the same, and so is going on where it stopped. It must lie where
all machines see it.

Slurm (slurm.schedmd.com/sbatch.html): `srun` starts the processes, without torch's elastic
launcher, whose exit code is 1 whatever that of its workers is: so 75, which says that a run was
saved after a signal, reaches the script, and the job is queued again. Kubernetes
(kubernetes.io/docs/concepts/workloads/controllers/job): an Indexed Job, one pod a machine, found
through a headless Service; in each pod torch's launcher passes SIGTERM on. Ray
(docs.ray.io/en/latest/cluster/running-applications/job-submission): `zafu.launch_on_ray`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from zafu.errors import Fault
from zafu.layout import Layout

SYSTEMS = ("slurm", "kubernetes", "ray")
SAVED = 75  # exit code of a run that was saved after a signal
SAVE_SECONDS = 120  # before the end of a job, for a checkpoint
LONGEST_SAVE = 600  # seconds between the end of the first process and that of the last
PORT = 29500
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9./_-]{2,}")  # text that no YAML reads as anything else
_WORDS = frozenset(("yes", "off", "true", "false", "null"))


@dataclass(frozen=True)
class Job:
    """A command on some machines."""

    name: str  # of the run; any text
    words: tuple[str, ...]  # after `python -m zafu`
    nodes: int
    gpus: int  # on each machine, a process for each
    cpus: int = 8  # for each process
    time: str | None = None  # hours:minutes:seconds; None: what the cluster gives
    image: str | None = None  # of the container
    claim: str | None = None  # volume claim with recipe, data and runs
    folder: str = "/zafu"  # where the claim is mounted, or whence the command is run

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.nodes * self.gpus

    @property
    def seconds(self) -> int | None:
        """The longest that it may take."""
        if self.time is None:
            return None
        hours, minutes, seconds = (int(part) for part in self.time.split(":"))
        return hours * 3600 + minutes * 60 + seconds


def misplaced(job: Job, system: str) -> Iterator[Fault]:
    """Faults of a job for a system, whatever it runs."""
    counts = {"--nodes": job.nodes, "--gpus-per-node": job.gpus, "--cpus-per-gpu": job.cpus}
    for option, value in counts.items():
        if value < 1:
            yield Fault(option, "a number >= 1", str(value))
    if job.time is not None and not re.fullmatch(r"[0-9]{1,4}:[0-5][0-9]:[0-5][0-9]", job.time):
        yield Fault("--time", "hours:minutes:seconds, such as 24:00:00", repr(job.time))
    elif job.seconds is not None and job.seconds <= SAVE_SECONDS:
        expected = f"more than {SAVE_SECONDS} seconds, which saving may take"
        yield Fault("--time", expected, str(job.time))
    if job.time is not None and system == "ray":
        yield Fault("--time", "nothing, as Ray ends no job by the clock", job.time)
    for option, value in (("--image", job.image), ("--claim", job.claim)):
        if system == "kubernetes" and not value:
            yield Fault(option, "a name, for Kubernetes", "nothing")
        elif system != "kubernetes" and value:
            yield Fault(option, f"nothing, as {system} uses none", value)
    if system == "kubernetes":
        recipe = PurePosixPath(job.words[1])
        if not PurePosixPath(job.folder).is_absolute() or ":" in job.folder:
            yield Fault("--mount", "an absolute path without ':'", repr(job.folder))
        if recipe.is_absolute() and not recipe.is_relative_to(job.folder):
            yield Fault("recipe", f"a path of the claim, under {job.folder}", str(recipe))


def mismatched(job: Job, layout: Layout) -> Iterator[Fault]:
    """The fault of a job with a layout that has another number of processes."""
    if job.nodes < 1 or job.gpus < 1 or job.world == layout.world:
        return
    others = layout.world // layout.data
    near = max(1, round(job.world / others))
    expected = f"{job.nodes} x {job.gpus} = {job.world} processes"
    hint = f"nearest: layout.data={near}, {near * others} processes"
    yield Fault("layout", expected, str(layout.world), hint=hint)


def slurm(job: Job) -> str:
    """A script for `sbatch`: a task for each GPU, queued again if it was saved."""
    name = label(job.name)
    directives = {
        "job-name": name,
        "nodes": job.nodes,
        "ntasks-per-node": job.gpus,
        "gpus-per-node": job.gpus,
        "cpus-per-task": job.cpus,
        **({"time": job.time} if job.time else {}),
        "signal": f"USR1@{SAVE_SECONDS}",  # to the steps
        "output": f"{name}-%j.log",
    }
    flags = ["requeue", "open-mode=append"]
    task = 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec "$@"'
    step = [
        *("srun", "--distribution=block", "--kill-on-bad-exit=0", f"--wait={LONGEST_SAVE}"),
        f"--cpus-per-task={job.cpus}",  # a step does not inherit it
        *("bash", "-c", task, "zafu", *command(job)),
    ]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH --{key}={value}" for key, value in directives.items()),
            *(f"#SBATCH --{flag}" for flag in flags),
            "",
            "set -uo pipefail",
            'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            "MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))",
            f"export MASTER_ADDR MASTER_PORT WORLD_SIZE={job.world} LOCAL_WORLD_SIZE={job.gpus}",
            "",
            shlex.join(step),
            "code=$?",
            f"if [ $code -eq {SAVED} ]; then  # saved; the same command goes on",
            '  scontrol requeue "$SLURM_JOB_ID"',
            "fi",
            "exit $code",
            "",
        ]
    )


def kubernetes(job: Job) -> str:
    """A Service and an Indexed Job, as YAML."""
    return yaml.dump_all(
        manifests(job), Dumper=_Dumper, sort_keys=False, width=10**6, explicit_start=True
    )


def manifests(job: Job) -> list[dict[str, Any]]:
    """The objects of Kubernetes' API, as plain data."""
    name = label(job.name).lower().replace(".", "-").replace("_", "-").strip("-")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # processes meet before any is ready
            "selector": {"batch.kubernetes.io/job-name": name},
            "ports": [{"name": "torch", "port": PORT}],
        },
    }
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": job.nodes,
        "parallelism": job.nodes,
        "backoffLimit": 6 * job.nodes,  # where one pod fails, all do
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [_condition("DisruptionTarget")]}]
        },
        **({"activeDeadlineSeconds": job.seconds} if job.seconds else {}),
        "template": {
            "spec": {
                "subdomain": name,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": SAVE_SECONDS + 30,
                "containers": [_container(job, name)],
                "volumes": [
                    {"name": "files", "persistentVolumeClaim": {"claimName": job.claim}},
                    {"name": "memory", "emptyDir": {"medium": "Memory"}},
                ],
            }
        },
    }
    metadata = {"name": name}
    return [service, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}]


def ray(job: Job) -> list[str]:
    """The words of a command that submits the job to a cluster; RAY_ADDRESS says to which."""
    share = ["--gpus", "1", "--cpus", str(job.cpus), "--folder", job.folder]
    processes = ["--processes", str(job.world)]
    entry = ["python", "-m", "zafu.launch_on_ray", *processes, *share, "--", *command(job)]
    return ["ray", "job", "submit", "--", *entry]


def command(job: Job) -> list[str]:
    """What each process runs."""
    return ["python", "-m", "zafu", *job.words]


def label(text: str) -> str:
    """A name that every system takes: a letter, then letters, digits, '.', '_', '-'; at most 40.

    A longer one loses its middle, since a run's name ends in the digest of its recipe.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    plain = plain if plain[:1].isalpha() else f"zafu-{plain}"
    plain = plain if len(plain) <= 40 else f"{plain[:31]}{plain[-9:]}"
    return plain.strip("-._")


def _container(job: Job, name: str) -> dict[str, Any]:
    torchrun: Sequence[str] = (
        "torchrun",
        f"--nnodes={job.nodes}",
        f"--nproc-per-node={job.gpus}",
        "--node-rank=$(NODE_RANK)",
        f"--master-addr={name}-0.{name}",
        f"--master-port={PORT}",
        f"--shutdown-timeout={SAVE_SECONDS}",
        "-m",
        "zafu",
    )
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return {
        "name": "zafu",
        "image": job.image,
        "command": list(torchrun),
        "args": [word.replace("$", "$$") for word in job.words],  # $(NAME) would be expanded
        "workingDir": job.folder,
        "env": [{"name": "NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": index}}}],
        "ports": [{"name": "torch", "containerPort": PORT}],
        "resources": {
            "requests": {"cpu": str(job.cpus * job.gpus)},
            "limits": {"nvidia.com/gpu": str(job.gpus)},
        },
        "volumeMounts": [
            {"name": "files", "mountPath": job.folder},
            {"name": "memory", "mountPath": "/dev/shm"},  # noqa: S108  (of the pod)
        ],
    }


def _condition(kind: str) -> dict[str, str]:
    return {"type": kind, "status": "True"}


class _Dumper(yaml.SafeDumper):
    """Quotes all text that some version of YAML may read as something else, such as `y`."""

    def ignore_aliases(self, data: object) -> bool:
        """Everything is written where it stands."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, None if plain else '"')


_Dumper.add_representer(str, _text)
