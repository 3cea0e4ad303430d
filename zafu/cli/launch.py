"""`zafu launch`: a job file that trains a recipe on many machines, or its submission."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from pathlib import Path

from zafu import launch
from zafu.cli import options
from zafu.errors import RecipeError, Refused
from zafu.launch import Job
from zafu.run import Run

EXAMPLE = """\
  zafu launch slurm big.yaml --nodes 16 --gpus-per-node 8 --time 24:00:00 > job.sh
  zafu launch slurm big.yaml --nodes 16 --gpus-per-node 8 --submit
  zafu launch kubernetes big.yaml --nodes 2 --gpus-per-node 8 --image me/zafu --claim files
  zafu launch ray big.yaml --nodes 2 --gpus-per-node 8"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The system, a recipe, overrides, the machines, and whether to submit."""
    parser.add_argument("system", choices=launch.SYSTEMS, help="what starts the processes")
    options.add_recipe(parser)
    parser.add_argument("--nodes", type=int, default=1, help="machines (default: 1)")
    parser.add_argument(
        "--gpus-per-node", type=int, default=1, help="GPUs, and so processes, of each (default: 1)"
    )
    parser.add_argument(
        "--cpus-per-gpu", type=int, default=8, help="processors of each process (default: 8)"
    )
    parser.add_argument("--time", help="H:MM:SS after which it is saved and ended")
    parser.add_argument("--image", help="Kubernetes: the container's image, with zafu in it")
    parser.add_argument("--claim", help="Kubernetes: volume claim with recipe, data and runs")
    parser.add_argument(
        "--mount", default="/zafu", help="Kubernetes: its path in the container (default: /zafu)"
    )
    parser.add_argument("--submit", action="store_true", help="submit it, instead of printing it")


def run(arguments: argparse.Namespace) -> int:
    """Print the job, or submit it; exit code 2 with all faults of recipe and job if it has any."""
    faults = [*launch.misplaced(_job(arguments, ""), arguments.system)]
    found: Run | None = None
    try:
        found = options.run_of(arguments)
    except RecipeError as error:
        faults = [*error.faults, *faults]
    job = _job(arguments, found.name if found else "")
    if found:
        faults += launch.mismatched(job, found.recipe.layout)
    if faults:
        raise RecipeError(faults)
    if arguments.system == "ray":
        words = launch.ray(job)
        return _submitted(words, "") if arguments.submit else _printed(f"{shlex.join(words)}\n")
    if arguments.system == "slurm":
        text, words = launch.slurm(job), ["sbatch"]
    else:
        text, words = launch.kubernetes(job), ["kubectl", "create", "-f", "-"]
    return _submitted(words, text) if arguments.submit else _printed(text)


def _job(arguments: argparse.Namespace, name: str) -> Job:
    words = ["train", str(arguments.recipe), *arguments.overrides, "--runs", str(arguments.runs)]
    if arguments.out:
        words += ["--out", str(arguments.out)]
    return Job(
        name=name,
        words=tuple(words),
        nodes=arguments.nodes,
        gpus=arguments.gpus_per_node,
        cpus=arguments.cpus_per_gpu,
        time=arguments.time,
        image=arguments.image,
        claim=arguments.claim,
        folder=arguments.mount if arguments.system == "kubernetes" else str(Path.cwd()),
    )


def _printed(text: str) -> int:
    print(text, end="")
    return 0


def _submitted(words: list[str], text: str) -> int:
    """The exit code of the system's own command, which reads the job from its input."""
    try:
        return subprocess.run(words, input=text, text=True, check=False).returncode
    except FileNotFoundError:
        raise Refused(
            f"--submit: expected the command {words[0]} on this machine; without --submit the job "
            "is printed"
        ) from None
