"""Rows of a table: values in the unit of the data, importance, dependence and what-ifs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from explained import Additive, table
from torch import Tensor, nn

from zafu.explain.counterfactual import Counterfactual
from zafu.explain.explain import _told
from zafu.explain.integrated_gradients import IntegratedGradients
from zafu.explain.occlusion import Occlusion
from zafu.explain.partial_dependence import PartialDependence
from zafu.explain.permutation import Permutation
from zafu.explain.runtime import held
from zafu.explain.runtime.able import why_not
from zafu.explain.runtime.scene import Scene, one
from zafu.explain.shapley import Shapley
from zafu.models.mlp import MLP


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return table(tmp_path_factory.mktemp("rows"), Additive())


class Linear(nn.Module):
    """3 a - b in the model's numbers, whatever the category."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, -1.0, 0.0]))

    def forward(self, numbers: Tensor, _: Tensor) -> Tensor:
        return (numbers @ self.weight)[:, None]


def test_columns_have_their_names_and_units(scene: Scene) -> None:
    assert [one.column.name for one in scene.columns] == ["a", "b", "d", "c"]
    batch = held.batch(scene, 5)
    raw = scene.recipe.data.raw_columns(scene.data or Path(), scene.split)

    for row in range(5):
        said = [column.said(one(batch, row)) for column in scene.columns]
        assert [float(x) for x in said[:3]] == [
            pytest.approx(raw[name][batch.ids[row]], abs=0.006) for name in "abd"
        ]
        assert said[3] == raw["c"][batch.ids[row]]


def test_shapley_values_of_a_linear_model_are_weight_times_difference_to_the_mean(
    scene: Scene, tmp_path: Path
) -> None:
    linear = table(tmp_path, Linear())
    subject = linear.subject(one(held.batch(linear, 1), 0))

    found = Shapley(orders=len(subject.background[0])).of(subject)

    away = subject.inputs[0][0] - subject.background[0].mean(0)
    expected = linear.unit[0] * torch.tensor([3.0, -1.0, 0.0]) * away
    torch.testing.assert_close(found.values[:3], expected, rtol=1e-4, atol=1e-4)
    assert found.values[3].abs() < 1e-5
    assert (found.missing or 0) < 1e-4


def test_a_column_is_worth_its_mean_absence_in_an_additive_model(scene: Scene) -> None:
    subject = scene.subject(one(held.batch(scene, 1), 0))

    found = Occlusion().of(subject).values

    away = subject.inputs[0][0, 0] - subject.background[0][:64, 0].mean()
    torch.testing.assert_close(found[0], 2 * away * scene.unit[0], rtol=1e-4, atol=1e-4)
    assert found[2].abs() < 1e-4


def test_dependence_on_a_column_of_an_additive_model_is_its_term(scene: Scene) -> None:
    curves = {c["name"]: c for c in PartialDependence().over(scene)["columns"]}

    factor = scene.unit[0]
    b = np.array(curves["b"]["places"])
    encoded = (b - scene.columns[1].numbers(np.array(0.0))) / np.ptp(
        scene.columns[1].numbers(np.array([0.0, 1.0]))
    )
    term = np.sin(3 * encoded) * factor
    mean = np.array(curves["b"]["mean"])
    np.testing.assert_allclose(mean - mean[0], term - term[0], atol=1e-4)
    gaps = np.array(curves["b"]["high"]) - np.array(curves["b"]["low"])
    assert gaps.max() < 1e-4  # all rows have one form
    of_category = dict(zip(curves["c"]["labels"], curves["c"]["mean"], strict=True))
    assert of_category["x"] - of_category["y"] == pytest.approx(2 * factor, abs=1e-4)
    assert np.ptp(curves["d"]["mean"]) < 1e-6
    assert sum(curves["c"]["shares"]) == pytest.approx(1)


def test_a_column_that_is_not_read_is_worth_nothing(scene: Scene) -> None:
    found = Permutation().over(scene)

    worse = {c["name"]: c["worse"]["value"] for c in found["columns"]}
    assert worse["d"] == 0
    assert worse["a"] > max(0, worse["b"], worse["c"])


def test_the_smallest_move_of_a_linear_model_is_found(tmp_path: Path) -> None:
    linear = table(tmp_path, Linear())
    subject = linear.subject(one(held.batch(linear, 1), 0))

    found = _told(linear, Counterfactual(move=1.0).about(subject))["ways"]

    own = float(subject.score(subject.asked(*subject.inputs)))
    first = found[0]
    assert [change["name"] for change in first["changes"]] == ["a"]
    assert abs(first["answer"] - own) == pytest.approx(1.0, rel=0.02)
    assert abs(first["answer"] - own) >= 1.0
    step = abs(float(first["changes"][0]["to"]) - float(first["changes"][0]["from"]))
    scale = np.ptp(linear.columns[0].numbers(np.array([0.0, 1.0])))
    assert step == pytest.approx(scale / (3 * linear.unit[0]), abs=0.01)


def test_an_answer_that_flips_does(tmp_path: Path) -> None:
    class Sign(Linear):
        def forward(self, numbers: Tensor, _: Tensor) -> Tensor:
            score = numbers @ self.weight
            return torch.stack([-score, score], 1)

    scene = table(tmp_path, Sign(), "classification")
    for at in range(3):
        subject = scene.subject(one(held.batch(scene, 3), at))
        ways = Counterfactual().about(subject)["ways"]

        assert ways
        assert all(way["output"] != subject.output and way["answer"] > 0.5 for way in ways)
        assert len({tuple(c["column"] for c in way["changes"]) for way in ways}) == len(ways)


def test_what_no_change_does_is_said(scene: Scene) -> None:
    subject = scene.subject(one(held.batch(scene, 1), 0))

    assert Counterfactual(move=1e6).about(subject)["ways"] == []


def test_a_net_of_rows_adds_up_with_its_categories(scene: Scene, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = MLP(width=16, layers=1).build(scene.signature).eval()
    rows = table(tmp_path, net)
    subject = rows.subject(one(held.batch(rows, 1), 0))

    found = IntegratedGradients().of(subject)

    assert why_not(IntegratedGradients(), rows) == ""
    assert found.values.shape == (4,)
    assert (found.missing or 0) <= 0.01
