import pytest
import torch
from torch import nn

from zafu.errors import RecipeError, Refused
from zafu.optim.adamw import AdamW
from zafu.optim.contract import Group
from zafu.optim.runtime.parameters import parameter_groups, state_bytes
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.optim.sgd import SGD


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.lm_head = nn.Linear(4, 5, bias=False)
        self.lm_head.weight = self.embed_tokens.weight


def settings_by_name(module: nn.Module, spec: AdamW) -> dict[str, tuple[float, float]]:
    return {
        name: (group["lr"], group["weight_decay"])
        for group in parameter_groups(module, spec)
        for name, _ in group["params"]
    }


def test_norms_and_biases_are_exempt_from_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Conv2d(1, 1, 2))

    found = settings_by_name(model, AdamW(lr=0.1, weight_decay=0.5))

    decays = {name: decay for name, (_, decay) in found.items()}
    exempt = {"0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0, "2.bias": 0.0}
    assert decays == exempt | {"0.weight": 0.5, "2.weight": 0.5}


def test_the_last_pattern_that_matches_counts() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    groups = (
        Group(match="*", lr_scale=0.5),
        Group(match="1.*", lr_scale=2.0, weight_decay=0.3),
        Group(match="*.bias", weight_decay=0.1),
    )

    found = settings_by_name(model, AdamW(lr=0.1, weight_decay=0.5, groups=groups))

    assert found == {
        "0.weight": (0.05, 0.5),
        "0.bias": (0.1, 0.1),
        "1.weight": (0.2, 0.3),
        "1.bias": (0.1, 0.1),
    }


def test_a_pattern_that_matches_nothing_is_refused_with_the_names() -> None:
    spec = SGD(groups=(Group(match="*"), Group(match="head.weigth")))
    model = nn.ModuleDict({"head": nn.Linear(1, 1)})

    with pytest.raises(RecipeError) as caught:
        parameter_groups(model, spec)

    (fault,) = caught.value.faults
    assert fault.path == "fit.optimizer.groups.1.match"
    assert fault.found == '"head.weigth"'
    assert "head.weight" in fault.hint


def test_a_tied_parameter_is_moved_once_and_known_by_both_names() -> None:
    spec = AdamW(weight_decay=0.5, groups=(Group(match="lm_head.*", weight_decay=0.0),))

    found = settings_by_name(Tied(), spec)

    assert found["embed_tokens.weight"] == (spec.lr, 0.0)
    assert "lm_head.weight" not in found


def test_a_scale_of_0_freezes_and_takes_no_memory() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    spec = AdamW(groups=(Group(match="0.*", lr_scale=0.0),))
    frozen = model[0].weight.detach().clone()

    update = Update(model, optimizer=spec, schedule=Constant(), seed=0)
    model(torch.ones(1, 3)).sum().backward()
    update.gradients(0)
    update.step(0, 0.0)

    assert not model[0].weight.requires_grad
    assert torch.equal(model[0].weight, frozen)
    assert not any(".0." in name[len("optimizer.0") :] for name in update.tensors())
    assert state_bytes(model, spec) == 2 * 3 * 4


def test_an_update_can_be_built_again_over_a_frozen_model() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    spec = AdamW(groups=(Group(match="0.*", lr_scale=0.0),))
    parameter_groups(model, spec)

    again = parameter_groups(model, spec)

    assert [name for group in again for name, _ in group["params"]] == ["1.weight", "1.bias"]


def test_a_model_of_which_all_is_frozen_is_refused() -> None:
    with pytest.raises(Refused, match="all of them frozen"):
        parameter_groups(nn.Linear(1, 1), SGD(groups=(Group(match="*", lr_scale=0.0),)))
