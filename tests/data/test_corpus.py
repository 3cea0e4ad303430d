import gzip
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.data.corpus import BATCH, TextSource, pieces, read
from zafu.data.files import find
from zafu.data.lines import LONGEST, ranges, records
from zafu.errors import DataError, RecipeError

Read = tuple[pl.DataFrame, list[tuple[str, str]], list[str]]


def source(*files: object, **settings: object) -> TextSource:
    return TextSource.parse({"files": [str(file) for file in files], **settings})


def everything(*sources: TextSource, column: str | None = None, size: int = 8 * 2**20) -> Read:
    """All documents, the ids and reasons of what cannot be read, and the messages."""
    frames, removed, faults = [], [], []
    for piece in pieces(sources, column=column, size=size):
        for batch in read(piece):
            frames.append(batch.rows)
            removed += [(item.id, item.reason) for item in batch.removed]
            faults += batch.faults
            assert len(batch.removed) == len(batch.faults)
    schema = {"id": pl.String, "text": pl.String, "key": pl.String, "source": pl.UInt16}
    assert all(dict(frame.schema) == schema for frame in frames)
    return pl.concat([pl.DataFrame(schema=schema), *frames]), removed, faults


def texts(found: Read) -> dict[str, str]:
    assert not found[1]
    return dict(found[0].select("id", "text").iter_rows())


