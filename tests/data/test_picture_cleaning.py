import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from zafu.data.contract import SPLITS
from zafu.data.images import Images
from zafu.errors import DataError, RecipeError
from zafu.recipe import Recipe
from zafu.signature import Columns, Signature
from zafu.work import Work

ALL = {"validation": 0, "test": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six crops of each of scikit-learn's two photographs, as PNG."""
    for label, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        for i in range(6):
            crop = photo[60 * i : 60 * i + 100, 80 * i : 80 * i + 120]
            save(tmp_path / "classes" / label / f"{i}.png", crop)
    return tmp_path / "classes"


def save(file: Path, shown: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(shown).save(file)


def prepared(out: Path, folder: Path, **raw: object) -> tuple[Images, Path]:
    data = Images.parse({"folder": str(folder), **raw})
    out.mkdir()
    data.prepare(out, task="classification", seed=0, work=Work(out.with_name(f"{out.name}.work")))
    return data, out


def report(out: Path) -> dict[str, Any]:
    return json.loads((out / "prepare.json").read_text())


def removed(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "removed.jsonl").read_text().splitlines()]


def test_each_step_takes_out_what_it_is_for_and_the_first_that_does_is_named(
    folder: Path, tmp_path: Path
) -> None:
    chance = np.random.default_rng(0)
    save(folder / "china" / "icon.png", chance.integers(0, 255, (9, 9, 3), np.uint8))
    save(folder / "china" / "strip.png", chance.integers(0, 255, (20, 200, 3), np.uint8))
    save(folder / "flower" / "sheet.png", np.full((50, 50, 3), 250, np.uint8))
    save(folder / "flower" / "dot.png", np.full((3, 3, 3), 250, np.uint8))

    _, out = prepared(tmp_path / "p", folder, split=ALL, clean=["tiny", "extreme-aspect", "blank"])

    assert {entry["id"]: entry["reason"] for entry in removed(out)} == {
        "china/icon.png": "side below 16",
        "china/strip.png": "aspect above 4",
        "flower/sheet.png": "nearly constant",
        "flower/dot.png": "side below 16",
    }
    assert report(out)["dropped"] == {"tiny": 2, "extreme-aspect": 1, "blank": 1}
    came = {step["step"]: (step["rows_in"], step["rows_out"]) for step in report(out)["steps"]}
    assert came["tiny"] == (16, 14)
    assert came["blank"] == (13, 12)


def test_what_is_to_be_kept_is_kept(folder: Path, tmp_path: Path) -> None:
    save(folder / "flower" / "sheet.png", np.full((50, 50, 3), 250, np.uint8))
    copy = np.asarray(Image.open(folder / "china" / "0.png"))
    save(folder / "china" / "copy.png", copy)
    keep = ["flower/sheet.png", "china/copy.png"]

    _, out = prepared(tmp_path / "p", folder, split=ALL, clean=["blank"], keep=keep)

    assert removed(out) == []
    assert report(out)["out"] == 14


def test_ids_to_keep_that_no_picture_has_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        prepared(tmp_path / "p", folder, keep=["china/7.png", "china/0.png"])

    message = r"data.keep: expected ids of readable pictures, found 'china/7.png'; did you mean"
    assert message in str(error.value)
    assert "1 fault" in str(error.value)


def test_copies_are_equal_pixels_in_whatever_file(folder: Path, tmp_path: Path) -> None:
    first = Image.open(folder / "china" / "0.png")
    first.save(folder / "china" / "copy.bmp")
    first.save(folder / "flower" / "copy.png", compress_level=1)

    _, out = prepared(tmp_path / "p", folder, split=ALL)

    assert [(entry["id"], entry["reason"], entry["twin"]) for entry in removed(out)] == [
        ("china/copy.bmp", "copy", "china/0.png"),
        ("flower/copy.png", "copy of another class", "china/0.png"),
    ]


def test_copies_that_stay_share_a_split(tmp_path: Path) -> None:
    digits = load_digits()
    for i in range(40):
        shown = (digits.images[i] * 15).astype(np.uint8)
        for name in ("png", "bmp"):
            save(tmp_path / "x" / str(digits.target[i] % 2) / f"{i}.{name}", shown)

    data, out = prepared(
        tmp_path / "p", tmp_path / "x", size=[8, 8], color="gray", duplicates={"exact": False}
    )

    splits = [
        {shown.tobytes() for shown in np.load(out / split / "pixels.npy")} for split in SPLITS
    ]
    assert sum(len(data.open(out, split)) for split in SPLITS) == 80
    assert not splits[0] & splits[1]
    assert not splits[0] & splits[2]
    assert report(out)["leaks"]["test"]["exact"]["count"] == 0


def test_near_copies_go_if_asked(folder: Path, tmp_path: Path) -> None:
    """The same picture smaller, as JPEG and brighter; another one stays."""
    first = Image.open(folder / "china" / "3.png")
    first.resize((90, 75)).save(folder / "china" / "small.png")
    first.save(folder / "china" / "worse.jpg", quality=60)
    first.point(lambda level: min(255, level + 12)).save(folder / "flower" / "brighter.png")

    _, out = prepared(tmp_path / "p", folder, split=ALL, duplicates={"near": {}})
    _, all_ = prepared(tmp_path / "q", folder, split=ALL)

    assert {(entry["id"], entry["reason"]) for entry in removed(out)} == {
        ("china/small.png", "near copy"),
        ("china/worse.jpg", "near copy"),
        ("flower/brighter.png", "near copy of another class"),
    }
    assert removed(all_) == []


@pytest.mark.parametrize("action", ["report", "remove"])
def test_digits_in_the_wrong_class_are_suspected(action: str, tmp_path: Path) -> None:
    """Of 300 zeros and ones, eight were put into the other folder."""
    digits = load_digits(n_class=2)
    wrong = set(range(0, 160, 20))
    for i, (image, label) in enumerate(zip(digits.images[:300], digits.target[:300], strict=True)):
        name = "zero" if (label == 0) != (i in wrong) else "one"
        save(tmp_path / "x" / name / f"{i:03}.png", (image * 15).astype(np.uint8))

    data, out = prepared(
        *(tmp_path / "p", tmp_path / "x"),
        size=[8, 8],
        color="gray",
        split=ALL,
        suspects={"action": action},
    )

    found = {int(s["id"][-7:-4]): s for s in report(out)["suspects"]}
    assert wrong <= set(found)
    assert len(found) <= len(wrong) + 3
    assert all(found[i]["suggested"] != found[i]["label"] for i in wrong)
    left = 300 - (len(found) if action == "remove" else 0)
    assert len(data.open(out, "train")) == left == report(out)["out"]
    assert len(removed(out)) == 300 - left


def test_features_make_columns_for_models_of_tables(folder: Path, tmp_path: Path) -> None:
    features = [{"kind": "hog", "cell": 8}, {"kind": "pca", "components": 3}]
    split = {"validation": 0.2, "test": 0.2}

    data, out = prepared(tmp_path / "p", folder, split=split, features=features, size=[16, 16])

    signature = Signature.parse(json.loads((out / "signature.json").read_text()))
    assert data.gives == "columns"
    assert isinstance(signature.inputs, Columns)
    train = data.open(out, "train")
    numbers, none = train.batch(np.arange(len(train))).inputs
    assert numbers.shape == (len(train), signature.inputs.numbers)
    assert none.shape == (len(train), 0)
    assert signature.inputs.numbers > 3
    mean = numbers.double().mean(0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-6, rtol=0)
    assert not list(out.glob("*/pixels.npy"))
    new, _ = data.encode(out / "transform", folder)
    stored = torch.cat(
        [s.batch(np.arange(len(s))).inputs[0] for s in (data.open(out, x) for x in SPLITS)]
    )
    for row in stored:
        # matrix products of other sizes are summed in another order
        assert (new.inputs[0] - row).abs().amax(1).min() < 1e-4


def test_a_recipe_with_features_wants_a_model_of_tables(folder: Path) -> None:
    raw = {
        "task": "classification",
        "data": {"kind": "images", "folder": str(folder), "features": ["hog"]},
        "fit": {"epochs": 1},
    }

    Recipe.parse({**raw, "model": "mlp"})
    with pytest.raises(RecipeError, match=r"model\.kind: expected a model that takes columns"):
        Recipe.parse({**raw, "model": "convnet"})


def test_sizes_classes_and_channels_are_told(folder: Path, tmp_path: Path) -> None:
    save(folder / "china" / "wide.png", np.asarray(load_sample_images().images[0])[:100, :300])

    _, out = prepared(tmp_path / "p", folder, split=ALL)

    told = report(out)
    assert told["sizes"]["width"] == [120.0] * 10 + [300.0]
    assert told["sizes"]["height"] == [100.0] * 11
    assert told["classes"]["china"] == {"train": 7, "validation": 0, "test": 0}
    stored = np.load(out / "train" / "pixels.npy")
    before, after = told["channels"]["before"], told["channels"]["after"]
    np.testing.assert_allclose(before["mean"], stored.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(before["std"], stored.std((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(after["mean"], 0, atol=1e-6)
    np.testing.assert_allclose(after["std"], 1, atol=1e-6)


def test_a_class_without_pictures_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "forest").mkdir()
    (folder / ".cache").mkdir()

    with pytest.raises(DataError, match=r"1 fault.*\n.*forest: expected pictures of a class"):
        prepared(tmp_path / "p", folder)


def test_a_bomb_is_refused_before_it_is_decoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 x 20,000 pixels in 50 kB would be 1.2 GB; nobody asks for its pixels."""
    Image.new("1", (20000, 20000)).save(folder / "china" / "bomb.png")
    loaded: list[tuple[int, int]] = []
    load = Image.Image.load

    def spy(image: Image.Image) -> Any:
        loaded.append(image.size)
        return load(image)

    monkeypatch.setattr(Image.Image, "load", spy)
    with pytest.raises(DataError, match=r"bomb\.png: expected a picture: "):
        prepared(tmp_path / "p", folder)

    assert (20000, 20000) not in loaded
