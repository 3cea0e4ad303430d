"""Pictures as histograms of gradients, as main patterns, and by a model's last layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_sample_image
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from zafu.errors import DataError, RecipeError
from zafu.features.contract import PictureFeature
from zafu.features.hog import HOG
from zafu.features.picture_embedding import PictureEmbedding
from zafu.features.picture_pca import PicturePCA

DIGITS = (load_digits().images[:, None] * 15).astype(np.uint8)
ANSWERS = load_digits().target


def photographs() -> np.ndarray:
    """Pieces of two photographs, `(6, 3, 40, 56)`."""
    pieces = [
        load_sample_image(name)[top : top + 40, top + 90 : top + 146]
        for name in ("china.jpg", "flower.jpg")
        for top in (100, 200, 300)
    ]
    return np.ascontiguousarray(np.stack(pieces).transpose(0, 3, 1, 2))


def applied(feature: PictureFeature, pictures: np.ndarray) -> np.ndarray:
    return feature.apply(feature.fit(pictures, seed=0), pictures)


def by_the_paper(feature: HOG, picture: np.ndarray) -> np.ndarray:
    """HOG of one picture `(channels, height, width)`, pixel by pixel and vote by vote."""
    _, height, width = picture.shape
    cell, block, bins = feature.cell, feature.block, feature.orientations
    side, sigma = cell * block, feature.window * cell * block
    span = 360 if feature.signed else 180
    values = picture.astype(float)

    def gradient(y: int, x: int) -> tuple[float, float]:
        """Size and angle in the channel where it is largest."""
        best = (0.0, 0.0)
        for channel in values:
            down = channel[min(y + 1, height - 1), x] - channel[max(y - 1, 0), x]
            right = channel[y, min(x + 1, width - 1)] - channel[y, max(x - 1, 0)]
            if down**2 + right**2 > best[0] ** 2 + best[1] ** 2:
                best = (down, right)
        return float(np.hypot(*best)), float(np.degrees(np.arctan2(*best)) % span)

    found = []
    for top in range(0, height - side + 1, cell):
        for left in range(0, width - side + 1, cell):
            histogram = np.zeros((block, block, bins))
            for y in range(side):
                for x in range(side):
                    size, angle = gradient(top + y, left + x)
                    dy, dx = y + 0.5 - side / 2, x + 0.5 - side / 2
                    size *= np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
                    for i in range(block):
                        for j in range(block):
                            near_y = max(0, 1 - abs(y + 0.5 - (i + 0.5) * cell) / cell)
                            near_x = max(0, 1 - abs(x + 0.5 - (j + 0.5) * cell) / cell)
                            for k in range(bins):
                                away = abs(angle - (k + 0.5) * span / bins)
                                away = min(away, span - away) / (span / bins)
                                histogram[i, j, k] += size * near_y * near_x * max(0, 1 - away)
            vector = histogram.ravel() / np.sqrt((histogram**2).sum() + 1)
            vector = np.minimum(vector, feature.clip)
            found.append(vector / (np.sqrt((vector**2).sum()) or 1))
    return np.concatenate(found)


@pytest.mark.parametrize(
    "feature",
    [
        HOG(cell=8),
        HOG(cell=5, block=3, orientations=4, signed=True),
        HOG(cell=10, block=1, clip=1, window=1000),
    ],
    ids=["default", "signed", "one cell"],
)
def test_hog_is_what_the_paper_says(feature: HOG) -> None:
    pictures = photographs()[[1, 4], :, :24, :33]
    expected = np.stack([by_the_paper(feature, picture) for picture in pictures])

    found = applied(feature, pictures)

    assert found.shape == expected.shape
    # float32: an orientation between two bins may be off by a rounding of its angle
    assert np.allclose(found, expected, rtol=0, atol=2e-6)


@given(st.integers(1, 40), st.integers(-40, 40))
@settings(deadline=None, max_examples=25)
def test_contrast_and_brightness_hardly_matter(contrast: int, brightness: int) -> None:
    ramp = np.add.outer(np.arange(16), 2 * np.arange(16) % 7)[None, None]
    plain = applied(HOG(cell=4), (ramp + 100).astype(np.uint8))

    found = applied(HOG(cell=4), (ramp * max(1, contrast // 10) + 80 + brightness).astype(np.uint8))

    assert np.allclose(found, plain, atol=0.02)  # blocks fade with gradients of few grey levels


def test_an_edge_votes_for_its_orientation() -> None:
    across = np.zeros((1, 1, 16, 16), np.uint8)
    across[..., 8:] = 200

    found = applied(HOG(cell=8, orientations=4), across).reshape(2, 2, 4)

    # the gradient points right, at 0 degrees: half way between the last bin and the first
    assert np.allclose(found[..., 0], found[..., 3])
    assert np.allclose(found[..., 1:3], 0)


def test_flat_pictures_have_no_gradient() -> None:
    assert not applied(HOG(cell=4), np.full((2, 3, 8, 8), 77, np.uint8)).any()


def test_blocks_have_length_1_and_pictures_come_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = applied(HOG(), photographs())
    monkeypatch.setattr("zafu.features.hog._FLOATS", 1)

    single = applied(HOG(), photographs())

    assert np.array_equal(whole, single)
    assert np.allclose(np.linalg.norm(whole.reshape(-1, 36), axis=1), 1, atol=1e-5)


def test_a_line_tells_digits_better_by_hog_than_by_pixels() -> None:
    scores = []
    for values in (DIGITS.reshape(len(DIGITS), -1) / 255, applied(HOG(cell=2), DIGITS)):
        model = LogisticRegression(max_iter=200).fit(normalize(values[:600]), ANSWERS[:600])
        scores.append(model.score(normalize(values[600:]), ANSWERS[600:]))

    assert scores[1] > scores[0] + 0.01


def test_pictures_without_room_for_a_block_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected pictures of 16 x 16 or more .*, found 8"):
        applied(HOG(), DIGITS[:2])


def test_patterns_are_scikit_learns() -> None:
    flat = DIGITS.reshape(len(DIGITS), -1).astype(np.float64)
    sklearn = SklearnPCA(10, svd_solver="full").fit(flat)
    feature = PicturePCA(components=10)

    state = feature.fit(DIGITS, seed=0)
    found = feature.apply(state, DIGITS)

    assert np.allclose(state["directions"], sklearn.components_, rtol=0, atol=1e-10)
    assert np.allclose(state["shares"], sklearn.explained_variance_ratio_, rtol=0, atol=1e-12)
    # float32: to a rounding of numbers in the hundreds
    assert np.allclose(found, sklearn.transform(flat), rtol=1e-7, atol=1e-5)


def test_a_share_of_the_variance_takes_as_many_patterns_as_in_scikit_learn() -> None:
    flat = DIGITS.reshape(len(DIGITS), -1).astype(np.float64)

    found = applied(PicturePCA(variance=0.9), DIGITS)

    assert found.shape[1] == SklearnPCA(0.9, svd_solver="full").fit(flat).n_components_


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((3, 3, 64, 64), np.uint8), "at most 8,192 numbers, found 12,288"),
        (DIGITS[:1], "2 training pictures or more, found 1"),
        (DIGITS[:5], r"at most 5 components \(components\), found 9"),
        (np.repeat(DIGITS[:1], 9, 0), "training pictures that differ, found none"),
    ],
    ids=["large", "one", "few", "alike"],
)
def test_pictures_without_patterns_are_refused(pictures: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        applied(PicturePCA(components=9), pictures)


def test_the_number_of_patterns_is_said_in_one_way() -> None:
    with pytest.raises(RecipeError, match="expected either components or variance"):
        PicturePCA.parse({})


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_an_embedding_is_the_mean_of_the_last_layer(tmp_path: Path) -> None:
    few = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    model = ViTModel(ViTConfig(hidden_size=8, image_size=[40, 56], patch_size=8, **few)).eval()
    model.save_pretrained(tmp_path)
    means = '{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}'
    (tmp_path / "preprocessor_config.json").write_text(means)
    pixels = torch.from_numpy(photographs()).float() / 255
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.25])

    found = applied(PictureEmbedding(path=str(tmp_path), batch=4), photographs())

    with torch.inference_mode():
        scaled = (pixels - mean[:, None, None]) / std[:, None, None]
        expected = model(pixel_values=scaled).last_hidden_state.mean(1)
    assert np.allclose(found, expected.numpy(), rtol=0, atol=1e-5)


def test_gray_pictures_of_any_size_suit_a_convolutional_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    model = ResNetModel(config).eval()
    model.save_pretrained(tmp_path)
    pixels = torch.from_numpy(DIGITS[:5]).expand(-1, 3, -1, -1).float() / 127.5 - 1

    found = applied(PictureEmbedding(path=str(tmp_path)), DIGITS[:5])

    with torch.inference_mode():
        expected = model(pixel_values=pixels).last_hidden_state.mean((2, 3))
    assert np.allclose(found, expected.numpy(), rtol=0, atol=1e-5)


def test_pictures_of_other_channels_than_the_models_are_refused(tmp_path: Path) -> None:
    few = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(hidden_size=8, image_size=8, patch_size=4, num_channels=1, **few)
    ViTModel(config).save_pretrained(tmp_path)

    with pytest.raises(DataError, match="expected pictures of 1 channels, found 3"):
        applied(PictureEmbedding(path=str(tmp_path)), photographs())
