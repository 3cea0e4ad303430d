from pathlib import Path

import pytest

from zafu.compare.arms import LR, Arm, arms, described, varied
from zafu.errors import RecipeError, Refused
from zafu.source import Source, parse_yaml

RECIPE = """
task: classification
data: {kind: digits}
model: {kind: mlp, width: 16}
fit: {optimizer: {kind: adamw, lr: 3e-3}, batch: 32, epochs: 2}
"""


def base(*overrides: str) -> Source:
    return parse_yaml(RECIPE, "recipe.yaml").override(overrides)


def paths(arm: Arm) -> list[str]:
    return arm.space.paths if arm.space else []


def test_several_varied_paths_make_the_product() -> None:
    found = varied(["fit.optimizer.kind=sgd,adam", "fit.batch=1,all"])

    names = [one.name for one in found]
    assert names == ["sgd batch 1", "sgd batch all", "adam batch 1", "adam batch all"]


def test_values_with_commas_of_their_own_stay_whole() -> None:
    found = varied(["fit.penalties=[],[{kind: l1, strength: 0.1}]"])

    assert [one.name for one in found] == ["no penalties", "l1"]


def test_each_arm_has_the_range_of_its_own_optimizer() -> None:
    sgd, muon = arms(base(), varied(["fit.optimizer.kind=sgd,muon"]))

    assert sgd.space is not None
    assert muon.space is not None
    assert sgd.space.dump() != muon.space.dump()
    assert paths(sgd) == paths(muon) == [LR]


def test_what_an_arm_introduces_is_tuned_and_what_it_says_is_held() -> None:
    asked = [
        described("none:"),
        described("l1: fit.penalties=[l1]"),
        described("strong: fit.penalties=[{kind: l1, strength: 0.1}]"),
        described("dropout: model.dropout=?"),
        described("little: model.dropout=?0:0.1 fit.optimizer.lr=1e-3"),
    ]

    found = arms(base(), asked)

    tuned = [paths(arm) for arm in found]
    strength = "fit.penalties.0.strength"
    assert tuned == [[LR], [LR, strength], [LR], [LR, "model.dropout"], ["model.dropout"]]
    assert found[4].recipe.fit.optimizer.lr == 1e-3


def test_a_learning_rate_that_is_found_while_training_is_left_alone() -> None:
    fixed, found = arms(base(), [described("fixed:"), described("auto: fit.optimizer.lr=auto")])
    same, _ = arms(base("fit.optimizer.lr=auto"), varied(["model.dropout=0,0.1"]))

    assert paths(fixed) == [LR]
    assert paths(found) == paths(same) == []


def test_ranges_are_added_to_all_arms_or_to_one() -> None:
    over = ["fit.optimizer.weight_decay=log:1e-4:1", "b: model.width=8:32:8"]

    a, b = arms(base(), [described("a:"), described("b:")], over=over)

    assert paths(a) == [LR, "fit.optimizer.weight_decay"]
    assert paths(b) == [LR, "fit.optimizer.weight_decay", "model.width"]


def test_a_full_batch_is_summed_in_pieces() -> None:
    one, whole = arms(base(), varied(["fit.batch=1,all"]))

    assert one.recipe.fit.micro_batch is None
    assert whole.recipe.fit.micro_batch == 256


def test_the_split_is_the_same_whatever_the_seed_of_the_weights_will_be() -> None:
    found = arms(base("seed=7"), varied(["fit.batch=1,2"]))

    assert {arm.recipe.data.split.seed for arm in found} == {7}


def test_the_faults_of_all_arms_come_in_one_list() -> None:
    asked = varied(["fit.optimizer.kind=sgd,adma,rmsprp"])

    with pytest.raises(RecipeError) as caught:
        arms(base(), asked, over=["none: model.width=1:2"])

    said = str(caught.value)
    assert all(word in said for word in ("arm adma", "arm rmsprp", "did you mean", "'none'"))


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        (["fit.epochs=null", "fit.seconds=3"], "fit.seconds"),
        (["fit.epochs=null", "fit.steps=30"], "fit.steps"),
        (["data.split.test=0"], "data.split.test"),
        (["data.split.validation=0"], "data.split.validation"),
    ],
)
def test_what_cannot_be_compared_fairly_is_refused(overrides: list[str], path: str) -> None:
    with pytest.raises(RecipeError, match=path):
        arms(base(*overrides), varied(["fit.batch=16,32"]))


def test_a_range_that_nobody_declares_is_asked_for() -> None:
    with pytest.raises(RecipeError, match=r"model\.width=\?low:high"):
        arms(base(), [described("a:"), described("b: model.width=?")])


def test_without_trials_nothing_is_tuned_and_ranges_are_refused() -> None:
    found = arms(base(), varied(["fit.batch=16,32"]), tuned=False)

    assert [arm.space for arm in found] == [None, None]
    with pytest.raises(RecipeError, match="--trials 0"):
        arms(base(), [described("a:"), described("b: model.dropout=?")], tuned=False)


@pytest.mark.parametrize("text", ["", "a=1", "a: b", "=: x=1"])
def test_a_malformed_arm_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RecipeError, match="for example"):
        described(text)


def test_one_arm_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="at least two arms"):
        arms(base(), [described("a:")])
