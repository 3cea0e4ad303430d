"""`zafu generate`: continue a text with a finished language model, or with an export of one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zafu.errors import Refused

if TYPE_CHECKING:
    from zafu.nets.speculative import Drafted

EXAMPLE = """\
  zafu generate runs/python-3f2a9c1b --prompt "def "
  zafu generate runs/python-3f2a9c1b --prompt "import " --length 300 --temperature 0.5 --seed 1
  zafu generate runs/python-3f2a9c1b/export/gguf --prompt "def "
  zafu generate runs/python-3f2a9c1b --draft runs/python-int4-77aa01c2 --temperature 0"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, a prompt and how to choose tokens."""
    parser.add_argument("run", type=Path, help="a run folder, a model folder or an exported one")
    parser.add_argument("--prompt", default="", help="the text to continue (default: empty)")
    parser.add_argument("--length", type=int, default=200, help="most tokens (default: 200)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest")
    parser.add_argument("--top-k", type=int, help="only so many of the likeliest tokens")
    parser.add_argument("--top-p", type=float, default=0.95, help="only this share of likelihood")
    parser.add_argument("--draft", type=Path, help="a smaller model's run, which writes ahead")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same text")


def run(arguments: argparse.Namespace) -> int:
    """Print the prompt and its continuation, piece by piece."""
    from zafu.answer import continued
    from zafu.deploy.bundle import writer
    from zafu.nets.sampling import Choice
    from zafu.nets.speculative import Drafted

    try:
        choice = Choice(
            temperature=arguments.temperature, top_k=arguments.top_k, top_p=arguments.top_p
        )
    except ValueError as error:
        raise Refused(f"--{error}") from None
    if arguments.length < 1:
        raise Refused(f"--length: expected a number >= 1, found {arguments.length}")
    if arguments.draft is None:
        model, folder = writer(arguments.run)
    else:
        model, folder = _drafted(arguments.run, arguments.draft)
    sys.stdout.write(arguments.prompt)
    for piece in continued(
        model,
        folder,
        arguments.prompt,
        length=arguments.length,
        choice=choice,
        seed=arguments.seed,
    ):
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()
    if isinstance(model, Drafted):
        print(f"{model.stayed} of {model.drafted} drafted tokens stayed", file=sys.stderr)
    return 0


def _drafted(run: Path, draft: Path) -> tuple[Drafted, Path]:
    """A decoder with its draft, and what was fitted with it; both must have the same tokens."""
    from zafu.artifact import model_folder
    from zafu.build import load_model
    from zafu.nets.decoder import Decoder
    from zafu.nets.speculative import Drafted
    from zafu.tokenizers.encoder import FILE

    folders = [model_folder(run), model_folder(draft)]
    known = [f / FILE for f in folders if (f / FILE).is_file()]
    if len(known) < len(folders) or known[0].read_bytes() != known[1].read_bytes():
        raise Refused(f"--draft: expected a model with the tokenizer of {run}, found another")
    decoders = [module for f in folders if isinstance(module := load_model(f)[0], Decoder)]
    if len(decoders) < len(folders):
        raise Refused(f"--draft: expected two decoders, found another model in {run} or {draft}")
    return Drafted(decoders[0], decoders[1]), folders[0]
