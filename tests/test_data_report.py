"""The report of real data, end to end."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from zafu.data_report import uri, write
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.work import Inline

RECIPES = {
    "digits": {
        "task": "classification",
        "data": {"kind": "digits"},
        "model": {"kind": "convnet"},
        "fit": {"epochs": 1, "augment": [{"kind": "rotation"}]},
    },
    "text": {
        "task": "language-modeling",
        "data": {
            "kind": "text",
            "files": ["stdlib:[b-c]*.py"],
            "clean": ["control", "gopher"],
            "tokenizer": {"kind": "bpe", "vocab": 300},
            "context": 64,
        },
        "model": {"kind": "decoder", "width": 16, "layers": 1, "heads": 2},
        "fit": {"steps": 1, "augment": [{"kind": "token-masking"}]},
    },
}


@pytest.fixture(params=["digits", "text"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Recipe, Path]:
    recipe = Recipe.parse(RECIPES[request.param])
    return recipe, prepared(recipe, tmp_path, engine=Inline())


def test_the_page_stands_beside_the_data_and_is_the_same_twice(made: tuple[Recipe, Path]) -> None:
    recipe, folder = made

    path = write(recipe, folder, name="mine")
    first = path.read_bytes()
    write(recipe, folder, name="mine")

    assert path == folder.parent / f"{folder.name}.html"
    assert path.read_bytes() == first
    assert b"What mine learns from" in first
    assert b"What a model sees" in first


def test_pictures_are_shown_as_stored_and_as_augmented(tmp_path: Path) -> None:
    recipe = Recipe.parse(RECIPES["digits"])
    folder = prepared(recipe, tmp_path, engine=Inline())

    found = write(recipe, folder, name="digits").read_text()

    pictures = re.findall(r'src="(data:image/png;base64,[^"]+)"', found)
    assert len(pictures) == 50
    assert len(set(pictures[:10]) & set(pictures[10:])) < 3


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_is_the_picture(channels: int) -> None:
    """Parity with Pillow, which reads it."""
    digit = (load_digits().images[0] * 15).astype(np.uint8)
    picture = np.stack([np.roll(digit, i, 0) for i in range(channels)])

    file = io.BytesIO(base64.b64decode(uri(picture).partition(",")[2]))

    read = np.asarray(Image.open(file)).reshape(8, 8, channels)
    assert np.array_equal(read.transpose(2, 0, 1), picture)
