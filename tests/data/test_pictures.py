import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from zafu.data import pictures, pixels
from zafu.data.digits import Digits
from zafu.data.images import Images
from zafu.errors import DataError, MissingExtra
from zafu.work import Work

TASK = "classification"


def prepared(folder: Path, data: Images | Digits) -> Path:
    folder.mkdir()
    data.prepare(folder, task=TASK, seed=0, work=Work(folder.with_name(f"{folder.name}.work")))
    return folder


def photographs(folder: Path) -> Path:
    """Crops of scikit-learn's two photographs, 20 of each, as JPEG."""
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            crop = photo[10 * i : 10 * i + 200, 15 * i : 15 * i + 300]
            Image.fromarray(crop).save(folder / name / f"{i:02}.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photos") / "classes")


def whole(data: Images | Digits, folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    opened = data.open(folder, split)
    batch = opened.batch(np.arange(len(opened)))
    return batch.inputs[0], batch.targets


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    """Parity: each picture with its class, over all splits."""
    reference = load_digits()
    folder = prepared(tmp_path / "d", Digits())
    fitted = pixels.load(folder / "transform")

    found = [whole(Digits(), folder, split) for split in ("train", "validation", "test")]

    shown = torch.cat([x for x, _ in found]) * fitted.std[0] + fitted.mean[0]
    classes = torch.cat([y for _, y in found])
    ours = np.column_stack([shown.round().flatten(1).numpy(), classes.numpy()])
    theirs = np.column_stack([reference.data, reference.target])
    assert np.array_equal(np.unique(ours, axis=0), np.unique(theirs, axis=0))
    assert len(ours) == Digits().samples_foreseen(()) == 1797


def test_training_digits_have_mean_0_and_deviation_1(tmp_path: Path) -> None:
    shown, _ = whole(Digits(), prepared(tmp_path / "d", Digits()), "train")

    torch.testing.assert_close(shown.double().mean().item(), 0.0, atol=1e-6, rtol=0)
    torch.testing.assert_close(shown.double().std(correction=0).item(), 1.0, atol=1e-6, rtol=0)


def test_statistics_are_exact_for_each_channel(photos: Path) -> None:
    rgb = np.stack([np.asarray(p)[:200, :300] for p in load_sample_images().images])
    stored = rgb.transpose(0, 3, 1, 2)

    mean, std = pixels.statistics(pixels.histogram(stored))

    np.testing.assert_allclose(mean, stored.mean((0, 2, 3), dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(std, stored.std((0, 2, 3), dtype=np.float64), rtol=1e-12)


def test_a_split_in_memory_and_one_on_disk_give_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepared(tmp_path / "d", Digits())
    in_memory, _ = whole(Digits(), folder, "train")

    monkeypatch.setattr(pictures, "SMALL", 0)

    assert torch.equal(whole(Digits(), folder, "train")[0], in_memory)


def test_classes_are_folders_and_sizes_are_made_equal(photos: Path, tmp_path: Path) -> None:
    data = Images(folder=str(photos), size=(24, 36))
    folder = prepared(tmp_path / "p", data)

    shown, classes = whole(data, folder, "train")

    assert shown.shape[1:] == (3, 24, 36)
    assert set(classes.tolist()) == {0, 1}
    assert pixels.load(folder / "transform").labels == ("china", "flower")
    assert data.samples_foreseen(data.sources()) == 40


def test_the_middle_of_a_picture_is_kept(tmp_path: Path) -> None:
    """A closed form: a wide picture of three squares is cut to the one in the middle."""
    squares = np.zeros((30, 90, 3), np.uint8)
    for label, level in zip("ab", (200, 210), strict=True):
        (tmp_path / "classes" / label).mkdir(parents=True)
        squares[:, 30:60] = level
        Image.fromarray(squares).save(tmp_path / "classes" / label / "x.png")
    data = Images.parse(
        {"folder": f"{tmp_path}/classes", "size": [30, 30], "split": {"validation": 0, "test": 0}}
    )

    folder = prepared(tmp_path / "p", data)

    stored = np.load(folder / "train" / "pixels.npy")
    assert (stored == np.array([200, 210]).reshape(2, 1, 1, 1)).all()


def test_a_new_picture_is_encoded_as_a_stored_one(photos: Path, tmp_path: Path) -> None:
    data = Images(folder=str(photos), size=(16, 16), color="gray")
    folder = prepared(tmp_path / "p", data)

    one, name = data.encode(folder / "transform", photos / "china" / "03.jpg")
    all_, names = data.encode(folder / "transform", photos)

    stored = torch.cat([whole(data, folder, s)[0] for s in ("train", "validation", "test")])
    assert name == ["03.jpg"]
    assert names[3] == "china/03.jpg"
    assert torch.equal(one.inputs[0][0], all_.inputs[0][3])
    assert (stored == one.inputs[0]).flatten(1).all(1).any()
    assert all_.targets.tolist() == [-100] * 40


def test_a_picture_of_a_digit_is_encoded_as_the_digit(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "d", Digits())
    image = load_digits().images[7]
    Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(tmp_path / "seven.png")

    batch, _ = Digits().encode(folder / "transform", tmp_path / "seven.png")

    fitted = pixels.load(folder / "transform")
    shown = batch.inputs[0][0, 0] * fitted.std[0] + fitted.mean[0]
    assert np.array_equal(shown.round().numpy(), image)


def test_what_is_transparent_is_white_and_what_is_turned_is_upright(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "classes" / label).mkdir(parents=True)
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "classes" / "a" / "clear.png")
    turned = Image.new("L", (8, 4))
    turned.paste(255, (0, 0, 4, 4))  # the left half; upright, it is the upper one
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    turned.save(tmp_path / "classes" / "b" / "turned.png", exif=exif)
    data = Images.parse(
        {"folder": f"{tmp_path}/classes", "size": [8, 4], "split": {"validation": 0, "test": 0}}
    )

    stored = np.load(prepared(tmp_path / "p", data) / "train" / "pixels.npy")

    assert (stored[0] == 255).all()
    assert (stored[1, :, :4] == 255).all()
    assert (stored[1, :, 4:] == 0).all()


def test_every_picture_that_cannot_be_read_is_listed(photos: Path, tmp_path: Path) -> None:
    root = photographs(tmp_path / "classes")
    whole_file = (root / "china" / "00.jpg").read_bytes()
    (root / "china" / "cut.jpg").write_bytes(whole_file[:2000])
    (root / "flower" / "text.png").write_text("no picture")
    Image.new("1", (8300, 8300)).save(root / "flower" / "huge.png")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(root / "flower" / "deep.png")

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "p", Images(folder=str(root)))

    message = str(error.value)
    assert "4 faults" in message
    assert f"{root}/china/cut.jpg: expected a picture" in message
    assert f"{root}/flower/text.png: expected a picture" in message
    assert "huge.png: expected a picture: expected at most 67,108,864 pixels" in message
    assert "deep.png: expected a picture: expected 8 bits a channel" in message


def test_what_is_no_picture_by_its_name_is_counted(tmp_path: Path) -> None:
    root = photographs(tmp_path / "classes")
    (root / "china" / "notes.txt").write_text("taken in Beijing")

    folder = prepared(tmp_path / "p", Images(folder=str(root)))

    report = json.loads((folder / "prepare.json").read_text())
    assert report["dropped"] == {"name": 1}
    assert (report["in"], report["out"]) == (41, 40)


def test_removing_a_held_out_picture_changes_nothing_that_was_fitted(tmp_path: Path) -> None:
    root = photographs(tmp_path / "classes")
    data = Images(folder=str(root))
    before = prepared(tmp_path / "before", data)
    held_out = np.load(before / "test" / "pixels.npy")[0]
    for file in data.sources():
        encoded = data.encode(before / "transform", file)[0].inputs[0]
        if torch.equal(encoded[0], whole(data, before, "test")[0][0]):
            file.unlink()

    after = prepared(tmp_path / "after", data)

    for name in ("transform/pixels.json", "train/pixels.npy"):
        assert (after / name).read_bytes() == (before / name).read_bytes()
    assert not (np.load(after / "test" / "pixels.npy") == held_out).all((1, 2, 3)).any()


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.folder: expected CLASS/NAME .* found none under"):
        Images(folder=str(tmp_path)).sources()


def test_one_class_is_not_enough(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "only").symlink_to(photos / "china")

    with pytest.raises(DataError, match=r"at least 2 folders, found \['only'\]"):
        prepared(tmp_path / "p", Images(folder=str(tmp_path / "classes")))


def test_an_absent_package_is_named_with_the_line_that_installs_it(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert Digits().sources() == ()
    with pytest.raises(MissingExtra, match=r"scikit-learn: pip install 'zafu\[sklearn\]'"):
        prepared(tmp_path / "d", Digits())
    with pytest.raises(MissingExtra, match=r"pillow: pip install 'zafu\[image\]'"):
        prepared(tmp_path / "p", Images(folder=str(photos)))
