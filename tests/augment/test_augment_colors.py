"""Tints against Pillow and colorsys, blur against SciPy, single operations against Pillow."""

import colorsys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import sklearn.datasets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from zafu.augment.runtime import pictures, trivial
from zafu.augment.runtime.step import Draw, Scene
from zafu.augment.runtime.tint import Tint, colored, matrices, mean_luma
from zafu.batch import Batch

FOLDER = Path(sklearn.datasets.__file__).parent / "images"
PICTURE = np.asarray(Image.open(FOLDER / "flower.jpg").resize((61, 47)))
IMAGE = Image.fromarray(PICTURE)
PIXELS = torch.from_numpy(PICTURE.transpose(2, 0, 1).copy())[None]
SCENE = Scene(
    epochs=np.zeros(1, np.int64),
    partner=lambda ids, epochs, device: Batch((PIXELS,), torch.zeros(1), ids),
    n=1,
    outputs=1,
    white=255.0,
    vocabulary=(),
    flags=torch.zeros(0, dtype=torch.bool),
)


def shown(pixels: torch.Tensor) -> np.ndarray:
    return pixels[0].clamp(0, 255).numpy().transpose(1, 2, 0).astype(np.float64)


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


@pytest.mark.parametrize("factor", [0.3, 0.8, 1.0, 1.45])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_tints_are_those_of_pillow(name: str, factor: float) -> None:
    mean = mean_luma(PIXELS)
    tints = {
        "brightness": Tint().scaled(one(factor)),
        "contrast": Tint().scaled(one(factor), (1 - factor) * mean),
        "saturation": Tint().saturated(one(factor)),
    }
    enhance = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }

    found = shown(colored(PIXELS.float(), tints[name].rows, turns=False))

    expected = np.asarray(enhance[name](IMAGE).enhance(factor)).astype(np.float64)
    assert np.abs(found - expected).max() < 1.6  # Pillow cuts, and its gray is a whole number


@settings(deadline=None, max_examples=25)
@given(st.floats(-np.pi, np.pi))
def test_hue_turns_chroma_and_keeps_luma(angle: float) -> None:
    turn = Tint().turned(one(angle).cos(), one(angle).sin())
    pixels = PIXELS.double()

    found = colored(pixels, turn.rows, turns=True)

    before, after = (
        np.array([colorsys.rgb_to_yiq(*p) for p in x[0, :, :5, :5].reshape(3, -1).T.tolist()])
        for x in (pixels, found)
    )
    # colorsys rounds YIQ's coefficients to two digits
    turned = (before[:, 1] + 1j * before[:, 2]) * np.exp(1j * angle)
    assert after[:, 0] == pytest.approx(before[:, 0], abs=3)
    assert np.abs(after[:, 1] + 1j * after[:, 2] - turned).max() < 3


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-1, 2), min_size=4, max_size=4), st.floats(-3, 3))
def test_a_tint_is_its_matrix_and_neighbours_are_a_product(
    factors: list[float], angle: float
) -> None:
    bright, contrast, saturation, mean = factors
    steps = [
        lambda t: t.scaled(one(bright)),
        lambda t: t.saturated(one(saturation)),
        lambda t: t.turned(one(angle).cos(), one(angle).sin()),
        lambda t: t.scaled(one(contrast), one(mean)),
    ]
    pixels, total = PIXELS[:, :, :7, :5].double(), Tint()
    for step in steps:
        total = step(total)

    by_matrix = matrices(total.rows)[0]

    flat = torch.cat([pixels[0].reshape(3, -1), torch.ones(1, 35, dtype=torch.float64)])
    one_by_one = pixels
    for step in steps:
        one_by_one = colored(one_by_one, step(Tint()).rows, turns=True)
    found = colored(pixels, total.rows, turns=True)
    assert torch.allclose(found[0].reshape(3, -1), by_matrix @ flat, atol=1e-9)
    assert torch.allclose(found, one_by_one, atol=1e-9)


def drawn(values: list[float], **magnitudes: float) -> Draw:
    uniform = torch.tensor(values, dtype=torch.float64)[:, None]
    return Draw(np.arange(1, dtype=np.uint64), uniform, uniform * 2 - 1, None, magnitudes)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.7])
