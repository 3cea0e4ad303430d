"""Settings of a narrow decoder hold for a wide one: by formula, by parity and by coordinates."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from zafu.errors import RecipeError, Refused
from zafu.models.decoder import Decoder as Spec
from zafu.nets.decoder import Decoder, attend
from zafu.nets.transfer import Wider
from zafu.optim.adam import Adam
from zafu.optim.adamw import AdamW
from zafu.optim.contract import Group, Optimizer
from zafu.optim.runtime.parameters import parameter_groups
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.recipe import Recipe
from zafu.signature import Signature, Tokens

SIGNATURE = Signature(inputs=Tokens(vocab=32, context=16), outputs=32)
RATES = {
    "sgd": 0.2,
    "lion": 1e-3,
    "adafactor": 0.1,
    "rmsprop": 1e-3,
    "muon": 3e-3,
    "nadam": 2e-3,
    "schedule-free": 3e-3,
}
VARIANTS: list[dict[str, Any]] = [
    *({"kind": kind, "lr": RATES.get(kind, 5e-3)} for kind in Optimizer.kinds()),
    {"kind": "muon", "lr": 1e-2, "adamw_lr": 3e-3, "adjust_lr": "original"},
]


# of two widths that are not infinite, at one seed; a wrong rule gives 0.13 and more, none 0.6
BLOCKS, LOGITS = pytest.approx(0, abs=0.1), pytest.approx(0, abs=0.15)


def built(width: int, base: int | None, **more: object) -> Decoder:
    transfer = {"transfer": {"width": base}} if base else {}
    plain = {"kind": "decoder", "width": width, "layers": 2, "heads": 2, **transfer, **more}
    torch.manual_seed(0)
    return Spec.parse(plain).build(SIGNATURE)


def windows(step: int) -> tuple[Tensor, Tensor]:
    """Walks `(8, 16)` over 32 tokens, in which each token has two that may follow."""
    generator = torch.Generator().manual_seed(step)
    walk = [torch.randint(32, (8,), generator=generator)]
    for _ in range(16):
        walk.append((5 * walk[-1] + torch.randint(2, (8,), generator=generator)) % 32)
    return torch.stack(walk[:-1], 1), torch.stack(walk[1:], 1)


def changed(net: Decoder, optimizer: Optimizer) -> list[float]:
    """How far four steps move what blocks add and the logits, root mean square."""
    update = Update(net, optimizer=optimizer, schedule=Constant(), seed=0)
    probe, _ = windows(99)

    @torch.no_grad()
    def seen() -> tuple[Tensor, Tensor]:
        embedded = net.enter(probe)
        stream = net.along(embedded)
        return stream - embedded, net.leave(stream)

    before = seen()
    for step in range(4):
        inputs, targets = windows(step)
        functional.cross_entropy(net(inputs).flatten(0, 1), targets.flatten()).backward()
        update.gradients(step)
        update.step(step, 0.0)
    return [
        (new - old).square().mean().sqrt().item() for new, old in zip(seen(), before, strict=True)
    ]


def exponents(plain: dict[str, Any], base: int | None, **more: object) -> tuple[float, float]:
    """By which powers of the width, 64 to 256, the blocks' sum and logits move farther."""
    optimizer = Optimizer.parse(plain)
    narrow, wide = (changed(built(width, base, **more), optimizer) for width in (64, 256))
    blocks, logits = (math.log(w / n, 4) for w, n in zip(wide, narrow, strict=True))
    return blocks, logits


@pytest.mark.parametrize("plain", VARIANTS, ids=lambda p: " ".join(map(str, p.values())))
def test_activations_of_a_wide_net_move_as_far_as_those_of_a_narrow_one(
    plain: dict[str, Any],
) -> None:
    assert exponents(plain, 64) == (BLOCKS, LOGITS)


@pytest.mark.parametrize("more", [{"tied": True}, {"qk_norm": True}, {"kv_heads": 1}], ids=str)
def test_so_do_those_of_every_form_of_it(more: dict[str, object]) -> None:
    assert exponents({"kind": "adamw", "lr": 5e-3}, 64, **more) == (BLOCKS, LOGITS)