def jsonl(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


ROWS: list[dict[str, object]] = [
    {"text": f"Größe {i} " * (i % 40), "who": f"w{i % 7}", "n": i} for i in range(500)
]


def as_csv(folder: Path) -> Path:
    pl.DataFrame(ROWS).write_csv(folder / "a.csv", quote_style="always")
    return folder / "a.csv"


def as_parquet(folder: Path) -> Path:
    pl.DataFrame(ROWS).write_parquet(folder / "a.parquet", row_group_size=70)
    return folder / "a.parquet"


def as_arrow_stream(folder: Path) -> Path:
    table = pl.DataFrame(ROWS).to_arrow()
    with pa.ipc.new_stream(str(folder / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=64)
    return folder / "a.arrow"


def as_arrow_dictionary(folder: Path) -> Path:
    frame = pl.DataFrame(ROWS).with_columns(pl.col("text").cast(pl.Categorical))
    frame.write_ipc_stream(folder / "a.arrow")
    return folder / "a.arrow"


def as_arrow_file(folder: Path) -> Path:
    pl.DataFrame(ROWS).write_ipc(folder / "a.arrow", compression="zstd")
    return folder / "a.arrow"


def as_jsonl(folder: Path) -> Path:
    (folder / "a.jsonl").write_bytes(jsonl(ROWS))
    return folder / "a.jsonl"


def as_jsonl_zst(folder: Path) -> Path:
    (folder / "a.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(jsonl(ROWS)))
    return folder / "a.jsonl.zst"


def as_tar(folder: Path) -> Path:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("in/rows.jsonl")
        info.size = len(jsonl(ROWS))
        archive.addfile(info, io.BytesIO(jsonl(ROWS)))
    return folder / "a.tar.gz"


TABLES = [
    as_csv,
    as_parquet,
    as_arrow_stream,
    as_arrow_dictionary,
    as_arrow_file,
    as_jsonl,
    as_jsonl_zst,
    as_tar,
]


@pytest.mark.parametrize("write", TABLES)
@pytest.mark.parametrize("size", [2**23, 3000])
def test_every_format_gives_the_same_rows(write: object, size: int, tmp_path: Path) -> None:
    assert callable(write)
    path = write(tmp_path)
    name = f"{path.name}!in/rows.jsonl" if write is as_tar else path.name

    rows, removed, _ = everything(source(path), column="who", size=size)

    assert not removed
    assert rows["id"].to_list() == [f"{name}:{i}" for i in range(1, 501)]
    assert rows["text"].to_list() == [row["text"] for row in ROWS]
    assert rows["key"].to_list() == [row["who"] for row in ROWS]


@pytest.mark.parametrize("write", TABLES)
def test_the_column_that_goes_along_is_its_value_as_text(write: object, tmp_path: Path) -> None:
    assert callable(write)

    rows, _, _ = everything(source(write(tmp_path)), column="n")

    assert rows["key"].to_list() == [str(i) for i in range(500)]


def test_a_folder_that_datasets_saved_is_read(tmp_path: Path) -> None:
    datasets = tmp_path / "saved" / "train"
    datasets.mkdir(parents=True)
    as_arrow_stream(datasets).rename(datasets / "data-00000-of-00001.arrow")
    (datasets / "state.json").write_text("{}")

    rows, _, _ = everything(source(tmp_path / "saved/**/*.arrow"))

    assert rows["text"].to_list() == [row["text"] for row in ROWS]
    assert rows["id"][0] == "train/data-00000-of-00001.arrow:1"


def test_a_plain_file_is_one_document_and_a_delimiter_cuts_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\n<|>two<|><|>four<|>")
    (tmp_path / "b.md").write_bytes("\ufeffmark".encode())
    (tmp_path / "empty.txt").write_bytes(b"")

    assert texts(everything(source(tmp_path / "*"))) == {
        "a.txt": "one\r\n<|>two<|><|>four<|>",
        "b.md": "mark",
        "empty.txt": "",
    }
    assert texts(everything(source(tmp_path / "*", delimiter="<|>"))) == {
        "a.txt#1": "one\r\n",
        "a.txt#2": "two",
        "a.txt#3": "",
        "a.txt#4": "four",
        "b.md#1": "mark",
    }


def test_the_standard_library_is_read_as_it_is() -> None:
    found = texts(everything(source("stdlib:[a-c]*.py")))

    assert found == {name: path.read_bytes().decode() for name, path in find(["stdlib:[a-c]*.py"])}


def test_small_files_share_a_piece_and_sources_are_told_apart(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i:02}.txt").write_text(str(i) * 100)
    first, second = source(tmp_path / "0*.txt"), source(tmp_path / "1*.txt")

    cut = pieces([first, second], size=450)
    rows, _, _ = everything(first, second, size=450)

    assert pickle.loads(pickle.dumps(cut)) == cut
    assert [len(piece.parts) for piece in cut] == [4, 4, 2, 2, 2, 2, 2, 2]
    assert rows["source"].to_list() == [0] * 10 + [1] * 10


LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.just(b""),
        st.text(max_size=20).map(lambda text: jsonl([{"text": text}])[:-1]),
    ),
    max_size=30,
)


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
@given(lines=LINES, size=st.integers(1, 300))
@settings(deadline=None, max_examples=40)
def test_how_a_file_is_cut_changes_nothing(
    name: str, lines: list[bytes], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lines") / name
    path.write_bytes(b"\n".join([b'{"text": "first"}', *lines]))
    other = path.with_name(f"b{path.suffix}")
    other.write_bytes(b'{"text": "other"}')
    given_ = source(path.parent / "*", delimiter="" if name == "a.jsonl" else "\n")

    whole, in_pieces = everything(given_), everything(given_, size=size)

    assert in_pieces[0].equals(whole[0])
    assert in_pieces[1:] == whole[1:]


@given(
    content=st.text("ab-", max_size=60).map(str.encode),
    separator=st.sampled_from([b"-", b"--", b"aba", b"aa"]),
    size=st.integers(1, 20),
)
@settings(deadline=None, max_examples=100)
def test_ranges_hold_the_records_of_the_whole(content: bytes, separator: bytes, size: int) -> None:
    expected = content.split(separator)
    expected = expected if expected[-1] else expected[:-1]

    found: list[bytes | None] = []
    for part in ranges(io.BytesIO(content), separator, size):
        assert part.first == len(found) + 1
        found += records(io.BytesIO(content[part.start : part.stop]), separator)

    assert found == expected == list(records(io.BytesIO(content), separator))


class Trickle:
    """A stream that gives few bytes at a time."""

    def __init__(self, content: bytes, most: int) -> None:
        self._inner, self._most = io.BytesIO(content), most

    def read(self, size: int, /) -> bytes:
        return self._inner.read(min(size, self._most))


@given(
    content=st.text("a-", max_size=60).map(str.encode),
    longest=st.integers(1, 9),
    most=st.integers(1, 9),
    separator=st.sampled_from([b"-", b"--", b"-a-"]),
)
@settings(deadline=None, max_examples=100)
def test_only_records_that_are_too_long_are_passed_over(
    content: bytes, longest: int, most: int, separator: bytes
) -> None:
    whole = list(records(io.BytesIO(content), separator))

    found = list(records(Trickle(content, most), separator, longest=longest))

    assert found == [r if r is not None and len(r) <= longest else None for r in whole]


LONG_LINE = """
import io
from pathlib import Path
from zafu.data.lines import records
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
class Long:
    left = 2**30
    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)
class Then:
    streams = [Long(), io.BytesIO(b"\\nshort")]
    def read(self, size):
        while self.streams and not (found := self.streams[0].read(size)):
            self.streams.pop(0)
        return found if self.streams else b""
found = list(records(Then(), b"\\n"))
print(found, (peak() - before) / 1024)
"""


def test_a_line_longer_than_memory_is_passed_over_in_little_memory() -> None:
    out = subprocess.run([sys.executable, "-c", LONG_LINE], capture_output=True, text=True)

    found, mebibytes = out.stdout.rsplit(" ", 1)

    assert found == "[None, b'short']"
    assert float(mebibytes) < 6 * LONGEST / 2**20


def test_a_line_that_is_too_long_is_named_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "first"}\n')
        file.truncate(LONGEST + 1000)  # sparse: zeros that take no room
        file.seek(0, 2)
        file.write(b'\n{"text": "third"}\n')

    rows, removed, faults = everything(source(path))

    assert rows["id"].to_list() == ["a.jsonl:1", "a.jsonl:3"]
    assert removed == [("a.jsonl:2", "line too long")]
    assert faults[0].startswith(f"{path}:2: expected a line of at most {LONGEST} bytes")


def test_lines_that_cannot_be_read_are_named_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"text": "good"}\n'
        b"\n"
        b'{"text": "no end\n'
        b'[1, "a list"]\n'
        b'{"texts": "other"}\n'
        b'{"text": null}\n'
        b'{"text": 5}\n'
        b'{"text": "caf\xe9"}\n'
        b'{"text": "half \\ud800"}\n' + b"[" * 100_000 + b'\n{"text": "good", "text": "last"}'
    )

    rows, removed, faults = everything(source(path))

    assert rows["id"].to_list() == ["a.jsonl:1", "a.jsonl:11"]
    assert rows["text"].to_list() == ["good", "last"]
    assert removed == [
        ("a.jsonl:3", "broken line"),
        ("a.jsonl:4", "broken line"),
        ("a.jsonl:5", "no text"),
        ("a.jsonl:6", "no text"),
        ("a.jsonl:7", "no text"),
        ("a.jsonl:8", "not valid UTF-8"),
        ("a.jsonl:9", "not valid UTF-8"),
        ("a.jsonl:10", "broken line"),
    ]
    assert all(fault.startswith(f"{path}:{i}: expected") for i, fault in enumerate(faults, 3))
    assert all("data.unreadable=drop" in fault for fault in faults)
    assert "found e9 at byte 13" in faults[5]


