import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from zafu.data import decode
from zafu.data.contract import SPLITS
from zafu.data.encoded import Encoded, Writer
from zafu.data.images import Images
from zafu.errors import Damaged
from zafu.work import Work

CHINA, FLOWER = load_sample_images().images


def saved(picture: np.ndarray | Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, kind, **how)
    return file.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(CHINA[:90, :120], exif=exif)


def animated() -> bytes:
    frames = [Image.fromarray(CHINA[i : i + 60, :80]) for i in (0, 100, 200)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


def stereo() -> bytes:
    pair = [Image.fromarray(CHINA[:60, i : i + 80]) for i in (0, 5)]
    return saved(pair[0], "MPO", save_all=True, append_images=pair[1:])


PICTURES: dict[str, bytes] = {
    "color.jpg": saved(CHINA[:100, :140], quality=90),
    "fine.jpg": saved(CHINA[100:180, :100], quality=95, subsampling=0),
    "gray.jpg": saved(Image.fromarray(FLOWER[:100, :90]).convert("L")),
    "inks.jpg": saved(Image.fromarray(FLOWER[:64, :64]).convert("CMYK")),
    "steps.jpg": saved(FLOWER[60:200, :90], progressive=True),
    "turned.jpg": turned(),
    "stereo.jpg": stereo(),
    "palette.png": saved(Image.fromarray(CHINA[:50, :70]).convert("P"), "PNG"),
    "clear.png": saved(Image.fromarray(FLOWER[:50, :70]).convert("RGBA"), "PNG"),
    "bits.png": saved(Image.fromarray(CHINA[:50, :70]).convert("1"), "PNG"),
    "moving.gif": animated(),
    "small.webp": saved(CHINA[30:90, 30:90], "WEBP", lossless=True),
    "plain.bmp": saved(CHINA[10:90, 30:90], "BMP"),
}
DECODERS: tuple[decode.Decoder, ...] = ("pillow", "simplejpeg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form of picture in two classes, the photographs some more times."""
    root = tmp_path_factory.mktemp("forms") / "classes"
    for label, photo in zip("ab", (CHINA, FLOWER), strict=True):
        (root / label).mkdir(parents=True)
        for i in range(12):
            crop = photo[9 * i : 9 * i + 120, 7 * i : 7 * i + 160]
            (root / label / f"{i:02}.jpg").write_bytes(saved(crop, quality=90))
    for i, (name, content) in enumerate(PICTURES.items()):
        (root / "ab"[i % 2] / name).write_bytes(content)
    return root


def prepared(out: Path, folder: Path, **raw: object) -> tuple[Images, Path]:
    data = Images.parse({"folder": str(folder), **raw})
    out.mkdir()
    data.prepare(out, task="classification", seed=0, work=Work(out.with_name(f"{out.name}.work")))
    return data, out


def whole(data: Images, out: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    opened = data.open(out, split)
    ids = np.arange(len(opened))
    return opened.raw(ids).inputs[0], opened.batch(ids).inputs[0]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_encoded_and_decoded_pictures_are_the_same_to_the_bit(
    decoder: str, color: str, folder: Path, tmp_path: Path
) -> None:
    how = {"size": [48, 64], "color": color, "decoder": decoder}
    decoded, first = prepared(tmp_path / "d", folder, **how)
    encoded, second = prepared(tmp_path / "e", folder, store="encoded", **how)

    for split in SPLITS:
        ours, theirs = whole(encoded, second, split), whole(decoded, first, split)

        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
        assert ours[0].shape[1:] == ((1 if color == "gray" else 3), 48, 64)
    for name in ("transform/pixels.json", "prepare.json", "signature.json", "removed.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_files_are_stored_as_they_are(folder: Path, tmp_path: Path) -> None:
    _, out = prepared(tmp_path / "e", folder, store="encoded")

    stored: set[bytes] = set()
    for split in SPLITS:
        content = (out / split / "images.bin").read_bytes()
        ends = np.load(out / split / "offsets.npy").tolist()
        stored |= {content[i:j] for i, j in pairwise(ends)}

    assert stored == {path.read_bytes() for path in folder.glob("*/*")}


def test_simplejpeg_reads_what_it_can_and_pillow_the_rest(folder: Path, tmp_path: Path) -> None:
    _, out = prepared(tmp_path / "e", folder, store="encoded", decoder="simplejpeg")

    plain: dict[bytes, bool] = {}
    for split in SPLITS:
        stored = Encoded(out / split, decode.Form(3, 32, 32, "simplejpeg"))
        for index in range(len(stored)):
            content, flag = stored.content(index)
            plain[bytes(content)] = flag

    read = {name for name, content in PICTURES.items() if plain[content]}
    assert read == {"color.jpg", "fine.jpg", "gray.jpg", "steps.jpg"}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 220), st.integers(0, 300), st.integers(60, 100))
def test_simplejpeg_differs_from_pillow_by_a_level_at_most(y: int, x: int, quality: int) -> None:
    """Parity: both stand on libjpeg-turbo, if perhaps on different versions."""
    content = saved(CHINA[y : y + 64, x : x + 96], quality=quality)
    forms = [decode.Form(3, 64, 96, decoder) for decoder in DECODERS]

    ours, theirs = (
        decode.pixels(decode.see(content, form).image).astype(np.int16) for form in forms
    )

    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", PICTURES)
def test_reading_again_gives_what_was_seen_at_first(name: str, decoder: decode.Decoder) -> None:
    for channels in (1, 3):
        form = decode.Form(channels, 40, 30, decoder)
        seen = decode.see(PICTURES[name], form)

        again = decode.again(PICTURES[name], form, plain=seen.plain)

        assert np.array_equal(again, decode.pixels(decode.fitted(seen.image, form)))


def test_an_animation_is_its_first_frame() -> None:
    seen = decode.see(PICTURES["moving.gif"], decode.Form(3, 60, 80))

    first = Image.open(io.BytesIO(saved(Image.fromarray(CHINA[:60, :80]), "GIF"))).convert("RGB")
    assert np.array_equal(np.asarray(seen.image), np.asarray(first))


def test_sixteen_bits_in_color_keep_their_upper_eight() -> None:
    deep = np.arange(27, dtype=np.uint16).reshape(3, 3, 3) * 2048 + 255
    content = _png_of_16_bits(deep)

    seen = decode.see(content, decode.Form(3, 3, 3))

    assert np.array_equal(np.asarray(seen.image), deep >> 8)


def test_what_is_in_threads_is_done_once_each_and_errors_come_out() -> None:
    done = np.zeros(100, np.int64)

    def count(index: int) -> None:
        done[index] += 1

    decode.in_threads(count, 100)

    assert (done == 1).all()
    with pytest.raises(ZeroDivisionError):
        decode.in_threads(lambda i: 1 // (i - 50), 100)


def test_a_file_that_was_cut_is_damaged(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        writer.add(PICTURES["color.jpg"], plain=False)
    (tmp_path / "images.bin").write_bytes(PICTURES["color.jpg"][:-1])

    with pytest.raises(Damaged, match=r"images\.bin: expected the bytes that offsets\.npy counts"):
        Encoded(tmp_path, decode.Form(3, 8, 8))


def test_a_picture_that_no_longer_decodes_is_damaged(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        writer.add(PICTURES["color.jpg"], plain=True)
        writer.add(PICTURES["color.jpg"][:500] + bytes(100), plain=True)
    stored = Encoded(tmp_path, decode.Form(3, 8, 8, "simplejpeg"))

    assert stored.take(np.array([0])).shape == (1, 3, 8, 8)
    with pytest.raises(Damaged, match=r"picture 1: expected a picture"):
        stored.take(np.array([0, 1]))
    with pytest.raises(IndexError):
        stored.take(np.array([2]))


def test_a_store_without_pictures_can_be_opened(tmp_path: Path) -> None:
    with Writer(tmp_path):
        pass

    stored = Encoded(tmp_path, decode.Form(3, 8, 8))

    assert stored.shape == (0, 3, 8, 8)
    assert stored.take(np.empty(0, np.int64)).shape == (0, 3, 8, 8)


def test_broken_pictures_are_dropped_if_asked_and_kept_on_record(
    folder: Path, tmp_path: Path
) -> None:
    for label in "ab":
        (tmp_path / "x" / label).mkdir(parents=True)
        for file in (folder / label).iterdir():
            (tmp_path / "x" / label / file.name).write_bytes(file.read_bytes())
    (tmp_path / "x" / "a" / "cut.jpg").write_bytes(PICTURES["color.jpg"][:900])
    (tmp_path / "x" / "b" / "empty.png").write_bytes(b"")
    (tmp_path / "x" / "b" / "script.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")

    data, out = prepared(tmp_path / "p", tmp_path / "x", unreadable="drop", store="encoded")

    removed = [json.loads(line) for line in (out / "removed.jsonl").read_text().splitlines()]
    assert [entry["id"] for entry in removed] == ["a/cut.jpg", "b/empty.png", "b/script.jpg"]
    assert all("expected a picture" in entry["content"] for entry in removed)
    assert sum(len(data.open(out, split)) for split in SPLITS) == len(list(folder.glob("*/*")))


def _png_of_16_bits(values: np.ndarray) -> bytes:
    """A PNG `(height, width, 3)` uint16, which Pillow cannot write."""
    import struct
    import zlib

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = {b"IHDR": struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)}
    parts |= {b"IDAT": zlib.compress(rows), b"IEND": b""}
    chunks = (
        struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x))
        for name, x in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
