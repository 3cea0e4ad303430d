"""MixUp, CutMix and what is done to rows, on wines and on photographs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_wine
from torch import Tensor

from zafu.augment.columns import ColumnNoise, ColumnSwap
from zafu.augment.contract import Augmentation
from zafu.augment.cutmix import CutMix
from zafu.augment.flips import HorizontalFlip
from zafu.augment.mixup import MixUp
from zafu.augment.runtime.chain import Chain
from zafu.batch import Batch

WINES = load_wine()
NUMBERS = torch.from_numpy((WINES.data - WINES.data.mean(0)) / WINES.data.std(0)).float()
FLAGGED = torch.cat([NUMBERS, (NUMBERS[:, :1] > 1).float()], 1)
CATEGORIES = torch.from_numpy(np.digitize(NUMBERS[:, :2].numpy(), [-1, 0, 1]))
GROWERS = torch.from_numpy(WINES.target)
DIGITS = torch.from_numpy(load_digits().images[:, None].astype(np.uint8))
NAMES = torch.from_numpy(load_digits().target)


def chain(
    step: Augmentation, inputs: tuple[Tensor, ...], targets: Tensor, outputs: int, seed: int = 0
) -> tuple[Batch, Batch]:
    """A batch of 40 before and after a step."""

    def read(ids: np.ndarray) -> Batch:
        return Batch(tuple(x[torch.from_numpy(ids)] for x in inputs), targets[ids], ids)

    batch = read(np.arange(40))
    built = Chain([step], seed=seed, outputs=outputs, read=read, n=len(targets))
    return batch, built(batch, np.zeros(40, np.int64))


@settings(deadline=None, max_examples=25)
@given(st.floats(0.05, 8), st.integers(0, 1000))
def test_cutmix_shows_of_each_class_what_its_target_says(alpha: float, seed: int) -> None:
    # each class in a color of its own: pixels can be counted by where they are from
    painted = (NAMES * 20)[:, None, None, None].expand(-1, 1, 9, 11).to(torch.uint8)

    _, found = chain(CutMix(alpha=alpha), (painted,), NAMES, 10, seed)

    (shown,) = found.inputs
    counted = torch.stack([(shown == 20 * c).double().mean((1, 2, 3)) for c in range(10)], 1)
    assert torch.allclose(found.targets.double(), counted, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.05, 8), st.floats(0.1, 1), st.integers(0, 1000))
def test_mixup_mixes_inputs_as_it_mixes_targets(
    alpha: float, probability: float, seed: int
) -> None:
    hot = torch.nn.functional.one_hot(GROWERS, 3).float()

    _, found = chain(MixUp(alpha=alpha, probability=probability), (hot,), GROWERS, 3, seed)

    assert torch.equal(found.inputs[0], found.targets)
    assert torch.allclose(found.targets.sum(1), torch.ones(40))


def test_mixup_of_numbers_to_predict_is_their_convex_sum() -> None:
    _, found = chain(MixUp(alpha=1.0), (NUMBERS, CATEGORIES), NUMBERS[:, 3:4].clone(), 1)

    assert torch.allclose(found.targets, found.inputs[0][:, 3:4])
    assert found.inputs[1].dtype == torch.int64


def test_the_mean_share_of_mixup_is_a_half_and_its_spread_that_of_beta() -> None:
    # a partner of zeros and a sample of ones: the input is the share itself
    ones = torch.ones(4000, 1)

    def read(ids: np.ndarray) -> Batch:
        rows = ones[ids] if len(ids) < 4000 or ids[1] == 1 else torch.zeros(len(ids), 1)
        return Batch((rows,), torch.zeros(len(ids), 1), ids)

    built = Chain([MixUp(alpha=0.4)], seed=3, outputs=1, read=read, n=4000)
    share = built(read(np.arange(4000)), np.zeros(4000, np.int64)).inputs[0].double()

    assert share.mean().item() == pytest.approx(0.5, abs=0.03)
    assert share.var().item() == pytest.approx(0.25 / 1.8, rel=0.08)  # 1 / (4 (2 alpha + 1))


def test_a_partner_has_come_through_the_steps_before() -> None:
    flip = HorizontalFlip(probability=1.0)

    def read(ids: np.ndarray) -> Batch:
        return Batch((DIGITS[ids],), NAMES[ids], ids)

    built = Chain([flip, MixUp(alpha=1.0)], seed=0, outputs=10, read=read, n=len(NAMES))
    later = Chain([MixUp(alpha=1.0)], seed=0, outputs=10, read=read, n=len(NAMES))
    ids, epochs = np.arange(30), np.zeros(30, np.int64)

    found = built(read(ids), epochs).inputs[0]

    assert found.shape == later(read(ids), epochs).inputs[0].shape
    mirrored = found.flip(3)
    ink = DIGITS.double().mean((0, 1, 2))  # a column's mean ink: digits are not symmetric
    columns = mirrored.double().mean((0, 1, 2))
    assert (columns - ink).abs().sum() < (columns.flip(0) - ink).abs().sum()


def test_column_noise_spares_flags_and_has_the_deviation_asked_for() -> None:
    before, found = chain(ColumnNoise(std=0.3), (FLAGGED, CATEGORIES), GROWERS, 3)

    added = found.inputs[0] - before.inputs[0]
    assert torch.equal(added[:, -1], torch.zeros(40))
    assert added[:, :-1].std().item() == pytest.approx(0.3, rel=0.15)
    assert torch.equal(found.inputs[1], before.inputs[1])
    assert torch.equal(found.targets, before.targets)


def test_column_swap_takes_entries_of_one_other_row_each_in_its_column() -> None:
    before, found = chain(ColumnSwap(share=0.3), (NUMBERS, CATEGORIES), GROWERS, 3)

    changed = found.inputs[0] != before.inputs[0]
    assert changed.double().mean().item() == pytest.approx(0.3, abs=0.08)
    assert torch.equal(found.targets, before.targets)
    for row, mask in zip(found.inputs[0], changed, strict=True):
        donors = (NUMBERS[:, mask] == row[mask]).all(1)
        assert donors.any()