def test_encodings_are_read_as_told_or_found(tmp_path: Path) -> None:
    spelled = "Größe – café\n"
    for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"):
        mark = b"\xff\xfe" if name == "utf-16-le" else b""
        (tmp_path / f"{name}.txt").write_bytes(mark + spelled.encode(name))

    found = texts(everything(source(tmp_path / "*.txt", encoding="auto")))
    _, removed, faults = everything(source(tmp_path / "*.txt"))
    latin = texts(everything(source(tmp_path / "cp1252.txt", encoding="latin-1")))
    windows = texts(everything(source(tmp_path / "cp1252.txt", encoding="cp1252")))

    assert set(found.values()) == {spelled}
    assert len(found) == 6
    assert {name for name, reason in removed if reason == "not valid UTF-8"} == {
        "utf-16.txt",
        "utf-16-le.txt",
        "utf-32.txt",
        "cp1252.txt",
    }
    assert any("cp1252.txt: expected UTF-8, found f6 at byte 2" in fault for fault in faults)
    assert latin == {"cp1252.txt": spelled.replace("–", "\x96")}
    assert windows == {"cp1252.txt": spelled}


def test_what_a_code_page_does_not_know_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"ab\x81")
    (tmp_path / "b.csv").write_bytes(b"text\nab\x81\nfine\n")

    rows, removed, faults = everything(source(tmp_path / "*", encoding="cp1252"))

    assert removed[0] == ("a.txt", "not valid cp1252")
    assert removed[1][0] == "b.csv:1"
    assert rows["id"].to_list() == ["b.csv:2"]
    assert "expected cp1252, found 81 at byte 2" in faults[0]


