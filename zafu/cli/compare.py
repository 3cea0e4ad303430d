"""`zafu compare`: which of several arms is better on this data, and how sure that is."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from zafu.errors import Fault, RecipeError, Refused
from zafu.source import read

EXAMPLE = """\
  zafu compare recipe.yaml --vary fit.optimizer.kind=sgd,adam,rmsprop,muon
  zafu compare recipe.yaml --vary fit.batch=1,32,all --vary fit.optimizer.kind=sgd,adam
  zafu compare recipe.yaml --arm none: --arm 'l1: fit.penalties=[l1]' --arm 'x: model.dropout=?'
  zafu compare optimizers recipe.yaml        a ready-made question; `questions` lists them
  zafu compare claims recipe.yaml            the claims of textbooks, one after the other
  zafu compare compression runs/digits-…     methods that make a model smaller, at equal size
  the same command again goes on where it stopped"""
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def arguments(parser: argparse.ArgumentParser) -> None:
    """A question or arms, a recipe with overrides, and how carefully to compare."""
    add = parser.add_argument
    add("words", nargs="*", metavar="[QUESTION] RECIPE path=value",
        help="see the examples; of compression, a finished run")  # fmt: skip
    add("--vary", action="append", default=[], metavar="PATH=A,B,…",
        help="an arm for each value; several give the product")  # fmt: skip
    add("--arm", action="append", default=[], metavar="NAME: PATH=VALUE …",
        help="an arm; path=? tunes a setting over its range, path=?0:1 over this")  # fmt: skip
    add("--over", action="append", default=[], metavar="[NAME:] PATH=RANGE",
        help="tune this as well, in every arm or in one")  # fmt: skip
    add(
        "--trials",
        type=int,
        help="settings tried for each arm; 0: none is tuned (default: 20; claims: 12)",
    )
    seeds = "fresh seeds, and the most while nothing is shown (default: 10:30; claims: 10:20)"
    add("--seeds", metavar="N[:M]", help=seeds)
    add("--budget", help="time after which no seeds are added, such as 90s, 20min, 1.5h")
    add("--target", type=float, help="metric for the time to it (default: 99 %% of the best arm)")
    add("--recover", metavar="BUDGET",
        help="of compression: training behind each method (default: 2epochs)")  # fmt: skip
    add("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    add("--json", action="store_true", help="print JSON")
    add("--quiet", action="store_true", help="print only the result")


def run(arguments: argparse.Namespace) -> int:
    """Compare, drawing progress, and print the table and where the page is."""
    from zafu.compare.bank import CLAIMS, QUESTIONS

    names = (*QUESTIONS, "claims", "compression")
    words: list[str] = arguments.words
    if words[:1] == ["compression"]:
        from zafu.cli import compare_compression

        return compare_compression.run(arguments)
    if arguments.recover is not None:
        raise Refused("compare: --recover is for zafu compare compression")
    if words == ["questions"]:
        for name, question in QUESTIONS.items():
            print(f"{name:34}{question.says}")
        return 0
    asked = words.pop(0) if words and not Path(words[0]).suffix else ""
    _refuse_what_cannot_be(asked, names, arguments)
    from zafu.compare import asked as asking

    file, how = Path(words[0]), _how(arguments)
    base = read(file).override(words[1:])
    if asked:
        wanted = CLAIMS if asked == "claims" else (asked,)
        made = [asking.question(name, file.stem, base, how) for name in wanted]
    else:
        from zafu.compare.arms import described, varied

        arms = [*varied(arguments.vary), *(described(text) for text in arguments.arm)]
        made = [asking.comparison(file.stem, base, arms, how)]
    from zafu.cli.show_comparison import show  # torch is loaded when the request is sound

    answers = [show(one, arguments.runs, quiet=arguments.quiet or arguments.json) for one in made]
    if arguments.json:
        dumped = [answer.dump() for answer in answers]
        print(json.dumps(dumped[0] if len(made) == 1 else dumped, indent=1))
    return 0


def _refuse_what_cannot_be(
    asked: str, names: tuple[str, ...], arguments: argparse.Namespace
) -> None:
    """Raise Refused unless there is a recipe, and either a question or arms."""
    from zafu.spec import did_you_mean

    given = bool(arguments.vary or arguments.arm)
    if asked and asked not in names:
        hint = did_you_mean(asked, names) or "zafu compare questions lists them"
        raise Refused(f"compare: expected a question or a recipe file, found {asked!r}; {hint}")
    if not arguments.words:
        raise Refused("compare: expected a recipe; zafu init writes one")
    if asked and given:
        raise Refused(f"compare: {asked} has arms of its own; leave out --vary and --arm")
    if not asked and not given:
        text = "compare: expected --vary or --arm, or a question before the recipe"
        raise Refused(f"{text}; zafu compare --help shows examples")


def _how(arguments: argparse.Namespace):
    """How carefully to compare; raises RecipeError with every fault of it."""
    from zafu.compare.asked import How
    from zafu.compare.decide import Plan

    faults: list[Fault] = []
    seeds = re.fullmatch(r"(\d+)(?::(\d+))?", arguments.seeds or "10:30")
    first, most = (int(seeds[1]), int(seeds[2] or seeds[1])) if seeds else (0, 0)
    if not 2 <= first <= most:
        expected = "N or N:M seeds, 2 <= N <= M"
        faults.append(Fault("", expected, arguments.seeds, "--seeds", "for example 10:30"))
    if arguments.trials is not None and arguments.trials < 0:
        faults.append(Fault("", "a number >= 0", str(arguments.trials), "--trials"))
    budget = re.fullmatch(r"(\d+\.?\d*)\s*(s|min|h|d)", (arguments.budget or "1d").strip())
    if not budget or not float(budget[1]):
        expected = "a time such as 90s, 20min or 1.5h"
        faults.append(Fault("", expected, arguments.budget, "--budget"))
    if faults or not budget:
        raise RecipeError(faults)
    return How(
        trials=arguments.trials,
        plan=Plan(first=first, most=most) if arguments.seeds else None,
        target=arguments.target,
        budget=float(budget[1]) * UNITS[budget[2]] if arguments.budget else None,
        over=tuple(arguments.over),
    )
