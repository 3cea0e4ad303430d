"""`zafu serve`: a finished model behind an HTTP door."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """\
  zafu serve runs/digits-3f2a9c1b                  # then open http://127.0.0.1:8000/
  zafu serve runs/digits-3f2a9c1b --kind onnx      # in another runtime; exported first if need be
  zafu serve runs/python-3f2a9c1b --port 8080 --slots 32
  zafu serve runs/python-3f2a9c1b --host 0.0.0.0 --name api.example.org --token-file token
  zafu serve runs/python-3f2a9c1b --engine vllm    # on a GPU, by vLLM in its own environment"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A model, where to listen, and who may ask."""
    add = parser.add_argument
    add("run", type=Path, help="a run, or an exported folder")
    add("--kind", help="a form of it: torch, pick, or one of zafu list exports (default: torch)")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    add("--port", type=int, default=8000, help="port; 0 takes a free one (default: 8000)")
    add("--name", action="append", default=[], help="another name under which it may be asked")
    add("--token-file", type=Path, help="a file with a secret of 32 bytes or more, asked of all")
    add("--batch", type=int, help="most samples in a batch (default: what pays, measured)")
    add("--threads", type=int, help="that compute a pass (default: what pays, measured)")
    add("--patience", type=float, help="amid too many requests of rows or pictures, "
        "how many times as long as alone an answer may take (default: 1.5)")  # fmt: skip
    add("--slots", type=int, default=16, help="texts that are written at once (default: 16)")
    add("--engine", choices=("zafu", "vllm"), default="zafu", help="who computes")
    add("--vllm", type=Path, help="the environment of vLLM (default: where vllm is on the PATH)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; what was accepted is answered first."""
    from zafu.errors import Refused
    from zafu.serve import needs

    for name, least in (("port", 0), ("batch", 1), ("threads", 1), ("slots", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise Refused(f"--{name}: expected a number >= {least}, found {value}")
    if arguments.patience is not None and not arguments.patience > 1:
        raise Refused(f"--patience: expected a number > 1, found {arguments.patience}")
    if arguments.port > 65535:
        raise Refused(f"--port: expected a number up to 65535, found {arguments.port}")
    if arguments.engine == "vllm":
        return _by_vllm(arguments)
    if arguments.vllm:
        raise Refused("--vllm: expected --engine vllm beside it")
    needs.require()
    from zafu.cli.options import note
    from zafu.serve import start, threads
    from zafu.serve.app import PATIENCE, Options

    token = start.token_of(arguments.token_file)
    hosts = start.hosts(arguments.host, arguments.name, token)
    folder = start.form_of(arguments.run, arguments.kind, note)
    options = Options(
        hosts=hosts,
        token=token,
        batch=arguments.batch,
        patience=arguments.patience or PATIENCE,
        slots=arguments.slots,
    )
    where = (arguments.host, arguments.port)
    bundle, count = threads.opened(folder, arguments.threads)
    if arguments.patience and bundle.recipe.task.kind == "language-modeling":
        raise Refused("--patience: expected a model of rows or pictures, found one of language")
    note(f"{bundle.kind} computes with {count} thread{'s' if count > 1 else ''}")
    start.serve(bundle, start.named(folder), where, options, note)
    return 0


def _by_vllm(arguments: argparse.Namespace) -> int:
    from zafu.cli.options import note
    from zafu.errors import Refused
    from zafu.serve import start, vllm

    own = ("kind", "batch", "threads", "patience", "name")
    if any(getattr(arguments, name) for name in own):
        text = ", ".join(f"--{name}" for name in own)
        raise Refused(f"--engine vllm: expected none of {text}, as vLLM has its own")
    token = start.token_of(arguments.token_file)
    if not start.is_local(arguments.host) and token is None:
        raise Refused(f"--host {arguments.host}: expected --token-file beside it")
    where = (arguments.host, arguments.port, arguments.slots, arguments.vllm)
    return vllm.serve(vllm.Asked(arguments.run, *where), token, note)