def test_a_big_file_of_two_byte_text_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("ein Satz.|".encode("utf-16"))
    with (tmp_path / "a.txt").open("ab") as file:
        file.write("noch einer.|".encode("utf-16-le") * 5000)

    found = texts(everything(source(tmp_path / "a.txt", delimiter="|", encoding="auto"), size=999))

    assert list(found.values()) == ["ein Satz.", *["noch einer."] * 5000]


def test_batches_hold_a_bounded_amount_of_text(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": "abc " * 5000} for _ in range(700)]
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows))
    pl.DataFrame(rows).write_parquet(tmp_path / "b.parquet")

    batches = [
        batch.rows["text"].str.len_bytes().sum()
        for piece in pieces([source(tmp_path / "*")], size=2**30)
        for batch in read(piece)
    ]

    assert sum(batches) == 2 * 700 * 20_000
    assert max(batches) <= BATCH + 20_000


def test_archives_hold_documents_of_every_plain_kind(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("deep/a.txt", "text of a")
        archive.writestr("rows.csv", 'text\n"two\nlines"\n')
        archive.writestr("rows.jsonl", jsonl([{"text": "row"}]))
        archive.writestr("../out.txt", "evil")
        archive.writestr("more.zip", "nested")
        archive.writestr("picture.png", b"\x89PNG")

    rows, removed, faults = everything(source(tmp_path / "a.zip"))

    assert dict(rows.select("id", "text").iter_rows()) == {
        "a.zip!deep/a.txt": "text of a",
        "a.zip!rows.csv:1": "two\nlines",
        "a.zip!rows.jsonl:1": "row",
    }
    assert removed == [
        ("a.zip!../out.txt", "unsafe archive member"),
        ("a.zip!more.zip", "unreadable file"),
        ("a.zip!picture.png", "not valid UTF-8"),
    ]
    assert "a.zip!../out.txt: expected a file below the archive's folder, found" in faults[0]


CUT_OFF = ["a.jsonl.gz", "a.jsonl.zst", "a.tar.gz", "a.parquet", "a.arrow", "a.zip"]


@pytest.mark.parametrize("name", CUT_OFF)
def test_a_file_that_was_cut_off_is_named_and_others_are_read(name: str, tmp_path: Path) -> None:
    many = [{**row, "text": f"{row['text']}{zlib_noise(i)}"} for i, row in enumerate(ROWS)]
    path = tmp_path / name
    if name == "a.parquet":
        pl.DataFrame(many).write_parquet(path)
    elif name == "a.arrow":
        pl.DataFrame(many).write_ipc_stream(path)
    elif name == "a.jsonl.zst":
        path.write_bytes(zstandard.ZstdCompressor().compress(jsonl(many)))
    elif name == "a.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("rows.jsonl", jsonl(many))
    elif name == "a.tar.gz":
        as_tar(tmp_path)
    else:
        path.write_bytes(gzip.compress(jsonl(many)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "z.jsonl").write_bytes(b'{"text": "whole"}')

    rows, removed, faults = everything(source(tmp_path / "*"))

    assert rows["id"].to_list()[-1] == "z.jsonl:1"
    assert removed[-1][1] == "unreadable file"
    assert removed[-1][0].startswith(name)
    assert str(path) in faults[-1]
    assert "expected" in faults[-1]


def zlib_noise(i: int) -> str:
    """Letters that hardly compress."""
    import hashlib

    return hashlib.sha512(str(i).encode()).hexdigest() * 3


def test_missing_columns_are_one_list_with_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"content": "a", "who": "me"}]))
    (tmp_path / "b.csv").write_text("texts,who\na,b\n")
    pl.DataFrame({"body": ["a"], "who": ["me"]}).write_parquet(tmp_path / "c.parquet")
    pl.DataFrame({"text": [1], "who": [["me"]]}).write_ipc_stream(tmp_path / "d.arrow")
    (tmp_path / "e.txt").write_text("plain")

    with pytest.raises(DataError) as caught:
        pieces([source(tmp_path / "*"), source(tmp_path / "no*")], column="who")

    faults = str(caught.value).split("\n")
    assert faults[0] == "7 faults in the data:"
    assert 'a.jsonl: expected the column "text", found none; ' in faults[1]
    assert "the columns are content, who" in faults[1]
    assert "did you mean texts?" in faults[2]
    assert "c.parquet" in faults[3]
    assert "column 'text': expected text, found Int64" in faults[4]
    assert "column 'who': expected a value, found List" in faults[5]
    assert 'e.txt: expected the column "who", found plain text' in faults[6]
    assert "no*: expected files" in faults[7]


