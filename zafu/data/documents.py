"""Documents of one file, item by item: what its format gives, and what cannot be read and why.

A document is the whole of a plain file, a record between delimiters, a line of JSON or a row of
CSV; an archive holds files of these kinds. Parquet and Arrow are read by `columnar`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from zafu.data import archive
from zafu.data.lines import LONGEST, Encoding, decoded, encoded, records, unmarked
from zafu.data.streams import BLOCK, Section, Stream, opened, stem
from zafu.errors import DataError
from zafu.spec import did_you_mean, show

Form = Literal["plain", "json", "csv", "parquet", "arrow", "archive"]
_FORMS: Mapping[str, Form] = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
ADVICE = "mend it, or leave such out by data.unreadable=drop"
_HEAD = 2**16  # bytes that show which columns there are
_SHOWN = 1000  # letters that are kept of what cannot be read


@dataclass(frozen=True)
class Reading:
    """How documents are found in a file."""

    text: str = "text"  # the column that holds it
    column: str | None = None  # the column whose value goes along
    delimiter: str = ""
    encoding: Encoding = "utf-8"


@dataclass(frozen=True)
class Part:
    """A file, or a range of one: bytes, or rows of Parquet."""

    name: str
    path: Path
    form: Form
    start: int = 0
    stop: int | None = None  # None: up to the end
    first: int = 1  # the number of its first record


class Document(NamedTuple):
    """A text that was read; it may be empty."""

    id: str
    text: str
    key: str | None = None


class Lost(NamedTuple):
    """An item that cannot be read."""

    id: str
    reason: str  # one of a few
    message: str  # where, what was expected, what was found, what to do
    content: str = ""


Item = Document | Lost


def form_of(name: str) -> Form:
    """How a file is read, by its name's ending; whatever is not known is plain text."""
    if archive.is_archive(name):
        return "archive"
    return _FORMS.get(Path(stem(name)[0]).suffix.lower(), "plain")


def separator(form: Form, how: Reading) -> bytes:
    """What stands between the records of a file; empty if it cannot be cut."""
    if form == "json":
        return b"\n"
    return encoded(how.delimiter, how.encoding) if form == "plain" else b""


def items(part: Part, how: Reading) -> Iterator[Item]:
    """The documents of a file, in order, and at the end why it could not be read to its end."""
    try:
        if part.form == "archive":
            yield from _in_archive(part, how)
        else:
            with _content(part, how) as stream:
                yield from _in_stream(stream, part, how)
    except (DataError, OSError) as error:
        yield unreadable(part.name, str(part.path), error)


def unreadable(name: str, path: str, error: BaseException) -> Lost:
    """The fault of a file that cannot be read, or only up to some place."""
    said = (str(error) or type(error).__name__).split("\n", 1)[0]
    said = said if isinstance(error, DataError) else f"{path}: expected a whole file, found {said}"
    return Lost(printable(name), "unreadable file", f"{said}; {ADVICE}")


def absent(name: str, known: list[str], where: str) -> str:
    """The fault of a file without the column that the recipe names."""
    hint = did_you_mean(name, known) or f"the columns are {', '.join(known)}"
    return f"{where}: expected the column {show(name)}, found none; {hint}"


def first_objects(part: Part, how: Reading) -> list[dict[str, Any]]:
    """The JSON objects in the first 64 KiB of a file, as far as they can be read."""
    found: list[dict[str, Any]] = []
    head = b""
    with _content(part, how) as stream:
        while len(head) < _HEAD and (more := stream.read(_HEAD)):
            head += more
    for line in head.split(b"\n")[:-1]:
        try:
            value = json.loads(decoded(line, how.encoding))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(cast("dict[str, Any]", value))
    return found


def header(part: Part, how: Reading) -> list[str]:
    """The names of the columns of a CSV file; DataError if there are none."""
    with _content(part, how) as stream:
        names = next(_rows(stream, part, how), None)
    if names is None:
        raise DataError(f"{part.path}: expected a line of column names, found nothing")
    return names


