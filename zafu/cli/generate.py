"""`zafu generate`: continue a text with a finished language model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zafu.errors import Refused

EXAMPLE = """\
  zafu generate runs/python-3f2a9c1b --prompt "def "
  zafu generate runs/python-3f2a9c1b --prompt "import " --length 300 --temperature 0.5 --seed 1"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, a prompt and how to choose tokens."""
    parser.add_argument("run", type=Path, help="a run folder or a model folder")
    parser.add_argument("--prompt", default="", help="the text to continue (default: empty)")
    parser.add_argument("--length", type=int, default=200, help="most tokens (default: 200)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest")
    parser.add_argument("--top-k", type=int, help="only so many of the likeliest tokens")
    parser.add_argument("--top-p", type=float, default=0.95, help="only this share of likelihood")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same text")


def run(arguments: argparse.Namespace) -> int:
    """Print the prompt and its continuation, piece by piece."""
    from zafu.answer import continued
    from zafu.artifact import model_folder
    from zafu.build import load_model
    from zafu.nets.sampling import Choice

    try:
        choice = Choice(
            temperature=arguments.temperature, top_k=arguments.top_k, top_p=arguments.top_p
        )
    except ValueError as error:
        raise Refused(f"--{error}") from None
    if arguments.length < 1:
        raise Refused(f"--length: expected a number >= 1, found {arguments.length}")
    folder = model_folder(arguments.run)
    module, _, _ = load_model(folder)
    sys.stdout.write(arguments.prompt)
    for piece in continued(
        module,
        folder,
        arguments.prompt,
        length=arguments.length,
        choice=choice,
        seed=arguments.seed,
    ):
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()
    return 0
