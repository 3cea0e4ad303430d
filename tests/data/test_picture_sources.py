import io
import json
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from zafu.data import picture_sources
from zafu.data.contract import SPLITS
from zafu.data.images import Images
from zafu.errors import DataError, Interrupted, RecipeError
from zafu.work import Inline, Pool, Work

TASK = "classification"
SIZE = {"size": [8, 8], "color": "gray"}


@dataclass
class Digit:
    """A digit as a PNG."""

    label: int
    content: bytes
    name: str = ""


def encoded(shown: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(shown).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def digits() -> list[Digit]:
    known = load_digits()
    return [
        Digit(label, encoded((image * 15).astype(np.uint8)), f"{label}/{i:03}.png")
        for i, (image, label) in enumerate(
            zip(known.images[:120], known.target[:120].tolist(), strict=True)
        )
    ]


def as_folder(digits: list[Digit], folder: Path) -> dict[str, object]:
    for digit in digits:
        (folder / digit.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / digit.name).write_bytes(digit.content)
    return {"folder": str(folder)}


def as_zip(digits: list[Digit], folder: Path) -> dict[str, object]:
    with zipfile.ZipFile(folder / "digits.zip", "w") as archive:
        archive.writestr("0/readme.txt", "digits")
        archive.writestr("__MACOSX/0/._000.png", "rubbish")
        for digit in digits:
            archive.writestr(f"digits/{digit.name}", digit.content)
    return {"files": [f"{folder}/*.zip"]}


def as_tar(digits: list[Digit], folder: Path, end: str = "tar") -> dict[str, object]:
    with tarfile.open(folder / f"digits.{end}", "w:gz" if end == "tar.gz" else "w") as archive:
        for digit in digits:
            entry = tarfile.TarInfo(digit.name)
            entry.size = len(digit.content)
            archive.addfile(entry, io.BytesIO(digit.content))
    return {"files": [f"{folder}/*.{end}"]}


def as_tar_gz(digits: list[Digit], folder: Path) -> dict[str, object]:
    return as_tar(digits, folder, "tar.gz")


def rows(digits: list[Digit]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "image": [{"bytes": digit.content, "path": digit.name} for digit in digits],
            "label": [digit.label for digit in digits],
        }
    )


def as_parquet(digits: list[Digit], folder: Path) -> dict[str, object]:
    rows(digits).write_parquet(folder / "digits.parquet", row_group_size=17)
    return {"files": [f"{folder}/*.parquet"]}


def as_parquet_of_bytes(digits: list[Digit], folder: Path) -> dict[str, object]:
    table = rows(digits).with_columns(pl.col("image").struct.field("bytes").alias("png"))
    table.with_columns(pl.col("label").cast(pl.String)).write_parquet(folder / "d.parquet")
    return {"files": [f"{folder}/*.parquet"], "image": "png"}


def as_arrow_stream(digits: list[Digit], folder: Path) -> dict[str, object]:
    """What `datasets` keeps on disk."""
    table = rows(digits).to_arrow(compat_level=pl.CompatLevel.oldest())
    path = f"{folder}/digits.arrow"
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=13)
    return {"files": [f"{folder}/*.arrow"]}


def as_arrow_file(digits: list[Digit], folder: Path) -> dict[str, object]:
    rows(digits).write_ipc(folder / "digits.feather")
    return {"files": [f"{folder}/*.feather"]}


SOURCES = {
    "folder": as_folder,
    "zip": as_zip,
    "tar": as_tar,
    "tar.gz": as_tar_gz,
    "parquet": as_parquet,
    "parquet of bytes": as_parquet_of_bytes,
    "arrow stream": as_arrow_stream,
    "arrow file": as_arrow_file,
}


def prepared(folder: Path, raw: dict[str, object], work: Work | None = None) -> Path:
    folder.mkdir()
    data = Images.parse({**SIZE, **raw})
    work = work or Work(folder.with_name(f"{folder.name}.work"))
    data.prepare(folder, task=TASK, seed=0, work=work)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind != "folder"])
