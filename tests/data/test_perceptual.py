import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from zafu.data.duplicates import clusters
from zafu.data.perceptual import NearPictures, PictureDuplicates, near, phash
from zafu.errors import RecipeError

PHOTOS = [np.asarray(photo) for photo in load_sample_images().images]  # china.jpg, flower.jpg


def look(picture: Image.Image) -> np.uint64:
    return phash(np.asarray(picture)[None])[0]


def apart(one: np.uint64, two: np.uint64) -> int:
    return int(np.bitwise_count(one ^ two))


def encoded(picture: Image.Image, quality: int) -> Image.Image:
    """The picture after a JPEG of this quality."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def variants(photo: Image.Image) -> dict[str, Image.Image]:
    half = (photo.width // 2, photo.height // 2)
    return {
        "a quarter": photo.resize((photo.width // 4, photo.height // 4), Image.Resampling.BICUBIC),
        "a square": photo.resize((96, 96), Image.Resampling.BILINEAR),
        "twice": photo.resize((photo.width * 2, photo.height * 2), Image.Resampling.BICUBIC),
        "quality 30": encoded(photo, 30),
        "darker": photo.point(lambda value: int(value * 0.6)),
        "brighter": photo.point(lambda value: min(255, int(value * 1.3))),
        "gray": photo.convert("L"),
        "all": encoded(photo.resize(half), 30).point(lambda value: min(255, int(value * 1.2))),
    }


@pytest.mark.parametrize("photo", PHOTOS, ids=["china", "flower"])
def test_a_photo_resized_reencoded_or_brightened_stays_near(photo: np.ndarray) -> None:
    picture = Image.fromarray(photo)

    distances = {n: apart(look(v), look(picture)) for n, v in variants(picture).items()}

    assert max(distances.values()) <= NearPictures().distance, distances


def test_crops_of_other_regions_are_not_near() -> None:
    """Also not where two of them overlap by half; of 1,770 pairs none is within 10 bits."""
    crops = [
        photo[y : y + 160, x : x + 160]
        for photo in PHOTOS
        for y in range(0, 260, 53)
        for x in range(0, 480, 80)
    ]

    found = near(phash(np.stack(crops)), 10)

    assert not len(found)


def test_copies_of_photos_are_removed_for_the_first() -> None:
    pictures = [Image.fromarray(photo) for photo in PHOTOS]
    looks = [look(p) for p in pictures] + [look(v) for p in pictures for v in variants(p).values()]
    prints = np.arange(len(looks), dtype=np.uint64)

    spec = PictureDuplicates(near=NearPictures())
    assert spec.near
    found = clusters(prints, lambda places: NearPictures().pairs(np.array(looks)[places]))

    assert found.twins.tolist() == [-1, -1, *[0] * 8, *[1] * 8]
    assert not found.exact.any()


def test_averaging_equals_exact_areas() -> None:
    """Parity with Pillow's box filter, which averages the same areas."""
    photo = np.asarray(Image.fromarray(PHOTOS[0]).convert("L"))
    small = Image.fromarray(photo).resize((320, 320), Image.Resampling.BOX)

    assert apart(phash(photo[None])[0], phash(np.asarray(small)[None])[0]) <= 2


def test_pictures_of_a_batch_are_hashed_as_each_alone() -> None:
    crops = np.stack([photo[:200, i : i + 100] for photo in PHOTOS for i in range(0, 500, 100)])

    together = phash(crops)

    assert together.tolist() == [phash(crop[None])[0] for crop in crops]
    assert together.dtype == np.uint64
    assert len(np.unique(together)) == len(crops)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (28, 28), (32, 32), (33, 31), (7, 400)])
def test_flat_pictures_of_any_size_are_near_to_nothing(size: tuple[int, int]) -> None:
    flat = np.concatenate([np.full((1, *size), value, np.uint8) for value in (0, 97, 255)])

    looks = phash(flat)

    assert not looks.any()
    assert not len(near(looks, 10))


def test_gray_in_three_channels_is_gray() -> None:
    gray = PHOTOS[1][None, :, :, 0]

    assert phash(np.stack([gray] * 3, axis=-1)) == phash(gray)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 16), st.integers(0, 2**16))
def test_every_pair_within_the_distance_is_found(distance: int, seed: int) -> None:
    """Parity with comparing each with each."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(1, 2**64, 120, dtype=np.uint64)
    for _ in range(distance):
        hashes[60:] ^= np.uint64(1) << rng.integers(0, 64, 60, dtype=np.uint64)
    for _ in range(distance + 1):
        flip = np.uint64(1) << rng.integers(0, 64, 30, dtype=np.uint64)
        hashes[30:60] = np.where(rng.random(30) < 0.9, hashes[:30] ^ flip, hashes[30:60])
        hashes[:30] = np.where(rng.random(30) < 0.5, hashes[30:60], hashes[:30])
    hashes = np.unique(hashes)

    found = near(hashes, distance)

    close = np.bitwise_count(hashes[:, None] ^ hashes) <= distance
    assert np.array_equal(found, np.stack(np.nonzero(np.triu(close, 1)), axis=1))


def test_equal_hashes_are_represented_by_their_first() -> None:
    """Thousands of equal pictures make thousands of pairs, not millions; all go for the first."""
    one, two = np.uint64(0xFFFF), np.uint64(0xFFFE)
    hashes = np.array([one, two] * 2000 + [np.uint64(1) << np.uint64(40)])

    pairs = near(hashes, 3)

    assert len(pairs) < 4 * len(hashes)
    found = clusters(np.arange(len(hashes), dtype=np.uint64), lambda _: pairs)
    assert (found.twins[1:4000] == 0).all()
    assert found.twins[[0, 4000]].tolist() == [-1, -1]


def test_a_distance_out_of_range_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"near\.distance: expected"):
        PictureDuplicates.parse({"near": {"distance": 17}})
