import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from zafu.clean.contract import PictureCleaning
from zafu.clean.pictures_blank import Blank
from zafu.clean.pictures_extreme_aspect import ExtremeAspect
from zafu.clean.pictures_tiny import Tiny
from zafu.errors import RecipeError


def picture(height: int, width: int, level: int = 0) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_the_kinds_are_known_by_name() -> None:
    assert {"tiny", "extreme-aspect", "blank"} <= set(PictureCleaning.kinds())


def test_the_shorter_side_decides_what_is_tiny() -> None:
    step = Tiny(side=20)

    assert step.clean(picture(19, 300), 0) == "side below 20"
    assert step.clean(picture(300, 19), 0) == "side below 20"
    assert step.clean(picture(20, 20), 0) is None


def test_strips_go_lying_or_standing() -> None:
    step = ExtremeAspect(ratio=2.5)

    assert step.clean(picture(10, 26), 0) == "aspect above 2.5"
    assert step.clean(picture(26, 10), 0) == "aspect above 2.5"
    assert step.clean(picture(25, 10), 0) is None


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 8))
def test_blank_is_what_numpy_finds_below_the_deviation(seed: int, spread: float) -> None:
    """Parity: numpy's standard deviation of the channel that varies most."""
    chance = np.random.default_rng(seed)
    noisy = chance.normal(128, spread, (40, 30, 3)).round().clip(0, 255).astype(np.uint8)
    deviation = float(noisy.std((0, 1)).max())

    above, below = Blank(deviation=deviation + 1e-6), Blank(deviation=deviation - 1e-6)

    assert above.clean(noisy, 0) == "nearly constant"
    assert below.clean(noisy, 0) is None


def test_photographs_are_not_blank_and_a_sheet_of_one_color_is() -> None:
    for photograph in load_sample_images().images:
        assert Blank(deviation=30).clean(photograph, 0) is None
    assert Blank().clean(picture(50, 50, 77), 0) == "nearly constant"


@pytest.mark.parametrize(
    "raw", [{"kind": "tiny", "side": 1}, {"kind": "blank", "deviation": 0}, "extreme-aspekt"]
)
def test_a_value_out_of_range_or_an_unknown_kind_is_refused(raw: object) -> None:
    from zafu.data.images import Images

    with pytest.raises(RecipeError, match=r"clean\.0"):
        Images.parse({"folder": "x", "clean": [raw]})