def test_every_source_gives_the_pictures_of_the_folder(
    kind: str, digits: list[Digit], tmp_path: Path
) -> None:
    """The same classes, splits and pixels; only the order within a split may differ."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    reference = prepared(tmp_path / "folder", as_folder(digits, tmp_path / "a"))

    found = prepared(tmp_path / "found", SOURCES[kind](digits, tmp_path / "b"))

    assert (found / "transform/pixels.json").read_bytes() == (
        reference / "transform/pixels.json"
    ).read_bytes()
    for split in SPLITS:
        ours, theirs = (
            sorted(
                (picture.tobytes(), int(label))
                for picture, label in zip(
                    np.load(folder / split / "pixels.npy"),
                    np.load(folder / split / "targets.npy"),
                    strict=True,
                )
            )
            for folder in (found, reference)
        )
        assert ours == theirs


@pytest.mark.parametrize(
    "kind",
    ["folder", "zip", pytest.param("parquet", marks=pytest.mark.slow), "arrow stream"],
)
def test_small_pieces_by_many_processes_give_the_same_bytes(
    kind: str, digits: list[Digit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").mkdir()
    raw = SOURCES[kind](digits, tmp_path / "x")
    whole = prepared(tmp_path / "whole", raw)
    monkeypatch.setattr(picture_sources, "PART", 4096)
    engine = Pool(2) if kind == "parquet" else Inline()
    work = Work(tmp_path / "work", engine)

    cut = prepared(tmp_path / "cut", raw, work)

    assert len(list((tmp_path / "work").glob("pictures-*"))) >= 4
    assert contents(cut) == contents(whole)


def test_work_that_was_stopped_goes_on_and_gives_the_same_bytes(
    digits: list[Digit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = as_folder(digits, tmp_path / "x")
    whole = prepared(tmp_path / "whole", raw)
    monkeypatch.setattr(picture_sources, "PART", 4096)
    said: list[str] = []
    stopping = Work(tmp_path / "work", say=said.append, stopped=lambda: "SIGTERM" * (len(said) > 1))
    with pytest.raises(Interrupted, match="pieces are done and kept"):
        prepared(tmp_path / "stopped", raw, stopping)

    resumed = prepared(tmp_path / "resumed", raw, Work(tmp_path / "work", say=said.append))

    assert any("pieces were done before" in text for text in said)
    assert contents(resumed) == contents(whole)


def test_whole_numbers_are_named_in_order(digits: list[Digit], tmp_path: Path) -> None:
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    raw = as_parquet(digits, tmp_path) | {"labels": names}

    folder = prepared(tmp_path / "p", raw)

    signature = json.loads((folder / "signature.json").read_text())
    assert signature["labels"] == names
    foreseen = Images.parse({**SIZE, **raw}).foreseen(TASK)
    assert foreseen is not None
    assert foreseen.dump() == signature
    classes = json.loads((folder / "prepare.json").read_text())["classes"]
    assert sum(classes["seven"].values()) == sum(digit.label == 7 for digit in digits)


def test_whole_numbers_without_names_stand_in_their_order() -> None:
    assert picture_sources.in_order({"10", "9", "1"}) == ("1", "9", "10")
    assert picture_sources.in_order({"10", "9", "a"}) == ("10", "9", "a")


def test_pictures_without_a_class_are_taken_out(digits: list[Digit], tmp_path: Path) -> None:
    table = rows(digits)
    table[3, "label"] = None
    table[5, "label"] = -1
    table.write_parquet(tmp_path / "digits.parquet")

    folder = prepared(tmp_path / "p", {"files": [f"{tmp_path}/*.parquet"]})

    removed = [json.loads(line) for line in (folder / "removed.jsonl").read_text().splitlines()]
    assert [entry["id"] for entry in removed] == ["digits.parquet:4", "digits.parquet:6"]
    assert json.loads((folder / "prepare.json").read_text())["dropped"] == {"label": 2}


def test_the_split_can_be_read_from_a_column(digits: list[Digit], tmp_path: Path) -> None:
    given = ["train"] * 100 + ["validation"] * 12 + ["test"] * 8
    table = rows(digits).with_columns(pl.Series("part", given))
    table.write_parquet(tmp_path / "digits.parquet")
    raw = {"files": [f"{tmp_path}/*.parquet"], "split": {"by": "given", "column": "part"}}

    folder = prepared(tmp_path / "p", raw)

    sizes = [len(np.load(folder / split / "targets.npy")) for split in SPLITS]
    assert sizes == [100, 12, 8]


def test_groups_stay_in_one_split(digits: list[Digit], tmp_path: Path) -> None:
    writer = np.arange(len(digits)) // 6
    table = rows(digits).with_columns(pl.Series("writer", writer))
    table.write_parquet(tmp_path / "digits.parquet")
    raw = {"files": [f"{tmp_path}/*.parquet"], "split": {"by": "group", "column": "writer"}}

    folder = prepared(tmp_path / "p", raw)

    groups = {digit.content: group for digit, group in zip(digits, writer.tolist(), strict=True)}
    pixels = {np.asarray(Image.open(io.BytesIO(c))).tobytes(): g for c, g in groups.items()}
    seen = [{pixels[x.tobytes()] for x in np.load(folder / s / "pixels.npy")} for s in SPLITS]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_each_class_has_its_share_if_asked(digits: list[Digit], tmp_path: Path) -> None:
    raw = as_folder(digits, tmp_path / "x") | {"split": {"stratify": True, "test": 0.25}}

    folder = prepared(tmp_path / "p", raw)

    classes = json.loads((folder / "prepare.json").read_text())["classes"]
    for found in classes.values():
        assert abs(found["test"] - 0.25 * sum(found.values())) <= 1


@dataclass
class Wrong:
    """A recipe that is refused when it is read."""

    raw: dict[str, object]
    message: str


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong({}, "either folder or files, found neither"),
        Wrong({"folder": "x", "files": ["y"]}, "either folder or files, found both"),
        Wrong({"folder": "x", "labels": ["a"]}, "labels: expected nothing, as folders name"),
        Wrong(
            {"folder": "x", "split": {"by": "group", "column": "c"}},
            "split.by: expected content or random for a folder",
        ),
        Wrong({"folder": "x", "leaks": {"near": 0.1}}, r"leaks.near: expected null"),
        Wrong(
            {"folder": "x", "store": "encoded", "features": [{"kind": "hog"}]},
            "store: expected decoded",
        ),
    ],
)
def test_options_without_effect_are_refused(wrong: Wrong) -> None:
    with pytest.raises(RecipeError, match=wrong.message):
        Images.parse(wrong.raw)


def test_a_column_that_is_not_there_is_named_with_the_nearest(
    digits: list[Digit], tmp_path: Path
) -> None:
    raw = as_parquet(digits, tmp_path) | {"image": "imag", "label": "target"}

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "p", raw)

    assert "2 faults" in str(error.value)
    assert "data.image: expected a column of" in str(error.value)
    assert "found 'imag'; did you mean image?" in str(error.value)
    assert "found 'target'; columns: image, label" in str(error.value)


def test_columns_of_the_wrong_type_are_named(tmp_path: Path) -> None:
    pl.DataFrame({"image": ["a.png"], "label": [0.5]}).write_parquet(tmp_path / "x.parquet")

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "p", {"files": [f"{tmp_path}/*.parquet"]})

    assert "column 'image': expected bytes or {bytes, path}, found String" in str(error.value)
    assert "column 'label': expected text or whole numbers, found Float64" in str(error.value)


@pytest.mark.parametrize("unreadable", ["stop", "drop"])
@pytest.mark.parametrize("kind", ["parquet", "arrow stream", "zip", "tar", "tar.gz"])
def test_files_that_were_cut_off_are_refused_even_where_pictures_are_dropped(
    kind: str, unreadable: str, digits: list[Digit], tmp_path: Path
) -> None:
    raw = SOURCES[kind](digits, tmp_path)
    (file,) = (path for path in tmp_path.iterdir() if path.is_file())
    file.write_bytes(file.read_bytes()[:3001])

    with pytest.raises(DataError, match=rf"{file.name}"):
        prepared(tmp_path / "p", raw | {"unreadable": unreadable})


def test_what_is_no_table_and_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("image,label")

    with pytest.raises(DataError, match=r"x\.csv: expected one of \.parquet.*\.zip"):
        prepared(tmp_path / "p", {"files": [f"{tmp_path}/*.csv"]})


def test_an_archive_has_no_column_to_split_by(digits: list[Digit], tmp_path: Path) -> None:
    raw = as_zip(digits, tmp_path) | {"split": {"by": "given", "column": "part"}}

    with pytest.raises(DataError, match=r"a column 'part' to split by, found an archive"):
        prepared(tmp_path / "p", raw)


def test_a_label_that_has_no_name_is_refused(digits: list[Digit], tmp_path: Path) -> None:
    raw = as_parquet(digits, tmp_path) | {"labels": [str(i) * 2 for i in range(9)]}

    with pytest.raises(DataError, match=r"class '9': expected one of data\.labels"):
        prepared(tmp_path / "p", raw)


def test_links_in_archives_are_not_followed(digits: list[Digit], tmp_path: Path) -> None:
    raw = as_tar(digits, tmp_path)
    with tarfile.open(tmp_path / "digits.tar", "a") as archive:
        link = tarfile.TarInfo("0/password.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    with pytest.raises(DataError, match=r"password\.png: expected a picture: expected a plain"):
        prepared(tmp_path / "p", raw)
    folder = prepared(tmp_path / "q", raw | {"unreadable": "drop"})

    assert json.loads((folder / "prepare.json").read_text())["dropped"] == {"unreadable": 1}


def test_new_pictures_are_encoded_whatever_the_source(digits: list[Digit], tmp_path: Path) -> None:
    folder = prepared(tmp_path / "p", as_parquet(digits, tmp_path))
    (tmp_path / "new.png").write_bytes(digits[0].content)
    data = Images.parse({**SIZE, **as_parquet(digits, tmp_path)})

    batch, names = data.encode(folder / "transform", tmp_path / "new.png")

    stored = [data.open(folder, s) for s in SPLITS]
    shown = torch.cat([s.batch(np.arange(len(s))).inputs[0] for s in stored])
    assert names == ["new.png"]
    assert (shown == batch.inputs[0]).flatten(1).all(1).any()
