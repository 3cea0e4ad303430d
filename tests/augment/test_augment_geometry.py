"""Maps against Pillow and OpenCV, on a real photograph."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from zafu.augment.crops import Crop, ResizedCrop
from zafu.augment.flips import HorizontalFlip, VerticalFlip
from zafu.augment.geometry import Rotation, Scaling, Shear, Translation
from zafu.augment.runtime.affine import Affine, Size, move, warp
from zafu.augment.runtime.step import Draw, Geometric

PICTURE = np.asarray(
    Image.open(Path(sklearn.datasets.__file__).parent / "images" / "china.jpg").resize((96, 64))
)
SIZE = Size(3, 64, 96)


def drawn(signed: list[float], step: Geometric) -> Draw:
    """A draw with these values from -1 to 1 for one sample."""
    both = torch.tensor(signed, dtype=torch.float64)[:, None]
    return Draw(np.zeros(1, np.uint64), (both + 1) / 2, both, None, step.magnitudes)


def seen(step: object, signed: list[float], picture: np.ndarray = PICTURE) -> np.ndarray:
    """The picture under a step whose draws are these."""
    assert isinstance(step, Geometric)
    draw = drawn(signed, step)
    pixels = torch.from_numpy(picture.transpose(2, 0, 1).copy()).float()[None]
    rows = step.inverse(draw, Size(*pixels.shape[1:])).rows(1)
    return warp(pixels, rows, step.fill or "zeros")[0].numpy().transpose(1, 2, 0)


@pytest.mark.parametrize(("degrees", "turns"), [(90.0, 1), (180.0, 2)])
def test_turns_by_right_angles_are_exact(degrees: float, turns: int) -> None:
    square = PICTURE[:, :64]

    found = seen(Rotation(degrees=degrees).step(), [1.0], square)

    pillow = np.asarray(Image.fromarray(square).rotate(degrees))
    assert np.array_equal(np.rint(found), np.rot90(square, turns))
    assert np.array_equal(np.rint(found), pillow)


def test_a_turn_by_30_degrees_is_pillows() -> None:
    found = seen(Rotation(degrees=30.0).step(), [1.0])

    pillow = np.asarray(Image.fromarray(PICTURE).rotate(30.0, Image.Resampling.BILINEAR))
    inside = np.asarray(Image.new("L", (96, 64), 1).rotate(30.0))
    inside = cv2.erode(inside, np.ones((5, 5), np.uint8)).astype(bool)  # Pillow has no half edges
    # Pillow computes with 16 bits behind the point and rounds down
    assert np.abs(found - pillow)[inside].max() < 1.1
    assert inside.mean() > 0.5


@pytest.mark.parametrize(
    ("step", "signed", "forward"),
    [
        (Scaling(factor=1.7), [1.0], [[1.7, 0, 0], [0, 1.7, 0]]),
        (Scaling(factor=1.7), [-1.0], [[1 / 1.7, 0, 0], [0, 1 / 1.7, 0]]),
        (Translation(share=0.13), [1.0, -0.5], [[1, 0, 0.13 * 96], [0, 1, -0.065 * 64]]),
        (Shear(degrees=20.0), [1.0, 0.0], [[1, np.tan(np.pi / 9), 0], [0, 1, 0]]),
        (Shear(degrees=20.0, axis="y"), [1.0, 0.0], [[1, 0, 0], [np.tan(np.pi / 9), 1, 0]]),
    ],
)
@pytest.mark.parametrize("fill", ["zeros", "border", "reflection"])
def test_maps_are_those_of_opencv(
    step: Scaling | Translation | Shear, signed: list[float], forward: list[list[float]], fill: str
) -> None:
    matrix = np.array(forward, np.float64)
    center = np.array([95 / 2, 63 / 2])
    matrix[:, 2] += center - matrix[:, :2] @ center
    borders = {
        "zeros": cv2.BORDER_CONSTANT,
        "border": cv2.BORDER_REPLICATE,
        "reflection": cv2.BORDER_REFLECT,
    }

    found = seen(step.at("fill", fill).step(), signed)

    expected = cv2.warpAffine(
        PICTURE.astype(np.float32), matrix, (96, 64), borderMode=borders[fill]
    )
    assert np.abs(found - expected).max() < 0.05  # the kernels' float32


def test_a_shear_along_both_axes_is_along_x_then_along_y() -> None:
    step = Shear(degrees=25.0, axis="both").step()
    assert isinstance(step, Geometric)
    draw = drawn([0.7, -0.4], step)

    a, b, _, c, d, _ = step.inverse(draw, SIZE).rows(1)[:, 0].tolist()

    tangents = np.tan(np.radians(25.0) * np.array([0.7, -0.4]))
    forward = np.array([[1, 0], [tangents[1], 1]]) @ np.array([[1, tangents[0]], [0, 1]])
    assert np.array([[a, b], [c, d]]) @ forward == pytest.approx(np.eye(2), abs=1e-12)


def test_flips_are_exact() -> None:
    pixels = torch.from_numpy(PICTURE.transpose(2, 0, 1).copy())[None]

    across, down = (
        move(pixels, Affine(*m).rows(1), "zeros") for m in ((-1.0,), (1, 0, 0, 0, -1.0))
    )

    assert torch.equal(across, pixels.flip(3))
    assert torch.equal(down, pixels.flip(2))
    for step in (HorizontalFlip().step(), VerticalFlip().step()):
        assert isinstance(step, Geometric)
        assert step.whole_pixels


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_a_crop_is_a_cut_of_the_padded_picture(
    padding: int, across: int, down: int, mirrored: bool
) -> None:
    across, down = min(across, 2 * padding), min(down, 2 * padding)
    picture = torch.from_numpy(PICTURE[:16, :24].transpose(2, 0, 1).copy())[None]
    sign = -1.0 if mirrored else 1.0
    modes = {"zeros": "constant", "border": "edge", "reflection": "symmetric"}
    whole = 2 * padding + 1
    uniform = torch.tensor([[(across + 0.5) / whole], [(down + 0.5) / whole]], dtype=torch.float64)
    step = Crop(padding=padding).step()
    assert isinstance(step, Geometric)
    draw = Draw(np.zeros(1, np.uint64), uniform, uniform * 2 - 1, None, step.magnitudes)
    rows = step.inverse(draw, Size(3, 16, 24)).after(Affine(a=sign)).rows(1)

    for fill in ("zeros", "border", "reflection"):
        found = move(picture, rows, fill)

        pads = ((0, 0), (padding, padding), (padding, padding))
        padded = np.pad(picture[0].numpy(), pads, mode=modes[fill])
        cut = padded[:, down : down + 16, across : across + 24]
        expected = torch.from_numpy(cut[:, :, ::-1].copy() if mirrored else cut.copy())
        assert torch.equal(found[0], expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1, 0.999), min_size=4, max_size=4))
def test_a_resized_crop_shows_a_part_inside_the_picture_of_the_area_asked_for(
    signed: list[float],
) -> None:
    step = ResizedCrop(smallest=0.2, largest=0.6, ratio=1.5).step()
    assert isinstance(step, Geometric)
    draw = drawn(signed, step)

    a, b, left, c, d, top = step.inverse(draw, SIZE).rows(1)[:, 0].tolist()

    assert (b, c) == (0, 0)
    assert 0.2 - 1e-9 <= a * d <= 0.6 + 1e-9
    assert 1 / 1.5 - 1e-9 <= a / d <= 1.5 + 1e-9
    assert abs(left) + a * 48 <= 48 + 1e-9
    assert abs(top) + d * 32 <= 32 + 1e-9


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-2, 2), min_size=12, max_size=12), st.floats(-9, 9), st.floats(-9, 9))
def test_a_map_after_another_is_the_product_of_their_matrices(
    entries: list[float], x: float, y: float
) -> None:
    def apply(affine: Affine, x: float, y: float) -> tuple[float, float]:
        a, b, left, c, d, top = affine.rows(1)[:, 0].tolist()
        return a * x + b * y + left, c * x + d * y + top

    tensors: list[Tensor] = [torch.tensor([e], dtype=torch.float64) for e in entries[:6]]
    first, second = Affine(*tensors), Affine(*entries[6:])

    found = apply(second.after(first), x, y)

    assert found == pytest.approx(apply(second, *apply(first, x, y)), abs=1e-9)