def test_blur_is_scipys(sigma: float) -> None:
    batch = Batch((PIXELS,), torch.zeros(1), np.zeros(1, np.int64))

    found = pictures.blur(batch, drawn([0.0], sigma=sigma), SCENE)

    radius = int(np.ceil(3 * sigma))
    expected = scipy.ndimage.gaussian_filter(
        PICTURE.astype(np.float64), (sigma, sigma, 0), mode="nearest", radius=(radius, radius, 0)
    )
    assert np.abs(shown(found.inputs[0]) - expected).max() < 1e-3


def test_noise_has_the_standard_deviation_asked_for_and_no_mean() -> None:
    gray = torch.full((1, 3, 200, 200), 127, dtype=torch.uint8)
    batch = Batch((gray,), torch.zeros(1), np.zeros(1, np.int64))

    found = pictures.noise(batch, drawn([], std=0.1), SCENE).inputs[0] - 127

    count = found.numel()
    assert found.std().item() == pytest.approx(25.5, rel=4 / np.sqrt(2 * count))
    assert abs(found.mean().item()) < 4 * 25.5 / np.sqrt(count)
    assert (found.abs() < 25.5).double().mean().item() == pytest.approx(0.6827, abs=0.006)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 0.999), min_size=4, max_size=4))
def test_erasing_leaves_all_but_a_rectangle_of_the_area_asked_for(values: list[float]) -> None:
    picture = torch.ones(1, 3, 40, 50, dtype=torch.uint8)
    batch = Batch((picture,), torch.zeros(1), np.zeros(1, np.int64))
    draw = drawn(values, smallest=0.1, largest=0.3, ratio=2.0)

    found = pictures.erasing(batch, draw, SCENE, value="zeros").inputs[0][0, 0] == 0

    lines, columns = found.any(1), found.any(0)
    assert torch.equal(found, lines[:, None] & columns[None])
    share = found.double().mean().item()
    assert share == pytest.approx(0.1 + 0.2 * values[0], abs=0.03)  # sides are whole pixels


PILLOW: dict[str, Callable[[float, float], Image.Image]] = {
    "identity": lambda strength, sign: IMAGE,
    "brightness": lambda m, sign: ImageEnhance.Brightness(IMAGE).enhance(1 + sign * 0.99 * m),
    "color": lambda m, sign: ImageEnhance.Color(IMAGE).enhance(1 + sign * 0.99 * m),
    "contrast": lambda m, sign: ImageEnhance.Contrast(IMAGE).enhance(1 + sign * 0.99 * m),
    "sharpness": lambda m, sign: ImageEnhance.Sharpness(IMAGE).enhance(1 + sign * 0.99 * m),
    "posterize": lambda m, sign: ImageOps.posterize(IMAGE, 8 - round(m * 6)),
    "solarize": lambda m, sign: ImageOps.solarize(IMAGE, 255 * (1 - m)),
    "autocontrast": lambda m, sign: ImageOps.autocontrast(IMAGE),
    "equalize": lambda m, sign: ImageOps.equalize(IMAGE),
}
ROUNDED = {"brightness": 1.0, "color": 1.6, "contrast": 1.6, "sharpness": 2.1}


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("strength", [0.0, 7 / 30, 1.0])
@pytest.mark.parametrize("name", [name for name in PILLOW if name != "identity"])
def test_single_operations_are_pillows(name: str, strength: float, sign: float) -> None:
    found = trivial.operate(name, PIXELS.float(), one(strength), one(sign), "zeros")

    expected = np.asarray(PILLOW[name](strength, sign)).astype(np.float64)
    assert np.abs(shown(found) - expected).max() <= ROUNDED.get(name, 0)


def test_every_operation_is_drawn_and_has_a_counterpart() -> None:
    maps = {"shear-x", "shear-y", "translate-x", "translate-y", "rotate"}

    assert set(trivial.OPERATIONS) == set(PILLOW) | maps
    assert len(trivial.OPERATIONS) == 14
