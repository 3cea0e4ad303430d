"""Where tables come from: files of all kinds, toy tables, databases."""

import gzip
import json
import sqlite3
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl
import pytest
import sqlalchemy
import zstandard
from sklearn.datasets import load_iris, load_wine

from zafu.data import memory, toys
from zafu.data.sql import Query, _passwords, digest
from zafu.data.table import Table
from zafu.errors import DataError, RecipeError
from zafu.work import Work


def wine() -> pl.DataFrame:
    bunch = load_wine()
    rows = pl.DataFrame(bunch.data, schema=list(bunch.feature_names))
    return rows.with_columns(target=pl.Series([str(bunch.target_names[t]) for t in bunch.target]))


def prepared(folder: Path, data: Table, task: str = "classification") -> Path:
    folder.mkdir()
    data.prepare(folder, task=task, seed=0, work=Work(folder / "../work"))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "names.arrow")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def arrays(folder: Path) -> list[np.ndarray]:
    return [np.load(file) for file in sorted(folder.rglob("*.npy"))]


def database(file: Path, rows: pl.DataFrame) -> str:
    with sqlite3.connect(file) as opened:
        names = ", ".join(f'"{name}"' for name in rows.columns)
        opened.execute(f"CREATE TABLE wines ({names})")
        marks = ", ".join("?" * rows.width)
        opened.executemany(f"INSERT INTO wines VALUES ({marks})", rows.rows())  # noqa: S608
    opened.close()
    return f"sqlite:///{file}"


def of_query(url: str, sql: str = "SELECT * FROM wines", **settings: object) -> Table:
    return Table.parse({"query": {"url": url, "sql": sql}, "target": "target", **settings})


@pytest.mark.parametrize(
    "suffix", ["csv.gz", "csv.zst", "tsv.gz", "jsonl.gz", "jsonl.zst", "parquet", "arrow"]
)
def test_compressed_files_and_streams_of_arrow_are_read(tmp_path: Path, suffix: str) -> None:
    plain, other = tmp_path / "rows.csv", tmp_path / f"rows.{suffix}"
    wine().write_csv(plain)
    form, _, packed = suffix.partition(".")
    bare = tmp_path / f"bare.{form}"
    match form:
        case "csv" | "tsv":
            wine().write_csv(bare, separator="," if form == "csv" else "\t")
        case "jsonl":
            wine().write_ndjson(bare)
        case "parquet":
            wine().write_parquet(bare)
        case _:
            wine().write_ipc_stream(bare)
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(packed, bytes)
    other.write_bytes(pack(bare.read_bytes()))

    folders = [
        prepared(tmp_path / name, Table.parse({"files": [str(file)], "target": "target"}))
        for name, file in (("a", plain), ("b", other))
    ]

    first, second = map(contents, folders)
    assert {k: v for k, v in first.items() if k != "prepare.json"} == {
        k: v for k, v in second.items() if k != "prepare.json"
    }


def test_a_folder_that_datasets_saved_is_read(tmp_path: Path) -> None:
    """Its shards are streams of Arrow; a file of Arrow with a footer is read too."""
    wine()[:100].write_ipc_stream(tmp_path / "data-00000-of-00002.arrow")
    wine()[100:].write_ipc(tmp_path / "data-00001-of-00002.arrow")

    data = Table.parse({"files": [f"{tmp_path}/data-*.arrow"], "target": "target"})

    folder = prepared(tmp_path / "p", data)
    assert json.loads((folder / "prepare.json").read_text())["in"] == 178


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(b"\x1f\x8b damaged")
    (tmp_path / "b.arrow").write_bytes(b"ARROW1 damaged")
    (tmp_path / "c.parquet.gz").write_bytes(b"PAR1")

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "p", Table.parse({"files": [f"{tmp_path}/*.*"], "target": "target"}))

    assert "3 faults" in str(error.value)
    assert all(name in str(error.value) for name in ("a.csv.gz", "b.arrow", "c.parquet.gz"))


