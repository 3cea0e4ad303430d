import numpy as np
import pytest

from zafu.compare.bank import CLAIMS, QUESTIONS
from zafu.compare.claims import Statement, Truth, answered, quantities
from zafu.compare.decide import Plan
from zafu.compare.goal import reaching, target_of
from zafu.compare.kept import Record

PLAN = Plan(first=10, most=10)


def record(final: float, *, speed: float = 1.0, zeros: float = 0.0) -> Record:
    """A training whose curve rises to `final`, a step of 10 samples each."""
    curve = [(10 * i, i, final * (1 - np.exp(-speed * i / 4))) for i in range(1, 41)]
    values = {"train": final + 0.02, "validation": final, "test": final}
    return Record(
        values=values, curve=tuple(curve), samples=400, updates=40, seconds=1.0, zeros=zeros
    )


def seeds(final: float, seed: int, **facts: float) -> list[Record]:
    noise = np.random.default_rng(seed).normal(0, 0.003, 10)
    return [record(final + float(x), **facts) for x in noise]


def truth(statement: Statement, **arms: list[Record]) -> Truth:
    return answered("x", "X.", [statement], arms, higher=True, plan=PLAN).verdict


def test_a_claim_holds_fails_or_is_not_shown() -> None:
    slow, fast = seeds(0.9, 0, speed=0.5), seeds(0.9, 1, speed=2.0)
    says = Statement("a takes more updates", "updates", {"a": 1, "b": -1})

    assert truth(says, a=slow, b=fast) == "holds"
    assert truth(says, a=fast, b=slow) == "fails"
    assert truth(says, a=slow, b=seeds(0.9, 2, speed=0.5)) == "not shown"


def test_the_size_of_a_cost_is_a_ratio() -> None:
    slow, fast = seeds(0.9, 0, speed=0.5), seeds(0.9, 0, speed=1.0)
    says = Statement("a takes more updates", "updates", {"a": 1, "b": -1})

    found = answered("x", "X.", [says], {"a": slow, "b": fast}, higher=True, plan=PLAN)

    assert found.statements[0].size.value == pytest.approx(2, rel=0.1)


def test_apart_means_by_more_than_the_margin_either_way_and_fails_only_within_it() -> None:
    apart = Statement("moves", "final", {"a": 1, "b": -1}, 0.01, "apart")

    assert truth(apart, a=seeds(0.9, 0), b=seeds(0.8, 1)) == "holds"
    assert truth(apart, a=seeds(0.8, 0), b=seeds(0.9, 1)) == "holds"
    assert truth(apart, a=seeds(0.9, 0), b=seeds(0.9, 1)) == "fails"


def test_seeds_that_all_agree_are_an_answer_if_they_are_enough() -> None:
    zeros = Statement("has zeros", "zeros", {"a": 1}, 0.1)

    assert truth(zeros, a=seeds(0.9, 0, zeros=0.4)) == "holds"
    assert truth(zeros, a=seeds(0.9, 0, zeros=0.0)) == "fails"
    assert truth(zeros, a=seeds(0.9, 0, zeros=0.4)[:3]) == "not shown"


def test_a_seed_that_never_came_to_the_target_costs_more_than_one_that_did_at_last() -> None:
    poor, good = [record(0.5)] * 2, [record(0.9)] * 2
    target = target_of({"a": poor, "b": good}, higher=True)

    found = quantities("updates", {"a": poor, "b": good}, higher=True)

    assert target == pytest.approx(0.891)
    assert target is not None
    assert reaching(poor[0], target, higher=True) is None
    assert np.exp(found["a"][0]) == pytest.approx(41)
    assert found["b"][0] < found["a"][0]


def test_every_claim_of_the_bank_speaks_of_arms_that_it_has() -> None:
    assert len(CLAIMS) == 7
    for name in CLAIMS:
        question = QUESTIONS[name]
        names = {one.name for one in question.wanted()}
        for statement in question.statements:
            assert set(statement.of) <= names, name
