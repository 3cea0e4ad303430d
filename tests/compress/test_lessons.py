"""What a student is taught beside answers: streams, attention, and its own text corrected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from digits import SIGNATURE, TASK, batches, trained
from torch import Tensor

from zafu.batch import Batch
from zafu.distil import Distil
from zafu.errors import Refused
from zafu.models.vit import ViT
from zafu.nets.decoder import Decoder, Shape
from zafu.task import LanguageModeling
from zafu.teaching import Taught, continued, divergence, uniform

EVERYTHING = {"features": 0.5, "attention": 0.5, "own": 0.6}
SMALL = ViT(width=16, layers=1, heads=2, hidden=16)


def decoder(heads: int = 2, seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "width": 8 * heads,
        "layers": 2,
        "heads": heads,
        "kv_heads": heads,
        "hidden": 24,
    }
    net = Decoder(Shape(vocab=29, context=9, **sizes))
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(5) if weight.dim() > 1 else None
    return net


def windows(step: int = 3, rows: slice = slice(None)) -> Batch:
    found = torch.randint(0, 29, (8, 10), generator=torch.Generator().manual_seed(0))
    targets = found[:, 1:].clone()
    targets[2, 6:] = -100  # a document ends
    return Batch((found[rows, :-1],), targets[rows], np.arange(40, 48)[rows], step)


def taught(**more: Any) -> Taught:
    teacher = decoder(4, seed=1).eval().requires_grad_(False)
    return Taught(LanguageModeling(), Distil(teacher="", **more), teacher, seed=7)


def gradients(task: Taught, batch: Batch) -> dict[str, Tensor]:
    student = decoder()
    task.loss(student, batch).backward()
    return {name: p.grad for name, p in student.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("lesson", ["features", "attention"])
def test_a_twin_has_nothing_to_learn_and_another_has(lesson: str) -> None:
    teacher, (batch, *_) = trained(SMALL).requires_grad_(False), batches()
    spec = Distil(teacher="", share=1, **{lesson: 1.0})  # pyright: ignore

    twin = Taught(TASK, spec, teacher).loss(trained(SMALL), batch)
    torch.manual_seed(1)
    other = SMALL.at("width", 24).build(SIGNATURE)
    more, without = (
        Taught(TASK, s, teacher).loss(other, batch) for s in (spec, spec.at(lesson, 0.0))
    )

    assert abs(float(twin.detach())) < 1e-3  # the sum over 64 samples
    assert float((more - without).detach()) > 0.1


def test_the_gradient_goes_into_the_student_alone() -> None:
    task = taught(**EVERYTHING)
    before = {name: p.clone() for name, p in task.teacher.state_dict().items()}

    found = gradients(task, windows())

    assert found.keys() == dict(decoder().named_parameters()).keys()
    assert all(float(g.abs().max()) > 0 for g in found.values())
    assert all(p.grad is None for p in task.teacher.parameters())
    assert all(torch.equal(p, before[n]) for n, p in task.teacher.state_dict().items())


@pytest.mark.parametrize("lesson", [EVERYTHING, {"features": 1.0}, {"attention": 1.0}], ids=str)
def test_however_a_batch_is_cut_the_gradient_is_the_same(lesson: dict[str, float]) -> None:
    task = taught(**lesson)
    parts = [slice(0, 3), slice(3, 4), slice(4, 8)]

    whole = gradients(task, windows())
    cut = [gradients(task, windows(rows=part)) for part in parts]

    for name, gradient in whole.items():
        total = sum((part[name] for part in cut), torch.zeros(()))
        torch.testing.assert_close(total, gradient, rtol=1e-4, atol=1e-4)


def test_own_texts_follow_from_seed_step_and_sample() -> None:
    batch = windows()

    def text(seed: int = 7, step: int = 3) -> Tensor:
        return continued(decoder(), windows(step), share=1, seed=seed)[0].inputs[0]

    assert torch.equal(text(), text())
    assert torch.equal(text()[:, :5], batch.inputs[0][:, :5])
    assert not torch.equal(text(), text(seed=8))
    assert not torch.equal(text(), text(step=4))
    part = continued(decoder(), windows(rows=slice(2, 5)), share=1, seed=7)[0]
    assert torch.equal(part.inputs[0], text()[2:5])


def test_as_many_windows_are_continued_as_asked_for() -> None:
    numbers = uniform(0, 5, np.arange(20_000), 3)

    assert np.abs(numbers.mean(0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 0.03
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    assert continued(decoder(), windows(), share=1e-9, seed=7)[1] is None


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_own_text_is_corrected_by_the_teacher_alone(share: float) -> None:
    task, student = taught(own=1.0, share=share, divergence="reverse"), decoder()

    loss = task.loss(student, windows())

    batch, own = continued(student, windows(), share=1, seed=7)
    ours, theirs = student(*batch.inputs), task.teacher(*batch.inputs)
    hard = task.task.losses(ours, batch.targets)
    soft = divergence(ours, theirs, task.spec) * (batch.targets >= 0)
    assert own is not None
    expected = soft[:, 5:].sum() + ((1 - share) * hard + share * soft)[:, :5].sum()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)


def test_narrow_arithmetic_forgets_no_gradient_where_it_writes() -> None:
    """Autocast keeps narrowed weights; those of a pass without gradients must not be used again."""
    task, student = taught(own=1.0), decoder()

    with torch.autocast("cpu", torch.bfloat16):
        loss = task.loss(student, windows())
    loss.backward()

    assert all(p.grad is not None for p in student.parameters())


def test_writing_leaves_dropout_as_it_was() -> None:
    net = decoder().train()
    state = torch.get_rng_state()

    continued(net, windows(), share=1, seed=7)

    assert net.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("lesson", ["features", "attention"])
def test_pictures_in_other_parts_are_not_compared(lesson: str) -> None:
    teacher, (batch, *_) = trained(SMALL), batches()
    student = trained(SMALL.at("pool", "token"))
    spec = Distil(teacher="", **{lesson: 1.0})  # pyright: ignore

    with pytest.raises(
        Refused, match=rf"fit\.distil\.{lesson}: .* into \[5\] parts .* found \[4\]"
    ):
        Taught(TASK, spec, teacher).loss(student, batch)
