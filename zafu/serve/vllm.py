"""vLLM: a language model's hub folder is handed to vLLM, which serves it on a GPU.

Kwon et al., 2023 (arXiv:2309.06180). It needs an environment of its own, as it moves torch and
others; its interface is the one that `zafu serve` has for text, its limits are its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from zafu.artifact import read_json
from zafu.errors import Refused
from zafu.serve import start

INSTALL = "python -m venv vllm-env && vllm-env/bin/pip install vllm, then --vllm vllm-env"
TEMPLATE = (  # as `openai.conversation` has it
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "assistant:"
)
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


class Asked(NamedTuple):
    """What a user asked for."""

    run: Path
    host: str
    port: int
    slots: int
    environment: Path | None  # of vLLM


def serve(asked: Asked, token: str | None, say: Callable[[str], None]) -> int:
    """This process becomes vLLM; raises Refused without a GPU, vLLM or a language model."""
    import torch

    program = executable(asked.environment)
    if not torch.cuda.is_available():
        raise Refused("--engine vllm: expected a CUDA device, found none; --engine zafu needs none")
    folder = start.form_of(asked.run, "hub", say)
    words = command(program, folder, asked)
    say(" ".join(words[:3]))
    os.execve(words[0], words, environment(os.environ, token))  # noqa: S606


def executable(environment: Path | None) -> Path:
    """VLLM's program; raises Refused, saying how it is installed, where there is none."""
    if environment is not None:
        program = environment / "bin" / "vllm"
        if not program.is_file():
            raise Refused(f"--vllm {environment}: expected bin/vllm in it, found none; {INSTALL}")
        return program.absolute()
    found = shutil.which("vllm")
    if found is None:
        raise Refused(f"--engine vllm: expected vllm on the PATH, found none; {INSTALL}")
    return Path(found)


def command(program: Path, folder: Path, asked: Asked) -> tuple[str, ...]:
    """The words by which vLLM serves a hub folder."""
    config = read_json(folder / "config.json")
    if "vocab_size" not in config:
        raise Refused(f"{folder}: expected a language model, found another")
    options = {
        "--host": asked.host,
        "--port": asked.port,
        "--served-model-name": start.named(folder),
        "--max-model-len": config["max_position_embeddings"],
        "--max-num-seqs": asked.slots,
        "--chat-template": TEMPLATE,
    }
    pairs = [word for name, value in options.items() for word in (name, str(value))]
    return (str(program), "serve", str(folder.absolute()), *pairs)


def environment(own: Mapping[str, str], token: str | None) -> dict[str, str]:
    """The variables of its process: the token is no word of a command, which others can read."""
    found = {**own, **QUIET}
    found.pop("PYTHONPATH", None)  # it has packages of its own
    return {**found, "VLLM_API_KEY": token} if token else found