@pytest.mark.parametrize(
    ("name", "settings", "fault"),
    [
        ("a.jsonl", {"delimiter": "|"}, "delimiter: expected plain text files, found json"),
        ("a.txt", {"text": "body"}, "text: expected files with columns"),
        ("a.parquet", {"encoding": "auto"}, "encoding: expected plain text"),
    ],
)
def test_settings_without_effect_are_refused(
    name: str, settings: dict[str, str], fault: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"")

    with pytest.raises(DataError, match=f"data.mixture.0.{fault}"):
        pieces([source(tmp_path / name, **settings)])


def test_a_delimiter_that_the_encoding_cannot_spell_is_refused() -> None:
    with pytest.raises(RecipeError, match="delimiter: expected text that latin-1 can spell"):
        source("*.txt", delimiter="→", encoding="latin-1")


def test_rows_without_text_are_named(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a", None, "", "d"], "who": [None, "x", "y", "z"]})
    frame.write_parquet(tmp_path / "a.parquet")

    rows, removed, faults = everything(source(tmp_path / "a.parquet"), column="who")

    assert rows["id"].to_list() == ["a.parquet:1", "a.parquet:3", "a.parquet:4"]
    assert rows["key"].to_list() == [None, "y", "z"]
    assert removed == [("a.parquet:2", "no text")]
    assert f"{tmp_path}/a.parquet:2: expected text in the column 'text', found nothing" in faults[0]


def test_rows_of_csv_with_too_few_fields_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("n\ttext\n1\tone\n2\n\n3\tthree\n")

    rows, removed, _ = everything(source(tmp_path / "a.tsv"))

    assert rows["text"].to_list() == ["one", "three"]
    assert removed == [("a.tsv:2", "broken line")]


def test_fetched_sets_are_found_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "zafu/data/novels/deep"
    folder.mkdir(parents=True)
    (folder / "emma.txt").write_text("Emma Woodhouse")

    assert find(["get:novels/**/*.txt"]) == [("deep/emma.txt", folder / "emma.txt")]
    assert find(["get:novels"]) == [("deep/emma.txt", folder / "emma.txt")]
    with pytest.raises(DataError, match=r"get:poems: .*: zafu data get poems"):
        find(["get:poems/*.txt"])
    with pytest.raises(DataError, match="expected the name of a data set"):
        find(["get:../novels/*.txt"])
