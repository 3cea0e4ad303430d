"""Asked: from what a user wrote to a comparison of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zafu.compare.arms import Arm, Wanted, arm, arms
from zafu.compare.bank import QUESTIONS, Question
from zafu.compare.decide import Plan
from zafu.compare.protocol import Comparison
from zafu.errors import Fault, RecipeError
from zafu.fit import BUDGETS
from zafu.recipe import Recipe
from zafu.source import Source


@dataclass(frozen=True)
class How:
    """How carefully to compare; None leaves a number to the question."""

    trials: int | None = None
    plan: Plan | None = None
    target: float | None = None
    budget: float | None = None
    over: tuple[str, ...] = ()


def question(name: str, stem: str, base: Source, how: How) -> Comparison:
    """A question of the bank about a recipe; raises RecipeError with all faults."""
    of = QUESTIONS[name]
    recipe = Recipe.from_source(base)
    base = base.override(_known(base, [*of.base, *_longer(recipe, of)]))
    wanted = [one for one in of.wanted() if _fits(base, one)]
    how = replace(how, trials=_trials(of, how), plan=how.plan or of.plan)
    made = comparison(f"{stem}-{name}", base, wanted, how)
    return replace(made, recipe=stem, says=of.says, statements=of.statements)


def comparison(name: str, base: Source, wanted: Sequence[Wanted], how: How) -> Comparison:
    """A comparison of these arms; raises RecipeError with the faults of all of them."""
    trials = 20 if how.trials is None else how.trials
    found: list[Arm] = arms(base, wanted, over=how.over, tuned=trials > 0)
    return Comparison(
        name,
        tuple(found),
        trials=trials,
        plan=how.plan or Plan(),
        target=how.target,
        budget=how.budget,
    )


def _trials(of: Question, how: How) -> int:
    return of.trials if how.trials is None else how.trials


def _longer(recipe: Recipe, of: Question) -> list[str]:
    """The recipe's budget times the question's factor."""
    if of.length == 1:
        return []
    values = recipe.fit.model_dump(include=set(BUDGETS), exclude_none=True)
    return [
        f"fit.{name}={value * of.length if name == 'epochs' else round(value * of.length)}"
        for name, value in values.items()
    ]


def _known(base: Source, words: Sequence[str]) -> list[str]:
    """The words that the recipe has a place for."""
    found: list[str] = []
    for word in words:
        try:
            Recipe.from_source(base.override([word]))
        except RecipeError as error:
            if all(map(_absent, error.faults)):
                continue
        found.append(word)
    return found


def _fits(base: Source, one: Wanted) -> bool:
    """Whether the recipe has a place for an arm."""
    try:
        arm(base, one)
    except RecipeError as error:
        return not all(map(_absent, error.faults))
    return True


def _absent(fault: Fault) -> bool:
    return fault.expected.startswith(("no such key", "an augmentation for", "a range, as none"))