def test_without_transfer_logits_move_farther_with_width() -> None:
    assert exponents({"kind": "adamw", "lr": 5e-3}, None)[1] > 0.35


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_it_is_the_parametrization_with_multipliers_of_the_paper(tied: bool, qk_norm: bool) -> None:
    """Parity with table 8 of arXiv:2203.03466, by hand in float64: 1 / m on logits, 1 / d in
    attention, Adam's learning rate over m for hidden matrices alone."""
    net = built(64, 16, tied=tied, qk_norm=qk_norm).double()
    hand = Decoder(replace(net.shape, wider=1.0, wider_heads=1.0)).double()
    hand.load_state_dict(net.state_dict())
    _unfolded(hand, net)
    optimizer = Optimizer.parse({"kind": "adamw", "lr": 0.01, "weight_decay": 0.0, "eps": 1e-30})
    update = Update(net, optimizer=optimizer, schedule=Constant(), seed=0)
    hidden = [p for n, p in hand.named_parameters() if "_proj" in n]
    rest = [p for n, p in hand.named_parameters() if "_proj" not in n]
    theirs = torch.optim.AdamW(
        [{"params": hidden, "lr": 0.01 / 4}, {"params": rest}],
        lr=0.01,
        eps=1e-30,
        weight_decay=0.0,
    )

    for step in range(5):
        inputs, targets = windows(step)
        ours, by_hand = net(inputs), hand(inputs) / 4
        torch.testing.assert_close(ours, by_hand, rtol=1e-7, atol=1e-9)
        for logits in (ours, by_hand):
            functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        update.gradients(step)
        update.step(step, 0.0)
        theirs.step()
        theirs.zero_grad()


def _unfolded(hand: Decoder, net: Decoder) -> None:
    """In place: multipliers stand in the forward pass of `hand`, not in its weights."""
    with torch.no_grad():
        for name, parameter in hand.named_parameters():
            wider = net.wider()[name]
            parameter.mul_(4 if name == "lm_head.weight" else 1 / wider.factor)
    for block in hand.model.layers:
        block.self_attn.attend = lambda q, k, v, mask: attend(q / 2, k, v, mask)


def test_a_net_as_wide_as_its_base_is_the_plain_one() -> None:
    """Also with an optimizer for which nothing is known."""
    plain, same = built(32, None), built(32, 32)

    torch.testing.assert_close(same.state_dict(), plain.state_dict(), rtol=0, atol=0)
    spec = Adam(weight_decay=0.1)
    groups = [
        [{key: group[key] for key in ("lr", "weight_decay")} for group in parameter_groups(n, spec)]
        for n in (plain, same)
    ]
    assert groups[0] == groups[1]


def test_weights_of_any_width_lose_the_same_share_in_a_step() -> None:
    spec = AdamW(weight_decay=0.5, groups=(Group(match="*.layers.0.*", lr_scale=0.5),))

    groups = parameter_groups(built(256, 32), spec)

    shares = {
        name: group["lr"] * group["weight_decay"]
        for group in groups
        for name, parameter in group["params"]
        if parameter.ndim == 2
    }
    for name, share in shares.items():
        half = 0.5 if ".layers.0." in name else 1.0
        assert share == pytest.approx(spec.lr * 0.5 * half)


@given(st.sampled_from(["input", "hidden", "output"]), st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_step_in_two_parts_is_the_step_as_a_whole(role: Any, first: float, second: float) -> None:
    """Property: from a to b and from b to c is from a to c, by every rule."""
    whole, parts = Wider(role, first * second), (Wider(role, first), Wider(role, second))

    for rule in ("normalized", "gradient", "relative", "orthogonal", "orthogonal-rms"):
        assert whole.lr(rule) == pytest.approx(parts[0].lr(rule) * parts[1].lr(rule))
    assert whole.size == pytest.approx(parts[0].size * parts[1].size)


def test_what_has_no_rule_is_refused() -> None:
    recipe: dict[str, Any] = {
        "task": "language-modeling",
        "data": {"kind": "text", "files": ["stdlib:asyncio/*.py"]},
        "model": {"kind": "decoder", "width": 64, "heads": 4, "transfer": {"width": 20}},
        "fit": {"optimizer": {"kind": "adam"}, "steps": 1},
    }

    with pytest.raises(RecipeError) as caught:
        Recipe.parse(recipe)

    assert [fault.path for fault in caught.value.faults] == ["model.transfer.heads"]
    recipe["model"]["transfer"] = {"width": 20, "heads": 2}
    recipe["fit"]["optimizer"] = {"kind": "adam", "weight_decay": 0.1}
    with pytest.raises(RecipeError, match=r"fit.optimizer: expected steps .* found adam, as it"):
        Recipe.parse(recipe)
    with pytest.raises(Refused, match="adam as it is set has no rule for width"):
        parameter_groups(built(64, 32), Adam(weight_decay=0.1))