@pytest.mark.parametrize("name", sorted(toys.TOYS))
def test_a_toy_table_is_prepared_without_a_file(tmp_path: Path, name: str) -> None:
    data = Table.parse({"files": [f"sklearn:{name}"], "target": "target"})
    task = "regression" if name == "diabetes" else "classification"

    folder = prepared(tmp_path / "p", data, task)

    assert all(path.is_file() for path in data.sources())
    assert data.needs == (("sklearn", "sklearn"),)
    report = json.loads((folder / "prepare.json").read_text())
    assert report["in"] == toys.rows(name).height > 100
    if name == "iris":
        labels = json.loads((folder / "signature.json").read_text())["labels"]
        assert labels == sorted(load_iris().target_names)


def test_a_toy_that_there_is_not_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"files\.0: expected one of .*did you mean sklearn:iris"):
        Table.parse({"files": ["sklearn:irs"], "target": "target"})


def test_a_table_has_one_source() -> None:
    query = {"url": "sqlite:///a.db", "sql": "SELECT 1"}
    for given in ({}, {"files": ["a.csv"], "query": query}):
        with pytest.raises(RecipeError, match="files: expected either files or query"):
            Table.parse({"target": "target", **given})


def test_a_table_that_does_not_fit_into_memory_is_refused_before_it_is_read() -> None:
    there = memory.available()
    assert there is not None

    memory.refuse_what_is_too_large({"small.csv": (there // 100, "text")})
    with pytest.raises(DataError, match=r"large\.parquet: expected a table that fits into memory"):
        memory.refuse_what_is_too_large({"large.parquet": (there // 10, "packed")})


def test_rows_of_sqlite_are_those_of_the_same_file(tmp_path: Path) -> None:
    url = database(tmp_path / "wine.db", wine())
    wine().sort(wine().columns).write_parquet(tmp_path / "wine.parquet")
    file = Table.parse({"files": [f"{tmp_path}/wine.parquet"], "target": "target"})

    data = of_query(url)

    ours, theirs = (arrays(prepared(tmp_path / n, d)) for n, d in (("query", data), ("file", file)))
    assert all(map(np.array_equal, ours, theirs))
    assert data.sources() == [tmp_path / "wine.db"]
    assert data.fingerprint() == ""
    assert data.needs == ()


def test_another_database_gives_the_same_rows_and_a_digest_of_them(tmp_path: Path) -> None:
    """SQLAlchemy's own way to an SQLite file stands for any server's."""
    url = database(tmp_path / "wine.db", wine())
    plain = of_query(url)

    data = of_query(url.replace("sqlite:", "sqlite+pysqlite:"))

    ours, theirs = (
        arrays(prepared(tmp_path / n, d)) for n, d in (("other", data), ("plain", plain))
    )
    assert all(map(np.array_equal, ours, theirs))
    assert data.sources() == []
    assert data.needs == (("sqlalchemy", "sql"),)
    before = data.fingerprint()
    assert len(before) == 64
    with sqlite3.connect(tmp_path / "wine.db") as opened:
        opened.execute("UPDATE wines SET ash = 9 WHERE rowid = 1")
    opened.close()
    assert data.fingerprint() != before


def test_the_order_in_which_a_database_answers_changes_nothing(tmp_path: Path) -> None:
    url = database(tmp_path / "wine.db", wine())

    there = prepared(tmp_path / "there", of_query(url, "SELECT * FROM wines ORDER BY ash"))
    back = prepared(tmp_path / "back", of_query(url, "SELECT * FROM wines ORDER BY ash DESC"))

    assert contents(there) == contents(back)


def test_a_database_is_only_read(tmp_path: Path) -> None:
    url = database(tmp_path / "wine.db", wine())
    before = (tmp_path / "wine.db").read_bytes()

    for sql in ("DELETE FROM wines", "DROP TABLE wines", "SELECT * FROM beers"):
        with pytest.raises(DataError, match=r"data\.query: expected rows from sqlite:///"):
            of_query(url, sql).query.read()  # type: ignore[union-attr]

    assert (tmp_path / "wine.db").read_bytes() == before


def test_values_of_several_kinds_in_one_column_become_text(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "odd.db") as opened:
        opened.execute("CREATE TABLE odd (a, b)")
        opened.executemany("INSERT INTO odd VALUES (?, ?)", [(1, 1), ("x", 2.5), (None, None)])
    opened.close()

    rows = Query(url=f"sqlite:///{tmp_path}/odd.db", sql="SELECT * FROM odd").read()

    assert rows.sort("b").rows() == [(None, None), ("1", 1.0), ("x", 2.5)]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT ash, hue AS ash, target FROM wines", "the column 'ash' stands there twice"),
        ("SELECT * FROM wines WHERE 0", "expected rows, found none"),
        ("SELECT x'00ff' AS raw, target FROM wines", "column 'raw': expected numbers or text"),
    ],
)
def test_an_answer_that_is_no_table_is_refused(tmp_path: Path, sql: str, message: str) -> None:
    url = database(tmp_path / "wine.db", wine())

    with pytest.raises(DataError, match=message):
        prepared(tmp_path / "p", of_query(url, sql))


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected an SQLite database, found no such file"):
        of_query(f"sqlite:///{tmp_path}/none.db").sources()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db.example/wines",
        "mysql+pymysql://me:hunter2@db.example:3306/wines?charset=utf8",
        "mssql://db.example/wines?user=me&password=hunter2",
        "postgresql://me:${HALF}hunter2@db.example/wines",
    ],
)
def test_a_secret_in_a_recipe_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(RecipeError, match=r"query\.url: expected no secret") as error:
        of_query(url)

    assert "hunter2" not in str(error.value)
    assert "${NAME}" in str(error.value)


def test_an_address_in_the_wrong_place_is_not_shown() -> None:
    with pytest.raises(RecipeError, match="expected a mapping of url and sql") as error:
        Table.parse({"query": "postgresql://me:hunter2@db.example/wines", "target": "target"})

    assert "hunter2" not in str(error.value)


def test_a_secret_is_read_when_it_is_used_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the folder stands for the secret: SQLite has no passwords."""
    folder = tmp_path / "hunter2"
    folder.mkdir()
    database(folder / "wine.db", wine())
    data = of_query(f"sqlite+pysqlite:///{tmp_path}/${{SECRET}}/wine.db")

    with pytest.raises(DataError, match="expected the environment variable SECRET: set it"):
        prepared(tmp_path / "a", data)
    monkeypatch.setenv("SECRET", "hunter2")
    written = contents(prepared(tmp_path / "b", data))
    monkeypatch.setenv("SECRET", "hunter2/none")
    with pytest.raises(DataError) as error:
        prepared(tmp_path / "c", data)

    assert not [name for name, content in written.items() if b"hunter2" in content]
    assert "hunter2" not in json.dumps(data.dump())
    assert "hunter2" not in str(error.value)
    assert "${SECRET}" in str(error.value)


def test_a_whole_address_can_be_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINES", f"sqlite+nothing://me:hunter2@{tmp_path}/wine.db")
    query = Query(url="${WINES}", sql="SELECT * FROM wines")

    with pytest.raises(DataError, match="expected rows from") as error:
        query.read()

    assert "hunter2" not in str(error.value)


def test_rows_that_sqlite_keeps_beside_its_file_count_too(tmp_path: Path) -> None:
    url = database(tmp_path / "wine.db", wine())
    opened = sqlite3.connect(tmp_path / "wine.db")
    opened.execute("PRAGMA journal_mode=WAL")
    opened.execute("UPDATE wines SET ash = 9 WHERE rowid = 1")
    opened.commit()

    data = of_query(url)

    assert data.sources() == [tmp_path / "wine.db", tmp_path / "wine.db-wal"]
    assert data.query is not None
    assert data.query.read()["ash"].max() == 9.0
    opened.close()


def test_a_digest_tells_types_and_gaps_apart() -> None:
    frames = [
        pl.DataFrame({"a": ["1", None]}),
        pl.DataFrame({"a": ["1", ""]}),
        pl.DataFrame({"a": ["1", "\\N"]}),
        pl.DataFrame({"a": [1, None]}),
        pl.DataFrame({"b": ["1", None]}),
        pl.DataFrame({"a": [1.0, None]}),
    ]

    assert len({digest(frame) for frame in frames}) == len(frames)


@pytest.mark.parametrize(
    "url", ["p://me:a:b@h/x", "p://me:p@ss@h/x", "p://me:a%2Fb@h/x", "p://h/x"]
)
def test_what_sqlalchemy_takes_for_a_password_is_masked(url: str) -> None:
    password = sqlalchemy.make_url(url).password

    found = [unquote(ours) for ours in _passwords(url)]

    assert bool(found) == (password is not None)
    assert all(str(password) in ours for ours in found)
