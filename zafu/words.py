"""A technique in a word or two, as a command line takes it: `int8`, `prune:0.5`, `{kind: …}`."""

from __future__ import annotations

import json
from typing import TypeVar

from zafu.errors import Fault, RecipeError
from zafu.source import parse_yaml, scalar
from zafu.spec import Family

F = TypeVar("F", bound=Family)


def worded(family: type[F], text: str) -> F:
    """The technique that a text names: a kind, with values for its first settings behind colons,
    or a mapping in braces. Raises RecipeError.
    """
    if text.startswith("{"):
        return family.parse(parse_yaml(text).data)
    kind, *values = text.split(":")
    known = family.kinds().get(kind)
    if known is None or not values:
        return family.parse(kind)  # which says what there is
    if len(values) > len(known.positional):
        expected = f"{kind}:{':'.join(known.positional).upper()}" if known.positional else kind
        raise RecipeError([Fault("", expected, text)])
    given = {
        name: value if known.model_fields[name].annotation is str else scalar(value)
        for name, value in zip(known.positional, values, strict=False)
    }
    return family.parse({"kind": kind, **given})


def in_words(one: Family) -> str:
    """A technique as `worded` reads it, by what differs from the defaults."""
    plain, defaults = one.dump(), type(one).parse({"kind": one.tag()}).dump()
    given = {name: value for name, value in plain.items() if value != defaults[name]}
    first = one.positional[:1]
    if not given:
        return one.tag()
    if tuple(given) == first and isinstance(given[first[0]], (int, float, str)):
        value = given[first[0]]
        return f"{one.tag()}:{value:g}" if isinstance(value, float) else f"{one.tag()}:{value}"
    return json.dumps({"kind": one.tag(), **given}, ensure_ascii=False)
