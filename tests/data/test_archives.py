import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.data.archive import Member, Unsafe, is_archive, members
from zafu.errors import DataError


def tarred(entries: list[tarfile.TarInfo], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 5) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = size if kind == tarfile.REGTYPE else 0
    return tarred([info])


def zipped(name: str, content: bytes = b"xxxxx", mode: int = 0, method: int = 8) -> bytes:
    out = io.BytesIO()
    info = zipfile.ZipInfo("placeholder")
    info.filename, info.external_attr, info.compress_type = name, mode << 16, method
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, content)
    return out.getvalue()


def encrypted() -> bytes:
    packed = bytearray(zipped("a.txt"))
    packed[6] |= 1  # of the local header
    packed[packed.index(b"PK\1\2") + 8] |= 1
    return bytes(packed)


def through_a_link() -> bytes:
    link = tarfile.TarInfo("inside")
    link.type, link.linkname = tarfile.SYMTYPE, "/"
    return tarred([link, sized("inside/tmp/evil", 5)])


def deep_link() -> bytes:
    """The trick of CVE-2025-4517: links whose resolved name is too long to be checked."""
    entries: list[tarfile.TarInfo] = []
    at = ""
    for letter in "abcdefghijklmnop":
        at += "d" * 240 + "/"
        folder = tarfile.TarInfo(at)
        folder.type = tarfile.DIRTYPE
        link = tarfile.TarInfo(f"{at}{letter}")
        link.type, link.linkname = tarfile.SYMTYPE, "d" * 240
        entries += [folder, link]
    escape = tarfile.TarInfo("escape")
    escape.type, escape.linkname = tarfile.SYMTYPE, "/".join(["a"] * 16) + "/" + "../" * 20
    return tarred([*entries, escape, sized("escape/evil", 5)])


