import bz2
import gzip
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.data import streams
from zafu.data.streams import Section, opened
from zafu.errors import DataError

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
}
CONTENT = Path(os.__file__).read_bytes() * 8


def content_of(path: Path, size: int = 70_000) -> bytes:
    found = bytearray()
    with opened(path) as stream:
        while more := stream.read(size):
            assert len(more) <= size
            found += more
    return bytes(found)


def stored(folder: Path, ending: str, packed: bytes) -> Path:
    path = folder / f"a.txt{ending}"
    path.write_bytes(packed)
    return path


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_content_is_what_was_packed(ending: str, tmp_path: Path) -> None:
    path = stored(tmp_path, ending, PACK.get(ending, bytes)(CONTENT))

    assert content_of(path) == CONTENT


@pytest.mark.parametrize("ending", PACK)
@given(parts=st.lists(st.binary(max_size=300), max_size=4), size=st.integers(1, 400))
@settings(deadline=None, max_examples=25)
def test_streams_one_after_the_other_are_one_content(
    ending: str, parts: list[bytes], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    packed = b"".join(PACK[ending](part) for part in parts) or PACK[ending](b"")
    path = stored(tmp_path_factory.mktemp("packed"), ending, packed)

    assert content_of(path, size) == b"".join(parts)


@pytest.mark.parametrize("ending", PACK)
def test_zeros_after_the_end_are_padding(ending: str, tmp_path: Path) -> None:
    path = stored(tmp_path, ending, PACK[ending](CONTENT) + bytes(512) + PACK[ending](b"more"))

    assert content_of(path) == CONTENT + b"more"


def test_zstd_frames_that_hold_no_content_are_skipped(tmp_path: Path) -> None:
    skippable = (0x184D2A50).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"index"
    packed = PACK[".zst"](b"first ") + skippable + PACK[".zst"](b"second")
    path = stored(tmp_path, ".zst", packed)

    assert content_of(path) == b"first second"


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 1.0])
def test_a_stream_that_was_cut_off_is_no_whole_one(
    ending: str, share: float, tmp_path: Path
) -> None:
    packed = PACK[ending](CONTENT)
    path = stored(tmp_path, ending, packed[: int(share * (len(packed) - 1))])

    with pytest.raises(DataError, match=r"a\.txt.*: expected more after \d+ unpacked bytes"):
        content_of(path)


@pytest.mark.parametrize("ending", PACK)
def test_a_changed_byte_or_further_content_is_noticed(ending: str, tmp_path: Path) -> None:
    packed = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT))
    if ending != ".zst":
        packed = bytearray(PACK[ending](CONTENT))
    further = stored(tmp_path, ending, bytes(packed) + b"no stream")
    packed[len(packed) // 2] ^= 0x10
    changed = tmp_path / f"b.txt{ending}"
    changed.write_bytes(packed)

    for path in (further, changed):
        with pytest.raises(DataError, match=path.name):
            content_of(path)


def test_a_section_must_be_there_as_a_whole(tmp_path: Path) -> None:
    path = stored(tmp_path, "", b"0123456789")

    with opened(path) as stream:
        whole, cut = Section(stream, 4, "a.txt"), Section(stream, 11, "a.txt")
        assert [whole.read(3), whole.read(3), whole.read(3)] == [b"012", b"3", b""]
        assert cut.read(20) == b"456789"
        with pytest.raises(DataError, match="expected 5 more bytes"):
            cut.read(1)


def test_text_that_repeats_itself_is_no_bomb(tmp_path: Path) -> None:
    path = stored(tmp_path, ".gz", gzip.compress(b"the same line again\n" * 50_000))

    assert len(content_of(path)) == 1_000_000


BOMB = """
import sys, time
from pathlib import Path
from zafu.data.archive import Unsafe, members
from zafu.data.streams import opened, RATIO, FREE
from zafu.errors import DataError
import bz2, zlib, lzma, zipfile, zstandard
def peak():
    # of this program alone: ru_maxrss is handed down by the process that started it
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
path = Path(sys.argv[1])
before = peak()
start = time.process_time()
refused = ""
try:
    if path.name.endswith((".zip", ".tar.zst")):
        for member in members(path):
            while not isinstance(member, Unsafe) and member.stream.read(2**20):
                pass
    else:
        with opened(path) as stream:
            while stream.read(2**20):
                pass
except DataError as error:
    refused = str(error)
after = peak()
print(time.process_time() - start, (after - before) / 1024)
print(refused)
"""


def bomb(path: Path, size: int) -> None:
    zeros = bytes(2**20)
    if path.suffix == ".gz":
        with gzip.open(path, "wb", 1) as file:
            file.writelines(zeros for _ in range(size // len(zeros)))
    elif path.suffix == ".bz2":
        path.write_bytes(bz2.compress(bytes(2**24)) * (size // 2**24))
    elif path.suffix == ".xz":
        path.write_bytes(lzma.compress(bytes(2**24)) * (size // 2**24))
    elif path.suffix == ".zst":
        one = zstandard.ZstdCompressor().compress(bytes(2**24))
        path.write_bytes(one * (size // 2**24))


@pytest.mark.parametrize("ending", PACK)
def test_a_bomb_is_refused_soon_and_in_little_memory(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"bomb{ending}"
    bomb(path, 2**30 if ending == ".zst" else 2**28)

    answer = subprocess.run(
        [sys.executable, "-c", BOMB, str(path)], capture_output=True, text=True, check=True
    )
    figures, refused = answer.stdout.splitlines()
    seconds, mebibytes = map(float, figures.split())

    assert f"expected at most {streams.RATIO} bytes for each that is stored" in refused
    assert 0 < mebibytes < 128
    assert seconds < 1
