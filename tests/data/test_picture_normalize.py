import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from zafu.batch import Batch
from zafu.data import pictures, pixels
from zafu.data.normalize import Normalize

KINDS: tuple[Normalize, ...] = (
    *("z-score", "min-max", "min-max-symmetric", "robust"),
    *("quantile", "quantile-normal", "none"),
)


def some(seed: int, *, n: int = 6) -> np.ndarray:
    """Pictures of two channels whose values are unevenly spread."""
    chance = np.random.default_rng(seed)
    levels = chance.gamma(2, 25, (n, 2, 5, 7)) * np.array([1, 0.5]).reshape(2, 1, 1)
    return levels.clip(0, 255).astype(np.uint8)


def fitted(shown: np.ndarray, kind: Normalize) -> pixels.Fitted:
    counts = pixels.histogram(shown)
    return pixels.fit(counts, kind, size=(5, 7), labels=("a", "b"))


def split(shown: np.ndarray, kind: Normalize) -> pictures.Pictures:
    return pictures.Pictures(
        pictures.Array(shown), np.zeros(len(shown), np.int64), fitted(shown, kind)
    )


def places(columns: np.ndarray) -> np.ndarray:
    """Quantiles by SciPy's ranks, equal values in the middle of theirs, the ends at 0 and 1."""
    found = (rankdata(columns, axis=0) - 1) / (len(columns) - 1)
    found[columns == columns.min(0)] = 0
    found[columns == columns.max(0)] = 1
    return found


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("kind", KINDS)
def test_each_scale_is_that_of_scikit_learn_and_scipy(kind: Normalize, seed: int) -> None:
    """Parity, to float32, channel by channel on all pixels of the training pictures."""
    shown = some(seed)
    columns = shown.transpose(0, 2, 3, 1).reshape(-1, 2).astype(np.float64)
    expected = {
        "z-score": StandardScaler().fit_transform,
        "min-max": MinMaxScaler().fit_transform,
        "min-max-symmetric": MinMaxScaler((-1, 1)).fit_transform,
        "robust": RobustScaler().fit_transform,
        "quantile": places,
        "quantile-normal": lambda x: norm.ppf(places(x).clip(1e-7, 1 - 1e-7)),
        "none": np.asarray,
    }[kind](columns)

    found = pixels.normalized(torch.from_numpy(shown), fitted(shown, kind))

    ours = found.permute(0, 2, 3, 1).reshape(-1, 2).numpy()
    # float32 keeps 24 bits: of 255 unscaled, and of differences from a mean of up to 255
    np.testing.assert_allclose(ours, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_batch_is_finish_of_raw_to_the_bit(
    kind: Normalize, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, ids = some(3, n=40), np.array([5, 0, 39, 5])
    in_memory = split(shown, kind)
    monkeypatch.setattr(pictures, "SMALL", 0)
    mapped = split(shown, kind)

    finished = in_memory.finish(in_memory.raw(ids)).inputs[0]

    assert in_memory.raw(ids).inputs[0].dtype == torch.uint8
    assert torch.equal(in_memory.batch(ids).inputs[0], finished)
    assert torch.equal(mapped.batch(ids).inputs[0], finished)


@pytest.mark.parametrize("kind", KINDS)
def test_a_float_that_is_a_byte_becomes_the_same_bits(kind: Normalize) -> None:
    shown = torch.from_numpy(some(1))

    scale = fitted(shown.numpy(), kind)

    assert torch.equal(pixels.normalized(shown.float(), scale), pixels.normalized(shown, scale))


@pytest.mark.parametrize("kind", KINDS)
def test_normalizing_changes_no_input_and_lets_gradients_pass(kind: Normalize) -> None:
    shown = torch.from_numpy(some(2)).float()
    shown += 0.25 - 0.5 * (shown > 128)  # between two bytes
    before = shown.clone()
    shown.requires_grad_()

    pixels.normalized(shown, fitted(some(2), kind)).sum().backward()

    assert shown.grad is not None
    assert torch.equal(shown.detach(), before)
    assert (shown.grad >= 0).all()
    assert (shown.grad > 0).any()


def test_quantiles_rise_between_the_bytes() -> None:
    scale = fitted(some(4), "quantile")
    between = torch.linspace(-10, 265, 2201).repeat(2, 1).view(1, 2, 1, -1)

    found = pixels.normalized(between, scale)

    assert (found.diff(dim=-1) >= 0).all()
    assert float(found.min()) == 0
    assert float(found.max()) == 1


def test_histograms_of_parts_add_up() -> None:
    shown = some(5, n=9)

    parts = pixels.histogram(shown[:4]) + pixels.histogram(shown[4:])

    assert np.array_equal(parts, pixels.histogram(shown))
    assert parts.sum() == shown.size


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_channel_stays_finite(kind: Normalize) -> None:
    shown = np.full((3, 2, 5, 7), 9, np.uint8)

    found = split(shown, kind).batch(np.arange(3)).inputs[0]

    assert torch.isfinite(found).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_fitted_travels_with_the_model(kind: Normalize) -> None:
    shown = some(6)
    scale = fitted(shown, kind)

    again = pixels.Fitted.parse(scale.dump())

    assert again == scale
    new = pictures.unlabelled(again, shown)
    stored = split(shown, kind).batch(np.arange(len(shown)))
    assert torch.equal(new.inputs[0], stored.inputs[0])
    assert isinstance(new, Batch)


def test_the_report_tells_the_scale_before_and_after() -> None:
    shown = some(7)
    scale = fitted(shown, "z-score")

    mean, std = pixels.after(pixels.histogram(shown), scale)

    np.testing.assert_allclose(mean, 0, atol=1e-6)
    np.testing.assert_allclose(std, 1, atol=1e-6)
