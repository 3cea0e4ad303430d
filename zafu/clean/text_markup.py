"""Markup: HTML and XML become the text that a reader would see.

Tags, comments, scripts and styles go, entities are decoded, and what a browser puts on a line of
its own gets one. What is not surely markup stays: only names that HTML has are tags; outside whole
pages a tag counts if its closing tag is there too (or if it is one like <br>), so that
`#include <map>`, `List<P>` and `a <b and c> d` are left; so is a document, such as source code,
whose tags stand in quotes. XML is known by its `<?xml` at the start. A document without tags is
not touched.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Literal, final

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_lines import each, on_chosen
from zafu.clean.text_reasons import kept

if TYPE_CHECKING:
    import polars as pl

_INLINE = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q rp rt "
    "ruby s samp small span strike strong sub sup time tt u var"
)
_CELLS = "td th"
_BLOCKS = (
    "address article aside audio blockquote body button canvas caption center colgroup "
    "datalist dd details dialog dir div dl dt fieldset figcaption figure footer form frame "
    "frameset h1 h2 h3 h4 h5 h6 head header hgroup html iframe legend li main map menu nav "
    "noframes noscript object ol optgroup option output p picture pre progress search section "
    "select summary svg table tbody textarea tfoot thead title tr ul video"
)
_BREAKS = "br hr wbr"
_EMPTY = "area base col embed img input link meta param source track"
_KINDS = {  # what each name of HTML is
    name: kind
    for kind, names in (
        ("inline", _INLINE),
        ("cell", _CELLS),
        ("block", _BLOCKS),
        ("break", _BREAKS),
        ("empty", _EMPTY),
    )
    for name in names.split()
}
_ANY_NAME = "|".join(sorted(_KINDS, key=lambda name: (-len(name), name)))
_ATTRIBUTES = (
    r"(?:\s+[A-Za-z_:@][\w:.@-]*+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]++))?)*+\s*+/?"
)
_TAG = re.compile(rf"<(/?)({_ANY_NAME})({_ATTRIBUTES})>", re.IGNORECASE)
_ELEMENT = re.compile(rf"<(/?)([A-Za-z_][\w:.-]*+)({_ATTRIBUTES})>")
_OPENS = re.compile(r"<(?:(!--)|(script|style|template)\b[^<>]*+>)", re.IGNORECASE)
_CLOSES = {
    name: re.compile(closing, re.IGNORECASE)
    for name, closing in (
        ("!--", "-->"),
        ("script", r"</script\s*>"),
        ("style", r"</style\s*>"),
        ("template", r"</template\s*>"),
    )
}
_DECLARATION = re.compile(r"<!doctype\b[^<>]*>|<\?xml\b[^<>]*>", re.IGNORECASE)
_PAGE = re.compile(r"<!doctype\s+html|<(?:html|head|body)[\s>]", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
_PERHAPS = rf"(?i)<(?:/?(?:{_ANY_NAME})[\s/>]|!--|!doctype|\?xml)"
_BREAK = "\0"  # no text has it, or needs it: browsers show U+FFFD for it
_RUN = re.compile(r"(?<![\s\0])[\s\0]++")
_QUOTES = frozenset("\"'`\\")
_OPEN = frozenset(
    ["li", "dt", "dd", "tr", "td", "th", "option"]
)  # HTML lets their closing tags be left out
_AROUND = frozenset(["ul", "ol", "dl", "table", "select", "menu"])


@final
class Markup(TextCleaning):
    """What a reader of an HTML or XML document would see."""

    kind: Literal["markup"] = "markup"

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts mended; none should go."""
        perhaps = texts.str.contains(_PERHAPS)
        return kept(on_chosen(texts, perhaps, lambda some: each(some, seen)))


def seen(text: str) -> str:
    """The text that is seen of a document; without tags, the document."""
    if text.lstrip("\ufeff \t\n\r").startswith("<?xml") and not _PAGE.search(text):
        return _tidy(_ELEMENT.sub(_instead, _CDATA.sub("", _without_unseen(text))))
    bare = _without_unseen(text)
    page = _PAGE.search(text) is not None
    closed = {tag[2].lower() for tag in _TAG.finditer(bare) if tag[1]}
    tags = [tag for tag in _TAG.finditer(bare) if page or _is_tag(tag, closed)]
    if not tags and not text.lstrip().startswith("<!"):
        return text
    if sum(_in_quotes(bare, tag) for tag in tags) * 4 > len(tags):
        return text
    return _tidy(
        _TAG.sub(lambda tag: _instead(tag) if page or _is_tag(tag, closed) else tag[0], bare)
    )


def _without_unseen(text: str) -> str:
    """The text without comments, scripts, styles and declarations; one that does not end stays."""
    parts: list[str] = []
    endless: set[str] = set()  # asked once: else a thousand openings would each read to the end
    start = at = 0
    while opening := _OPENS.search(text, at):
        name = (opening[1] or opening[2]).lower()
        closing = None if name in endless else _CLOSES[name].search(text, opening.end())
        if closing is None:
            endless.add(name)
            at = opening.end()
        else:
            parts.append(text[start : opening.start()])
            start = at = closing.end()
    return _DECLARATION.sub("", "".join([*parts, text[start:]]))


def _is_tag(tag: re.Match[str], closed: set[str]) -> bool:
    """Whether it is one beyond doubt, although this is not a whole page."""
    name = tag[2].lower()
    marked = "=" in tag[3] or tag[3].endswith("/")
    lone = _KINDS[name] == "break" or (_KINDS[name] == "empty" and marked)
    return lone or name in closed or (name in _OPEN and not closed.isdisjoint(_AROUND))


def _in_quotes(text: str, tag: re.Match[str]) -> bool:
    """Whether a quote or a backslash touches the tag, as in the strings of source code."""
    start, end = tag.span()
    return text[start - 1 : start] in _QUOTES or text[end : end + 1] in _QUOTES


def _instead(tag: re.Match[str]) -> str:
    name = tag[2].lower()
    if name == "wbr":
        return ""
    return {"cell": " ", "inline": "", "empty": ""}.get(_KINDS.get(name, "block"), _BREAK)


def _tidy(text: str) -> str:
    """The breaks turned to line ends, none at the ends of the text; entities decoded."""
    text = _RUN.sub(_line_ends, text)
    return _ENTITY.sub(lambda entity: unescape(entity[0]), text)


def _line_ends(run: re.Match[str]) -> str:
    """One line end for the breaks in a run of white space, or a blank line for several."""
    if _BREAK not in run[0]:
        return run[0]
    if run.start() == 0 or run.end() == len(run.string):
        return ""
    return "\n" if run[0].count(_BREAK) == 1 else "\n\n"