def sized(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def sparse() -> bytes:
    info = sized("a.txt", 5)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": str(2**40)}
    return tarred([info])


def pax(key: str, value: str) -> bytes:
    info = sized("a.txt", 5)
    info.pax_headers = {key: value}
    return tarred([info])


def huge_header() -> bytes:
    header = bytearray(tarfile.TarInfo("long").tobuf())
    header[156:157], header[124:136] = b"L", b"77777777777\0"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + bytes(1024)


EVIL: dict[str, bytes] = {
    "parent.tar": entry("../evil"),
    "deep parent.tar": entry("a/b/../../../evil"),
    "only parent.tar": entry(".."),
    "absolute.tar": entry("/tmp/evil"),
    "two slashes.tar": entry("//tmp/evil"),
    "back slash.tar": entry("..\\evil"),
    "drive.tar": entry("C:\\evil"),
    "drive alone.tar": entry("C:evil"),
    "share.tar": entry("\\\\host\\share\\evil"),
    "symbolic.tar": entry("link", tarfile.SYMTYPE, "/etc/passwd"),
    "symbolic parent.tar": entry("link", tarfile.SYMTYPE, "../../evil"),
    "hard.tar": entry("link", tarfile.LNKTYPE, "/etc/passwd"),
    "character device.tar": entry("null", tarfile.CHRTYPE),
    "block device.tar": entry("sda", tarfile.BLKTYPE),
    "pipe.tar": entry("pipe", tarfile.FIFOTYPE),
    "through a link.tar": through_a_link(),
    "deep link.tar": deep_link(),
    "sparse.tar": sparse(),
    "pax path.tar": pax("path", "../evil"),
    "pax absolute.tar": pax("path", "/tmp/evil"),
    "pax size.tar": pax("size", "-512"),
    "pax huge size.tar": pax("size", "9" * 30),
    "huge header.tar": huge_header(),
    "long.tar": entry("a/" * 3000 + "evil"),
    "unknown type.tar": entry("what", b"Q"),
    "parent.zip": zipped("../evil"),
    "absolute.zip": zipped("/tmp/evil"),
    "drive.zip": zipped("C:\\evil"),
    "back slash.zip": zipped("..\\..\\evil"),
    "symbolic.zip": zipped("link", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "device.zip": zipped("null", b"", stat.S_IFCHR | 0o666),
    "encrypted.zip": encrypted(),
    "bzip2.zip": zipped("a.txt", method=zipfile.ZIP_BZIP2),
    "name of nothing.zip": zipped("./."),
}


def everything_under(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def test_evil_archives_write_nothing_and_yield_none_of_their_evil_members(tmp_path: Path) -> None:
    for name, packed in EVIL.items():
        (tmp_path / name).write_bytes(packed)
    before = everything_under(tmp_path)
    outside = set(Path("/tmp").glob("evil*")) | set(tmp_path.parent.glob("evil*"))
    refused: list[str] = []
    readable: dict[str, list[str]] = {}

    for name in EVIL:
        try:
            found = list(members(tmp_path / name))
        except DataError:
            refused.append(name)
            continue
        readable[name] = [member.name for member in found if isinstance(member, Member)]
        if any(isinstance(member, Unsafe) and member.why for member in found):
            refused.append(name)

    assert refused == list(EVIL)
    assert len(EVIL) >= 30
    assert everything_under(tmp_path) == before
    assert set(Path("/tmp").glob("evil*")) | set(tmp_path.parent.glob("evil*")) == outside
    assert {name: found for name, found in readable.items() if found} == {
        "through a link.tar": ["inside/tmp/evil"],  # content alone: no link was made to follow
        "deep link.tar": ["escape/evil"],
    }


def content(path: Path) -> dict[str, bytes]:
    return {m.name: m.read() for m in members(path) if isinstance(m, Member)}


FORMS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": lambda b: zlib.compress(b, wbits=31),
    ".tgz": lambda b: zlib.compress(b, wbits=31),
    ".tar.zst": lambda b: zstandard.ZstdCompressor().compress(b),
}


@pytest.mark.parametrize("ending", FORMS)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_a_tar_are_those_that_the_standard_library_reads(
    ending: str, form: int, tmp_path: Path
) -> None:
    names = ["b.txt", "a/deep/name.txt", "./c.md", "d" * 90 + "/" + "e" * 90, "empty"]
    infos = [sized(name, 700 * i) for i, name in enumerate(reversed(names))]
    if form != tarfile.USTAR_FORMAT:
        infos.append(sized("very/" * 80 + "long", 3))
        infos.append(sized("ünï/cödé", 512))
    packed = tarred(infos, form=form)
    path = tmp_path / f"a{ending}"
    path.write_bytes(FORMS[ending](packed))

    found = content(path)

    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        expected = {}
        for info in archive:
            file = archive.extractfile(info)
            assert file
            expected[info.name.removeprefix("./")] = file.read()
    assert found == expected
    assert list(found) == list(expected)


def test_a_tar_made_by_the_tar_command_reads_as_its_folder(tmp_path: Path) -> None:
    import subprocess

    folder = tmp_path / "folder"
    shutil.copytree(Path(os.__file__).parent / "json", folder / "json")
    (folder / ".hidden").write_text("left out")
    (folder / ("long" * 50)).write_text("long")
    shutil.rmtree(folder / "json/__pycache__", ignore_errors=True)
    path = tmp_path / "a.tar"
    subprocess.run(["tar", "-C", folder, "-cf", path, "."], check=True)

    expected = {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }
    assert content(path) == expected


@given(contents=st.dictionaries(st.text("abc/é", min_size=1, max_size=8), st.binary(max_size=99)))
@settings(deadline=None, max_examples=25)
def test_members_of_a_zip_are_what_was_put_in(
    contents: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    files = {f"d/{name.strip('/')}x": c for name, c in contents.items() if "//" not in name}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("d")
        for name, packed in files.items():
            archive.writestr(name, packed)

    assert content(path) == files


def test_members_that_are_passed_over_do_not_disturb_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tarred([sized("a", 1_300_000), sized("b", 10), sized("c", 600)]))

    found = {m.name: m.read() for m in members(path) if isinstance(m, Member) and m.name != "a"}

    assert found == {"b": b"x" * 10, "c": b"x" * 600}


@pytest.mark.parametrize("at", [100, 600, 512 + 700, 2 * 512 + 1024, -10000])
def test_a_tar_that_was_cut_off_is_never_taken_for_a_whole_one(at: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tarred([sized("a", 1024), sized("b", 1024)])[:at])

    with pytest.raises(DataError, match=r"a\.tar: expected \d+ more bytes"):
        content(path)


def test_a_damaged_header_is_no_end_of_the_archive(tmp_path: Path) -> None:
    packed = bytearray(tarred([sized("a", 512), sized("b", 512)]))
    packed[1024 + 3] ^= 1
    path = tmp_path / "a.tar"
    path.write_bytes(packed)

    with pytest.raises(DataError, match=r"a\.tar, byte 1536: .* wrong checksum"):
        content(path)


def test_what_stands_after_the_end_of_a_tar_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tarred([sized("a", 512)]) + tarred([sized("b", 512)]))

    with pytest.raises(DataError, match="expected nothing after the end"):
        content(path)


@pytest.mark.parametrize("at", range(0, 400, 20))
def test_a_zip_with_a_changed_byte_gives_its_content_or_an_error(at: int, tmp_path: Path) -> None:
    packed = bytearray(zipped("name.txt", os.urandom(8) * 20))
    before = tmp_path / "a.zip"
    before.write_bytes(packed)
    expected = content(before)["name.txt"]
    packed[at % len(packed)] ^= 0xFF
    path = tmp_path / "b.zip"
    path.write_bytes(packed)

    try:
        found = content(path)
    except DataError:
        return

    assert set(found.values()) <= {expected}


def test_a_member_larger_than_asked_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped("a.txt", b"12345678"))
    found = members(path)
    member = next(found)
    assert isinstance(member, Member)

    with pytest.raises(DataError, match=r"a\.zip!a\.txt: expected at most 7 bytes"):
        member.read(7)