def printable(name: str) -> str:
    """A file's name as text, also where it is not in UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextmanager
def _content(part: Part, how: Reading) -> Generator[Stream]:
    if part.stop is None:
        with opened(part.path) as stream:
            yield unmarked(stream, how.encoding, str(part.path))
        return
    with part.path.open("rb") as file:
        file.seek(part.start)
        section = Section(file, part.stop - part.start, str(part.path))
        yield section if part.start else unmarked(section, how.encoding, str(part.path))


def _in_archive(part: Part, how: Reading) -> Iterator[Item]:
    for member in archive.members(part.path):
        inner = Part(f"{part.name}!{member.name}", Path(f"{part.path}!{member.name}"), "plain")
        if isinstance(member, archive.Unsafe):
            said = f"expected a file below the archive's folder, {member.why}"
            yield _lost(inner, "", "unsafe archive member", said)
            continue
        form = form_of(member.name)
        if form in ("parquet", "arrow", "archive") or stem(member.name)[1]:
            said = "expected text, .jsonl or .csv in an archive, found another format: unpack it"
            yield _lost(inner, "", "unreadable file", said)
            continue
        inner = Part(inner.name, inner.path, form)
        try:
            stream = unmarked(member.stream, how.encoding, str(inner.path))
            yield from _in_stream(stream, inner, how)
        except DataError as error:
            yield unreadable(inner.name, str(inner.path), error)


def _in_stream(stream: Stream, part: Part, how: Reading) -> Iterator[Item]:
    if part.form == "json":
        yield from _of_lines(stream, part, how)
    elif part.form == "csv":
        yield from _of_rows(stream, part, how)
    elif how.delimiter:
        for number, raw in enumerate(records(stream, separator("plain", how)), part.first):
            yield _of_text(raw, f"#{number}", part, how)
    else:
        yield _of_text(_whole(stream), "", part, how)


def _whole(stream: Stream) -> bytes | None:
    content = bytearray()
    while more := stream.read(BLOCK):
        content += more
        if len(content) > LONGEST:
            return None
    return bytes(content)


def _of_text(raw: bytes | None, mark: str, part: Part, how: Reading) -> Item:
    if raw is None:
        said = f"expected a document of at most {LONGEST} bytes, found more"
        return _lost(part, mark, "document too long", f"{said}: name a data delimiter")
    try:
        return Document(printable(part.name) + mark, decoded(raw, how.encoding))
    except UnicodeDecodeError as error:
        return _undecodable(part, mark, raw, error)


def _of_lines(stream: Stream, part: Part, how: Reading) -> Iterator[Item]:
    """The documents of lines of JSON; empty lines are none.

    A line at a time, though polars reads blocks of short lines faster: it would take numbers for
    text, the first of two equal names, and halves of characters for others.
    """
    name, parse = f"{printable(part.name)}:", json.JSONDecoder().decode
    for number, raw in enumerate(records(stream, b"\n"), part.first):
        if raw is None:
            said = f"expected a line of at most {LONGEST} bytes, found more"
            yield _lost(part, f":{number}", "line too long", said)
        elif raw and not raw.isspace():
            try:
                value = parse(decoded(raw, how.encoding))
            except UnicodeDecodeError as error:
                yield _undecodable(part, f":{number}", raw, error)
            except (ValueError, RecursionError) as error:
                said = f"expected a JSON object, found {error}"
                yield _lost(part, f":{number}", "broken line", said, raw)
            else:
                text = value.get(how.text) if type(value) is dict else None
                if type(text) is str and text.isascii() and how.column is None:
                    yield Document(f"{name}{number}", text)  # soon done, as most are
                else:
                    yield _of_object(value, f":{number}", part, how)


def _of_object(value: Any, mark: str, part: Part, how: Reading) -> Item:
    if not isinstance(value, dict):
        said = f"expected a JSON object, found {show(value)}"
        return _lost(part, mark, "broken line", said, _plain(value))
    fields = cast("dict[str, Any]", value)
    text = fields.get(how.text)
    if not isinstance(text, str):
        found = show(text) if how.text in fields else f"the columns {', '.join(fields)}"
        said = f"expected text in the column {show(how.text)}, found {found}"
        return _lost(part, mark, "no text", said, _plain(fields))
    key = fields.get(how.column) if how.column else None
    return _checked(text, key if key is None else _plain(key), mark, part)


def _of_rows(stream: Stream, part: Part, how: Reading) -> Iterator[Item]:
    rows = _rows(stream, part, how)
    names = next(rows, list[str]())
    for name in (how.text, how.column):
        if name is not None and name not in names:
            raise DataError(absent(name, names, str(part.path)))
    text, key = names.index(how.text), names.index(how.column) if how.column else None
    for number, row in enumerate((row for row in rows if row), 1):
        mark = f":{number}"
        if len(row) != len(names):
            said = f"expected {len(names)} fields, found {len(row)}"
            yield _lost(part, mark, "broken line", said, ",".join(row))
        else:
            yield _checked(row[text], None if key is None else row[key] or None, mark, part)


def _rows(stream: Stream, part: Part, how: Reading) -> Iterator[list[str]]:
    """The rows of CSV, or of a table with tabs; bytes that are no text are lone surrogates."""
    csv.field_size_limit(LONGEST)  # the standard library keeps it for the whole process
    tabs = stem(part.path.name)[0].lower().endswith(".tsv")
    texts = (_line_of_csv(raw, part, how) for raw in records(stream, b"\n"))
    try:
        yield from csv.reader(texts, delimiter="\t" if tabs else ",", strict=True)
    except csv.Error as error:
        raise DataError(f"{part.path}: expected a table, found {error}") from None


def _line_of_csv(raw: bytes | None, part: Part, how: Reading) -> str:
    if raw is None:
        raise DataError(f"{part.path}: expected lines of at most {LONGEST} bytes, found a longer")
    try:
        return decoded(raw, how.encoding) + "\n"
    except UnicodeDecodeError:
        charset = "utf-8" if how.encoding == "utf-8" else "cp1252"
        return raw.decode(charset, "surrogateescape") + "\n"


def _checked(text: str, key: str | None, mark: str, part: Part) -> Item:
    """The document, if its texts are Unicode: JSON can spell halves of a character."""
    for value in (text, key or ""):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                said = f"expected text, found {value[error.start]!a} at letter {error.start}"
                return _lost(part, mark, "not valid UTF-8", said, _shown(value))
    return Document(printable(part.name) + mark, text, key)


def _undecodable(part: Part, mark: str, raw: bytes, error: UnicodeDecodeError) -> Lost:
    charset = "UTF-8" if error.encoding == "utf-8" else "cp1252"  # which says it is a charmap
    found = raw[error.start : error.end].hex(" ")
    said = f"expected {charset}, found {found} at byte {error.start}"
    advice = "name its encoding in the source's encoding"
    return _lost(part, mark, f"not valid {charset}", f"{said}: {advice}", raw)


def _lost(part: Part, mark: str, reason: str, said: str, content: str | bytes = "") -> Lost:
    if isinstance(content, bytes):
        content = content[: 4 * _SHOWN].decode("utf-8", "backslashreplace")
    message = f"{printable(str(part.path))}{mark}: {said}; {ADVICE}"
    return Lost(printable(part.name) + mark, reason, message, content[:_SHOWN])


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(text: str) -> str:
    return text[:_SHOWN].encode("utf-8", "backslashreplace").decode()
