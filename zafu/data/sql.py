"""Rows of a database: SQLite by the standard library and read-only, any other by SQLAlchemy.

Secrets stay out of recipes, reports and messages: `${NAME}` in the address is the environment's
variable, put in only while a connection is opened, and masked in what a driver says of it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from zafu.data.files import refuse
from zafu.data.memory import refuse_what_is_too_large
from zafu.errors import DataError, Fault, MissingExtra
from zafu.spec import FAULTS, Spec

if TYPE_CHECKING:
    import polars as pl

NAME = "query"  # of its rows in ids and messages
_SQLITE = "sqlite:///"
_AT_ONCE = 10_000  # rows fetched at once
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_USER = re.compile(r"://[^:/@]*:(.+)@")
_OPTION = re.compile(r"(?i)[?&]\w*(?:password|passwd|pwd|secret|token|key)=([^&]*)")
_Answer = tuple[list[str], Callable[[int], Sequence[Sequence[Any]]]]


class Query(Spec):
    """What to ask which database; its rows are put in the order of their values.

    A database promises no order, and what is fitted must not depend on its mood.
    """

    url: str
    """The database: sqlite:///file, or SQLAlchemy's address with ${NAME} where a secret goes."""
    sql: str
    """One SELECT; its columns are the table's."""
    package: ClassVar[tuple[str, str]] = ("sqlalchemy", "sql")  # needed by all but SQLite

    @model_validator(mode="before")
    @classmethod
    def _is_no_address(cls, value: Any) -> Any:
        """An address in place of the mapping is not shown: it may hold a secret."""
        if isinstance(value, str):
            fault = Fault("", "a mapping of url and sql", "text")
            raise PydanticCustomError(FAULTS, "{text}", {"text": str(fault), "faults": (fault,)})
        return value

    def check(self) -> Iterable[Fault]:
        """An address without a secret in it, and something to ask."""
        if "://" not in self.url and not _VARIABLE.fullmatch(self.url):
            yield Fault("url", "an address such as sqlite:///file.db", "one without ://")
        elif self._with_secret():
            yield Fault(
                "url",
                "no secret in the recipe",
                "a password",
                hint="write ${NAME} in its place and set the variable NAME",
            )
        elif self.url.startswith("sqlite:") and not self._path():
            yield Fault("url", "sqlite:/// and the path of a file", self.url)
        if not self.sql.strip():
            yield Fault("sql", "a SELECT", "nothing")

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """The packages that reading it takes, each with its extra."""
        return () if self._path() else (self.package,)

    def sources(self) -> list[Path]:
        """The files of an SQLite database; none for a server's. Raises DataError if not there."""
        path = self._path()
        if not path:
            return []
        file = Path(_expanded(path))
        if not file.is_file():
            raise DataError(f"{path}: expected an SQLite database, found no such file")
        log = file.with_name(f"{file.name}-wal")  # rows that are not yet in the file
        return [file, log] if log.is_file() else [file]

    def fingerprint(self) -> str:
        """A digest of the rows, which no file's stands for; "" for SQLite, whose file does."""
        return "" if self._path() else digest(self.read())

    def read(self) -> pl.DataFrame:
        """The rows, in the order of their values.

        Raises DataError if the database refuses or the rows are too many for this machine's
        memory, MissingExtra without SQLAlchemy.
        """
        import polars as pl

        with self._answering() as (names, fetch):
            doubled = sorted({name for name in names if names.count(name) > 1})
            refuse(f"data.query: the column {name!r} stands there twice" for name in doubled)
            blocks: list[pl.DataFrame] = []
            while rows := fetch(_AT_ONCE):
                blocks.append(_block(names, rows))
                held = sum(int(block.estimated_size()) for block in blocks)
                refuse_what_is_too_large({"data.query": (held, "text")})
        if not blocks:
            raise DataError("data.query: expected rows, found none")
        table = pl.concat(blocks, how="vertical_relaxed")
        odd = {n: t for n, t in table.schema.items() if t.is_nested() or t == pl.Binary}
        refuse(
            f"data.query, column {n!r}: expected numbers or text, found {t}" for n, t in odd.items()
        )
        return table.sort(table.columns, nulls_last=True)

    def _path(self) -> str:
        return self.url.removeprefix(_SQLITE) if self.url.startswith(_SQLITE) else ""

    def _with_secret(self) -> bool:
        if self._path():
            return False
        return any(not _VARIABLE.fullmatch(secret) for secret in _passwords(self.url))

    @contextmanager
    def _answering(self) -> Generator[_Answer, None, None]:
        """The names of the columns, and what fetches the next rows."""
        if self._path():
            uri = f"{self.sources()[0].absolute().as_uri()}?mode=ro"
            with self._explained(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as opened:
                cursor = opened.execute(self.sql)
                yield [part[0] for part in cursor.description or ()], cursor.fetchmany
            return
        if importlib.util.find_spec(self.package[0]) is None:
            raise MissingExtra(*self.package)
        import sqlalchemy as sa
        from sqlalchemy.exc import SQLAlchemyError

        with self._explained(SQLAlchemyError, ImportError):
            engine = sa.create_engine(_expanded(self.url), hide_parameters=True)
            try:
                with engine.connect() as opened:  # never committed
                    options = {"stream_results": True, "no_parameters": True}
                    answer = opened.exec_driver_sql(self.sql, execution_options=options)
                    yield list(answer.keys()), answer.fetchmany
            finally:
                engine.dispose()

    @contextmanager
    def _explained(self, *errors: type[Exception]) -> Generator[None, None, None]:
        """Turns what a driver raises into a DataError without secrets."""
        try:
            yield
        except errors as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            for secret in _secrets(self.url):
                said = said.replace(secret, "***")
            raise DataError(f"data.query: expected rows from {self.url}, found: {said}") from None


def digest(table: pl.DataFrame) -> str:
    """SHA-256 (64 hex digits) of names, types and values."""
    content = sha256(repr(list(table.schema.items())).encode())
    content.update(table.write_csv(null_value="\\N", quote_style="non_numeric").encode())
    return content.hexdigest()


def _passwords(url: str) -> list[str]:
    return [found[1] for pattern in (_USER, _OPTION) for found in pattern.finditer(url)]


def _secrets(url: str) -> list[str]:
    """What must not be shown, longest first: the variables' values, and passwords in them."""
    values = [os.environ.get(name, "") for name in _VARIABLE.findall(url)]
    inner = [password for value in values for password in _passwords(value)]
    return sorted({*filter(None, [*values, *inner])}, key=len, reverse=True)


def _expanded(text: str) -> str:
    missing = [name for name in _VARIABLE.findall(text) if name not in os.environ]
    refuse(f"data.query.url: expected the environment variable {name}: set it" for name in missing)
    return _VARIABLE.sub(lambda found: os.environ[found[1]], text)


def _block(names: list[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Some rows as columns; one whose values are of several kinds becomes text."""
    import polars as pl

    columns: dict[str, pl.Series] = {}
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        kinds = {type(value) for value in column if value is not None}
        mixed = len(kinds) > 1 and not kinds <= {int, float}
        told = [None if value is None else str(value) for value in column] if mixed else column
        columns[name] = pl.Series(name, told, strict=False)
    return pl.DataFrame(columns)