def drain(path: Path) -> None:
    for member in members(path):
        assert isinstance(member, Member)
        while member.stream.read(2**20):
            pass


def overlapping(count: int) -> bytes:
    """A zip whose entries all share one kernel of deflated zeros, as in Fifield (2019)."""
    size = 2**24
    engine = zlib.compressobj(9, wbits=-15)
    kernel = engine.compress(bytes(size)) + engine.flush()
    sizes = (zlib.crc32(bytes(size)), len(kernel), size, 1, 0)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, *sizes) + b"a" + kernel
    central = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, *sizes, 0, 0, 0, 0, 0) + b"a"
        for _ in range(count)
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(central), len(local), 0)
    return local + central + end


@pytest.mark.parametrize("form", ["deflate.zip", "overlapping.zip", "bomb.tar.zst"])
def test_archives_that_are_bombs_are_refused(form: str, tmp_path: Path) -> None:
    path = tmp_path / form
    if form == "overlapping.zip":
        path.write_bytes(overlapping(50))
    elif form == "deflate.zip":
        path.write_bytes(zipped("a.txt", bytes(2**26)))
    else:
        path.write_bytes(FORMS[".tar.zst"](tarred([sized("a", 2**26)])))

    with pytest.raises(DataError, match=r"expected (at most 100 bytes for each|a whole zip)"):
        drain(path)


def test_archives_are_known_by_their_names() -> None:
    names = ["a.tar", "a.TGZ", "a.tar.gz", "a.tar.xz", "a.zip", "a.b.tar.zst"]

    assert all(map(is_archive, names))
    assert not any(map(is_archive, ["a.gz", "tar", "a.txt", "zip.txt", "a.tar.txt"]))
