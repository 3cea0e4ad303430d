"""The entry point: finds the verb, runs it, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol, cast

from zafu.errors import ZafuError

VERBS = {
    "init": "write a commented recipe to start from",
    "check": "find every fault of a recipe before anything is spent",
    "prepare": "clean, split and encode the data of a recipe, and say what was done",
    "data": "fetch sets to start from; one HTML page about a recipe's data",
    "audit": "find training labels that are probably wrong, with a page to review them",
    "train": "carry a recipe to a finished model; go on where it stopped",
    "verify-layout": "prove that a layout computes what one process computes",
    "tune": "search over a recipe's settings, and confirm the best with fresh seeds",
    "replay": "compute a logged step of a run again, and compare it bit for bit",
    "launch": "write or submit a job that trains on many machines: Slurm, Kubernetes, Ray",
    "compare": "say which of several arms is better on this data, and how sure that is",
    "evaluate": "judge a finished model on a split or on a file of yours",
    "compress": "make a finished model smaller or faster by a chain of methods, with one table",
    "fuse": "make one model of several: vote, stack, soup; judge it beside them",
    "crossval": "judge a recipe by folds, with a corrected interval and all out-of-fold answers",
    "generate": "continue a text with a finished language model",
    "predict": "answer for the rows or pictures of a file",
    "export": "write a finished model for another system, and compare its answers",
    "serve": "answer over HTTP: rows, pictures, or text as OpenAI's interface has it",
    "bench": "load a served model as clients do: latency, throughput, limits",
    "explain": "say why a model answers so: maps, columns, tokens, what-ifs, with their checks",
    "report": "write one HTML page about a run",
    "schema": "print the JSON Schema of recipes, for editors",
    "list": "list techniques: optimizers, schedules, models, data, …",
}
EPILOG = """\
a first model in a minute:
  zafu init digits
  zafu train digits.yaml
  zafu train digits.yaml fit.optimizer.lr=1e-3     another run, beside the first

exit codes: 0 done; 1 the run failed; 2 the request was refused; 75 stopped by a signal, saved;
            69 a process of the layout was lost or frozen
"""


class Verb(Protocol):
    """What a verb's module offers."""

    EXAMPLE: str

    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command that `words` (default: the process's arguments) describe; its exit code."""
    words = list(sys.argv[1:] if words is None else words)
    try:
        return _run(words)
    except ZafuError as error:
        print(f"zafu: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("zafu: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        print(f"zafu {version('zafu')}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    name, *rest = words
    if name not in VERBS:
        from zafu.spec import did_you_mean

        hint = did_you_mean(name, VERBS) or f"verbs: {', '.join(VERBS)}"
        print(f"zafu: there is no verb {name!r}; {hint}", file=sys.stderr)
        return 2
    verb = cast(Verb, import_module(f"zafu.cli.{name.replace('-', '_')}"))
    parser = argparse.ArgumentParser(
        prog=f"zafu {name}",
        description=f"{VERBS[name][0].upper()}{VERBS[name][1:]}.",
        epilog=f"example:\n{verb.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.arguments(parser)
    parsed = parser.parse_intermixed_args(rest)  # overrides may follow options
    parsed.given = rest
    return verb.run(parsed)


def _overview() -> str:
    lines = ["usage: zafu VERB …", "", "From a recipe to a model: exact, foreseen, measured.", ""]
    lines += [f"  {name:14}{text}" for name, text in VERBS.items()]
    return "\n".join([*lines, "", "zafu VERB --help shows options and an example.", "", EPILOG])
