"""YAML with its keys, numbers, words and comments told apart by colour."""

from __future__ import annotations

import re

from zafu.report.element import Child, h
from zafu.source import scalar

LONGEST = 40_000  # letters of a recipe that are shown
_COMMENT = re.compile(r"(?:^|\s)#")


def tinted(text: str) -> list[Child]:
    """The text in pieces, whose concatenation is the text (cut after LONGEST letters)."""
    pieces: list[Child] = []
    for line in text[:LONGEST].splitlines(keepends=True):
        pieces += _line(line)
    if len(text) > LONGEST:
        pieces.append(h("span.cut", "… cut"))
    return pieces


def _line(line: str) -> list[Child]:
    body = line.lstrip(" -")
    indent = line[: len(line) - len(body)]
    if body.startswith("#"):
        return [indent, h("span.comment", body)]
    key, colon, rest = body.partition(":")
    if not colon or not rest[:1].isspace() or key[:1] in ('"', "'"):
        return [indent, *_value(body)]
    return [indent, h("span.key", key), colon, *_value(rest)]


def _value(text: str) -> list[Child]:
    comment = "" if text.lstrip()[:1] in ('"', "'") else text
    found = _COMMENT.search(comment)
    value, rest = (text[: found.start()], text[found.start() :]) if found else (text, "")
    bare = value.strip()
    plain = scalar(bare) if len(bare) <= 100 else bare
    if not bare:
        tinted: Child = value
    elif isinstance(plain, bool) or plain is None:
        tinted = h("span.word", value)
    else:
        tinted = h("span.text" if isinstance(plain, str) else "span.figure", value)
    return [tinted, h("span.comment", rest) if rest else None]
